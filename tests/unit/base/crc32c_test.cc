#include "base/crc32c.h"

#include <doctest/doctest.h>

#include <string>

namespace quoll::base {
namespace {

uint32_t bit_by_bit(Bytes bytes, uint32_t crc) {
  constexpr uint32_t kCastagnoli = 0x82f63b78;  // reflected
  for (char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? kCastagnoli : 0);
  }
  return crc;
}

}  // namespace

TEST_CASE("crc32c: the published test vector, without the final inversion") {
  CHECK(crc32c("123456789") == ~uint32_t{0xe3069283});
}

TEST_CASE("crc32c: every size, short and long, in one piece and in two") {
  std::string bytes;
  for (size_t size = 0; size < 600; ++size) {
    const uint32_t whole = bit_by_bit(bytes, ~uint32_t{0});
    CHECK(crc32c(bytes) == whole);
    const Bytes all = bytes;
    CHECK(crc32c(all.substr(size / 3), crc32c(all.substr(0, size / 3))) == whole);
    bytes += static_cast<char>(size * 151 + 7);
  }
}

}  // namespace quoll::base
