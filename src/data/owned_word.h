// OwnedWord: what every value type but string is made of: one owned word, the type's own tagged
// pointer. An entry holds just the word; adopt() and detach() carry it in and out.
//
// Lent: a word looked at where it lies. The value is the entry's and is not freed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace quoll::base {
class Compaction;
}

namespace quoll::data {

struct RelocationCursor;

// Elements that may be freed at once; a value of more is large(), and goes in steps. The first
// block given back of each of the allocator's slabs costs 2 us and more, every other one 0.1: up to
// 0.4 ms, mostly 20 us.
constexpr size_t kFreedAtOnceMax = 128;

template <class Self>
class OwnedWord {
 public:
  OwnedWord(const OwnedWord&) = delete;
  OwnedWord& operator=(const OwnedWord&) = delete;

  uintptr_t detach() { return std::exchange(word_, 0); }
  static Self adopt(uintptr_t word) {
    Self value;
    value.word_ = word;
    return value;
  }

 protected:
  OwnedWord() = default;
  ~OwnedWord() = default;
  OwnedWord(OwnedWord&& other) noexcept : word_(std::exchange(other.word_, 0)) {}
  OwnedWord& operator=(OwnedWord&& other) noexcept {
    std::swap(word_, other.word_);
    return *this;
  }

  uintptr_t word_ = 0;
};

template <class T>
class Lent {
 public:
  explicit Lent(T value) : value_(std::move(value)) {}
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;
  ~Lent() { value_.detach(); }

  const T& operator*() const { return value_; }
  const T* operator->() const { return &value_; }

 private:
  T value_;
};

}  // namespace quoll::data
