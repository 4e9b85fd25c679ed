// Store: the keys in memory. Reads return const entries and change nothing but access clocks;
// every change goes through Edit, or through flush() and swap() for whole databases, and is
// recorded in the open commit.
//
// Freed databases and large values are given back in small steps (reclaim), so FLUSHALL and DEL of
// any size are O(1) here.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "store/access_clock.h"
#include "store/commit.h"
#include "store/database.h"
#include "store/edit.h"
#include "store/snapshot.h"

namespace quoll::store {

constexpr size_t kReclaimBucketsPerStep = 8;          // about 35 entries; 5-100 us
constexpr size_t kReclaimBytesPerStep = 1 << 20;      // of a large value; about 200 us
constexpr size_t kReclaimItemsPerStep = 64;           // of a large collection; 10-200 us
constexpr size_t kRetiredBlobBytesMin = 64 * 1024;    // smaller values are freed at once: 10 us
constexpr size_t kRetiredBytesMax = size_t{1} << 30;  // beyond this waiting, freeing does not wait
constexpr DbIndex kDatabasesMax = 1 << 20;

struct StoreCounters {
  uint64_t expired_keys = 0;
  uint64_t expired_fields = 0;
  uint64_t evicted_keys = 0;
  uint64_t freed_entries = 0;  // by reclaim: the keys of flushed databases
};

class Store {
 public:
  explicit Store(DbIndex databases, Placement placement = Placement::by_hash);
  ~Store();

  DbIndex databases() const { return static_cast<DbIndex>(databases_.size()); }
  Placement placement() const { return placement_; }
  KeyRef ref(Bytes key) const { return {key, placed_hash(key, placement_)}; }
  CommitBuilder& commits() { return commits_; }

  // The entry of a live key, or nullptr. Never changes the keyspace.
  const Entry* find(DbIndex db, const KeyRef& key, Millis now) const {
    const Entry* entry = present(db, key);
    if (entry && __builtin_expect(entry->expired(now), 0)) return nullptr;
    return entry;
  }
  // True while a key past its deadline still waits to be removed.
  bool holds_expired(DbIndex db, const KeyRef& key, Millis now) const {
    const Entry* entry = present(db, key);
    return entry && entry->expired(now);
  }
  // The steps of a batched lookup, see HashTable::bucket_of. No key may change between them.
  const base::Bucket* bucket_of(DbIndex db, uint64_t hash) const {
    const Database* database = databases_[db].get();
    return database ? database->shard(hash).bucket_of(hash) : nullptr;
  }
  static void prefetch(const base::Bucket* bucket) {
    if (bucket) base::prefetch(bucket);
  }
  static void prefetch_entries(const base::Bucket* bucket, uint64_t hash) {
    if (bucket) Shard::prefetch_items(bucket, hash);
  }
  // Records an access of a key: reads do this, and edits of a key that exists, unless the client
  // asked not to.
  void note_access(const Entry* entry, Millis now) {
    uint32_t bits = entry->access_clock();
    uint32_t after = access_.accessed(bits, now);
    if (after != bits) entry->set_access_clock(after);
  }
  // For OBJECT IDLETIME and OBJECT FREQ.
  static int64_t idle_seconds(const Entry* entry, Millis now) {
    return AccessClock::idle_seconds(entry->access_clock(), now);
  }
  uint32_t frequency(const Entry* entry, Millis now) const {
    return access_.frequency(entry->access_clock(), now);
  }
  AccessClock& access() { return access_; }

  Edit edit(DbIndex db, const KeyRef& key, Millis now, bool access = true) {
    return Edit(*this, db, key, now, access);
  }
  // Empties a database in O(1); its memory is freed by reclaim(). Returns the keys it held.
  uint64_t flush(DbIndex db);
  void swap(DbIndex a, DbIndex b);
  // Takes the place of all databases, in O(databases): what `other` holds becomes ours, what we
  // held is freed by reclaim(). Both have the same number of them.
  void adopt(Store& other);
  // Frees what `other` holds, by our reclaim().
  void discard(Store& other);

