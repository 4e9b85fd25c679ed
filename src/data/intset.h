// Intset: a sorted set of integers in one block, byte for byte as Redis writes it.
// Source: redis-rdb-tools' description of the format and payloads of redis-server 7.0.15.
//
//   0  width    4 B little-endian: 2, 4 or 8 bytes per member
//   4  count    4 B little-endian
//   8  member...   two's complement, little-endian, strictly ascending
//
// The width is that of the widest member ever held: erase never narrows, as in Redis.
// Cost: find O(log n); insert and erase move the members behind.
#pragma once

#include <utility>

#include "base/bytes.h"
#include "base/memory.h"

namespace quoll::data {

constexpr size_t kIntsetHeaderBytes = 8;

// Read-only view of valid bytes: those of an Intset, or foreign ones that passed validate().
class IntsetView {
 public:
  explicit IntsetView(base::Bytes valid) : bytes_(valid) {}

  // Sizes agree, at least one member, strictly ascending: what Redis accepts. O(n).
  static bool validate(base::Bytes foreign);

  base::Bytes bytes() const { return bytes_; }
  unsigned width() const;
  size_t count() const;
  int64_t at(size_t index) const;  // index < count()
  bool contains(int64_t member) const {
    size_t index;
    return find(member, index);
  }
  // False: not there; `index` is then where it would be.
  bool find(int64_t member, size_t& index) const;

 private:
  base::Bytes bytes_;
};

// The owning form: 8 bytes, one counted block with the usable size of its bytes (see Listpack).
// An intset that was never written owns none.
class Intset {
 public:
  Intset() = default;
  static Intset copy_of(base::Bytes valid);
  Intset(Intset&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Intset& operator=(Intset&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  Intset(const Intset&) = delete;
  Intset& operator=(const Intset&) = delete;
  ~Intset() { destroy(block_); }

  IntsetView view() const { return IntsetView(bytes()); }
  base::Bytes bytes() const { return bytes_of(block_); }
  size_t footprint() const { return block_ ? base::usable_size(bytes().size()) : 0; }
  size_t count() const { return view().count(); }
  int64_t at(size_t index) const { return view().at(index); }
  bool contains(int64_t member) const { return view().contains(member); }

  bool insert(int64_t member);  // false: was there already
  bool erase(int64_t member);   // false: was not there

  // Hands the block to a holder of raw pointers (an entry); adopt() takes it back. May be null.
  char* detach() { return std::exchange(block_, nullptr); }
  static Intset adopt(char* block) {
    Intset set;
    set.block_ = block;
    return set;
  }
  static base::Bytes bytes_of(const char* block);

 private:
  static void destroy(char* block);
  void widen(unsigned width, int64_t member);
  void resize(size_t old_bytes, size_t bytes);

  char* block_ = nullptr;
};

}  // namespace quoll::data
