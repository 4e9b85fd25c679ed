#include "base/crc16.h"

#include <array>

namespace quoll::base {

namespace {

constexpr auto kTable = [] {
  constexpr unsigned kPolynomial = 0x1021;
  std::array<uint16_t, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    unsigned crc = byte << 8;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 0x8000 ? crc << 1 ^ kPolynomial : crc << 1;
    table[byte] = static_cast<uint16_t>(crc);
  }
  return table;
}();

}  // namespace

uint16_t crc16(Bytes bytes) {
  unsigned crc = 0;
  for (char c : bytes) {
    crc = (crc << 8 & 0xffff) ^ kTable[(crc >> 8 ^ static_cast<unsigned char>(c)) & 0xff];
  }
  return static_cast<uint16_t>(crc);
}

Bytes hash_tag(Bytes key) {
  size_t open = key.find('{');
  if (open == Bytes::npos) return key;
  size_t close = key.find('}', open + 1);
  if (close == Bytes::npos || close == open + 1) return key;
  return key.substr(open + 1, close - open - 1);
}

}  // namespace quoll::base
