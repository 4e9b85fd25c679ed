// StreamId: the 128-bit name of a stream entry: a time in milliseconds and a sequence within it.
// Its text is "<ms>-<seq>"; its bytes in RDB are both numbers big-endian, so that they sort.
#pragma once

#include <compare>

#include "base/bytes.h"
#include "base/numbers.h"

namespace quoll::data {

constexpr size_t kStreamIdTextMax = 41;  // two numbers of 20 digits and the dash
constexpr size_t kStreamIdBytes = 16;

struct StreamId {
  uint64_t ms = 0;
  uint64_t seq = 0;

  auto operator<=>(const StreamId&) const = default;

  static constexpr StreamId greatest() { return {UINT64_MAX, UINT64_MAX}; }
  bool is_zero() const { return (ms | seq) == 0; }

  // To the next (previous) ID. False, and unchanged, when there is none.
  bool increment() {
    if (*this == greatest()) return false;
    if (++seq == 0) ++ms;
    return true;
  }
  bool decrement() {
    if (is_zero()) return false;
    if (seq-- == 0) --ms;
    return true;
  }

  size_t format(char* out) const {
    size_t size = base::format_uint(ms, out);
    out[size++] = '-';
    return size + base::format_uint(seq, out + size);
  }

  void store(char* out) const {
    store_big_endian(ms, out);
    store_big_endian(seq, out + 8);
  }
  static StreamId load(const char* bytes) {
    return {load_big_endian(bytes), load_big_endian(bytes + 8)};
  }

 private:
  static void store_big_endian(uint64_t value, char* out) {
    value = __builtin_bswap64(value);
    std::memcpy(out, &value, sizeof(value));
  }
  static uint64_t load_big_endian(const char* bytes) {
    uint64_t value;
    std::memcpy(&value, bytes, sizeof(value));
    return __builtin_bswap64(value);
  }
};

// An ID with its text.
struct StreamIdText {
  explicit StreamIdText(const StreamId& id) : size(id.format(text)) {}
  base::Bytes bytes() const { return {text, size}; }

  char text[kStreamIdTextMax];
  size_t size;
};

}  // namespace quoll::data
