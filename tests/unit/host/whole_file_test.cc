#include "host/whole_file.h"

#include <filesystem>
#include <fstream>

#include "tests/unit/host/host_fixture.h"

namespace quoll::host {
namespace {

struct FileFixture : HostFixture {
  FileFixture() {
    char name[] = "/tmp/quoll-whole-file-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    directory = name;
    path = directory + "/file";
    temporary = path + ".tmp";
  }
  ~FileFixture() { std::filesystem::remove_all(directory); }

  std::string replace(const std::string& content) {
    std::string outcome = "not called";
    bool done = false;
    replace_whole_file(host.disk, path, temporary, content, [&](base::Result<> result) {
      outcome = result ? "ok" : result.error();
      done = true;
    });
    REQUIRE(run_until([&] { return done; }));
    return outcome;
  }
  base::Result<std::string> read(const std::string& from) {
    base::Result<std::string> outcome = base::Error{"not called"};
    bool done = false;
    read_whole_file(host.disk, from, [&](base::Result<std::string> bytes) {
      outcome = std::move(bytes);
      done = true;
    });
    REQUIRE(run_until([&] { return done; }));
    return outcome;
  }

  std::string directory, path, temporary;
};

TEST_CASE_FIXTURE(FileFixture, "a file is made, then replaced; nothing else is left") {
  CHECK(replace("one") == "ok");
  CHECK(read(path).value() == "one");
  const std::string large(300'000, 'x');
  CHECK(replace(large) == "ok");
  CHECK(read(path).value() == large);
  CHECK(replace("") == "ok");
  CHECK(read(path).value().empty());
  CHECK(!std::filesystem::exists(temporary));
}

TEST_CASE_FIXTURE(FileFixture, "a failure keeps the old content and removes the temporary file") {
  std::filesystem::create_directory(path);  // a file cannot take a directory's place
  CHECK(replace("one") == "Is a directory");
  CHECK(std::filesystem::is_directory(path));
  CHECK(!std::filesystem::exists(temporary));
}

TEST_CASE_FIXTURE(FileFixture, "a missing file is told in the system's words") {
  CHECK(read(path).error() == "No such file or directory");
  temporary = directory + "/missing/file";
  CHECK(replace("one") == "No such file or directory");
}

}  // namespace
}  // namespace quoll::host
