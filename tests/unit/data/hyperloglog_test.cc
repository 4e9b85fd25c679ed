#include "data/hyperloglog.h"

#include <doctest/doctest.h>

#include <random>
#include <string>

#include "base/text.h"

using namespace quoll;
using namespace quoll::data;

namespace {

constexpr size_t kSparseBytesMax = 3000;

// Takes the bytes out.
std::string hex_of(HyperLogLog& hyperloglog) { return base::to_hex(hyperloglog.take().view()); }

uint64_t count_of(const HyperLogLog& hyperloglog) {
  uint64_t count = 0;
  CHECK(hyperloglog.view().count(count));
  return count;
}

}  // namespace

TEST_CASE("hyperloglog: the bytes of redis-server") {
  HyperLogLog empty;
  CHECK(hex_of(empty) == "48594c4c0100000000000000000000007fff");
  HyperLogLog three;
  for (base::Bytes element : {"a", "b", "c"})
    CHECK(three.add(element, kSparseBytesMax) == HyperLogLog::Outcome::changed);
  CHECK(three.add("a", kSparseBytesMax) == HyperLogLog::Outcome::unchanged);
  three.drop_cached_count();
  CHECK(count_of(three) == 3);
  CHECK(hex_of(three) == "48594c4c01000000000000000000008060f38050b1844bfb80425a");
}

TEST_CASE("hyperloglog: the sparse and the dense form hold the same registers") {
  std::mt19937_64 random(3);
  for (size_t sparse_max : {18U, 100U, 3000U, 15000U}) {
    HyperLogLog sparse;
    HyperLogLog dense;
    REQUIRE(dense.make_dense());
    HyperLogLogRegisters plain;
    for (int i = 0; i < 20000; ++i) {
      unsigned index = static_cast<unsigned>(random() % (i % 2 ? 300 : kHyperLogLogRegisters));
      auto rank = static_cast<uint8_t>(1 + random() % (random() % 500 == 0 ? 51 : 32));
      HyperLogLogPlace place{index, rank};
      bool changes = rank > plain[index];
      plain.raise(index, rank);
      auto expected = changes ? HyperLogLog::Outcome::changed : HyperLogLog::Outcome::unchanged;
      REQUIRE(sparse.raise(place, sparse_max) == expected);
      REQUIRE(dense.raise(place, sparse_max) == expected);
    }
    HyperLogLogRegisters from_sparse;
    HyperLogLogRegisters from_dense;
    CHECK(from_sparse.merge(sparse.view()));
    CHECK(from_dense.merge(dense.view()));
    for (unsigned i = 0; i < kHyperLogLogRegisters; ++i) {
      REQUIRE(from_sparse[i] == plain[i]);
      REQUIRE(from_dense[i] == plain[i]);
    }
  }
}

TEST_CASE("hyperloglog: ascending additions give the bytes of fresh walks") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 200; ++round) {
    HyperLogLog resumed;
    HyperLogLog fresh;
    unsigned index = 0;
    while ((index += 1 + static_cast<unsigned>(random() % (round % 2 ? 2 : 200))) <
           kHyperLogLogRegisters) {
      HyperLogLogPlace place{index, static_cast<uint8_t>(1 + random() % 3)};
      resumed.raise(place, kSparseBytesMax);
      // A new object knows no place to go on from.
      fresh = HyperLogLog(fresh.take());
      fresh.raise(place, kSparseBytesMax);
    }
    REQUIRE(hex_of(resumed) == hex_of(fresh));
  }
}

TEST_CASE("hyperloglog: the estimate is close and the cached one is believed") {
  CHECK(hyperloglog_self_test() == nullptr);
  std::string bytes("HYLL\x01\0\0\0\x2a\0\0\0\0\0\0\0\x7f\xff", 18);
  REQUIRE(HyperLogLogView::recognised(bytes));
  uint64_t count = 0;
  CHECK(HyperLogLogView(bytes).count(count));
  CHECK(count == 42);
}

TEST_CASE("hyperloglog: what is not one, and what is damaged") {
  auto recognised = [](base::Bytes hex) {
    std::string bytes;
    REQUIRE(base::from_hex(hex, bytes));
    return HyperLogLogView::recognised(bytes);
  };
  CHECK(recognised("48594c4c0100000000000000000000007fff"));
  CHECK(recognised("48594c4c010000000000000000000000"));
  CHECK(!recognised("48594c4c0100000000000000000000"));
  CHECK(!recognised("48594c4d0100000000000000000000007fff"));
  CHECK(!recognised("48594c4c0200000000000000000000007fff"));
  CHECK(!recognised("48594c4c0000000000000000000000007fff"));

  std::mt19937_64 random(9);
  for (int round = 0; round < 3000; ++round) {
    HyperLogLog whole;
    for (int i = 0; i < 200; ++i) {
      std::string element = std::to_string(random() % 1000);
      whole.add(element, kSparseBytesMax);
    }
    whole.drop_cached_count();
    base::Blob blob = whole.take();
    std::string bytes(blob.view());
    size_t kept = 16 + random() % (bytes.size() - 16 + 1);
    if (round % 2) bytes.resize(kept);
    for (int flips = 0; flips < 3; ++flips)
      if (bytes.size() > 16)
        bytes[16 + random() % (bytes.size() - 16)] ^= static_cast<char>(1u << (random() % 8));
    REQUIRE(HyperLogLogView::recognised(bytes));
    uint64_t count;
    HyperLogLogView(bytes).count(count);
    HyperLogLogRegisters registers;
    registers.merge(HyperLogLogView(bytes));
    HyperLogLog damaged = HyperLogLog::copy_of(bytes);
    for (int i = 0; i < 50; ++i) damaged.add(std::to_string(i), kSparseBytesMax);
    damaged.make_dense();
  }
}
