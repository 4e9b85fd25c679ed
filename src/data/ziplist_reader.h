// Reads ziplists, the form before listpacks: RDB types list_ziplist, zset_ziplist, hash_ziplist and
// the nodes of list_quicklist. Source: the ziplist section of redis-rdb-tools' format page.
//
//   0   total bytes   4 B little-endian
//   4   tail          4 B: offset of the last element (10 when empty)
//   8   count         2 B; 65535: unknown
//   10  element...    size of the previous element: 1 B, or 0xfe and 4 B little-endian
//                     encoding, payload
//       0xff
//
//   00xxxxxx               string up to 63          11000000 2 B   int16     11110000 3 B   int24
//   01xxxxxx xxxxxxxx      string up to 16383       11010000 4 B   int32     11111110 1 B   int8
//   10______ 4 B big-endian  longer string          11100000 8 B   int64     1111xxxx       0 ...
//   12
//
// Cost: no allocation; one pass to validate, one to read.
#pragma once

#include "data/listpack.h"
#include "data/packed_item.h"

namespace quoll::data {

class ZiplistReader {
 public:
  // Every size, the chain of previous sizes, tail and count agree. A reader may be made only of
  // bytes that passed.
  static bool validate(base::Bytes foreign);

  explicit ZiplistReader(base::Bytes valid) : bytes_(valid), position_(kHeaderBytes) {}

  bool next(PackedItem& item);  // false: at the end

  static constexpr size_t kHeaderBytes = 10;

 private:
  struct Element {
    size_t previous;  // stated size of the element before
    size_t bytes;     // size of this one
    PackedItem item;
  };
  // Reads the element at `offset` within `body`, which ends before the end byte.
  static bool read(base::Bytes body, size_t offset, Element& element);
  static bool read_item(base::Bytes rest, PackedItem& item, size_t& bytes);

  base::Bytes bytes_;
  size_t position_;
};

// Appends all elements in order; false: they exceed what a listpack may hold.
[[nodiscard]] bool append_ziplist(base::Bytes valid, Listpack& listpack);

}  // namespace quoll::data