  uint64_t keys(DbIndex db) const { return databases_[db] ? databases_[db]->keys : 0; }
  uint64_t expires(DbIndex db) const { return databases_[db] ? databases_[db]->expires : 0; }
  // What follows is for keys placed by slot. O(1).
  uint64_t keys_in_slot(DbIndex db, unsigned slot) const {
    return databases_[db] ? databases_[db]->slots->keys[slot] : 0;
  }
  // Visits the slot's keys, as Database::visit_slot does.
  template <class Visit>
  void visit_slot(DbIndex db, unsigned slot, Visit&& visit) const {
    if (databases_[db] && databases_[db]->slots->keys[slot] > 0)
      std::as_const(*databases_[db]).visit_slot(slot, visit);
  }
  // Of a database in use; else nullptr.
  const KeySizes* key_sizes(DbIndex db) const {
    return databases_[db] ? &databases_[db]->sizes : nullptr;
  }
  // Whether some hash may have fields that expire.
  bool has_field_deadlines() const;
  // Mean remaining ms of the keys that expire (0 when there are none).
  Millis average_ttl(DbIndex db, Millis now) const;

  // Visits live and expired-but-present entries bucket by bucket from `cursor` (0 starts) until at
  // least `count` were visited; returns the next cursor, 0 at the end. Keys present throughout a
  // full iteration are visited at least once. Any number is a valid cursor.
  template <class Visit>
  uint64_t scan(DbIndex db, uint64_t cursor, uint64_t count, Visit&& visit) const;
  // A live entry drawn uniformly, or nullptr when there is none. `draw` yields 64 uniform bits.
  template <class Draw>
  const Entry* random(DbIndex db, Millis now, Draw&& draw) const;

  // Earliest instant at which a key or a field may be due, kNoDeadline if none.
  Millis next_expiry() const;
  // Erases keys and hash fields whose deadline passed, at most about `items_max` of them and of
  // wheel steps; false when more work is due. Must run inside an open commit of Origin::expiry.
  // `lateness` is told ms past the deadline of each key.
  template <class Lateness>
  bool expire_due(Millis now, size_t items_max, Lateness&& lateness);

  // Frees a bounded part of flushed databases and large values; false when nothing is left.
  bool reclaim();
  bool reclaiming() const {
    return !graveyard_.empty() || !retired_.empty() || !retired_collections_.empty();
  }
  uint64_t reclaim_pending() const;

  // Begins a snapshot, which the caller walks with Snapshot::step(). One at a time.
  Snapshot& begin_snapshot(SnapshotSink& sink);
  void end_snapshot() { snapshot_.reset(); }
  Snapshot* snapshot() { return snapshot_.get(); }
  size_t kept_bytes() const { return snapshot_ ? snapshot_->kept_bytes() : 0; }  // for it alone

  StoreCounters& counters() { return counters_; }

 private:
  friend class Defragmentation;
  friend class Edit;
  friend class Eviction;
  friend class Snapshot;
  struct Grave {
    std::unique_ptr<Database> database;
    unsigned shard = 0;
  };

  const Entry* present(DbIndex db, const KeyRef& key) const {
    const Database* database = databases_[db].get();
    if (!database) return nullptr;
    return database->shard(key.hash).find(
        key.hash, [&](const Entry* candidate) { return candidate->key_is(key.bytes); });
  }
  Database& open(DbIndex db, Millis now) {
    QUOLL_CHECK(db < databases());
    if (__builtin_expect(!databases_[db], 0))
      databases_[db] = std::make_unique<Database>(now, placement_);
    return *databases_[db];
  }
  // field_expiry.cc
  size_t expire_fields(DbIndex db, Millis now, size_t steps_max);
  size_t expire_fields_of(DbIndex db, Millis now, size_t fields_max);
  void bury(std::unique_ptr<Database> database) { graveyard_.push_back({std::move(database), 0}); }
  // The end of an entry, and of a value that is replaced.
  void destroy(Entry* entry) {
    retire_value(entry);
    Entry::release_block(entry);
  }
  // Frees the heap value, now or later.
  void retire_value(Entry* entry) {
    if (__builtin_expect(entry->form() != data::Form::heap, 1)) return;
    if (entry->type() != data::Type::string) return free_later(entry->take_collection());
    base::Blob blob = entry->take_blob();
    if (retired_bytes_ + blob.capacity() <= kRetiredBytesMax) free_later(std::move(blob));
  }
  void free_later(base::Blob blob) {
    if (__builtin_expect(blob.capacity() >= kRetiredBlobBytesMin, 0)) queue_blob(std::move(blob));
  }
  void free_later(data::Collection collection) {
    if (__builtin_expect(collection.large(), 0))
      retired_collections_.push_back(std::move(collection));
  }
  void queue_blob(base::Blob blob);
  void reclaim_blob();

