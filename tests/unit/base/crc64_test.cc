#include "base/crc64.h"

#include <doctest/doctest.h>

#include <string>

using namespace quoll::base;

namespace {

// The definition, bit by bit.
uint64_t plain_crc64(Bytes bytes) {
  constexpr uint64_t kReflectedPolynomial = 0x95ac9329ac4bc9b5;
  uint64_t crc = 0;
  for (char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ kReflectedPolynomial : crc >> 1;
  }
  return crc;
}

}  // namespace

TEST_CASE("crc64: the published vectors") {
  CHECK(crc64("123456789") == 0xe9c6d914c4b8d9ca);
  CHECK(crc64("") == 0);
  CHECK(crc64("", 77) == 77);
}

TEST_CASE("crc64: every size equals the definition, whole and in two parts") {
  std::string bytes;
  for (int i = 0; i < 700; ++i) bytes.push_back(static_cast<char>(i * 31 + i / 7));
  for (size_t size = 0; size <= bytes.size(); ++size) {
    Bytes part = Bytes(bytes).substr(0, size);
    uint64_t expected = plain_crc64(part);
    REQUIRE(crc64(part) == expected);
    size_t cut = size / 3;
    REQUIRE(crc64(part.substr(cut), crc64(part.substr(0, cut))) == expected);
  }
}
