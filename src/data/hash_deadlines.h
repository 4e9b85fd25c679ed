// HashDeadlines: the deadlines of a large hash's fields, the earliest on top, and the place the
// hash has for its handle in the database's wheel of fields.
//
//   heap of four children per node:  item = {deadline 8 B, field 8 B}
//   first chunk 8 ... 256 items, doubling; further chunks of 256 items (4,096 B, an exact class)
//
// Every field knows its index here, so a deadline is found, moved and dropped without a search.
//
// Cost: 16 bytes per field with a deadline, 4 more in the field's block. O(1) to look, O(log n) to
// change; growth never copies more than one chunk.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "data/hash_field.h"

namespace quoll::data {

class HashDeadlines {
 public:
  HashDeadlines() = default;
  HashDeadlines(const HashDeadlines&) = delete;
  HashDeadlines& operator=(const HashDeadlines&) = delete;
  ~HashDeadlines() {
    while (drop_chunk()) {
    }
  }

  uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  base::Millis of(const HashField* field) const { return at(field->deadline_index()).deadline; }
  base::Millis earliest() const { return at(0).deadline; }
  HashField* first() const { return at(0).field; }

  // The field's block must have a place for its index.
  void add(HashField* field, base::Millis deadline);
  void change(const HashField* field, base::Millis deadline);
  void remove(const HashField* field);
  // The field moved to another block, which has its index already.
  void moved(HashField* field) { at(field->deadline_index()).field = field; }

  // Visits the fields whose deadline is at most `now`, and no others' children: O(how many).
  template <class Visit>
  void for_each_due(base::Millis now, Visit&& visit) const {
    if (!empty()) visit_due(0, now, visit);
  }

  size_t footprint() const;
  // Frees the last chunk without looking at its items; false when none was left. Once begun,
  // nothing else may be asked.
  bool drop_chunk();

  uint64_t wheel_handle = 0;

 private:
  struct Item {
    base::Millis deadline;
    HashField* field;
  };
  static constexpr uint32_t kChunkItems = 256;
  static constexpr uint32_t kFirstChunkItems = 8;
  static constexpr uint32_t kChildren = 4;

  Item& at(uint32_t index) const {
    return index < kChunkItems ? first_[index]
                               : rest_[index / kChunkItems - 1][index % kChunkItems];
  }
  void put(uint32_t index, const Item& item) {
    at(index) = item;
    item.field->set_deadline_index(index);
  }
  void sink(uint32_t index, Item item);
  void rise(uint32_t index, Item item);
  void settle(uint32_t index, Item item);
  void grow();
  void shrink();

  template <class Visit>
  void visit_due(uint32_t index, base::Millis now, Visit&& visit) const {
    if (at(index).deadline > now) return;
    visit(at(index).field);
    for (uint32_t child = index * kChildren + 1; child <= index * kChildren + kChildren; ++child)
      if (child < size_) visit_due(child, now, visit);
  }

  Item* first_ = nullptr;
  Item** rest_ = nullptr;
  uint32_t size_ = 0;
  uint32_t first_max_ = 0;
  uint32_t rest_size_ = 0;
  uint32_t rest_max_ = 0;
};

}  // namespace quoll::data
