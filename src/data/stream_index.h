// StreamIndex: small fixed-size items sorted by a StreamId, the one ordered structure of streams:
// the nodes of a stream, the pending entries of a group, the pending IDs of a consumer.
//
//   root  0              no items
//         Chunk*         up to a chunk of items
//         Top* | 1       { begin, count, capacity, Chunk*... }: chunks in order
//   Chunk { begin, count, capacity, item... }    up to 4 KiB
//
// Streams grow at the end and shrink at the head: an append is a store, removing the first item
// moves `begin`. In between, items move within one chunk. A chunk that overflows splits in two, at
// the end it is left full; one that becomes small joins its neighbour.
// Cost: find O(log n); insert, erase O(log n + 4 KiB) and, once in a chunk, O(chunks). 16 bytes
// when empty; about one item's size per item beyond.
//
// Places are invalid after any change, except the one it returns. Items are trivially copyable;
// their `id` must not be changed.
#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/memory.h"
#include "data/stream_id.h"

namespace quoll::data {

template <class Item>
class StreamIndex {
  static_assert(std::is_trivially_copyable_v<Item>);

 public:
  struct Place {
    uint32_t chunk = 0;
    uint32_t offset = 0;

    uint64_t packed() const { return uint64_t{chunk} << 32 | offset; }
    static Place of(uint64_t packed) {
      return {static_cast<uint32_t>(packed >> 32), static_cast<uint32_t>(packed)};
    }
  };

  StreamIndex() = default;
  StreamIndex(StreamIndex&& other) noexcept
      : root_(std::exchange(other.root_, 0)), size_(std::exchange(other.size_, 0)) {}
  StreamIndex& operator=(StreamIndex&& other) noexcept {
    std::swap(root_, other.root_);
    std::swap(size_, other.size_);
    return *this;
  }
  StreamIndex(const StreamIndex&) = delete;
  StreamIndex& operator=(const StreamIndex&) = delete;
  ~StreamIndex() { clear(); }

  uint64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // nullptr at the end.
  const Item* at(Place place) const {
    return place.chunk < chunks() ? &chunk(place.chunk)->item(place.offset) : nullptr;
  }
  Item* at(Place place) { return const_cast<Item*>(std::as_const(*this).at(place)); }

  Place first() const { return {0, 0}; }
  Place end() const { return {chunks(), 0}; }
  // The last item; end() when there is none.
  Place last() const { return empty() ? end() : Place{chunks() - 1, back()->count - 1u}; }
  Place next(Place place) const {
    return place.offset + 1 < chunk(place.chunk)->count ? Place{place.chunk, place.offset + 1}
                                                        : Place{place.chunk + 1, 0};
  }
  // Of the first item (and only of it): end().
  Place previous(Place place) const {
    if (place.chunk < chunks() && place.offset > 0) return {place.chunk, place.offset - 1};
    if (place.chunk == 0) return end();
    return {place.chunk - 1, chunk(place.chunk - 1)->count - 1u};
  }

  // The first item whose ID is not less than `id`.
  Place seek(const StreamId& id) const;
  // The last item whose ID is not greater than `id`; end() when there is none.
  Place seek_last(const StreamId& id) const {
    Place place = seek(id);
    const Item* item = at(place);
    return item && item->id == id ? place : previous(place);
  }
  const Item* find(const StreamId& id) const {
    const Item* item = at(seek(id));
    return item && item->id == id ? item : nullptr;
  }
  Item* find(const StreamId& id) { return const_cast<Item*>(std::as_const(*this).find(id)); }

