// The verdicts and texts are those of redis-server 7.0.15, given the same manifests.
#include "persist/aof_manifest.h"

#include <doctest/doctest.h>

namespace quoll::persist {
namespace {

std::string verdict(base::Bytes text, AofManifestError* where = nullptr) {
  AofManifest manifest("appendonly.aof");
  AofManifestError error;
  const bool ok = manifest.parse(text, error);
  CHECK(ok == error.reason.empty());
  if (!ok) CHECK(manifest.empty());
  if (where != nullptr) *where = error;
  return ok ? manifest.text() : error.reason;
}

constexpr const char* kBadFormat = "Invalid AOF manifest file format";
constexpr const char* kTooLong = "The AOF manifest file contains too long line";

TEST_CASE("manifests that Redis reads") {
  const std::string plain =
      "file b seq 3 type b\nfile h seq 2 type h\nfile i seq 4 type i\nfile j seq 9 type i\n";
  CHECK(verdict(plain) == plain);
  CHECK(verdict("#c\n") == "");
  CHECK(verdict("#no newline") == "");
  CHECK(verdict("file b seq 1 type b extra y\n") == "file b seq 1 type b\n");
  CHECK(verdict("FILE b Seq 1 tYpe bbb\n") == "file b seq 1 type b\n");
  CHECK(verdict("type bbb seq 1x file b\r\n") == "file b seq 1 type b\n");
  CHECK(verdict("file b seq 1 seq 7 type b\n") == "file b seq 7 type b\n");
  CHECK(verdict("file b seq -1 type b\n") == "file b seq -1 type b\n");
  CHECK(verdict(" \tfile b\tseq 1 type b \n") == "file b seq 1 type b\n");
  CHECK(verdict("file i seq 2 type i\n#c\nfile b seq 1 type b\n") ==
        "file b seq 1 type b\nfile i seq 2 type i\n");
}

TEST_CASE("names that need quotes") {
  CHECK(verdict("file 'a b' seq 1 type b\n") == "file \"a b\" seq 1 type b\n");
  CHECK(verdict("file \"a'b\" seq 1 type b\n") == "file a'b seq 1 type b\n");
  CHECK(verdict("file \"a\\\"b\" seq 1 type b\n") == "file \"a\\\"b\" seq 1 type b\n");
  CHECK(verdict("file \"a\\x01b\" seq 1 type b\n") == "file \"a\\x01b\" seq 1 type b\n");
  CHECK(verdict("file \xc3\xa9 seq 1 type b\n") == "file \"\\xc3\\xa9\" seq 1 type b\n");
}

TEST_CASE("manifests that Redis refuses") {
  CHECK(verdict("") == "Found an empty AOF manifest");
  CHECK(verdict("\n") == kBadFormat);
  CHECK(verdict("file b seq 1 type b\n\n") == kBadFormat);
  CHECK(verdict(" #c\n") == kBadFormat);
  CHECK(verdict("file b seq 1 type\n") == kBadFormat);
  CHECK(verdict("file b seq 1\n") == kBadFormat);
  CHECK(verdict("file b seq 1 type b extra\n") == kBadFormat);
  CHECK(verdict("file b seq 0 type b\n") == kBadFormat);
  CHECK(verdict("file b seq x type b\n") == kBadFormat);
  CHECK(verdict("file \"a b seq 1 type b\n") == kBadFormat);
  CHECK(verdict("file b seq 1 type \"\"\n") == kBadFormat);
  CHECK(verdict("name b seq 1 type b\n") == kBadFormat);
  CHECK(verdict("file ../b seq 1 type b\n") == "File can't be a path, just a filename");
  CHECK(verdict("file b\\ seq 1 type b\n") == "File can't be a path, just a filename");
  CHECK(verdict("file .. seq 1 type b\n") == "File can't be a path, just a filename");
  CHECK(verdict("file b seq 1 type x\n") == "Unknown AOF file type");
  CHECK(verdict("file b seq 1 type B\n") == "Unknown AOF file type");
  CHECK(verdict("file b seq 1 type b\nfile c seq 2 type b\n") ==
        "Found duplicate base file information");
  CHECK(verdict("file i seq 2 type i\nfile j seq 2 type i\n") ==
        "Found a non-monotonic sequence number");
  CHECK(verdict("file i seq 2 type i\nfile j seq 1 type i\n") ==
        "Found a non-monotonic sequence number");
  // Beyond what Redis refuses: numbers without a successor.
  CHECK(verdict("file b seq 99999999999999999999 type b\n") == kBadFormat);
  CHECK(verdict("file i seq 9223372036854775807 type i\n") == kBadFormat);
}

TEST_CASE("the length of a line") {
  const std::string line = "file b seq 1 type b";
  auto padded = [&](size_t size) { return line + std::string(size - line.size() - 1, ' ') + "\n"; };
  CHECK(verdict(padded(1024)) == line + "\n");
  CHECK(verdict(padded(1025)) == kTooLong);
  CHECK(verdict(line) == kTooLong);  // as Redis calls a missing newline
  CHECK(verdict(std::string("file b seq 1 type b\0\n", 21)) == kTooLong);
  CHECK(verdict("#" + std::string(1000, 'x') + "\n" + line + "\n") == line + "\n");
  AofManifestError error;
  CHECK(verdict("#" + std::string(2000, 'x') + "\n" + line + "\n", &error) == kBadFormat);
  CHECK(error.line == 2);
}

TEST_CASE("the report names line and text where Redis does") {
  AofManifestError error;
  verdict("file b seq 1 type b\n#c\nfile c seq 2 type b\n", &error);
  CHECK(error.report() == std::vector<std::string>{"*** FATAL AOF MANIFEST FILE ERROR ***",
                                                   "Reading the manifest file, at line 3",
                                                   ">>> 'file c seq 2 type b'",
                                                   "Found duplicate base file information"});
  verdict("file b seq 1 type b", &error);
  CHECK(error.report() ==
        std::vector<std::string>{"*** FATAL AOF MANIFEST FILE ERROR ***", kTooLong});
}

TEST_CASE("a rewrite: increment, base, history") {
  AofManifest manifest("appendonly.aof");
  CHECK(manifest.empty());
  manifest.replace_base(manifest.next_base(true), kNoIncrement);
  manifest.add_increment(manifest.next_increment(0));
  CHECK(manifest.text() ==
        "file appendonly.aof.1.base.rdb seq 1 type b\n"
        "file appendonly.aof.1.incr.aof seq 1 type i\n");
  const AofFile begun = manifest.next_increment(0);
  manifest.add_increment(begun);
  manifest.add_increment(manifest.next_increment(4));
  manifest.replace_base(manifest.next_base(false), begun.seq);
  CHECK(manifest.text() ==
        "file appendonly.aof.2.base.aof seq 2 type b\n"
        "file appendonly.aof.1.incr.aof seq 1 type h\n"
        "file appendonly.aof.1.base.rdb seq 1 type h\n"
        "file appendonly.aof.2.incr.aof seq 2 type i\n"
        "file appendonly.aof.5.incr.aof seq 5 type i\n");
  manifest.forget_history({"appendonly.aof.1.base.rdb"});
  CHECK(manifest.history().size() == 1);
  manifest.forget_history({"appendonly.aof.1.incr.aof"});
  CHECK(manifest.history().empty());
  AofManifest read("appendonly.aof");
  AofManifestError error;
  REQUIRE(read.parse(manifest.text(), error));
  CHECK(read.text() == manifest.text());
  CHECK(read.next_increment(0).name == "appendonly.aof.6.incr.aof");
  CHECK(read.next_base(true).name == "appendonly.aof.3.base.rdb");
}

TEST_CASE("new names avoid listed ones") {
  AofManifest manifest("appendonly.aof");
  AofManifestError error;
  REQUIRE(
      manifest.parse("file appendonly.aof.2.base.rdb seq 1 type b\n"
                     "file appendonly.aof.6.incr.aof seq 3 type h\n"
                     "file x seq 5 type i\n",
                     error));
  CHECK(manifest.next_base(true) == AofFile{"appendonly.aof.3.base.rdb", 3, AofFileType::base});
  CHECK(manifest.next_increment(0) ==
        AofFile{"appendonly.aof.7.incr.aof", 7, AofFileType::increment});
}

TEST_CASE("upgrade of the single file") {
  AofManifest manifest("appendonly.aof");
  CHECK(!manifest.wants_upgrade(false, false));
  CHECK(manifest.wants_upgrade(true, false));
  manifest.upgrade();
  CHECK(manifest.text() == "file appendonly.aof seq 1 type b\n");
  CHECK(manifest.wants_upgrade(true, false));  // ended before the move
  CHECK(!manifest.wants_upgrade(true, true));
  CHECK(manifest.next_base(true).name == "appendonly.aof.2.base.rdb");
  manifest.add_increment(manifest.next_increment(0));
  CHECK(!manifest.wants_upgrade(true, false));
  AofManifest other("appendonly.aof");
  AofManifestError error;
  REQUIRE(other.parse("file b seq 1 type b\n", error));
  CHECK(!other.wants_upgrade(true, false));
}

}  // namespace
}  // namespace quoll::persist