  std::vector<std::unique_ptr<Database>> databases_;
  const Placement placement_;
  CommitBuilder commits_;
  AccessClock access_;
  std::deque<Grave> graveyard_;
  std::deque<data::Collection> retired_collections_;
  std::vector<base::Blob> retired_;  // freed from the back; only the last may lack pages
  size_t retired_bytes_ = 0;         // of all retired blobs
  size_t discarded_bytes_ = 0;       // of the last one, from its end
  StoreCounters counters_;
  std::unique_ptr<Snapshot> snapshot_;
  uint32_t snapshots_ = 0;  // begun so far
  DbIndex expire_from_ = 0;
  bool editing_ = false;
};

// Cursor: shard 8 | bucket 6 | depth 5 | prefix, 51 bits in all, so that clients that keep cursors
// in a double lose nothing. 0 is both the start and, as in Redis, the end.
struct ScanCursor {
  unsigned shard = 0;
  base::WalkCursor walk;
  static ScanCursor unpack(uint64_t packed);
  uint64_t pack() const;
};

template <class Visit>
uint64_t Store::scan(DbIndex db, uint64_t cursor, uint64_t count, Visit&& visit) const {
  const Database* database = databases_[db].get();
  if (!database) return 0;
  ScanCursor at = ScanCursor::unpack(cursor);
  uint64_t seen = 0;
  while (at.shard < kShards) {
    bool more = database->shards[at.shard].walk(at.walk, [&](const Entry* entry) {
      ++seen;
      visit(entry);
    });
    if (!more) {
      ++at.shard;
      at.walk = {};
    }
    if (seen >= count) break;
  }
  // What follows may be empty: the last keys then come with the end of the iteration.
  bool fresh = at.walk.prefix == 0 && at.walk.depth == 0 && at.walk.bucket == 0;
  while (fresh && at.shard < kShards && database->shards[at.shard].size() == 0) ++at.shard;
  return at.shard < kShards ? at.pack() : 0;
}

template <class Draw>
const Entry* Store::random(DbIndex db, Millis now, Draw&& draw) const {
  constexpr int kRandomTries = 100;  // expired keys met before the first live one is looked for
  const Database* database = databases_[db].get();
  if (!database || database->keys == 0) return nullptr;
  for (int i = 0; i < kRandomTries; ++i) {
    const Entry* entry = database->random(draw);
    if (!entry->expired(now)) return entry;
  }
  const Entry* first = nullptr;
  for (uint64_t cursor = 0;;) {
    cursor = scan(db, cursor, 1, [&](const Entry* entry) {
      if (!first && !entry->expired(now)) first = entry;
    });
    if (first || cursor == 0) return first;
  }
}

template <class Lateness>
bool Store::expire_due(Millis now, size_t items_max, Lateness&& lateness) {
  size_t left = items_max;
  for (DbIndex step = 0; step < databases(); ++step) {
    DbIndex db = (expire_from_ + step) % databases();
    Database* database = databases_[db].get();
    if (!database) continue;
    bool fields_wait = false;
    if (database->field_wheel) {
      size_t share = database->expires > 0 ? (left + 1) / 2 : left;
      size_t used = expire_fields(db, now, share);
      fields_wait = used >= share;
      left -= used < left ? used : left;
    }
    if (database->expires > 0 && left > 0) {
      size_t used = database->wheel.advance(now, left, [&](Entry* entry) {
        if (!entry->expired(now)) return database->wheel.add(entry);  // beyond the wheel's range
        lateness(now - entry->deadline());
        Edit removal = edit(db, ref(entry->key()), now);  // opening it erases the expired key
      });
      left -= used < left ? used : left;
    }
    if (left == 0 || fields_wait) {
      expire_from_ = db;  // go on here
      return false;
    }
  }
  return true;
}

}  // namespace quoll::store