  // No item with this ID may exist.
  void insert(const Item& item);
  // False, and unchanged, when an item with this ID exists.
  bool try_insert(const Item& item) {
    if (!after_last(item.id) && find(item.id)) return false;
    insert(item);
    return true;
  }
  // Returns the place of what follows.
  Place erase(Place place);
  bool erase(const StreamId& id) {
    Place place = seek(id);
    const Item* item = at(place);
    if (!item || item->id != id) return false;
    erase(place);
    return true;
  }
  void clear();
  // Gives up to `items_max` items of the last chunk to `take`, and frees the chunk with its last
  // item; false when nothing was left. Once begun, nothing else may be done with the index.
  template <class Take>
  bool drop_last(size_t items_max, Take&& take);

  template <class Visit>
  void for_each(Visit&& visit) const {
    for (uint32_t i = 0; i < chunks(); ++i) {
      const Chunk* chunk = this->chunk(i);
      for (uint32_t k = 0; k < chunk->count; ++k) visit(chunk->item(k));
    }
  }
  // Offers a chunk, and with the first the list of them, to be moved: move(block, bytes) returns
  // where it lies now.
  template <class Move>
  void relocate(uint32_t i, Move&& move) {
    if (i == 0 && is_top())
      root_ = reinterpret_cast<uintptr_t>(move(top(), Top::bytes(top()->capacity))) | 1;
    set_chunk(i, move(chunk(i), chunk(i)->bytes()));
  }
  uint32_t chunks() const { return !root_ ? 0 : is_top() ? top()->count : 1; }
  size_t footprint() const {
    size_t bytes = is_top() ? base::usable_size(Top::bytes(top()->capacity)) : 0;
    for (uint32_t i = 0; i < chunks(); ++i) bytes += base::usable_size(chunk(i)->bytes());
    return bytes;
  }

 private:
  static constexpr size_t kChunkBytes = 4096;
  static constexpr size_t kChunkHeaderBytes = 8;
  static constexpr uint32_t kItemsMax = (kChunkBytes - kChunkHeaderBytes) / sizeof(Item);
  static constexpr size_t kShrinkBytesMin = 256;  // smaller chunks keep their block
  static constexpr uint32_t kTopCapacityMin = 6;

  struct Chunk {
    uint16_t begin;
    uint16_t count;
    uint16_t capacity;
    uint16_t unused;

    static size_t bytes(uint32_t capacity) { return kChunkHeaderBytes + capacity * sizeof(Item); }
    static Chunk* make(uint32_t items) {
      size_t room = base::usable_size(bytes(items)) - kChunkHeaderBytes;
      auto capacity = static_cast<uint16_t>(std::min<size_t>(room / sizeof(Item), kItemsMax));
      auto* chunk = static_cast<Chunk*>(base::allocate(bytes(capacity)));
      *chunk = {0, 0, capacity, 0};
      return chunk;
    }
    void destroy() { base::release(this, bytes()); }
    size_t bytes() const { return bytes(capacity); }
    Item* items() {
      return reinterpret_cast<Item*>(reinterpret_cast<char*>(this) + kChunkHeaderBytes);
    }
    Item& item(uint32_t i) { return items()[begin + i]; }
    const Item& item(uint32_t i) const { return const_cast<Chunk*>(this)->item(i); }
    // Copies items of another chunk to the end of this one.
    void take(const Chunk& from, uint32_t first, uint32_t items) {
      std::memcpy(static_cast<void*>(&item(count)), &from.item(first), items * sizeof(Item));
      count = static_cast<uint16_t>(count + items);
    }
    void move(uint32_t to, uint32_t from, uint32_t items) {  // absolute positions
      std::memmove(static_cast<void*>(this->items() + to), this->items() + from,
                   items * sizeof(Item));
    }
  };
  struct Top {
    uint32_t begin;
    uint32_t count;
    uint32_t capacity;
    uint32_t unused;

    static size_t bytes(uint32_t capacity) { return sizeof(Top) + capacity * sizeof(Chunk*); }
    Chunk** chunks() { return reinterpret_cast<Chunk**>(this + 1) + begin; }
  };

