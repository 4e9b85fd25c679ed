// Reads zipmaps, the small hashes of Redis before 2.6 (RDB type hash_zipmap).
// Source: the zipmap section of redis-rdb-tools' format page.
//
//   0  count      1 B; 254 and more: unknown
//   1  pair...    length field | length unused:1 B value, unused bytes
//      0xff
//   length        1 B below 254, or 0xfe and 4 B little-endian
//
// Cost: no allocation; one pass to validate, one to read.
#pragma once

#include "data/listpack.h"

namespace quoll::data {

class ZipmapReader {
 public:
  // A reader may be made only of bytes that passed.
  static bool validate(base::Bytes foreign);

  explicit ZipmapReader(base::Bytes valid) : bytes_(valid) {}

  bool next(base::Bytes& field, base::Bytes& value);  // false: at the end

 private:
  static bool take_length(base::Bytes& rest, size_t& length);
  static bool take_pair(base::Bytes& rest, base::Bytes& field, base::Bytes& value);

  base::Bytes bytes_;
  size_t position_ = 1;
};

// Appends field, value, field, value...; false: they exceed what a listpack may hold.
[[nodiscard]] bool append_zipmap(base::Bytes valid, Listpack& listpack);

}  // namespace quoll::data
