// Counted memory: every allocation of the process passes allocate()/release() (operator new and
// delete included), so used_memory is a plain sum of usable sizes. It does not depend on allocator
// statistics epochs; eviction decisions replay identically in simulation.
//
// Cost: no header per block; the usable size is derived from the requested size with the
// size-class arithmetic of jemalloc 5 (16-byte steps to 128, then four classes per doubling).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace quoll::base {

// Usable bytes of a block requested with `size` bytes. Source: jemalloc 5 size classes with a
// 16-byte quantum (Debian's build, lg-quantum 4).
constexpr size_t usable_size(size_t size) {
  if (size <= 8) return 8;
  if (size <= 128) return (size + 15) & ~size_t{15};
  unsigned log = 63 - static_cast<unsigned>(__builtin_clzll(size - 1));
  size_t step = size_t{1} << (log - 2);
  return (size + step - 1) & ~(step - 1);
}

// Never returns nullptr: a process that is out of memory reports the size and aborts.
void* allocate(size_t size);
void* allocate_aligned(size_t size, size_t alignment);  // size: a power of two ≥ alignment
// `size` must be the requested size (or any size of the same class).
void release(void* block, size_t size);

// Gives the whole pages inside [start, start + size) back to the system; the block stays allocated
// and its bytes there are lost. Freeing a large block costs 0.2 ms per MiB, nearly all of it here,
// so this is how it is freed in steps.
void discard_pages(void* start, size_t size);

// Bytes in use and the highest value seen since the last reset.
size_t memory_used();
size_t memory_peak();
void reset_memory_peak();

}  // namespace quoll::base
