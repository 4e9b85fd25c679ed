#include "base/memory.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#if !defined(__SANITIZE_ADDRESS__)
#include <jemalloc/jemalloc.h>
#endif

using namespace quoll::base;

#if !defined(__SANITIZE_ADDRESS__)
TEST_CASE("memory: usable_size is what the allocator hands out") {
  for (size_t size = 1; size <= 70'000; ++size) {
    if (size <= 8) continue;  // Debian's smallest class differs by architecture
    REQUIRE(usable_size(size) == nallocx(size, 0));
  }
  for (size_t size = 1 << 17; size < size_t{1} << 32; size = size * 5 / 3) {
    CHECK(usable_size(size) == nallocx(size, 0));
  }
}
#endif

TEST_CASE("memory: every block is counted and given back") {
  size_t before = memory_used();
  void* block = allocate(1'000);
  std::memset(block, 1, 1'000);
  CHECK(memory_used() == before + 1'024);
  void* aligned = allocate_aligned(4'096, 4'096);
  CHECK(reinterpret_cast<uintptr_t>(aligned) % 4'096 == 0);
  CHECK(memory_used() == before + 1'024 + 4'096);
  release(aligned, 4'096);
  release(block, 1'000);
  release(nullptr, 5);
  CHECK(memory_used() == before);
}

TEST_CASE("memory: the peak is remembered until it is reset") {
  reset_memory_peak();
  size_t before = memory_used();
  void* block = allocate(1 << 20);
  memory_used();
  release(block, 1 << 20);
  CHECK(memory_peak() >= before + (1 << 20));
  reset_memory_peak();
  CHECK(memory_peak() < before + (1 << 20));
}

TEST_CASE("memory: threads that came and went leave room for others, and their counts") {
  size_t before = memory_used();
  std::vector<void*> blocks(200);
  for (void*& block : blocks) std::thread([&block] { block = allocate(10'000); }).join();
  CHECK(memory_used() >= before + blocks.size() * 10'000);
  for (void* block : blocks) release(block, 10'000);
  CHECK(memory_used() < before + 10'000);
}

TEST_CASE("memory: a block may be freed by another thread") {
  size_t before = memory_used();
  void* block = nullptr;
  std::thread([&] { block = allocate(100'000); }).join();
  CHECK(memory_used() >= before + 100'000);
  release(block, 100'000);
  CHECK(memory_used() < before + 100'000);
}
