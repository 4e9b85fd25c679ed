#include "commands/bitmap_core.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

using namespace quoll;
using namespace quoll::commands;

namespace {

std::string random_bytes(std::mt19937_64& random, size_t size) {
  std::string bytes(size, '\0');
  // Runs of equal bytes, so that searches go further than a word.
  for (size_t i = 0; i < size;) {
    char byte = random() % 2 ? static_cast<char>(random()) : random() % 2 ? '\xff' : '\0';
    for (size_t run = 1 + random() % 40; run > 0 && i < size; --run) bytes[i++] = byte;
  }
  return bytes;
}

}  // namespace

TEST_CASE("bitmap: counting and searching agree with one bit at a time") {
  std::mt19937_64 random(21);
  for (int round = 0; round < 400; ++round) {
    std::string bytes = random_bytes(random, 1 + random() % 150);
    uint64_t bits = bytes.size() * 8;
    uint64_t all = 0;
    for (uint64_t bit = 0; bit < bits; ++bit) all += bit_at(bytes, bit);
    REQUIRE(count_bits(bytes) == all);
    REQUIRE(!bit_at(bytes, bits));
    for (int i = 0; i < 20; ++i) {
      uint64_t first = random() % bits;
      uint64_t last = first + random() % (bits - first);
      uint64_t count = 0;
      uint64_t found[2] = {kNoBit, kNoBit};
      for (uint64_t bit = last + 1; bit-- > first;) {
        count += bit_at(bytes, bit);
        found[bit_at(bytes, bit)] = bit;
      }
      REQUIRE(count_bits(bytes, first, last) == count);
      REQUIRE(find_bit(bytes, false, first, last) == found[0]);
      REQUIRE(find_bit(bytes, true, first, last) == found[1]);
    }
  }
}

TEST_CASE("bitmap: fields at any offset") {
  std::mt19937_64 random(22);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = random_bytes(random, 1 + random() % 20);
    std::string before = bytes;
    auto count = static_cast<unsigned>(1 + random() % 64);
    uint64_t offset = random() % (bytes.size() * 8 + 30);
    uint64_t value = 0;
    for (unsigned i = 0; i < count; ++i) value = value << 1 | bit_at(bytes, offset + i);
    REQUIRE(bits_at(bytes, offset, count) == value);
    if (offset + count > bytes.size() * 8) continue;
    uint64_t written = random();
    set_bits_at(bytes.data(), offset, count, written);
    for (uint64_t bit = 0; bit < bytes.size() * 8; ++bit) {
      bool inside = bit >= offset && bit < offset + count;
      bool expected = inside ? written >> (offset + count - 1 - bit) & 1 : bit_at(before, bit);
      REQUIRE(bit_at(bytes, bit) == expected);
    }
  }
}

TEST_CASE("bitmap: combining agrees with one byte at a time") {
  std::mt19937_64 random(23);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> texts;
    size_t sources = 1 + random() % 5;
    size_t size = 0;
    for (size_t i = 0; i < sources; ++i) {
      texts.push_back(random_bytes(random, random() % (round % 10 ? 100 : 10000)));
      size = std::max(size, texts.back().size());
    }
    std::vector<base::Bytes> views(texts.begin(), texts.end());
    for (auto op : {BitOp::conjunction, BitOp::disjunction, BitOp::exclusive, BitOp::negation,
                    BitOp::diff, BitOp::diff1, BitOp::conjunction_or, BitOp::one}) {
      std::string out(size, '?');
      combine_bits(op, views, out.data(), size);
      for (size_t i = 0; i < size; ++i) {
        auto byte = [&](size_t source) {
          return i < texts[source].size() ? static_cast<unsigned char>(texts[source][i]) : 0u;
        };
        unsigned all = byte(0), any = byte(0), odd = byte(0), others = 0, one = 0;
        for (size_t j = 1; j < sources; ++j) {
          all &= byte(j);
          odd ^= byte(j);
          others |= byte(j);
        }
        any |= others;
        for (unsigned bit = 0; bit < 8; ++bit) {
          unsigned holders = 0;
          for (size_t j = 0; j < sources; ++j) holders += byte(j) >> bit & 1;
          if (holders == 1) one |= 1u << bit;
        }
        unsigned expected = op == BitOp::conjunction      ? all
                            : op == BitOp::disjunction    ? any
                            : op == BitOp::exclusive      ? odd
                            : op == BitOp::negation       ? ~byte(0) & 0xff
                            : op == BitOp::diff           ? byte(0) & ~others
                            : op == BitOp::diff1          ? others & ~byte(0)
                            : op == BitOp::conjunction_or ? byte(0) & others
                                                          : one;
        REQUIRE(static_cast<unsigned char>(out[i]) == expected);
      }
    }
  }
}
