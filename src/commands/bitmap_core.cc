#include "commands/bitmap_core.h"

#include <algorithm>

namespace quoll::commands {
namespace {

using base::Bytes;

uint64_t load(const char* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

uint8_t byte_at(Bytes bytes, uint64_t i) { return static_cast<uint8_t>(bytes[i]); }

// Sums over bytes in parallel (Knuth 7.1.3), for processors without an instruction for it.
uint64_t count_words_plain(const char* bytes, size_t words) {
  uint64_t count = 0;
  for (size_t i = 0; i < words; ++i) {
    uint64_t word = load(bytes + 8 * i);
    word -= word >> 1 & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    count += word * 0x0101010101010101u >> 56;
  }
  return count;
}

#if defined(__x86_64__)
// Four sums: the instruction waits for its target's last value on some processors.
[[gnu::target("popcnt")]] uint64_t count_words_popcnt(const char* bytes, size_t words) {
  uint64_t counts[4] = {};
  size_t i = 0;
  for (; i + 4 <= words; i += 4)
    for (size_t j = 0; j < 4; ++j)
      counts[j] += static_cast<uint64_t>(__builtin_popcountll(load(bytes + 8 * (i + j))));
  for (; i < words; ++i)
    counts[0] += static_cast<uint64_t>(__builtin_popcountll(load(bytes + 8 * i)));
  return counts[0] + counts[1] + counts[2] + counts[3];
}
#endif

uint64_t count_words(const char* bytes, size_t words) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("popcnt")) return count_words_popcnt(bytes, words);
#endif
  return count_words_plain(bytes, words);
}

unsigned count_byte(unsigned byte) {
  return static_cast<unsigned>(__builtin_popcount(byte & 0xff));
}

// The first `count` bits of a byte, 1 ... 8.
constexpr unsigned high_bits(unsigned count) { return 0xff00u >> count & 0xff; }

}  // namespace

uint64_t count_bits(Bytes bytes) {
  size_t words = bytes.size() / 8;
  uint64_t count = count_words(bytes.data(), words);
  for (size_t i = words * 8; i < bytes.size(); ++i) count += count_byte(byte_at(bytes, i));
  return count;
}

uint64_t count_bits(Bytes bytes, uint64_t first, uint64_t last) {
  uint64_t first_byte = first >> 3;
  uint64_t last_byte = last >> 3;
  uint64_t count = count_bits(bytes.substr(first_byte, last_byte - first_byte + 1));
  if (unsigned skipped = first & 7)
    count -= count_byte(byte_at(bytes, first_byte) & high_bits(skipped));
  return count - count_byte(byte_at(bytes, last_byte) & (0x7fu >> (last & 7)));
}

uint64_t find_bit(Bytes bytes, bool value, uint64_t first, uint64_t last) {
  unsigned flip = value ? 0 : 0xff;
  uint64_t byte = first >> 3;
  uint64_t last_byte = last >> 3;
  auto found_in = [&](unsigned candidates) {
    uint64_t bit = byte * 8 + static_cast<unsigned>(__builtin_clz(candidates) - 24);
    return bit <= last ? bit : kNoBit;
  };
  if (unsigned candidates = (byte_at(bytes, byte) ^ flip) & (0xffu >> (first & 7)))
    return found_in(candidates);
  ++byte;
  uint64_t nothing = value ? 0 : UINT64_MAX;
  while (byte + 8 <= last_byte && load(bytes.data() + byte) == nothing) byte += 8;
  for (; byte <= last_byte; ++byte)
    if (unsigned candidates = byte_at(bytes, byte) ^ flip) return found_in(candidates);
  return kNoBit;
}

uint64_t bits_at(Bytes bytes, uint64_t offset, unsigned count) {
  unsigned __int128 window = 0;
  uint64_t first = offset >> 3;
  uint64_t last = (offset + count - 1) >> 3;
  for (uint64_t i = first; i <= last; ++i)
    window = window << 8 | (i < bytes.size() ? byte_at(bytes, i) : 0u);
  unsigned behind = 7 - ((offset + count - 1) & 7);
  auto bits = static_cast<uint64_t>(window >> behind);
  return count == 64 ? bits : bits & ((uint64_t{1} << count) - 1);
}

