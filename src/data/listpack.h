// Listpack: a sequence of short byte strings and integers in one block, byte for byte as Redis
// writes it, so RDB and DUMP carry the block as it is. Sources: the "Listpack specification" by
// S. Sanfilippo, Y. Inbar and O. Agra, and payloads of redis-server 7.0.15.
//
//   0  total bytes   4 B little-endian, this header and the end byte included
//   4  count         2 B little-endian; 65535: unknown, to be counted
//   6  element...    encoding, payload, back length
//      0xff
//
//   0xxxxxxx                     0 ... 127          1110xxxx xxxxxxxx   string up to 4095 bytes
//   10xxxxxx                     string up to 63    11110000 4 B        string up to 2^32-1
//   110xxxxx xxxxxxxx            13-bit integer     11110001 ... 11110100   16, 24, 32, 64 bits
//
// The back length is the size of encoding and payload in groups of 7 bits, most significant group
// first, all but the first with the high bit set: read backwards it ends where the high bit is 0.
//
// A text that is a canonical 64-bit integer is stored in the smallest integer form.
//
// Positions are byte offsets of elements; kNone (0) is "no such element" and never a position. Any
// edit invalidates positions and views, except the position it returns.
#pragma once

#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/memory.h"
#include "data/packed_item.h"

namespace quoll::data {

constexpr size_t kListpackHeaderBytes = 6;
constexpr size_t kListpackEmptyBytes = 7;
constexpr unsigned kListpackCountUnknown = 65535;
constexpr size_t kListpackBytesMax = size_t{1} << 30;  // Redis's safety limit
constexpr size_t kListpackElementOverheadMax = 10;     // 5 of encoding, 5 of back length

// Read-only view of valid bytes: those of a Listpack, or foreign ones that passed validate().
class ListpackView {
 public:
  using Position = uint32_t;
  static constexpr Position kNone = 0;

  explicit ListpackView(base::Bytes valid)
      : bytes_(reinterpret_cast<const uint8_t*>(valid.data())),
        size_(static_cast<uint32_t>(valid.size())) {}

  // True iff the view's operations are safe on `foreign`: sizes, every element, every back length
  // and the count agree. Accepts what Redis accepts, e.g. a small integer in a wide form. O(bytes).
  static bool validate(base::Bytes foreign);
  // The header and the end byte only: enough for bytes whose checksum and origin are trusted.
  static bool validate_header(base::Bytes foreign);

  base::Bytes bytes() const { return {reinterpret_cast<const char*>(bytes_), size_}; }
  size_t size_bytes() const { return size_; }
  size_t count() const;  // O(1) below 65535 elements
  bool empty() const { return size_ == kListpackEmptyBytes; }

  Position first() const { return empty() ? kNone : Position{kListpackHeaderBytes}; }
  Position last() const;
  Position next(Position position) const;
  Position previous(Position position) const;
  // Element by index, negative from the end. Walks from the nearer end.
  Position at(int64_t index) const;

  PackedItem item(Position position) const;
  bool equals(Position position, base::Bytes text) const;
  // The first element equal to `text` from `from` on, testing one and skipping `skip`: with skip 1
  // over (field, value) pairs only fields are tested. kNone: not found.
  Position find(Position from, base::Bytes text, unsigned skip = 0) const;

 protected:
  ListpackView() = default;
  const uint8_t* bytes_ = nullptr;
  uint32_t size_ = 0;
};

// The owning form: 8 bytes, one counted block without a header of its own. The block always has the
// usable size of the listpack's total bytes, so capacity needs no field: growth allocates when a
// size class ends (each 19-25 % further), which makes append amortised O(bytes added) at the tail.
// Insert and erase move the bytes behind them. An empty listpack that was never written owns none.
//
// `text` and `texts` arguments must not point into the listpack itself. Edits that would exceed
// kListpackBytesMax return false (kNone) and change nothing.
class Listpack {
 public:
  using Position = ListpackView::Position;
  static constexpr Position kNone = ListpackView::kNone;

  Listpack() = default;
  static Listpack copy_of(base::Bytes valid);
  Listpack(Listpack&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Listpack& operator=(Listpack&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  Listpack(const Listpack&) = delete;
  Listpack& operator=(const Listpack&) = delete;
  ~Listpack() { destroy(block_); }

  ListpackView view() const { return ListpackView(bytes()); }
  base::Bytes bytes() const { return bytes_of(block_); }
  size_t size_bytes() const { return bytes().size(); }
  size_t footprint() const { return block_ ? base::usable_size(size_bytes()) : 0; }
  size_t count() const { return view().count(); }
  bool empty() const { return size_bytes() == kListpackEmptyBytes; }
  // Whether elements of `text_bytes` altogether, `elements` in number, surely fit.
  bool fits(size_t text_bytes, size_t elements = 1) const {
    return text_bytes <= kListpackBytesMax &&
           size_bytes() + text_bytes + elements * kListpackElementOverheadMax <= kListpackBytesMax;
  }

  [[nodiscard]] bool append(base::Bytes text) { return append(base::Args(&text, 1)); }
  [[nodiscard]] bool append(base::Args texts);
  [[nodiscard]] bool append_integer(int64_t value);
  [[nodiscard]] bool append_item(const PackedItem& item) {
    return item.is_integer ? append_integer(item.integer) : append(item.bytes);
  }
  [[nodiscard]] bool prepend(base::Bytes text) { return prepend(base::Args(&text, 1)); }
  [[nodiscard]] bool prepend(base::Args texts);  // texts[0] becomes the first element
  // Both return the position of the first inserted element, or kNone.
  [[nodiscard]] Position insert_before(Position position, base::Args texts);
  [[nodiscard]] Position insert_after(Position position, base::Args texts);
  // The element keeps its position.
  [[nodiscard]] bool replace(Position position, base::Bytes text);
  [[nodiscard]] bool replace_integer(Position position, int64_t value);

  // Removes up to `count` elements from `position` on; returns what follows them, or kNone.
  Position erase(Position position, size_t count = 1);
  // Removes up to `count` elements from `index` on (negative from the end); returns their number.
  size_t erase_range(int64_t index, size_t count);
  void clear();

  // Appends (puts in front) all elements of `other`, which must not be a view of this listpack.
  [[nodiscard]] bool merge_back(const ListpackView& other);
  [[nodiscard]] bool merge_front(const ListpackView& other);

  // Hands the block to a holder of raw pointers (an entry); adopt() takes it back. May be null.
  char* detach() { return std::exchange(block_, nullptr); }
  static Listpack adopt(char* block) {
    Listpack listpack;
    listpack.block_ = block;
    return listpack;
  }
  static base::Bytes bytes_of(const char* block);

 private:
  static void destroy(char* block);
  // Makes `removed` bytes at `offset` into `inserted` bytes, uninitialised, and keeps the total.
  char* open_gap(size_t offset, size_t removed, size_t inserted);
  bool splice(size_t offset, size_t removed, base::Args texts);
  bool splice_integer(size_t offset, size_t removed, int64_t value);
  void add_to_count(int64_t change);
  size_t end_offset() const { return size_bytes() - 1; }

  char* block_ = nullptr;
};

}  // namespace quoll::data
