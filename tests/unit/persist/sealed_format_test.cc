#include "persist/sealed_format.h"

#include <doctest/doctest.h>

namespace quoll::persist {
namespace {

using base::Bytes;

SealKey key_of(char fill) { return SealKey(std::string(kSealKeyBytes, fill)); }
SealedHeader header_of(const SealKey& key, char fill) {
  FileSalt salt;
  salt.fill(fill);
  return SealedHeader(key.id(), salt);
}
RunSalt salt_of(char fill) {
  RunSalt salt;
  salt.fill(fill);
  return salt;
}

TEST_CASE("key files: 32 raw bytes, or lines of hex digits, newest first") {
  const std::string a(64, 'a'), b = std::string(32, '0') + std::string(32, 'F');
  auto raw = SealKeys::parse(std::string(32, '\xaa'));
  auto one = SealKeys::parse(a);
  REQUIRE(raw.ok());
  REQUIRE(one.ok());
  CHECK(raw.value().newest().id() == one.value().newest().id());
  auto two = SealKeys::parse("# the newer\n" + b + "\r\n\n  " + a + "  \n");
  REQUIRE(two.ok());
  CHECK(two.value().newest().id() == SealKeys::parse(b).value().newest().id());
  CHECK(two.value().find(one.value().newest().id()) != nullptr);
  CHECK(two.value().find(1) == nullptr);
  CHECK(two.value().names() ==
        SealKey::name(two.value().newest().id()) + ", " + SealKey::name(one.value().newest().id()));

  CHECK(SealKeys::parse("").error() == "it holds no key");
  CHECK(SealKeys::parse("# nothing\n").error() == "it holds no key");
  CHECK(SealKeys::parse(a + "\n" + a).error() == "line 2 repeats an earlier key");
  const char* malformed = "line 1 is not a key of 64 hex digits (nor is the file one of 32 bytes)";
  CHECK(SealKeys::parse(a.substr(1)).error() == malformed);
  CHECK(SealKeys::parse("g" + a.substr(1)).error() == malformed);
  CHECK(SealKeys::parse(a + "00").error() == malformed);
  CHECK(SealKeys::parse(std::string(33, '\xaa')).error() == malformed);
  std::string many;
  for (size_t i = 0; i <= kSealKeysMax; ++i)
    many += std::string(60, '0') + std::to_string(1000 + i) + "\n";
  CHECK(SealKeys::parse(many).error() == "it holds more than 64 keys");
}

TEST_CASE("a header says what a file is, whatever happened to it") {
  const SealedHeader header = header_of(key_of(1), 2);
  const std::string bytes = header.bytes();
  REQUIRE(bytes.size() == kSealedHeaderBytes);
  using Kind = SealedHeader::Kind;
  SealedHeader read;
  CHECK(SealedHeader::parse(bytes, read) == Kind::sealed);
  CHECK(read.key_id() == header.key_id());
  CHECK(read.salt() == header.salt());
  CHECK(read.bytes() == bytes);
  CHECK(SealedHeader::parse("", read) == Kind::plain);
  for (size_t size = 1; size < bytes.size(); ++size)
    CHECK(SealedHeader::parse(Bytes(bytes).substr(0, size), read) == Kind::torn);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    CHECK(SealedHeader::parse(flipped, read) == Kind::damaged);
  }
  for (Bytes plain : {"REDIS0011\xfa\x09redis-ver", "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n",
                      "file a.aof.1.base.rdb seq 1 type b\n", "#TS:1700000000\r\n", "R", "*"})
    CHECK(SealedHeader::parse(plain, read) == Kind::plain);
}

TEST_CASE("the check of a head finds every flipped bit, every place but its own") {
  const SealedHeader header = header_of(key_of(1), 2);
  using Kind = RecordHead::Kind;
  for (bool begins_run : {false, true}) {
    RecordHead head{.size = 12345, .begins_run = begins_run, .dropped = 0, .salt = salt_of(3)};
    const std::string bytes = head.encode(header, 7);
    CHECK(bytes.size() == head.head_bytes());
    RecordHead read;
    CHECK(RecordHead::parse(bytes, header, 7, read) == Kind::whole);
    CHECK(read.size == head.size);
    CHECK(read.begins_run == begins_run);
    CHECK(RecordHead::parse(bytes, header, 8, read) == Kind::damaged);
    CHECK(RecordHead::parse(bytes, header_of(key_of(1), 3), 7, read) == Kind::damaged);
    for (size_t size = 0; size < bytes.size(); ++size)
      CHECK(RecordHead::parse(Bytes(bytes).substr(0, size), header, 7, read) == Kind::torn);
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      std::string flipped = bytes;
      flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
      CHECK(RecordHead::parse(flipped, header, 7, read) == Kind::damaged);
    }
  }
  RecordHead large{.size = kSealedRecordBytesMax + 1};
  RecordHead read;
  CHECK(RecordHead::parse(large.encode(header, 0), header, 0, read) == Kind::damaged);
}

TEST_CASE("a record opens only as what it was sealed") {
  const SealKey key = key_of(1);
  const SealedHeader header = header_of(key, 2);
  for (size_t size : {size_t{0}, size_t{1}, size_t{16}, size_t{1000}, kSealedRecordBytesMax}) {
    RunCipher cipher(key, header, salt_of(3));
    std::string text(size, 'x'), sealed, again, plain;
    cipher.seal(5, "head", text, sealed);
    CHECK(sealed.size() == size + kSealedTagBytes);
    if (size > 20) CHECK(sealed.find(text.substr(0, 16)) == std::string::npos);
    CHECK(cipher.open(5, "head", sealed, plain));
    CHECK(plain == text);
    CHECK_FALSE(cipher.open(6, "head", sealed, plain));
    CHECK_FALSE(cipher.open(5, "heaD", sealed, plain));
    CHECK_FALSE(RunCipher(key, header, salt_of(4)).open(5, "head", sealed, plain));
    CHECK_FALSE(RunCipher(key_of(2), header, salt_of(3)).open(5, "head", sealed, plain));
    CHECK_FALSE(RunCipher(key, header_of(key, 9), salt_of(3)).open(5, "head", sealed, plain));
    cipher.seal(5, "head", text, again);  // between opening: the direction changes
    CHECK(again == sealed);
    for (size_t bit = 0; bit < 8 * std::min<size_t>(sealed.size(), 40); ++bit) {
      std::string flipped = sealed;
      flipped[flipped.size() - 1 - bit / 8] ^= static_cast<char>(1 << (bit % 8));
      CHECK_FALSE(cipher.open(5, "head", flipped, plain));
    }
  }
}

TEST_CASE("HKDF-SHA256 as RFC 5869 has it: ids of keys do not change between versions") {
  CHECK(SealKey::name(key_of(1).id()) == "81805b9be9d725a2");
}

}  // namespace
}  // namespace quoll::persist
