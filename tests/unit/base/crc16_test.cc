#include "base/crc16.h"

#include <doctest/doctest.h>

using namespace quoll::base;

TEST_CASE("crc16: published check value and known slots") {
  CHECK(crc16("123456789") == 0x31c3);
  CHECK(crc16("") == 0);
  CHECK(key_slot("foo") == 12182);
  CHECK(key_slot("bar") == 5061);
  CHECK(key_slot("") == 0);
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