  bool is_top() const { return root_ & 1; }
  Top* top() const { return reinterpret_cast<Top*>(root_ - 1); }
  Chunk* chunk(uint32_t i) const {
    return is_top() ? top()->chunks()[i] : reinterpret_cast<Chunk*>(root_);
  }
  void set_chunk(uint32_t i, Chunk* chunk) {
    if (is_top()) {
      top()->chunks()[i] = chunk;
    } else {
      root_ = reinterpret_cast<uintptr_t>(chunk);
    }
  }
  Chunk* back() const { return chunk(chunks() - 1); }
  bool after_last(const StreamId& id) const {
    return empty() || back()->item(back()->count - 1).id < id;
  }

  // The chunk grown (or shrunk) to hold `items`.
  Chunk* resize(uint32_t i, uint32_t items);
  void insert_chunk(uint32_t i, Chunk* chunk);
  void remove_chunk(uint32_t i);
  void insert_at(Place place, const Item& item);
  void shrink(uint32_t i);

  uintptr_t root_ = 0;
  uint64_t size_ = 0;
};

template <class Item>
auto StreamIndex<Item>::seek(const StreamId& id) const -> Place {
  // The last chunk whose first ID is not greater, then the item in it.
  uint32_t low = 0, high = chunks();
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    (chunk(middle)->item(0).id <= id ? low : high) = middle;
  }
  if (high == 0) return end();
  const Chunk* chunk = this->chunk(low);
  const Item* begin = &chunk->item(0);
  const Item* end = begin + chunk->count;
  if (end[-1].id < id) return {low + 1, 0};
  const Item* found = std::lower_bound(
      begin, end, id, [](const Item& item, const StreamId& sought) { return item.id < sought; });
  return {low, static_cast<uint32_t>(found - begin)};
}

template <class Item>
auto StreamIndex<Item>::resize(uint32_t i, uint32_t items) -> Chunk* {
  Chunk* old = chunk(i);
  Chunk* fresh = Chunk::make(items);
  fresh->take(*old, 0, old->count);
  old->destroy();
  set_chunk(i, fresh);
  return fresh;
}

template <class Item>
void StreamIndex<Item>::insert_chunk(uint32_t i, Chunk* chunk) {
  if (!root_) {
    root_ = reinterpret_cast<uintptr_t>(chunk);
    return;
  }
  uint32_t count = chunks();
  if (!is_top() || top()->begin + count == top()->capacity) {
    // Room is made at the end; what was free at the head is dropped.
    uint32_t capacity = std::max(kTopCapacityMin, count + count / 2);
    auto* grown = static_cast<Top*>(base::allocate(Top::bytes(capacity)));
    *grown = {0, count, capacity, 0};
    for (uint32_t k = 0; k < count; ++k) grown->chunks()[k] = this->chunk(k);
    if (is_top()) base::release(top(), Top::bytes(top()->capacity));
    root_ = reinterpret_cast<uintptr_t>(grown) | 1;
  }
  Chunk** slots = top()->chunks();
  std::memmove(slots + i + 1, slots + i, (count - i) * sizeof(Chunk*));
  slots[i] = chunk;
  ++top()->count;
}

template <class Item>
void StreamIndex<Item>::remove_chunk(uint32_t i) {
  chunk(i)->destroy();
  if (!is_top()) {
    root_ = 0;
    return;
  }
  Top* top = this->top();
  Chunk** slots = top->chunks();
  --top->count;
  if (i == 0) {
    ++top->begin;
  } else {
    std::memmove(slots + i, slots + i + 1, (top->count - i) * sizeof(Chunk*));
  }
  if (top->count > 1) return;
  root_ = top->count == 1 ? reinterpret_cast<uintptr_t>(top->chunks()[0]) : 0;
  base::release(top, Top::bytes(top->capacity));
}

