// Entry: one key with its value, deadline and access clock in one allocation.
//
//   0     type:4 | form:4
//   1     flags: ttl, wide, raw, by slot; bits 4-7: the highest of the access clock
//   2     key length (wide form: unused)
//   3     value length (bytes form)
//   4-6   access clock (the lower 24 of 28 bits, see access_clock.h)
//   [4]   wide form: key length
//   [12]  ttl: 6 B deadline in ms, 6 B wheel handle (wide form: 8 B + 6 B)
//   key bytes
//   value bytes | 8 B integer | 8 B word: a Blob's pointer or a collection's word
//
// The wide form serves keys longer than 255 bytes and deadlines beyond 48 bits (year 10889).
// Bytes stay inside the entry while the whole block is at most kInlineBlockMax.
// Cost: 7 bytes beside key and value; a 16-byte key with an 8-byte value fits the 32-byte class.
//
// Entries are changed only by Edit (and their access clock by reads).
#pragma once

#include <cstring>

#include "base/blob.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/numbers.h"
#include "data/type.h"
#include "data/value.h"
#include "store/placement.h"

namespace quoll::store {

using base::Bytes;
using base::Millis;

constexpr size_t kInlineBlockMax = 256;  // bytes of an entry that holds its value inline
constexpr size_t kEmbeddedTextMax = 44;  // OBJECT ENCODING says embstr up to this length
constexpr Millis kNoDeadline = INT64_MAX;
constexpr Millis kNarrowDeadlineMax = (Millis{1} << 48) - 1;

class Entry {
 public:
  // What an entry is made of; bytes() is the block's requested size.
  struct Shape {
    size_t key_length;
    size_t value_length;  // bytes form only
    data::Form form;
    bool ttl;
    bool wide;

    size_t bytes() const {
      return kHeaderBytes + (wide ? 4 : 0) + (ttl ? (wide ? 14 : 12) : 0) + key_length +
             (form == data::Form::bytes ? value_length : 8);
    }
  };

  // A block with header and key written; deadline and value are still to be set.
  static Entry* make(const Shape& shape, Bytes key);
  // Frees the heap value, if any, and the block.
  static void destroy(Entry* entry);
  // Frees the block only (its heap value went elsewhere).
  static void release_block(Entry* entry);

  data::Type type() const { return static_cast<data::Type>(bytes()[0] & 0xF); }
  data::Form form() const { return static_cast<data::Form>(bytes()[0] >> 4); }
  bool has_ttl() const { return bytes()[1] & kTtl; }
  bool wide() const { return bytes()[1] & kWide; }
  bool raw() const { return bytes()[1] & kRaw; }
  Placement placement() const {
    return bytes()[1] & kBySlot ? Placement::by_slot : Placement::by_hash;
  }
  // By which its table finds it.
  uint64_t hash() const { return placed_hash(key(), placement()); }
  void set_placement(Placement placement) {
    if (placement == Placement::by_slot) bytes()[1] |= kBySlot;
  }

  size_t key_length() const {
    if (__builtin_expect(!wide(), 1)) return bytes()[2];
    uint32_t length;
    std::memcpy(&length, bytes() + kHeaderBytes, 4);
    return length;
  }
  Bytes key() const {
    return {reinterpret_cast<const char*>(bytes()) + key_offset(), key_length()};
  }
  bool key_is(Bytes key) const { return base::equal_short(this->key(), key); }

  // Absolute unix time in ms, kNoDeadline when the key does not expire.
  Millis deadline() const {
    if (!has_ttl()) return kNoDeadline;
    uint64_t value = 0;
    std::memcpy(&value, bytes() + ttl_offset(), wide() ? 8 : 6);
    return static_cast<Millis>(value);
  }
  bool expired(Millis now) const { return has_ttl() && deadline() <= now; }
  void set_deadline(Millis deadline) {
    std::memcpy(bytes() + ttl_offset(), &deadline, wide() ? 8 : 6);
  }
  uint64_t wheel_handle() const {
    uint64_t handle = 0;
    std::memcpy(&handle, bytes() + ttl_offset() + (wide() ? 8 : 6), 6);
    return handle;
  }
  void set_wheel_handle(uint64_t handle) {
    std::memcpy(bytes() + ttl_offset() + (wide() ? 8 : 6), &handle, 6);
  }

