// What the files of the bitmap family share: handlers (one per command, named like it), and the
// string of a key while its bits are changed. Bit 0 is the highest bit of the first byte.
//
//   bitmap.cc         the rows
//   bitmap_bits.cc    SETBIT GETBIT BITCOUNT BITPOS
//   bitmap_op.cc      BITOP
//   bitmap_field.cc   BITFIELD BITFIELD_RO
//   bitmap_core.*     the work on the bytes
#pragma once

#include <algorithm>
#include <cstring>

#include "base/numbers.h"
#include "server/call.h"

namespace quoll::commands::bitmaps {

using server::Bytes;
using server::Call;

inline constexpr store::Event kEventSetbit{"setbit", '$'};
inline constexpr store::Event kEventSet{"set", '$'};
inline constexpr Bytes kBadOffset = "ERR bit offset is not an integer or out of range";

constexpr size_t kTextScratch = 24;  // of an integer value (Entry::text)

void setbit(Call& call);
void getbit(Call& call);
void bitcount(Call& call);
void bitpos(Call& call);
void bitop(Call& call);
void bitfield(Call& call);
void bitfield_ro(Call& call);

// True, with the error replied, when the key exists and is no string. `entry` may be null.
inline bool refused(Call& call, const store::Entry* entry) {
  if (!entry || __builtin_expect(entry->type() == data::Type::string, 1)) return false;
  call.wrong_type();
  return true;
}

// Parses the bit offset at argument i. `field_bits` > 0: "#n" means the n-th field of that width.
// Strings of clients end at proto-max-bulk-len. False: the error was replied.
bool bit_offset(Call& call, size_t i, unsigned field_bits, uint64_t& offset);

// The string of an edit (absent: empty): read where it lies until open(), which makes it writable
// and at least as long as asked, filled up with zeros; close() puts it back. Strings that an entry
// can hold inside are changed on the stack.
class OpenText {
 public:
  explicit OpenText(store::Edit& edit) : edit_(edit) {
    if (edit.found()) bytes_ = edit.entry()->text(scratch_);
  }
  OpenText(const OpenText&) = delete;
  OpenText& operator=(const OpenText&) = delete;

  Bytes bytes() const { return bytes_; }
  bool opened() const { return opened_; }
  char* open(size_t size) {
    if (opened_) return const_cast<char*>(bytes_.data());
    opened_ = true;
    size_t old_size = bytes_.size();
    size = std::max(size, old_size);
    char* place = near_;
    if (size > sizeof(near_)) {
      blob_ = edit_.found() ? edit_.take_text(size - old_size) : base::Blob(size);
      blob_.resize(size);
      place = blob_.data();
    } else if (old_size > 0) {
      std::memcpy(near_, bytes_.data(), old_size);
    }
    std::memset(place + old_size, 0, size - old_size);
    bytes_ = {place, size};
    return place;
  }
  void close() {
    edit_.put(
        blob_ ? data::Value::of_blob(std::move(blob_), true) : data::Value::of_bytes(bytes_, true),
        store::Ttl::keep());
  }

 private:
  store::Edit& edit_;
  Bytes bytes_;
  base::Blob blob_;
  char near_[255];  // the longest value that an entry can hold inside
  char scratch_[kTextScratch];
  bool opened_ = false;
};

}  // namespace quoll::commands::bitmaps
