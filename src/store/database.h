// Database: 256 shards of the hash table, a timing wheel of keys and, once there is need of it, one
// of hashes whose fields have deadlines.
//
//   hash bits, top down: 8 shard | directory ... | bucket 6 | fingerprint 8
//   placed by slot:      8 + 6 slot              | bucket 6 | fingerprint 8
//
// Invariants: an entry with a deadline is in the wheel exactly once and holds its handle; `keys`
// and `expires` equal what a full walk would count. The entry of a hash with a field deadline is in
// the wheel of fields exactly once, filed by the earliest of them; the hash holds the handle.
// Cost of an empty database: one pointer table is allocated with the first key (about 10 KB).
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "base/hash_table.h"
#include "base/timing_wheel.h"
#include "data/hash.h"
#include "store/entry.h"
#include "store/key_sizes.h"

namespace quoll::store {

constexpr unsigned kShardBits = 8;
constexpr unsigned kShards = 1u << kShardBits;

// A key with its hash, computed once per command.
struct KeyRef {
  Bytes bytes;
  uint64_t hash;
};

struct WheelTraits {
  using Item = Entry*;
  static Millis deadline(const Entry* entry) {
    return entry->deadline() > kNarrowDeadlineMax ? kNarrowDeadlineMax : entry->deadline();
  }
  static base::WheelHandle handle(const Entry* entry) {
    return base::WheelHandle::unpack(entry->wheel_handle());
  }
  static void set_handle(Entry* entry, base::WheelHandle handle) {
    entry->set_wheel_handle(handle.packed());
  }
};
using Wheel = base::TimingWheel<WheelTraits>;

struct FieldWheelTraits {
  using Item = Entry*;
  static Millis deadline(const Entry* entry) {
    return entry->value<data::Hash>()->earliest_deadline();
  }
  static base::WheelHandle handle(const Entry* entry) {
    return base::WheelHandle::unpack(entry->value<data::Hash>()->wheel_handle());
  }
  static void set_handle(Entry* entry, base::WheelHandle handle) {
    entry->value<data::Hash>()->set_wheel_handle(handle.packed());
  }
};
using FieldWheel = base::TimingWheel<FieldWheelTraits>;

struct EntryTraits {
  using Item = Entry;
  static constexpr unsigned kSkipBits = kShardBits;
  static uint64_t hash(const Entry* entry) { return entry->hash(); }
};
using Shard = base::HashTable<EntryTraits>;

struct Database {
  Database(Millis now, Placement placement) : wheel(now) {
    if (placement == Placement::by_slot) slots = std::make_unique<SlotCounts>();
  }

  Shard& shard(uint64_t hash) { return shards[hash >> (64 - kShardBits)]; }
  const Shard& shard(uint64_t hash) const { return shards[hash >> (64 - kShardBits)]; }

  Shard shards[kShards];
  Wheel wheel;
  std::unique_ptr<FieldWheel> field_wheel;  // made with the first field deadline
  std::string fields_left;  // a key of which more fields are due than one step could remove
  uint64_t keys = 0;
  uint64_t expires = 0;
  std::unique_ptr<SlotCounts> slots;  // only when keys are placed by slot
  KeySizes sizes;
  __int128 deadline_sum_ms = 0;  // of keys that expire; INFO's avg_ttl
  uint32_t snapshot = 0;         // number of the snapshot that covers this database, 0: none

  void count_key(uint64_t hash, int sign) {
    keys += static_cast<uint64_t>(sign);
    if (__builtin_expect(slots != nullptr, 0))
      slots->keys[slot_of(hash)] += static_cast<uint32_t>(sign);
  }
  void count_deadline(Millis deadline, int sign) {
    expires += static_cast<uint64_t>(sign);
    deadline_sum_ms += static_cast<__int128>(deadline) * sign;
  }

  // A key drawn uniformly; there must be one. `draw` yields 64 uniform bits.
  template <class Draw>
  Entry* random(Draw&& draw) const;
  // A point of the hash space at which a key is to be expected: uniform, or in a slot drawn by its
  // number of keys.
  template <class Draw>
  uint64_t random_point(Draw&& draw) const;
  // Visits the keys of a slot, placed by slot, in the order of their hashes; where `visit` returns
  // false the walk ends with the segment. Cost: the slot's part of the table.
  template <class Visit>
  void visit_slot(unsigned slot, Visit&& visit) const {
    constexpr unsigned kSlotBitsInShard = kSlotBits - kShardBits;
    shards[slot >> kSlotBitsInShard].visit_range(slot & ((1u << kSlotBitsInShard) - 1),
                                                 kSlotBitsInShard, visit);
  }

 private:
  template <class Draw>
  Entry* random_in_slot(unsigned slot, Draw&& draw) const;
  unsigned random_slot(uint64_t rank) const;
};

template <class Draw>
Entry* Database::random(Draw&& draw) const {
  uint64_t rank = draw() % keys;
  if (__builtin_expect(slots != nullptr, 0)) return random_in_slot(random_slot(rank), draw);
  const Shard* shard = shards;
  for (; rank >= shard->size(); ++shard) rank -= shard->size();
  return shard->random(draw);
}

template <class Draw>
uint64_t Database::random_point(Draw&& draw) const {
  if (__builtin_expect(slots == nullptr, 1)) return draw();
  return uint64_t{random_slot(draw() % keys)} << (64 - kSlotBits) | draw() >> kSlotBits;
}

// Cells of a slot have its keys spread evenly; those of its shard have not.
template <class Draw>
Entry* Database::random_in_slot(unsigned slot, Draw&& draw) const {
  constexpr int kTries = 64;        // then the exact way
  constexpr size_t kSeen = 64;      // keys of a cell that take part; longer chains collided
  constexpr uint64_t kPlaces = 18;  // hardly a cell has more: all its keys are equally likely
  const uint64_t base = uint64_t{slot} << (64 - kSlotBits);
  for (int i = 0; i < kTries; ++i) {
    Entry* found[kSeen];
    size_t seen = 0;
    const uint64_t point = base | draw() >> kSlotBits;
    shard(point).sample(point, [&](Entry* entry) {
      if (seen < kSeen && slot_of(entry->hash()) == slot) found[seen++] = entry;
    });
    const uint64_t place = draw() % std::max<uint64_t>(seen, kPlaces);
    if (place < seen) return found[place];
  }
  Entry* ranked = nullptr;
  uint64_t rank = draw() % slots->keys[slot];
  visit_slot(slot, [&](Entry* entry) {
    if (rank-- == 0) ranked = entry;
    return ranked == nullptr;
  });
  return ranked;
}

// The slot of the key of this rank, when all are counted in the order of slots.
inline unsigned Database::random_slot(uint64_t rank) const {
  const Shard* shard = shards;
  for (; rank >= shard->size(); ++shard) rank -= shard->size();
  auto slot = static_cast<unsigned>(shard - shards) << (kSlotBits - kShardBits);
  for (; rank >= slots->keys[slot]; ++slot) rank -= slots->keys[slot];
  return slot;
}

}  // namespace quoll::store
