// How one listpack element is measured, written and read; see listpack.h for the layout. Shared by
// the view and the owning form; not for other users.
#pragma once

#include <cstring>

#include "base/bytes.h"
#include "base/numbers.h"

namespace quoll::data::listpack_codec {

constexpr uint8_t kEnd = 0xff;
constexpr uint8_t kText32 = 0xf0;
constexpr uint8_t kInt16 = 0xf1;
constexpr uint8_t kInt24 = 0xf2;
constexpr uint8_t kInt32 = 0xf3;
constexpr uint8_t kInt64 = 0xf4;

inline uint64_t load(const uint8_t* bytes, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value |= uint64_t{bytes[i]} << (8 * i);
  return value;
}
inline void store(uint8_t* bytes, uint64_t value, size_t size) {
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
}

// The header's fields, in one step each. The machine is little-endian, as the format is.
inline uint32_t load_total(const uint8_t* listpack) {
  uint32_t total;
  std::memcpy(&total, listpack, sizeof(total));
  return total;
}
inline void store_total(uint8_t* listpack, size_t total) {
  auto narrow = static_cast<uint32_t>(total);
  std::memcpy(listpack, &narrow, sizeof(narrow));
}
inline uint16_t load_count(const uint8_t* listpack) {
  uint16_t count;
  std::memcpy(&count, listpack + 4, sizeof(count));
  return count;
}
inline void store_count(uint8_t* listpack, uint64_t count) {
  auto narrow = static_cast<uint16_t>(count);
  std::memcpy(listpack + 4, &narrow, sizeof(narrow));
}

// Bytes of the encoding that must be readable before body_bytes() may look at them.
inline size_t head_bytes(uint8_t first) {
  if (first == kText32) return 5;
  return (first & 0xf0) == 0xe0 ? 2 : 1;
}

// Encoding and payload; 0 for bytes that start no element.
inline size_t body_bytes(const uint8_t* element) {
  uint8_t first = *element;
  if (first < 0x80) return 1;
  if (first < 0xc0) return 1 + size_t{first & 0x3fu};
  if (first < 0xe0) return 2;
  if (first < 0xf0) return 2 + ((first & 0x0fu) << 8 | element[1]);
  switch (first) {
    case kText32:
      return 5 + load(element + 1, 4);
    case kInt16:
      return 3;
    case kInt24:
      return 4;
    case kInt32:
      return 5;
    case kInt64:
      return 9;
    default:
      return 0;
  }
}

// Redis takes one byte more than needed for bodies of exactly 2^14-1, 2^21-1 and 2^28-1 bytes.
inline size_t back_bytes(size_t body) {
  if (body <= 127) return 1;
  if (body < 16383) return 2;
  if (body < 2097151) return 3;
  if (body < 268435455) return 4;
  return 5;
}

inline void store_back(uint8_t* out, size_t body) {
  if (__builtin_expect(body <= 127, 1)) {
    *out = static_cast<uint8_t>(body);
    return;
  }
  size_t size = back_bytes(body);
  for (size_t i = 0; i < size; ++i) {
    uint8_t group = static_cast<uint8_t>(body >> (7 * (size - 1 - i)) & 0x7f);
    out[i] = i == 0 ? group : group | 0x80;
  }
}

inline size_t element_bytes(const uint8_t* element) {
  size_t body = body_bytes(element);
  return body + back_bytes(body);
}

// The body size of the element that ends just before `end`.
inline size_t load_back(const uint8_t* end) {
  size_t body = 0;
  for (unsigned shift = 0; shift < 35; shift += 7) {
    uint8_t byte = *--end;
    body |= size_t{byte & 0x7fu} << shift;
    if (!(byte & 0x80)) break;
  }
  return body;
}

inline size_t text_body_bytes(size_t text) { return text + (text < 64 ? 1 : text < 4096 ? 2 : 5); }

inline size_t integer_body_bytes(int64_t value) {
  if (value >= 0 && value <= 127) return 1;
  if (value >= -4096 && value <= 4095) return 2;
  if (value >= -(1 << 15) && value < 1 << 15) return 3;
  if (value >= -(1 << 23) && value < 1 << 23) return 4;
  if (value >= -(int64_t{1} << 31) && value < int64_t{1} << 31) return 5;
  return 9;
}

// Both write body and back length and return the end of the element.
inline uint8_t* store_text(uint8_t* out, base::Bytes text) {
  size_t body = text_body_bytes(text.size());
  size_t head = body - text.size();
  if (head == 1) {
    out[0] = static_cast<uint8_t>(0x80 | text.size());
  } else if (head == 2) {
    out[0] = static_cast<uint8_t>(0xe0 | text.size() >> 8);
    out[1] = static_cast<uint8_t>(text.size());
  } else {
    out[0] = kText32;
    store(out + 1, text.size(), 4);
  }
  if (!text.empty()) std::memcpy(out + head, text.data(), text.size());
  store_back(out + body, body);
  return out + body + back_bytes(body);
}

inline uint8_t* store_integer(uint8_t* out, int64_t value) {
  size_t body = integer_body_bytes(value);
  auto bits = static_cast<uint64_t>(value);
  switch (body) {
    case 1:
      out[0] = static_cast<uint8_t>(bits);
      break;
    case 2:
      out[0] = static_cast<uint8_t>(0xc0 | (bits >> 8 & 0x1f));
      out[1] = static_cast<uint8_t>(bits);
      break;
    default:
      out[0] = body == 9 ? kInt64 : static_cast<uint8_t>(kInt16 + (body - 3));
      store(out + 1, bits, body - 1);
  }
  store_back(out + body, body);
  return out + body + back_bytes(body);
}

// An element on its way in: whether its text is an integer is found out once.
struct Incoming {
  explicit Incoming(base::Bytes given)
      : text(given), is_integer(may_be_integer(given) && base::parse_int(given, integer)) {
    body = is_integer ? integer_body_bytes(integer) : text_body_bytes(text.size());
  }
  size_t bytes() const { return body + back_bytes(body); }
  uint8_t* store(uint8_t* out) const {
    return is_integer ? store_integer(out, integer) : store_text(out, text);
  }

  base::Bytes text;
  int64_t integer = 0;
  bool is_integer;
  size_t body;

 private:
  // Most texts are told from integers by their first byte.
  static bool may_be_integer(base::Bytes text) {
    return !text.empty() && static_cast<unsigned char>(text[0]) <= '9' &&
           text.size() <= base::kIntTextMax;
  }
};

// A little-endian two's complement integer of `size` bytes.
inline int64_t load_signed(const uint8_t* bytes, size_t size) {
  unsigned spare = static_cast<unsigned>(64 - 8 * size);
  return static_cast<int64_t>(load(bytes, size) << spare) >> spare;
}

}  // namespace quoll::data::listpack_codec
