#include "persist/aof_directory.h"

#include "tests/unit/persist/aof_fixture.h"

namespace quoll::persist {
namespace {

struct DirectoryFixture : AofFixture {
  AofDirectory directory{host.loop, disk, place};
  std::string old_file = scratch.path + "/appendonly.aof";
  std::string manifest_path = inside("appendonly.aof.manifest");
};

constexpr const char* kMoved =
    "Successfully migrated an old-style AOF file (appendonly.aof) into the AOF directory "
    "(appendonlydir).|";

TEST_CASE_FIXTURE(DirectoryFixture, "a first start makes the directory") {
  CHECK(load(directory) == "The AOF directory appendonlydir doesn't exist|");
  CHECK(exists(inside("")));
  CHECK(directory.manifest().empty());
  CHECK(load(directory) == "The AOF manifest file appendonly.aof.manifest doesn't exist|");
}

TEST_CASE_FIXTURE(DirectoryFixture, "the single file of older versions is moved inside") {
  write(old_file, "old");
  CHECK(load(directory) == std::string("The AOF directory appendonlydir doesn't exist|") + kMoved);
  CHECK(manifest() == "file appendonly.aof seq 1 type b\n");
  CHECK(read(inside("appendonly.aof")) == "old");
  CHECK(!exists(old_file));
  CHECK(!exists(inside("temp-appendonly.aof.manifest")));
  CHECK(load(directory) == "");
}

TEST_CASE_FIXTURE(DirectoryFixture, "an upgrade that stopped before the move goes on") {
  write(manifest_path, "file appendonly.aof seq 1 type b\n");
  write(old_file, "old");
  CHECK(load(directory) == kMoved);
  CHECK(read(inside("appendonly.aof")) == "old");
}

TEST_CASE_FIXTURE(DirectoryFixture, "a file beside a used directory is left alone") {
  write(manifest_path, "file appendonly.aof seq 1 type b\n");
  write(inside("appendonly.aof"), "base");
  write(old_file, "foreign");
  CHECK(load(directory) == "");
  CHECK(read(old_file) == "foreign");
  CHECK(read(inside("appendonly.aof")) == "base");
}

TEST_CASE_FIXTURE(DirectoryFixture, "a bad manifest is reported as Redis does") {
  write(manifest_path, "file a seq 1 type b\nfile b seq 2 type b\n");
  CHECK(load(directory) ==
        "*** FATAL AOF MANIFEST FILE ERROR ***\nReading the manifest file, at line 2\n"
        ">>> 'file b seq 2 type b'\nFound duplicate base file information");
  std::filesystem::remove(manifest_path);
  std::filesystem::create_directory(manifest_path);
  CHECK(load(directory).starts_with("Fatal error: can't open the AOF manifest file"));
  std::filesystem::remove_all(inside(""));
  write(scratch.path + "/appendonlydir", "no directory");
  CHECK(!load(directory).empty());
}

TEST_CASE_FIXTURE(DirectoryFixture, "bases and increments are published and history removed") {
  load(directory);
  write(inside("temp-rewriteaof-1.aof"), "base 1");
  CHECK(wait([&](host::OnDone done) {
          directory.publish_base("temp-rewriteaof-1.aof", true, kNoIncrement, done);
        }) == "");
  AofFile made;
  CHECK(wait([&](host::OnDone done) {
          directory.create_increment([&, done](base::Result<host::FileId> file, const AofFile& f) {
            REQUIRE(file);
            disk.close(file.value());
            made = f;
            directory.change([f](AofManifest& m) { m.add_increment(f); }, done);
          });
        }) == "");
  CHECK(manifest() ==
        "file appendonly.aof.1.base.rdb seq 1 type b\n"
        "file appendonly.aof.1.incr.aof seq 1 type i\n");
  CHECK(read(inside("appendonly.aof.1.base.rdb")) == "base 1");

  write(inside("temp-rewriteaof-2.aof"), "base 2");
  write(inside("temp-appendonly.aof.incr"), "gathered");
  CHECK(wait([&](host::OnDone done) {
          directory.publish_base_and_increment("temp-rewriteaof-2.aof", false, done);
        }) == "");
  CHECK(manifest() ==
        "file appendonly.aof.2.base.aof seq 2 type b\n"
        "file appendonly.aof.1.incr.aof seq 1 type h\n"
        "file appendonly.aof.1.base.rdb seq 1 type h\n"
        "file appendonly.aof.2.incr.aof seq 2 type i\n");
  CHECK(read(inside("appendonly.aof.2.incr.aof")) == "gathered");
  CHECK(!exists(inside("temp-appendonly.aof.incr")));

  CHECK(wait([&](host::OnDone done) { directory.remove_history(done); }) == "");
  CHECK(manifest() ==
        "file appendonly.aof.2.base.aof seq 2 type b\n"
        "file appendonly.aof.2.incr.aof seq 2 type i\n");
  CHECK(!exists(inside("appendonly.aof.1.base.rdb")));
  CHECK(!exists(inside("appendonly.aof.1.incr.aof")));
  CHECK(manifest() == directory.manifest().text());
  CHECK(wait([&](host::OnDone done) { directory.remove_history(done); }) == "");
}

TEST_CASE_FIXTURE(DirectoryFixture, "a change that fails leaves manifest and files as they were") {
  load(directory);
  write(inside("t1"), "base 1");
  CHECK(wait([&](host::OnDone d) { directory.publish_base("t1", true, kNoIncrement, d); }) == "");
  const std::string before = manifest();
  for (std::string* error : {&disk.append_error, &disk.sync_error}) {
    *error = "No space left on device";
    write(inside("t2"), "base 2");
    CHECK(wait([&](host::OnDone d) { directory.publish_base("t2", true, kNoIncrement, d); }) ==
          "No space left on device");
    error->clear();
    CHECK(manifest() == before);
    CHECK(directory.manifest().text() == before);
    // Gone when the failure is told: the next attempt has the same names.
    CHECK(!exists(inside("t2")));
    CHECK(!exists(inside("appendonly.aof.2.base.rdb")));
  }
  CHECK(wait([&](host::OnDone d) { directory.publish_base("gone", true, kNoIncrement, d); }) ==
        "No such file or directory");
  CHECK(manifest() == before);
}

TEST_CASE_FIXTURE(DirectoryFixture, "history that shares its name with a used file is kept") {
  write(manifest_path, "file b seq 1 type b\nfile b seq 1 type h\nfile gone seq 2 type h\n");
  write(inside("b"), "base");
  CHECK(load(directory) == "");
  CHECK(wait([&](host::OnDone done) { directory.remove_history(done); }) == "");
  CHECK(manifest() == "file b seq 1 type b\n");
  CHECK(read(inside("b")) == "base");
}

TEST_CASE_FIXTURE(DirectoryFixture, "a torn tail is cut") {
  load(directory);
  write(inside("i"), "whole|torn");
  CHECK(wait([&](host::OnDone done) { directory.truncate("i", 6, done); }) == "");
  CHECK(read(inside("i")) == "whole|");
}

}  // namespace
}  // namespace quoll::persist
