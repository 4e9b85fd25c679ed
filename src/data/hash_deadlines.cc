#include "data/hash_deadlines.h"

#include <cstring>

#include "base/check.h"
#include "base/memory.h"

namespace quoll::data {

void HashDeadlines::add(HashField* field, base::Millis deadline) {
  QUOLL_CHECK(size_ < UINT32_MAX / kChildren - 1);
  grow();
  ++size_;
  rise(size_ - 1, {deadline, field});
}

void HashDeadlines::change(const HashField* field, base::Millis deadline) {
  uint32_t index = field->deadline_index();
  Item item = at(index);
  item.deadline = deadline;
  settle(index, item);
}

void HashDeadlines::remove(const HashField* field) {
  uint32_t index = field->deadline_index();
  QUOLL_CHECK(index < size_ && at(index).field == field);
  Item last = at(size_ - 1);
  --size_;
  if (index < size_) settle(index, last);
  shrink();
}

void HashDeadlines::settle(uint32_t index, Item item) {
  if (index > 0 && item.deadline < at((index - 1) / kChildren).deadline)
    rise(index, item);
  else
    sink(index, item);
}

void HashDeadlines::rise(uint32_t index, Item item) {
  while (index > 0) {
    uint32_t parent = (index - 1) / kChildren;
    if (at(parent).deadline <= item.deadline) break;
    put(index, at(parent));
    index = parent;
  }
  put(index, item);
}

void HashDeadlines::sink(uint32_t index, Item item) {
  for (;;) {
    uint32_t first = index * kChildren + 1;
    if (first >= size_) break;
    uint32_t end = first + kChildren < size_ ? first + kChildren : size_;
    uint32_t least = first;
    for (uint32_t child = first + 1; child < end; ++child)
      if (at(child).deadline < at(least).deadline) least = child;
    if (at(least).deadline >= item.deadline) break;
    put(index, at(least));
    index = least;
  }
  put(index, item);
}

namespace {

template <class T>
void enlarge(T*& block, uint32_t used, uint32_t& max, uint32_t grown_max) {
  auto* grown = static_cast<T*>(base::allocate(grown_max * sizeof(T)));
  if (block) {
    std::memcpy(grown, block, used * sizeof(T));
    base::release(block, max * sizeof(T));
  }
  block = grown;
  max = grown_max;
}

}  // namespace

// Makes room for one more item.
void HashDeadlines::grow() {
  if (size_ < kChunkItems) {
    if (size_ == first_max_)
      enlarge(first_, size_, first_max_, first_max_ ? first_max_ * 2 : kFirstChunkItems);
    return;
  }
  if (size_ / kChunkItems - 1 < rest_size_) return;
  if (rest_size_ == rest_max_) enlarge(rest_, rest_size_, rest_max_, rest_max_ ? rest_max_ * 2 : 4);
  rest_[rest_size_++] = static_cast<Item*>(base::allocate(kChunkItems * sizeof(Item)));
}

// One chunk stays in reserve, so that a size that swings around its end costs nothing.
void HashDeadlines::shrink() {
  uint32_t used = size_ <= kChunkItems ? 0 : (size_ - 1) / kChunkItems;
  if (rest_size_ > used + 1) base::release(rest_[--rest_size_], kChunkItems * sizeof(Item));
}

size_t HashDeadlines::footprint() const {
  size_t bytes = rest_size_ * base::usable_size(kChunkItems * sizeof(Item));
  if (first_) bytes += base::usable_size(first_max_ * sizeof(Item));
  if (rest_) bytes += base::usable_size(rest_max_ * sizeof(Item*));
  return bytes;
}

bool HashDeadlines::drop_chunk() {
  size_ = 0;
  if (rest_size_ > 0) {
    base::release(rest_[--rest_size_], kChunkItems * sizeof(Item));
    return true;
  }
  if (rest_) base::release(rest_, rest_max_ * sizeof(Item*));
  rest_ = nullptr;
  if (!first_) return false;
  base::release(first_, first_max_ * sizeof(Item));
  first_ = nullptr;
  return true;
}

}  // namespace quoll::data
