#include "host/uv_disk.h"

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "tests/unit/host/host_fixture.h"

namespace quoll::host {
namespace {

struct DiskFixture : HostFixture {
  ScratchDir scratch;

  std::string at(const std::string& name) const { return scratch.path + "/" + name; }
  std::string content(const std::string& name) const {
    std::ifstream stream(at(name), std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
  }
  base::Result<FileId> open(const std::string& path, OpenMode mode) {
    std::optional<base::Result<FileId>> outcome;
    host.disk.open(path, mode, [&](base::Result<FileId> got) { outcome = std::move(got); });
    REQUIRE(run_until([&] { return outcome.has_value(); }));
    return *outcome;
  }
  // Waits for one request; `request` gets the callback to hand on. "" = success.
  std::string wait(std::function<void(OnDone)> request) {
    std::optional<std::string> outcome;
    request([&](base::Result<> got) { outcome = got.ok() ? "" : got.error(); });
    REQUIRE(run_until([&] { return outcome.has_value(); }));
    return *outcome;
  }
};

}  // namespace

TEST_CASE("disk: appends keep their order and complete in order") {
  DiskFixture f;
  FileId file = f.open(f.at("log"), OpenMode::append).value();
  std::string expected;
  std::vector<int> order;
  for (int i = 0; i < 500; ++i) {
    std::string line = "line " + std::to_string(i) + std::string(i % 7, '.') + "\n";
    expected += line;
    f.host.disk.append(file, line, [&order, i](base::Result<> done) {
      CHECK(done.ok());
      order.push_back(i);
    });
    if (i == 250) {
      f.host.disk.sync(file, [&](base::Result<> done) {
        CHECK(done.ok());
        CHECK(order.size() == 251);
      });
    }
  }
  base::Result<Offset> size = base::Error{"pending"};
  f.host.disk.size(file, [&](base::Result<Offset> got) { size = std::move(got); });
  REQUIRE(f.run_until([&] { return size.ok(); }));
  CHECK(size.value() == expected.size());
  CHECK(order.size() == 500);
  CHECK(std::is_sorted(order.begin(), order.end()));
  CHECK(f.content("log") == expected);
  f.host.disk.close(file);
}

TEST_CASE("disk: reads are short at the end and errors carry the system's words") {
  DiskFixture f;
  CHECK(f.open(f.at("missing"), OpenMode::read).error() == "No such file or directory");
  FileId file = f.open(f.at("data"), OpenMode::create_new).value();
  CHECK(f.open(f.at("data"), OpenMode::create_new).error() == "File exists");
  CHECK(f.wait([&](OnDone done) { f.host.disk.append(file, "0123456789", done); }) == "");
  std::string got;
  int reads = 0;
  f.host.disk.read(file, 2, 5, [&](base::Result<std::string> bytes) {
    got += bytes.value() + "|";
    ++reads;
  });
  f.host.disk.read(file, 8, 100, [&](base::Result<std::string> bytes) {
    got += bytes.value() + "|";
    ++reads;
  });
  f.host.disk.read(file, 50, 1, [&](base::Result<std::string> bytes) {
    got += bytes.value() + "|";
    ++reads;
  });
  REQUIRE(f.run_until([&] { return reads == 3; }));
  CHECK(got == "23456|89||");

  FileId reader = f.open(f.at("data"), OpenMode::read).value();
  CHECK(f.wait([&](OnDone done) { f.host.disk.append(reader, "x", done); }) ==
        "Bad file descriptor");
  CHECK(f.wait([&](OnDone done) { f.host.disk.sync(999, done); }) == "Bad file descriptor");
}

TEST_CASE("disk: truncate cuts, append goes on at the new end, opening can empty") {
  DiskFixture f;
  FileId file = f.open(f.at("data"), OpenMode::append).value();
  f.host.disk.append(file, "abcdef", nullptr);
  f.host.disk.truncate(file, 3, nullptr);
  CHECK(f.wait([&](OnDone done) { f.host.disk.append(file, "XY", done); }) == "");
  CHECK(f.content("data") == "abcXY");
  CHECK(f.open(f.at("data"), OpenMode::truncate).ok());
  CHECK(f.content("data") == "");
}

TEST_CASE("disk: appends of a turn and the sync behind them leave together, in order") {
  DiskFixture f;
  FileId file = f.open(f.at("data"), OpenMode::append).value();
  std::string order;
  bool in_first_turn = true;
  auto told = [&](char name) {
    return [&, name](base::Result<> done) {
      CHECK(done.ok());
      CHECK(!in_first_turn);
      order += name;
    };
  };
  f.host.loop.post([&] {
    f.host.disk.append(file, "one ", told('a'));
    f.host.disk.append(file, "two ", told('b'));
    f.host.disk.sync(file, told('s'));
    f.host.disk.append(file, "three", told('c'));
    f.host.loop.post([&] { in_first_turn = false; });
  });
  REQUIRE(f.run_until([&] { return order.size() == 4; }));
  CHECK(order == "absc");
  CHECK(f.content("data") == "one two three");
}

TEST_CASE("disk: requests issued before close are still served") {
  DiskFixture f;
  FileId file = f.open(f.at("data"), OpenMode::append).value();
  int done = 0;
  for (int i = 0; i < 10; ++i) f.host.disk.append(file, "x", [&](base::Result<>) { ++done; });
  f.host.disk.close(file);
  REQUIRE(f.run_until([&] { return done == 10; }));
  CHECK(f.content("data") == "xxxxxxxxxx");
  CHECK(f.wait([&](OnDone d) { f.host.disk.append(file, "y", d); }) == "Bad file descriptor");
}

TEST_CASE("disk: directories, renames, removal and sorted names") {
  DiskFixture f;
  auto& disk = f.host.disk;
  std::string dir = f.at("dir");
  CHECK(f.wait([&](OnDone done) { disk.make_dir(dir, done); }) == "");
  CHECK(f.wait([&](OnDone done) { disk.make_dir(dir, done); }) == "");
  for (const char* name : {"/b", "/c", "/a"})
    disk.close(f.open(dir + name, OpenMode::append).value());
  CHECK(f.wait([&](OnDone done) { disk.rename(dir + "/c", dir + "/B", done); }) == "");
  CHECK(f.wait([&](OnDone done) { disk.sync_dir(dir, done); }) == "");
  std::vector<std::string> names;
  disk.list(dir, [&](base::Result<std::vector<std::string>> got) { names = got.value(); });
  REQUIRE(f.run_until([&] { return !names.empty(); }));
  CHECK(names == std::vector<std::string>{"B", "a", "b"});
  CHECK(f.wait([&](OnDone done) { disk.remove(dir + "/a", done); }) == "");
  CHECK(f.wait([&](OnDone done) { disk.remove(dir + "/a", done); }) == "No such file or directory");
  CHECK(f.wait([&](OnDone done) { disk.remove(dir, done); }) == "Directory not empty");
  CHECK(f.wait([&](OnDone done) { disk.make_dir(dir + "/b", done); }) == "File exists");
  CHECK(f.wait([&](OnDone done) { disk.rename(dir + "/x", dir + "/y", done); }) ==
        "No such file or directory");
  CHECK(f.wait([&](OnDone done) { disk.sync_dir(f.at("none"), done); }) ==
        "No such file or directory");
  std::string error;
  disk.list(f.at("none"), [&](base::Result<std::vector<std::string>> got) { error = got.error(); });
  REQUIRE(f.run_until([&] { return !error.empty(); }));
  CHECK(error == "No such file or directory");
}

TEST_CASE("disk: an append that does not fit leaves no torn bytes behind") {
  DiskFixture f;
  FileId file = f.open(f.at("data"), OpenMode::append).value();
  rlimit old;
  getrlimit(RLIMIT_FSIZE, &old);
  auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = old;
  small.rlim_cur = 10;
  setrlimit(RLIMIT_FSIZE, &small);
  std::string outcome;
  for (const char* part : {"123456", "abcdef", "z"}) {
    f.host.disk.append(file, part, [&](base::Result<> done) {
      outcome += (done.ok() ? "ok" : done.error()) + ";";
    });
  }
  // A sync is answered for itself, whatever became of the appends before it.
  f.host.disk.sync(file, [&](base::Result<> done) { outcome += done.ok() ? "synced;" : "lost;"; });
  REQUIRE(f.run_until([&] { return std::count(outcome.begin(), outcome.end(), ';') == 4; }));
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  // They were gathered: what stands behind the one that does not fit fails with it.
  CHECK(outcome == "ok;File too large;File too large;synced;");
  CHECK(f.content("data") == "123456");
}

TEST_CASE("disk: appends asked for before a failure was told fail with it, later ones do not") {
  DiskFixture f;
  FileId file = f.open(f.at("data"), OpenMode::append).value();
  FileId other = f.open(f.at("other"), OpenMode::append).value();
  rlimit old;
  getrlimit(RLIMIT_FSIZE, &old);
  auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = old;
  small.rlim_cur = 4;
  setrlimit(RLIMIT_FSIZE, &small);
  std::string outcome;
  auto note = [&](base::Result<> done) { outcome += (done.ok() ? "ok" : done.error()) + ";"; };
  f.host.disk.append(file, "too long", note);
  f.host.disk.sync(file, note);
  usleep(50'000);  // the pool is through with them, most likely, but the loop has not looked
  f.host.disk.append(file, "b", note);
  REQUIRE(f.run_until([&] { return std::count(outcome.begin(), outcome.end(), ';') == 3; }));
  CHECK(outcome == "File too large;ok;File too large;");
  outcome.clear();
  f.host.disk.append(file, "c", note);
  f.host.disk.append(other, "d", note);
  REQUIRE(f.run_until([&] { return std::count(outcome.begin(), outcome.end(), ';') == 2; }));
  CHECK(outcome == "ok;ok;");
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  CHECK(f.content("data") == "c");
}

TEST_CASE("disk: requests in flight end with the host and call nobody") {
  ScratchDir scratch;
  bool called = false;
  {
    HostFixture f;
    FileId file = 0;
    f.host.disk.open(scratch.path + "/data", OpenMode::append,
                     [&](base::Result<FileId> got) { file = got.value(); });
    REQUIRE(f.run_until([&] { return file != 0; }));
    for (int i = 0; i < 3; ++i) {
      f.host.disk.append(file, "x", [&](base::Result<>) { called = true; });
    }
    f.host.disk.open(scratch.path + "/other", OpenMode::append,
                     [&](base::Result<FileId>) { called = true; });
  }
  CHECK_FALSE(called);
}

}  // namespace quoll::host
