// Database: 256 shards of the hash table and one timing wheel.
//
//   hash bits, top down: 8 shard | directory ... | bucket 6 | fingerprint 8
//
// Invariants: an entry with a deadline is in the wheel exactly once and holds its handle; `keys`
// and `expires` equal what a full walk would count.
// Cost of an empty database: one pointer table is allocated with the first key (about 10 KB).
#pragma once

#include <memory>

#include "base/hash.h"
#include "base/hash_table.h"
#include "base/timing_wheel.h"
#include "store/entry.h"

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

// The hash secret is one per process: entries do not store their hash, splits recompute it. The
// roof draws it before the first key exists; the initial value serves tests.
struct EntryTraits {
  using Item = Entry;
  static constexpr unsigned kSkipBits = kShardBits;
  static uint64_t hash(const Entry* entry) { return base::hash_key(entry->key(), secret); }
  inline static base::HashSecret secret = base::HashSecret::from_seeds(1, 2);
};
using Shard = base::HashTable<EntryTraits>;

struct Database {
  explicit Database(Millis now) : wheel(now) {}

  Shard& shard(uint64_t hash) { return shards[hash >> (64 - kShardBits)]; }
  const Shard& shard(uint64_t hash) const { return shards[hash >> (64 - kShardBits)]; }

  Shard shards[kShards];
  Wheel wheel;
  uint64_t keys = 0;
  uint64_t expires = 0;
  __int128 deadline_sum_ms = 0;  // of keys that expire; INFO's avg_ttl

  void count_deadline(Millis deadline, int sign) {
    expires += static_cast<uint64_t>(sign);
    deadline_sum_ms += static_cast<__int128>(deadline) * sign;
  }
};

}  // namespace quoll::store
