// The borrowed byte types every floor speaks. Nothing here owns memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace quoll::base {

using Bytes = std::string_view;       // borrowed bytes; may hold any value including NUL
using Args = std::span<const Bytes>;  // one command line: name first

using Millis = int64_t;  // wall time: milliseconds since 1970-01-01 UTC; durations in ms
using Nanos = int64_t;   // steady time or duration in nanoseconds

constexpr Nanos kNanosPerMilli = 1'000'000;
constexpr Nanos kNanosPerMicro = 1'000;

// Starts loading a cache line. Not __builtin_prefetch: GCC takes a function that does nothing else
// for one without effect and drops the calls to it.
inline void prefetch(const void* place) {
  asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(place)));
}
// The same of one that is written next.
inline void prefetch_to_write(const void* place) {
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(place)));
}

// Equality of texts that are usually short (keys, command names): comparing words inline beats the
// call of memcmp up to some 64 bytes.
inline bool equal_short(Bytes left, Bytes right) {
  size_t size = left.size();
  if (size != right.size()) return false;
  const char* a = left.data();
  const char* b = right.data();
  uint64_t x, y;
  if (size >= 8) {
    const char* last_a = a + size - 8;
    const char* last_b = b + size - 8;
    for (; a < last_a; a += 8, b += 8) {
      std::memcpy(&x, a, 8);
      std::memcpy(&y, b, 8);
      if (x != y) return false;
    }
    std::memcpy(&x, last_a, 8);
    std::memcpy(&y, last_b, 8);
    return x == y;
  }
  // Two words that may overlap, here as above.
  if (size >= 4) {
    uint32_t ends_a[2], ends_b[2];
    std::memcpy(&ends_a[0], a, 4);
    std::memcpy(&ends_b[0], b, 4);
    std::memcpy(&ends_a[1], a + size - 4, 4);
    std::memcpy(&ends_b[1], b + size - 4, 4);
    return ends_a[0] == ends_b[0] && ends_a[1] == ends_b[1];
  }
  if (size == 0) return true;
  return a[0] == b[0] && a[size / 2] == b[size / 2] && a[size - 1] == b[size - 1];
}

// Copies bytes that are usually few; none may have no address.
inline void copy_short(char* to, Bytes from) {
  const size_t size = from.size();
  const char* at = from.data();
  // Two words that may overlap; both are read before one is written.
  const auto copy_ends = [&]<class Word>(Word first, Word last) {
    std::memcpy(&first, at, sizeof first);
    std::memcpy(&last, at + size - sizeof last, sizeof last);
    std::memcpy(to, &first, sizeof first);
    std::memcpy(to + size - sizeof last, &last, sizeof last);
  };
  if (size > 16)
    std::memcpy(to, at, size);
  else if (size >= 8)
    copy_ends(uint64_t{}, uint64_t{});
  else if (size >= 4)
    copy_ends(uint32_t{}, uint32_t{});
  else if (size >= 2)
    copy_ends(uint16_t{}, uint16_t{});
  else if (size == 1)
    *to = *at;
}

}  // namespace quoll::base
