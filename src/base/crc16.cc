#include "base/crc16.h"

#include <array>

namespace quoll::base {

namespace {

constexpr size_t kStep = 8;  // bytes taken at once
using Table = std::array<uint16_t, 256>;

// Table k is of bytes that k others follow.
constexpr auto kTables = [] {
  constexpr unsigned kPolynomial = 0x1021;
  std::array<Table, kStep> tables{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    unsigned crc = byte << 8;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 0x8000 ? crc << 1 ^ kPolynomial : crc << 1;
    tables[0][byte] = static_cast<uint16_t>(crc);
  }
  for (size_t k = 1; k < kStep; ++k) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      const unsigned before = tables[k - 1][byte];
      tables[k][byte] = static_cast<uint16_t>(before << 8 ^ tables[0][before >> 8]);
    }
  }
  return tables;
}();

}  // namespace

uint16_t crc16(Bytes bytes) {
  unsigned crc = 0;
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t left = bytes.size();
  // The lookups of a step do not wait for each other.
  for (; left >= kStep; left -= kStep, at += kStep) {
    crc = kTables[7][at[0] ^ crc >> 8] ^ kTables[6][at[1] ^ (crc & 0xff)] ^ kTables[5][at[2]] ^
          kTables[4][at[3]] ^ kTables[3][at[4]] ^ kTables[2][at[5]] ^ kTables[1][at[6]] ^
          kTables[0][at[7]];
  }
  for (; left > 0; --left, ++at) crc = (crc << 8 & 0xffff) ^ kTables[0][(crc >> 8 ^ *at) & 0xff];
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