void set_bits_at(char* place, uint64_t offset, unsigned count, uint64_t value) {
  uint64_t first = offset >> 3;
  uint64_t last = (offset + count - 1) >> 3;
  unsigned behind = 7 - ((offset + count - 1) & 7);
  unsigned __int128 mask = count == 64 ? UINT64_MAX : (uint64_t{1} << count) - 1;
  unsigned __int128 bits = (value & mask) << behind;
  mask <<= behind;
  for (uint64_t i = last + 1; i-- > first; mask >>= 8, bits >>= 8) {
    auto kept = static_cast<uint8_t>(place[i]) & ~static_cast<unsigned>(mask & 0xff);
    place[i] = static_cast<char>(kept | static_cast<unsigned>(bits & 0xff));
  }
}

namespace {

// Runs of words that stay in the first-level cache while one source after the other joins them.
constexpr size_t kBlockWords = 512;

struct Block {
  uint64_t words[kBlockWords];
};

// The words of a source from byte `at` on, zeros behind its end.
void read_block(Bytes source, size_t at, size_t bytes, Block& block) {
  size_t present = at < source.size() ? std::min(source.size() - at, bytes) : 0;
  if (present > 0) std::memcpy(block.words, source.data() + at, present);
  if (present < sizeof(block.words))
    std::memset(reinterpret_cast<char*>(block.words) + present, 0, sizeof(block.words) - present);
}

template <class Join>
void join_words(Block& into, const Block& from, Join&& join) {
  for (size_t i = 0; i < kBlockWords; ++i) into.words[i] = join(into.words[i], from.words[i]);
}

// `result` begins as the first source, except for the operations that set the first source apart:
// there it collects the others. `twice` collects, for ONE, what more than one source has.
void join_source(BitOp op, const Block& source, Block& result, Block& twice) {
  switch (op) {
    case BitOp::conjunction:
      return join_words(result, source, [](uint64_t a, uint64_t b) { return a & b; });
    case BitOp::exclusive:
      return join_words(result, source, [](uint64_t a, uint64_t b) { return a ^ b; });
    case BitOp::one:
      for (size_t i = 0; i < kBlockWords; ++i) {
        twice.words[i] |= result.words[i] & source.words[i];
        result.words[i] |= source.words[i];
      }
      return;
    default:
      return join_words(result, source, [](uint64_t a, uint64_t b) { return a | b; });
  }
}

void finish(BitOp op, const Block& first, const Block& twice, Block& result) {
  switch (op) {
    case BitOp::negation:
      return join_words(result, first, [](uint64_t, uint64_t b) { return ~b; });
    case BitOp::diff:
      return join_words(result, first, [](uint64_t others, uint64_t b) { return b & ~others; });
    case BitOp::diff1:
      return join_words(result, first, [](uint64_t others, uint64_t b) { return others & ~b; });
    case BitOp::conjunction_or:
      return join_words(result, first, [](uint64_t others, uint64_t b) { return others & b; });
    case BitOp::one:
      return join_words(result, twice, [](uint64_t any, uint64_t b) { return any & ~b; });
    default:
      return;
  }
}

bool sets_first_apart(BitOp op) {
  return op == BitOp::diff || op == BitOp::diff1 || op == BitOp::conjunction_or;
}

}  // namespace

void combine_bits(BitOp op, std::span<const Bytes> sources, char* out, size_t size) {
  Block first;
  Block next;
  Block result;
  Block twice;
  for (size_t at = 0; at < size; at += sizeof(Block)) {
    size_t bytes = std::min(size - at, sizeof(Block));
    read_block(sources[0], at, bytes, first);
    twice = Block{};
    result = sets_first_apart(op) ? Block{} : first;
    for (size_t i = 1; i < sources.size(); ++i) {
      if (op != BitOp::conjunction && at >= sources[i].size()) continue;
      read_block(sources[i], at, bytes, next);
      join_source(op, next, result, twice);
    }
    finish(op, first, twice, result);
    std::memcpy(out + at, result.words, bytes);
  }
}

}  // namespace quoll::commands
