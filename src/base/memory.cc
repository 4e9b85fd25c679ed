#include "base/memory.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "base/check.h"
#include "base/failure.h"

// gcc says it by a macro, clang by a feature.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QUOLL_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(QUOLL_SANITIZED)
#define QUOLL_JEMALLOC 0
#else
#define QUOLL_JEMALLOC 1
#include <jemalloc/jemalloc.h>
#endif

namespace quoll::base {
namespace {

// One counter per thread, written only by its thread, so counting needs no locked instruction.
// The loop thread is one of them; the others are the disk helpers, the logger, uploads. A thread
// that ends leaves its counter, and what it counted, to one that begins.
constexpr unsigned kThreadsMax = 64;  // at a time

struct alignas(64) Counter {
  std::atomic<int64_t> used{0};
  std::atomic<bool> taken{false};
};

Counter counters[kThreadsMax];
std::atomic<unsigned> counters_used{0};  // those behind were never taken
std::atomic<int64_t> peak{0};
thread_local std::atomic<int64_t>* own = nullptr;
thread_local bool ending = false;

struct Leaver {
  Counter* counter = nullptr;
  ~Leaver() {
    ending = true;
    own = nullptr;
    if (counter) counter->taken.store(false, std::memory_order_release);
  }
};
thread_local Leaver leaver;

[[gnu::cold, gnu::noinline]] std::atomic<int64_t>& take_counter() {
  for (unsigned i = 0; i < kThreadsMax; ++i) {
    if (counters[i].taken.exchange(true, std::memory_order_acquire)) continue;
    unsigned used = counters_used.load(std::memory_order_relaxed);
    while (used <= i && !counters_used.compare_exchange_weak(used, i + 1)) continue;
    own = &counters[i].used;
    // What a thread frees after this object has ended is counted by a counter that nobody gets.
    if (!ending) leaver.counter = &counters[i];
    return *own;
  }
  QUOLL_CHECK(!"fewer threads than kThreadsMax");
  __builtin_unreachable();
}

std::atomic<int64_t>& own_counter() {
  if (__builtin_expect(own == nullptr, 0)) return take_counter();
  return *own;
}

void count(int64_t bytes) {
  std::atomic<int64_t>& used = own_counter();
  used.store(used.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
}

[[noreturn]] void out_of_memory(size_t size) {
  char text[64];
  std::snprintf(text, sizeof text, "Out Of Memory allocating %zu bytes!", size);
  tell_failure(text);
  std::abort();
}

}  // namespace

void* allocate(size_t size) {
  void* block = std::malloc(size);
  if (__builtin_expect(block == nullptr, 0)) out_of_memory(size);
  count(static_cast<int64_t>(usable_size(size)));
  return block;
}

void* allocate_aligned(size_t size, size_t alignment) {
  // Small size classes of jemalloc are multiples of their alignment only for powers of two, so a
  // block is released under the size it was asked for only when that size is a power of two.
  QUOLL_CHECK((size & (size - 1)) == 0 && size >= alignment);
  void* block = std::aligned_alloc(alignment, size);
  if (__builtin_expect(block == nullptr, 0)) out_of_memory(size);
  count(static_cast<int64_t>(usable_size(size)));
  return block;
}

void release(void* block, size_t size) {
  if (block == nullptr) return;
  count(-static_cast<int64_t>(usable_size(size)));
#if QUOLL_JEMALLOC
  sdallocx(block, size, 0);
#else
  std::free(block);
#endif
}

void discard_pages(void* start, size_t size) {
  constexpr uintptr_t kPage = 4096;
  uintptr_t begin = (reinterpret_cast<uintptr_t>(start) + kPage - 1) & ~(kPage - 1);
  uintptr_t end = (reinterpret_cast<uintptr_t>(start) + size) & ~(kPage - 1);
  // A hint: when the system refuses, release() will do the work.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

size_t memory_used() {
  int64_t sum = 0;
  unsigned used = counters_used.load(std::memory_order_relaxed);
  for (unsigned i = 0; i < used; ++i) sum += counters[i].used.load(std::memory_order_relaxed);
  if (sum < 0) sum = 0;
  if (sum > peak.load(std::memory_order_relaxed)) peak.store(sum, std::memory_order_relaxed);
  return static_cast<size_t>(sum);
}

size_t memory_peak() {
  memory_used();
  return static_cast<size_t>(peak.load(std::memory_order_relaxed));
}

void reset_memory_peak() { peak.store(0, std::memory_order_relaxed); }

}  // namespace quoll::base

#if QUOLL_JEMALLOC
// Every C++ allocation is counted too, so containers need no accounting of their own. Deleting
// without a size asks the allocator, which is why the count uses the class of the real size there.
void* operator new(size_t size) { return quoll::base::allocate(size); }
void* operator new[](size_t size) { return quoll::base::allocate(size); }
// std::stable_sort's buffer comes from here.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return quoll::base::allocate(size);
}
void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  return quoll::base::allocate(size);
}
void operator delete(void* block) noexcept {
  if (block) quoll::base::release(block, malloc_usable_size(block));
}
void operator delete[](void* block) noexcept {
  if (block) quoll::base::release(block, malloc_usable_size(block));
}
void operator delete(void* block, size_t size) noexcept { quoll::base::release(block, size); }
void operator delete[](void* block, size_t size) noexcept { quoll::base::release(block, size); }
#endif
