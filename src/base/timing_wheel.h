// TimingWheel: finds the items whose deadline has come, for millions of deadlines at once. One per
// database for keys with a TTL; the same template times out sessions and blocked clients.
//
// Eight levels of 64 slots; a tick is 16 ms. A deadline is rounded up to its tick, a 48-bit number
// of eight 6-bit digits. An item lies at the level of the highest digit in which its tick differs
// from the wheel's position, in the slot that digit names:
//
//   position   0  0  0  0  0 03 17 42
//   deadline   0  0  0  0  0 03 25 07   ->  level 1, slot 25
//
//   level 1   [ .. | 18 | .. | 25 | .. ]   64 slots and one bitmap of the occupied ones
//                              |
//                              +-> first chunk (4 ... 512 pointers, doubling)
//                              +-> rest: chunks of 512 pointers each
//
// When the position reaches the start of a slot above level 0, its items are filed again below
// ("cascade"). Nothing else moves: no tombstones, every pointer in the wheel is a live item.
//
// The item keeps its Handle, so removal is O(1): the last pointer of the slot takes the place.
//
// Cost: 8 B per item in full chunks, 2 KiB per level once it is used. Add and remove O(1). An item
// is filed again once per level it descends: 2-4 times for TTLs of an hour to a month.
//
// Invariants: an item fires never before its deadline and at the latest one tick after it, given
// that advance() is called when next_due() says and is left enough budget. A deadline that moved
// later needs no call at all: the item is filed again when its old slot comes up.
//
// Traits:
//   using Item = T*;
//   static Millis deadline(Item);
//   static WheelHandle handle(Item);
//   static void set_handle(Item, WheelHandle);
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

namespace quoll::base {

// The place of an item in its wheel: slot 9 bits, index 32 bits; zero means "in no wheel".
// Fits the six bytes an entry has for it.
class WheelHandle {
 public:
  static constexpr unsigned kBits = 48;

  constexpr WheelHandle() = default;
  static constexpr WheelHandle unpack(uint64_t packed) { return WheelHandle(packed); }
  constexpr uint64_t packed() const { return packed_; }
  constexpr explicit operator bool() const { return packed_ != 0; }
  constexpr bool operator==(const WheelHandle&) const = default;

 private:
  template <class Traits>
  friend class TimingWheel;
  constexpr explicit WheelHandle(uint64_t packed) : packed_(packed) {}
  constexpr WheelHandle(unsigned slot, uint32_t index)
      : packed_((uint64_t{slot} << 32 | index) + 1) {}
  constexpr unsigned slot() const { return static_cast<unsigned>((packed_ - 1) >> 32); }
  constexpr uint32_t index() const { return static_cast<uint32_t>(packed_ - 1); }

  uint64_t packed_ = 0;
};

template <class Traits>
class TimingWheel {
 public:
  using Item = typename Traits::Item;
  using Handle = WheelHandle;

  static constexpr unsigned kLevels = 8;
  static constexpr unsigned kDigitBits = 6;
  static constexpr unsigned kSlots = 1u << kDigitBits;
  static constexpr unsigned kTickBits = 4;
  static constexpr Millis kTickMs = Millis{1} << kTickBits;
  static constexpr uint32_t kChunkItems = 512;     // 4,096 B, an exact size class
  static constexpr uint32_t kFirstChunkItems = 4;  // a nearly empty slot costs 32 B
  static constexpr Millis kNever = INT64_MAX;
  // A clock that steps back by less makes the wheel wait for it to catch up; a bigger step moves
  // the position back and files the affected items again.
  static constexpr uint64_t kBackstepTicksMax = 64;

  explicit TimingWheel(Millis now) : position_(tick_before(now)) {}
  TimingWheel(TimingWheel&& other) noexcept : position_(other.position_) { swap(other); }
  TimingWheel& operator=(TimingWheel&& other) noexcept {
    swap(other);
    return *this;
  }
  TimingWheel(const TimingWheel&) = delete;
  TimingWheel& operator=(const TimingWheel&) = delete;
  ~TimingWheel() { clear(); }

  // The item must be in no wheel. A deadline in the past fires at the next advance().
  void add(Item item) {
    uint64_t tick = tick_of(Traits::deadline(item));
    // Whoever adds an overdue item while it fires would be called again at once, for ever.
    file(item, tick > position_ ? tick : firing_ ? horizon_ + 1 : position_);
    ++size_;
  }

  // Takes the item out and sets its handle to none. A none handle is ignored.
  void remove(Handle handle) {
    if (!handle) return;
    Slot& slot = slot_of(handle);
    Traits::set_handle(*slot.at(handle.index()), Handle());
    Item last = pop(handle.slot());
    if (handle.index() < slot.size) {
      *slot.at(handle.index()) = last;
      Traits::set_handle(last, handle);
    }
    --size_;
  }

