// Database: 256 shards of the hash table, a timing wheel of keys and, once there is need of it, one
// of hashes whose fields have deadlines.
//
//   hash bits, top down: 8 shard | directory ... | bucket 6 | fingerprint 8
//
// Invariants: an entry with a deadline is in the wheel exactly once and holds its handle; `keys`
// and `expires` equal what a full walk would count. The entry of a hash with a field deadline is in
// the wheel of fields exactly once, filed by the earliest of them; the hash holds the handle.
// Cost of an empty database: one pointer table is allocated with the first key (about 10 KB).
#pragma once

#include <memory>
#include <string>

#include "base/hash.h"
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
  static uint64_t hash(const Entry* entry) { return base::hash_key(entry->key()); }
};
using Shard = base::HashTable<EntryTraits>;

struct Database {
  explicit Database(Millis now) : wheel(now) {}

  Shard& shard(uint64_t hash) { return shards[hash >> (64 - kShardBits)]; }
  const Shard& shard(uint64_t hash) const { return shards[hash >> (64 - kShardBits)]; }

  Shard shards[kShards];
  Wheel wheel;
  std::unique_ptr<FieldWheel> field_wheel;  // made with the first field deadline
  std::string fields_left;  // a key of which more fields are due than one step could remove
  uint64_t keys = 0;
  uint64_t expires = 0;
  KeySizes sizes;
  __int128 deadline_sum_ms = 0;  // of keys that expire; INFO's avg_ttl
  uint32_t snapshot = 0;         // number of the snapshot that covers this database, 0: none

  void count_deadline(Millis deadline, int sign) {
    expires += static_cast<uint64_t>(sign);
    deadline_sum_ms += static_cast<__int128>(deadline) * sign;
  }
};

}  // namespace quoll::store