  // The value of a string. Integers are written as text into `scratch` (>= 21 bytes).
  Bytes text(char* scratch) const {
    switch (form()) {
      case data::Form::bytes:
        return {value_place(), bytes()[3]};
      case data::Form::integer:
        return {scratch, base::format_int(integer(), scratch)};
      case data::Form::heap:
        return base::Blob::view_of(heap());
    }
    return {};
  }
  int64_t integer() const {
    int64_t value;
    std::memcpy(&value, value_place(), 8);
    return value;
  }
  base::Blob::Header* heap() const { return reinterpret_cast<base::Blob::Header*>(word()); }
  // The value of any other type, to be looked at. T must be the type of the entry.
  template <class T>
  data::Lent<T> value() const {
    QUOLL_DCHECK(type() == T::kType);
    return data::Lent<T>(T::adopt(word()));
  }
  data::Lent<data::Collection> collection() const {
    return data::Lent<data::Collection>(data::Collection::adopt(type(), word()));
  }
  size_t text_length() const {
    if (__builtin_expect(form() == data::Form::bytes, 1)) return bytes()[3];
    char scratch[24];
    return text(scratch).size();
  }
  Bytes encoding_name() const;
  // Allocator bytes of block and heap value; see Collection::footprint for `samples`.
  size_t footprint(size_t samples = 0) const;

  // Writes the value into a block whose shape fits it. A heap value is taken over.
  void write_value(data::Value& value);
  // Takes the heap value out; the entry holds none until the next write_value.
  base::Blob take_blob() {
    return base::Blob::adopt(reinterpret_cast<base::Blob::Header*>(take_word()));
  }
  data::Collection take_collection() { return data::Collection::adopt(type(), take_word()); }
  // The word of a collection that is being edited.
  uintptr_t word() const {
    uintptr_t word;
    std::memcpy(&word, value_place(), 8);
    return word;
  }
  void set_word(uintptr_t word) { std::memcpy(value_place(), &word, 8); }

  uint32_t access_clock() const {
    uint32_t word;
    std::memcpy(&word, bytes() + 3, 4);
    return word >> 8 | static_cast<uint32_t>(bytes()[1] >> 4) << 24;
  }
  void set_access_clock(uint32_t clock) const {
    auto* place = const_cast<uint8_t*>(bytes());
    place[1] = static_cast<uint8_t>((place[1] & 0xF) | clock >> 24 << 4);
    uint32_t word = clock << 8 | place[3];
    std::memcpy(place + 3, &word, 4);
  }

  Shape shape() const { return {key_length(), bytes()[3], form(), has_ttl(), wide()}; }
  size_t block_bytes() const { return shape().bytes(); }

 private:
  uintptr_t take_word() {
    uintptr_t taken = word();
    set_word(0);
    return taken;
  }

  static constexpr size_t kHeaderBytes = 7;
  static constexpr uint8_t kTtl = 1, kWide = 2, kRaw = 4, kBySlot = 8;

  size_t ttl_offset() const { return kHeaderBytes + (wide() ? 4 : 0); }
  size_t key_offset() const {
    uint8_t flags = bytes()[1];
    return kHeaderBytes + (flags & kWide ? 4 : 0) + (flags & kTtl ? (flags & kWide ? 14 : 12) : 0);
  }
  const char* value_place() const {
    return reinterpret_cast<const char*>(bytes()) + key_offset() + key_length();
  }
  char* value_place() { return const_cast<char*>(std::as_const(*this).value_place()); }

  const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(this); }
  uint8_t* bytes() { return reinterpret_cast<uint8_t*>(this); }

  uint8_t first_;  // the block continues behind
};

}  // namespace quoll::store
