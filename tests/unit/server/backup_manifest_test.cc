#include "server/backup_manifest.h"

#include <doctest/doctest.h>

namespace quoll::server {
namespace {

TEST_CASE("SHA-256 of pieces (FIPS 180-2 examples)") {
  Sha256 empty;
  CHECK(empty.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 abc;
  abc.update("a");
  abc.update("");
  abc.update("bc");
  CHECK(abc.hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("a manifest says what it was told, and nothing else passes for one") {
  BackupManifest manifest;
  manifest.name = "one";
  manifest.created_ms = 1'700'000'000'123;
  manifest.seq = UINT64_MAX;
  manifest.rdb_version = 12;
  manifest.encrypted = true;
  manifest.key_id = "0123456789abcdef";
  manifest.keys = 3;
  manifest.keys_of_databases = {{0, 1}, {7, 2}};
  manifest.files = {{"dump.rdb", 100, "ab"}, {"more", 23, "cd"}};
  const std::string text = manifest.text();
  auto read = BackupManifest::parse(text);
  REQUIRE(read.ok());
  CHECK(read.value().name == "one");
  CHECK(read.value().created_ms == manifest.created_ms);
  CHECK(read.value().seq == UINT64_MAX);
  CHECK(read.value().rdb_version == 12);
  CHECK(read.value().encrypted);
  CHECK(read.value().key_id == manifest.key_id);
  CHECK(read.value().keys == 3);
  CHECK(read.value().bytes() == 123);
  REQUIRE(read.value().files.size() == 2);
  CHECK(read.value().files[1].sha256 == "cd");

  CHECK(BackupManifest::parse("").error() == "manifest.json is damaged");
  CHECK(BackupManifest::parse("[]").error() == "manifest.json is damaged");
  CHECK(BackupManifest::parse(R"({"format": 9})").error() ==
        "manifest.json has the unknown format 9");
  for (size_t size = 0; size + 2 < text.size(); ++size)
    CHECK_FALSE(BackupManifest::parse(base::Bytes(text).substr(0, size)).ok());
  for (base::Bytes word : {"\"name\"", "\"seq\"", "\"files\"", "\"sha256\"", "\"encrypted\""}) {
    std::string broken = text;
    broken[broken.find(word) + 1] = '#';
    CHECK(BackupManifest::parse(broken).error() == "manifest.json is damaged");
  }
  std::string wrong_type = text;
  wrong_type.replace(wrong_type.find("true"), 4, "1234");
  CHECK_FALSE(BackupManifest::parse(wrong_type).ok());
}

}  // namespace
}  // namespace quoll::server