  // The item's memory block moved: `item` is the new place, the old one is not read.
  void replace(Handle handle, Item item) {
    *slot_of(handle).at(handle.index()) = item;
    Traits::set_handle(item, handle);
  }

  // The item's deadline changed in either direction. Only an earlier one may cost anything.
  void move(Item item) {
    Handle handle = Traits::handle(item);
    if (handle) {
      unsigned level = handle.slot() / kSlots;
      uint64_t visit = start_of(level, handle.slot() % kSlots);
      if (tick_of(Traits::deadline(item)) >= visit) return;
      remove(handle);
    }
    add(item);
  }

  // When advance() next has something to do (fire or cascade): in the past when it stopped for
  // want of budget, kNever when the wheel is empty.
  Millis next_due() const {
    uint64_t next = next_tick();
    return next == kNoTick ? kNever : static_cast<Millis>(next << kTickBits);
  }

  // Calls fire(item) for every item that is due, by ascending tick; at most `items_max` items are
  // touched (fired or filed again), the next call continues there. Returns the number touched.
  //
  // When fire runs the item is in no wheel any more and its handle is none: fire may free it, keep
  // it (remembering it itself) or add() it again. Added with the deadline it had, it comes back one
  // tick after `now`; with a later one, when that is reached, perhaps within the same call. fire
  // may call anything on the wheel except advance() and the destructor.
  template <class Fire>
  size_t advance(Millis now, size_t items_max, Fire&& fire) {
    QUOLL_CHECK(!firing_);
    uint64_t target = tick_before(now);
    if (target + kBackstepTicksMax < position_) position_ = target;
    if (target < position_) return 0;
    horizon_ = target;
    size_t touched = 0;
    for (;;) {
      uint64_t next = next_tick();
      if (next > target) {
        position_ = target;
        return touched;
      }
      position_ = next;
      touched += drain(pending_slot(), items_max - touched, fire);
      if (touched == items_max) return touched;
    }
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // The item of this rank (< size()) in no particular order: a random rank draws uniformly. Walks
  // the occupied slots, hardly ever more than a hundred.
  Item at_rank(uint64_t rank) const {
    QUOLL_CHECK(rank < size_);
    for (unsigned level = 0;; level = (level + 1) % kLevels) {
      for (uint64_t left = occupied_[level]; left; left &= left - 1) {
        const Slot& slot = levels_[level][__builtin_ctzll(left)];
        if (rank < slot.size) return *slot.at(static_cast<uint32_t>(rank));
        rank -= slot.size;
      }
    }
  }

  // An item with about the earliest deadline: of the first slot, all whose items fire before any
  // other's, the earliest of at most `looks` items from `draw` on. What was put off meanwhile is
  // filed again, at most `looks` times. nullptr when the wheel is empty.
  Item earliest(uint64_t draw, unsigned looks) {
    for (unsigned round = 0; size_ > 0; ++round) {
      unsigned number = first_slot();
      Slot& slot = levels_[number / kSlots][number % kSlots];
      Item best = nullptr;
      uint32_t start = slot.size > looks ? static_cast<uint32_t>(draw % slot.size) : 0;
      for (uint32_t i = 0, size = slot.size; i < size && i < looks; ++i) {
        Item item = *slot.at((start + i) % size);
        if (!best || Traits::deadline(item) < Traits::deadline(best)) best = item;
      }
      if (round == looks || !put_off(number, best)) return best;
    }
    return nullptr;
  }
  // Heap bytes behind the wheel, in allocator terms.
  size_t footprint() const { return footprint_; }

  // Forgets all items without reading them: their handles are left as they are.
  void clear() {
    while (!clear_some(SIZE_MAX)) {
    }
  }

  // The same in steps, for a wheel of millions: frees at most `chunks_max` chunks; true when done.
  bool clear_some(size_t chunks_max) {
    for (unsigned level = 0; level < kLevels; ++level) {
      while (occupied_[level]) {
        unsigned digit = static_cast<unsigned>(__builtin_ctzll(occupied_[level]));
        Slot& slot = levels_[level][digit];
        for (; slot.size; --chunks_max) {
          if (chunks_max == 0) return false;
          drop_last_chunk(slot);
        }
        occupied_[level] &= ~(uint64_t{1} << digit);
      }
      if (levels_[level]) give_back(levels_[level], kSlots * sizeof(Slot));
      levels_[level] = nullptr;
    }
    size_ = 0;
    return true;
  }

 private:
  struct Slot {
    Item* first;         // nullptr when empty
    Item** rest;         // chunks of kChunkItems behind the first
    uint32_t size;       // items
    uint32_t first_max;  // capacity of the first chunk
    uint32_t rest_size;
    uint32_t rest_max;

    Item* at(uint32_t index) const {
      return index < kChunkItems ? first + index
                                 : rest[index / kChunkItems - 1] + index % kChunkItems;
    }
  };

  static constexpr uint64_t kTickMax = (uint64_t{1} << (kLevels * kDigitBits)) - 1;
  static constexpr uint64_t kNoTick = UINT64_MAX;

  // Rounded down: the tick the clock is in. Rounded up: the tick at whose start it is due.
  static uint64_t tick_before(Millis at) {
    uint64_t tick = at <= 0 ? 0 : static_cast<uint64_t>(at) >> kTickBits;
    return tick < kTickMax ? tick : kTickMax;
  }
  static uint64_t tick_of(Millis deadline) {
    if (deadline <= 0) return 0;
    uint64_t tick = (static_cast<uint64_t>(deadline) + (kTickMs - 1)) >> kTickBits;
    return tick < kTickMax ? tick : kTickMax;
  }

  static constexpr unsigned digit_of(uint64_t tick, unsigned level) {
    return static_cast<unsigned>(tick >> (level * kDigitBits)) % kSlots;
  }

  // The first tick of a slot, seen from the position. A digit behind the position exists only
  // after a backward step of the clock; such a slot is due at once, to be filed again.
  uint64_t start_of(unsigned level, unsigned digit) const {
    unsigned shift = level * kDigitBits;
    uint64_t turn = position_ >> shift;
    uint64_t start = ((turn & ~uint64_t{kSlots - 1}) | digit) << shift;
    return start > position_ ? start : position_;
  }

  uint64_t next_tick() const {
    uint64_t next = kNoTick;
    for (unsigned level = 0; level < kLevels; ++level) {
      if (!occupied_[level]) continue;
      uint64_t start = start_of(level, static_cast<unsigned>(__builtin_ctzll(occupied_[level])));
      if (start < next) next = start;
    }
    return next;
  }

  // A slot whose start is the position; one exists.
  unsigned pending_slot() const {
    for (unsigned level = kLevels; level-- > 0;) {
      if (!occupied_[level]) continue;
      unsigned digit = static_cast<unsigned>(__builtin_ctzll(occupied_[level]));
      if (start_of(level, digit) == position_) return level * kSlots + digit;
    }
    QUOLL_CHECK(false);
    return 0;
  }

  // The slot that comes up next: lower levels come before higher ones.
  unsigned first_slot() const {
    unsigned first = 0;
    uint64_t start = kNoTick;
    for (unsigned level = 0; level < kLevels; ++level) {
      if (!occupied_[level]) continue;
      unsigned digit = static_cast<unsigned>(__builtin_ctzll(occupied_[level]));
      if (start_of(level, digit) >= start) continue;
      start = start_of(level, digit);
      first = level * kSlots + digit;
    }
    return first;
  }

  // Files the item again if its deadline is now beyond its slot. False when it lies where it must.
  bool put_off(unsigned number, Item item) {
    uint64_t tick = tick_of(Traits::deadline(item));
    unsigned shift = number / kSlots * kDigitBits;
    uint64_t slot_end = start_of(number / kSlots, number % kSlots) | ((uint64_t{1} << shift) - 1);
    if (tick <= slot_end || tick <= position_) return false;
    remove(Traits::handle(item));
    file(item, tick);
    ++size_;
    return true;
  }

  template <class Fire>
  size_t drain(unsigned number, size_t items_max, Fire& fire) {
    unsigned level = number / kSlots;
    uint64_t bit = uint64_t{1} << (number % kSlots);
    size_t touched = 0;
    // Everything is read afresh in each round: fire may change the slot under our hands.
    while ((occupied_[level] & bit) && touched < items_max) {
      ++touched;
      Item item = pop(number);
      uint64_t tick = tick_of(Traits::deadline(item));
      // An overdue item above level 0 was put off to the tick after an advance(): see add().
      if (tick < position_ && level > 0) tick = horizon_ + 1;
      if (tick > position_) {
        file(item, tick);
        continue;
      }
      Traits::set_handle(item, Handle());
      --size_;
      firing_ = true;
      fire(item);
      firing_ = false;
    }
    return touched;
  }

  void file(Item item, uint64_t tick) {
    uint64_t difference = tick ^ position_;
    unsigned level =
        difference ? (63 - static_cast<unsigned>(__builtin_clzll(difference))) / kDigitBits : 0;
    if (!levels_[level]) {
      levels_[level] = static_cast<Slot*>(take(kSlots * sizeof(Slot)));
      std::memset(static_cast<void*>(levels_[level]), 0, kSlots * sizeof(Slot));
    }
    unsigned digit = digit_of(tick, level);
    Slot& slot = levels_[level][digit];
    push(slot, item);
    occupied_[level] |= uint64_t{1} << digit;
    Traits::set_handle(item, Handle(level * kSlots + digit, slot.size - 1));
  }

  Slot& slot_of(Handle handle) {
    unsigned number = handle.slot();
    QUOLL_CHECK(handle && number < kLevels * kSlots && levels_[number / kSlots]);
    Slot& slot = levels_[number / kSlots][number % kSlots];
    QUOLL_CHECK(handle.index() < slot.size);
    return slot;
  }

  void push(Slot& slot, Item item) {
    if (slot.size < kChunkItems) {
      if (slot.size == slot.first_max) grow_first(slot);
    } else if (slot.size % kChunkItems == 0) {
      append_chunk(slot);
    }
    ++slot.size;
    *slot.at(slot.size - 1) = item;
  }

  // Takes the last item of a slot out; its handle and size_ are the caller's business.
  Item pop(unsigned number) {
    Slot& slot = levels_[number / kSlots][number % kSlots];
    uint32_t index = slot.size - 1;
    Item item = *slot.at(index);
    // The next items to be popped are about to be read: their memory is rarely in the cache.
    constexpr uint32_t kPrefetchAhead = 6;
    if (index >= kPrefetchAhead) __builtin_prefetch(*slot.at(index - kPrefetchAhead));
    if (index % kChunkItems == 0) {
      drop_last_chunk(slot);
    } else {
      slot.size = index;
    }
    if (slot.size == 0) occupied_[number / kSlots] &= ~(uint64_t{1} << (number % kSlots));
    return item;
  }

  void grow_first(Slot& slot) {
    uint32_t grown_max = slot.first_max ? slot.first_max * 2 : kFirstChunkItems;
    auto* grown = static_cast<Item*>(take(grown_max * sizeof(Item)));
    if (slot.first) {
      std::memcpy(grown, slot.first, slot.size * sizeof(Item));
      give_back(slot.first, slot.first_max * sizeof(Item));
    }
    slot.first = grown;
    slot.first_max = grown_max;
  }

  void append_chunk(Slot& slot) {
    QUOLL_CHECK(slot.size < UINT32_MAX - kChunkItems);
    if (slot.rest_size == slot.rest_max) {
      uint32_t grown_max = slot.rest_max ? slot.rest_max * 2 : 4;
      auto* grown = static_cast<Item**>(take(grown_max * sizeof(Item*)));
      if (slot.rest) {
        std::memcpy(grown, slot.rest, slot.rest_size * sizeof(Item*));
        give_back(slot.rest, slot.rest_max * sizeof(Item*));
      }
      slot.rest = grown;
      slot.rest_max = grown_max;
    }
    slot.rest[slot.rest_size++] = static_cast<Item*>(take(kChunkItems * sizeof(Item)));
  }

  // Frees the chunk that holds the last item, and with it all items of that chunk.
  void drop_last_chunk(Slot& slot) {
    if (slot.size > kChunkItems) {
      give_back(slot.rest[--slot.rest_size], kChunkItems * sizeof(Item));
      slot.size = (slot.rest_size + 1) * kChunkItems;
      return;
    }
    give_back(slot.first, slot.first_max * sizeof(Item));
    if (slot.rest) give_back(slot.rest, slot.rest_max * sizeof(Item*));
    slot = Slot{};
  }

  void* take(size_t bytes) {
    footprint_ += usable_size(bytes);
    return allocate(bytes);
  }
  void give_back(void* block, size_t bytes) {
    footprint_ -= usable_size(bytes);
    release(block, bytes);
  }

  void swap(TimingWheel& other) {
    QUOLL_CHECK(!firing_ && !other.firing_);
    std::swap(position_, other.position_);
    std::swap(horizon_, other.horizon_);
    std::swap(size_, other.size_);
    std::swap(footprint_, other.footprint_);
    std::swap(occupied_, other.occupied_);
    std::swap(levels_, other.levels_);
  }

  uint64_t position_;     // tick up to which all slots are drained
  uint64_t horizon_ = 0;  // the tick advance() is heading for
  size_t size_ = 0;
  size_t footprint_ = 0;
  uint64_t occupied_[kLevels] = {};  // bit d: slot d holds items
  Slot* levels_[kLevels] = {};       // 64 slots each, made on first use
  bool firing_ = false;
};

}  // namespace quoll::base
