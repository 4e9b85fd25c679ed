#include "base/crc16.h"

#include <doctest/doctest.h>

#include <string>

using namespace quoll::base;

TEST_CASE("crc16: published check value and known slots") {
  CHECK(crc16("123456789") == 0x31c3);
  CHECK(crc16("") == 0);
  CHECK(key_slot("foo") == 12182);
  CHECK(key_slot("bar") == 5061);
  CHECK(key_slot("") == 0);
}

// The definition, bit by bit.
static uint16_t crc16_of(Bytes bytes) {
  unsigned crc = 0;
  for (unsigned char byte : bytes) {
    crc ^= byte << 8;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
  }
  return static_cast<uint16_t>(crc);
}

TEST_CASE("crc16: texts of every length are what the definition says") {
  std::string text;
  for (int size = 0; size < 300; ++size) {
    CHECK(crc16(text) == crc16_of(text));
    text += static_cast<char>(size * 37 + 11);
  }
}

TEST_CASE("crc16: hash tags") {
  CHECK(hash_tag("{user1000}.following") == "user1000");
  CHECK(hash_tag("foo{}{bar}") == "foo{}{bar}");
  CHECK(hash_tag("foo{{bar}}zap") == "{bar");
  CHECK(hash_tag("foo{bar}{zap}") == "bar");
  CHECK(hash_tag("foo{bar") == "foo{bar");
  CHECK(hash_tag("}foo{") == "}foo{");
  CHECK(key_slot("{foo}x") == key_slot("foo"));
}
