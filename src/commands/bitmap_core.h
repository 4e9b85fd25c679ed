// Work on bytes as rows of bits, 64 at a time. Bit 0 is the highest bit of the first byte. Pure.
// Cost: counting about 10 GB/s, searching and combining what memory gives.
#pragma once

#include <span>

#include "base/bytes.h"

namespace quoll::commands {

constexpr uint64_t kNoBit = UINT64_MAX;

inline bool bit_at(base::Bytes bytes, uint64_t bit) {
  uint64_t byte = bit >> 3;
  return byte < bytes.size() && (static_cast<uint8_t>(bytes[byte]) >> (7 - (bit & 7)) & 1);
}

uint64_t count_bits(base::Bytes bytes);
// Bits first ... last, both included and within the bytes.
uint64_t count_bits(base::Bytes bytes, uint64_t first, uint64_t last);
// The first bit of this value among first ... last, or kNoBit.
uint64_t find_bit(base::Bytes bytes, bool value, uint64_t first, uint64_t last);

// Up to 64 bits from any offset on, as a big-endian number; what lies behind the end is 0.
uint64_t bits_at(base::Bytes bytes, uint64_t offset, unsigned count);
// The bits must lie within the `bytes` at `place`.
void set_bits_at(char* place, uint64_t offset, unsigned count, uint64_t value);

enum class BitOp : uint8_t {
  conjunction,     // AND
  disjunction,     // OR
  exclusive,       // XOR
  negation,        // NOT: of the one source
  diff,            // DIFF: in the first source and in no other
  diff1,           // DIFF1: in another source and not in the first
  conjunction_or,  // ANDOR: in the first source and in another
  one,             // ONE: in exactly one source
};

// Writes `size` bytes to `out`; sources that are shorter go on with zeros. At least one source.
void combine_bits(BitOp op, std::span<const base::Bytes> sources, char* out, size_t size);

}  // namespace quoll::commands