template <class Item>
void StreamIndex<Item>::insert(const Item& item) {
  if (empty()) {
    insert_chunk(0, Chunk::make(1));
    return insert_at({0, 0}, item);
  }
  Place place = after_last(item.id) ? end() : seek(item.id);
  // Between two chunks the earlier one takes it.
  if (place.offset == 0 && place.chunk > 0)
    place = {place.chunk - 1, chunk(place.chunk - 1)->count};
  Chunk* chunk = this->chunk(place.chunk);
  if (chunk->count == kItemsMax) {
    bool append = place.offset == kItemsMax && place.chunk + 1 == chunks();
    uint32_t kept = append ? kItemsMax : kItemsMax / 2;
    Chunk* right = Chunk::make(append ? 1 : kItemsMax);
    right->take(*chunk, kept, kItemsMax - kept);
    chunk->count = static_cast<uint16_t>(kept);
    insert_chunk(place.chunk + 1, right);
    if (place.offset > kept || append) place = {place.chunk + 1, place.offset - kept};
  }
  insert_at(place, item);
}

template <class Item>
void StreamIndex<Item>::insert_at(Place place, const Item& item) {
  Chunk* chunk = this->chunk(place.chunk);
  if (chunk->begin + chunk->count == chunk->capacity) {
    if (chunk->begin > chunk->count / 4) {
      chunk->move(0, chunk->begin, chunk->count);
      chunk->begin = 0;
    } else {
      uint32_t wanted = chunk->count + std::max<uint32_t>(1, chunk->count / 2);
      chunk = resize(place.chunk, std::min(wanted, kItemsMax));
    }
  }
  uint32_t at = chunk->begin + place.offset;
  chunk->move(at + 1, at, chunk->count - place.offset);
  chunk->items()[at] = item;
  ++chunk->count;
  ++size_;
}

template <class Item>
auto StreamIndex<Item>::erase(Place place) -> Place {
  Chunk* chunk = this->chunk(place.chunk);
  StreamId id = chunk->item(place.offset).id;
  --size_;
  --chunk->count;
  if (chunk->count == 0) {
    remove_chunk(place.chunk);
    return {place.chunk, 0};
  }
  if (place.offset == 0) {
    ++chunk->begin;
  } else {
    uint32_t at = chunk->begin + place.offset;
    chunk->move(at, at + 1, chunk->count - place.offset);
  }
  if (chunk->count <= chunk->capacity / 4 && chunk->bytes() > kShrinkBytesMin) {
    shrink(place.chunk);
    return seek(id);
  }
  return place.offset < chunk->count ? place : Place{place.chunk + 1, 0};
}

// Joins the chunk with its right neighbour when that leaves room to spare, else fits its block.
template <class Item>
void StreamIndex<Item>::shrink(uint32_t i) {
  Chunk* chunk = this->chunk(i);
  if (i + 1 < chunks() && chunk->count + this->chunk(i + 1)->count <= kItemsMax / 2) {
    chunk = resize(i, chunk->count + this->chunk(i + 1)->count);
    chunk->take(*this->chunk(i + 1), 0, this->chunk(i + 1)->count);
    remove_chunk(i + 1);
  } else if (base::usable_size(Chunk::bytes(chunk->count + 1)) <
             base::usable_size(chunk->bytes())) {
    resize(i, chunk->count + 1);
  }
}

template <class Item>
template <class Take>
bool StreamIndex<Item>::drop_last(size_t items_max, Take&& take) {
  if (empty()) return false;
  Chunk* chunk = back();
  const auto taken = static_cast<uint16_t>(std::min<size_t>(items_max, chunk->count));
  for (uint32_t i = chunk->count - taken; i < chunk->count; ++i) take(chunk->item(i));
  size_ -= taken;
  chunk->count -= taken;
  if (chunk->count == 0) remove_chunk(chunks() - 1);
  return true;
}

template <class Item>
void StreamIndex<Item>::clear() {
  while (drop_last(SIZE_MAX, [](const Item&) {})) {
  }
}

}  // namespace quoll::data
