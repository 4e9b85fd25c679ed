// HashField: one field of a large hash in one counted block.
//
//   0     flags: wide, heap, deadline
//   1     field length 1 B, value length 1 B      (wide form: 4 B, 4 B)
//   [4]   deadline: index of the field's deadline in the hash's heap (hash_deadlines.h)
//   field bytes
//   value bytes | 8 B pointer of a Blob (heap: values of more than kHashInlineValueMax bytes)
//
// The wide form serves fields and values of more than 255 bytes. A block always has the whole size
// class, so a value that still fits it is rewritten in place.
//
// Cost: 3 bytes beside field and value, 7 with a deadline; a 16-byte field with a 32-byte value
// takes the 64-byte class.
#pragma once

#include <cstring>

#include "base/blob.h"
#include "base/bytes.h"

namespace quoll::data {

constexpr size_t kHashInlineValueMax = 4096;  // larger values are Blobs: 24 bytes more, 0.6 %

class HashField {
 public:
  // What a field is made of; bytes() is the block's requested size.
  struct Shape {
    size_t field_length;
    size_t value_length;  // of the inline form
    bool heap;
    bool deadline;

    bool wide() const { return field_length > 255 || (!heap && value_length > 255); }
    size_t bytes() const {
      return (wide() ? 9 : 3) + (deadline ? 4 : 0) + field_length + (heap ? 8 : value_length);
    }
  };

  // A block with flags, lengths and field written; value and deadline index are still to be set.
  static HashField* make(const Shape& shape, base::Bytes field);
  // Frees the value, if it is a Blob, and the block.
  static void destroy(HashField* field);
  // Frees the block only.
  static void release_block(HashField* field);

  base::Bytes field() const {
    return {chars() + field_offset(), wide() ? load32(1) : size_t{byte(1)}};
  }
  base::Bytes value() const {
    const char* place = value_place();
    if (heap()) return base::Blob::view_of(blob_at(place));
    return {place, inline_length()};
  }
  bool is(base::Bytes field) const { return base::equal_short(this->field(), field); }

  bool heap() const { return byte(0) & kHeap; }
  bool has_deadline() const { return byte(0) & kDeadline; }
  uint32_t deadline_index() const { return static_cast<uint32_t>(load32(wide() ? 9 : 3)); }
  void set_deadline_index(uint32_t index) { std::memcpy(chars() + (wide() ? 9 : 3), &index, 4); }

  Shape shape() const {
    return {field().size(), heap() ? 0 : inline_length(), heap(), has_deadline()};
  }
  size_t footprint() const;

  // Both into a block of the matching shape. The inline value may lie in this block.
  void write_inline(base::Bytes value);
  void write_blob(base::Blob blob);
  // Leaves the block without a value.
  base::Blob take_blob();

 private:
  static constexpr uint8_t kWide = 1, kHeap = 2, kDeadline = 4;

  bool wide() const { return byte(0) & kWide; }
  size_t field_offset() const {
    uint8_t flags = byte(0);
    return (flags & kWide ? 9 : 3) + (flags & kDeadline ? 4 : 0);
  }
  size_t inline_length() const { return wide() ? load32(5) : size_t{byte(2)}; }
  const char* value_place() const {
    base::Bytes name = field();
    return name.data() + name.size();
  }
  static base::Blob::Header* blob_at(const char* place) {
    base::Blob::Header* header;
    std::memcpy(&header, place, sizeof(header));
    return header;
  }
  size_t load32(size_t offset) const {
    uint32_t value;
    std::memcpy(&value, chars() + offset, 4);
    return value;
  }
  uint8_t byte(size_t offset) const { return static_cast<uint8_t>(chars()[offset]); }
  const char* chars() const { return reinterpret_cast<const char*>(this); }
  char* chars() { return reinterpret_cast<char*>(this); }

  uint8_t first_;  // the block continues behind
};

}  // namespace quoll::data
