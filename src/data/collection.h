// Collection: an owned value of any type but string, in two words: its type and the type's own word
// (owned_word.h). What can be said of every type is said here; the rest needs the type itself.
//
// Every type T offers: kType, size(), encoding_name(), footprint(samples), copy(), large(),
// drain(items), relocate(blocks, cursor), detach(), adopt().
#pragma once

#include <utility>

#include "base/bytes.h"
#include "data/owned_word.h"
#include "data/type.h"

namespace quoll::data {

class Collection {
 public:
  Collection() = default;
  template <class T>
  requires requires { T::kType; }
  explicit Collection(T value) : type_(T::kType), word_(value.detach()) {}
  Collection(Collection&& other) noexcept
      : type_(std::exchange(other.type_, Type::string)), word_(std::exchange(other.word_, 0)) {}
  Collection& operator=(Collection&& other) noexcept {
    std::swap(type_, other.type_);
    std::swap(word_, other.word_);
    return *this;
  }
  Collection(const Collection&) = delete;
  Collection& operator=(const Collection&) = delete;
  ~Collection() {
    if (type_ != Type::string) destroy();
  }

  // False: none.
  explicit operator bool() const { return type_ != Type::string; }
  Type type() const { return type_; }

  uintptr_t detach() {
    type_ = Type::string;
    return std::exchange(word_, 0);
  }
  static Collection adopt(Type type, uintptr_t word) {
    Collection collection;
    collection.type_ = type;
    collection.word_ = word;
    return collection;
  }

  uint64_t size() const;  // elements, members, fields
  base::Bytes encoding_name() const;
  // Allocator bytes; of large values estimated from `samples` elements (0: all are counted).
  size_t footprint(size_t samples) const;
  Collection copy() const;  // O(N)
  // Freeing it at once would take longer than a loop turn has.
  bool large() const;
  // Frees up to about `items` elements; true while more is left. Nothing else may be asked then.
  bool drain(size_t items);
  // Moves blocks that lie badly, a step at a time; true while more is left (relocation.h).
  bool relocate(base::Compaction& blocks, RelocationCursor& at);

 private:
  void destroy();

  Type type_ = Type::string;
  uintptr_t word_ = 0;
};

}  // namespace quoll::data
