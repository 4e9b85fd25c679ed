// Fifo: a queue in one block of memory, which it keeps while it is in use again and again. (A deque
// of the library gives back and takes 512 bytes for every few elements that pass.)
//
//   | gone | gone | front ... back | free |      gone ones are overwritten once they are the half
//
// Cost: amortised O(1) at both ends. What it has room for is kept up to kFifoKept elements.
#pragma once

#include <algorithm>
#include <vector>

namespace quoll::base {

constexpr size_t kFifoKept = 128;  // elements

template <class T>
class Fifo {
 public:
  bool empty() const { return first_ == items_.size(); }
  size_t size() const { return items_.size() - first_; }
  T& front() { return items_[first_]; }
  const T& front() const { return items_[first_]; }
  T& operator[](size_t i) { return items_[first_ + i]; }
  auto begin() const { return items_.begin() + static_cast<std::ptrdiff_t>(first_); }
  auto end() const { return items_.end(); }

  void push_back(const T& item) {
    if (items_.size() == items_.capacity() && first_ > items_.size() / 2) drop_gone();
    items_.push_back(item);
  }
  void pop_front() {
    if (++first_ < items_.size()) return;
    first_ = 0;
    if (items_.capacity() <= kFifoKept)
      items_.clear();
    else
      items_ = {};
  }
  void clear() {
    first_ = 0;
    items_.clear();
  }

 private:
  void drop_gone() {
    items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }

  std::vector<T> items_;
  size_t first_ = 0;
};

}  // namespace quoll::base
