#include "base/compaction.h"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "base/memory.h"

namespace quoll::base {
namespace {

constexpr size_t kBytes = 48;  // a class of this test's own: 256 blocks per slab
constexpr size_t kBlocks = 100'000;

std::vector<char*> make_blocks() {
  std::vector<char*> blocks(kBlocks);
  for (size_t i = 0; i < kBlocks; ++i) {
    blocks[i] = static_cast<char*>(allocate(kBytes));
    std::memcpy(blocks[i], &i, sizeof i);
  }
  return blocks;
}

TEST_CASE("sparse: of two thirds deleted, what is left moves together until hardly any would") {
  std::vector<char*> blocks = make_blocks();
  for (size_t i = 0; i < kBlocks; ++i)
    if (i % 3 != 0) release(blocks[i], kBytes);
  const size_t used = memory_used();
  uint64_t moved_first = 0;
  uint64_t moved_last = 0;
  for (int round = 0; round < 8; ++round) {
    Compaction compaction;
    compaction.refresh();
    for (size_t i = 0; i < kBlocks; i += 3) {
      if (i % 3000 == 0) compaction.refresh();
      compaction.move(blocks[i], kBytes);
    }
    CHECK(compaction.moved() + compaction.left() == (kBlocks + 2) / 3);
    moved_last = compaction.moved();
    if (round == 0) moved_first = moved_last;
  }
  if (Compaction::available()) CHECK(moved_first > kBlocks / 6);
  CHECK(moved_last < kBlocks / 100);
  CHECK(memory_used() == used);
  for (size_t i = 0; i < kBlocks; i += 3) {
    CHECK(std::memcmp(blocks[i], &i, sizeof i) == 0);
    release(blocks[i], kBytes);
  }
}

TEST_CASE("all: every block moves, aligned as it was") {
  Compaction compaction(Compaction::Rule::all);
  for (size_t size : {1, 64, 100, 4096, 100'000}) {
    void* block = size % 64 ? allocate(size) : allocate_aligned(size, 64);
    std::memset(block, 7, size);
    void* before = block;
    CHECK(compaction.move(block, size));
    CHECK(block != before);
    CHECK(static_cast<char*>(block)[size - 1] == 7);
    if (size % 64 == 0) CHECK(reinterpret_cast<uintptr_t>(block) % 64 == 0);
    release(block, size);
  }
  CHECK(compaction.moved() == 5);
}

}  // namespace
}  // namespace quoll::base
