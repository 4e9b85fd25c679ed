// Snapshot: one consistent walk over all keys, while edits go on. What the sink gets equals the
// data at the instant the snapshot began, each key once; nothing is copied and no process is
// forked.
//
//   begin    the databases of that instant are covered; O(databases)
//   step     the walk: the next unsaved buckets in hash order are written and marked as saved
//   barrier  an edit in an unsaved bucket has the bucket written first (before_edit)
//
// Marks are 64 bits per segment, inherited by splits; segments do not merge meanwhile. A flushed
// database is kept here until it is written.
//
// Large values are written in pieces. One that stands in a bucket the barrier writes is owed: it is
// written later by the walk, or at once when an edit wants to change it. So an edit never waits for
// another key's large value, only for its own. Whoever can be made to wait asks defer_edit() first:
// when much of the value is still to be written, the walk turns to it, and the edit is tried again
// behind it.
//
// Cost: nothing per key; one branch per edit without a snapshot.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "store/database.h"

namespace quoll::store {

class Store;
using DbIndex = uint32_t;

constexpr size_t kSnapshotPieceBytes = 64 * 1024;      // of a large value per step
constexpr size_t kSnapshotEditBytesMax = 1024 * 1024;  // written at once for an edit that can wait

class SnapshotSink {
 public:
  virtual ~SnapshotSink() = default;
  // Writes an entry, or its next piece of about `bytes_max`; true when the entry is complete. Until
  // then the same entry follows, or complete() for others.
  virtual bool piece(DbIndex db, const Entry& entry, size_t bytes_max) = 0;
  // Writes an entry, or all that is left of the unfinished one.
  virtual void complete(DbIndex db, const Entry& entry) = 0;
};

class Snapshot {
 public:
  Snapshot(Store& store, SnapshotSink& sink, uint32_t number);
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // Writes a few buckets, or one piece of a large value. False when everything is written.
  bool step();
  // Whether an edit of the key would have to write more than kSnapshotEditBytesMax of its value
  // first. The walk then turns to it next: ask again when awaited() is false, or the snapshot over.
  bool defer_edit(DbIndex db, const KeyRef& key);
  bool awaited() const { return awaited_ != nullptr; }

  uint64_t keys_total() const { return keys_total_; }
  uint64_t keys_written() const { return keys_written_; }
  // Memory of the databases that were flushed meanwhile, about: their share of all keys then.
  size_t kept_bytes() const { return kept_bytes_; }

 private:
  friend class Edit;
  friend class Store;
  struct Covered {
    DbIndex db;
    Database* database;
    std::unique_ptr<Database> kept;  // flushed meanwhile
  };
  struct Owed {
    DbIndex db;
    const Entry* entry;
  };

  void before_edit(Database& database, const KeyRef& key);
  // A flushed database: taken when it is covered.
  bool keep(std::unique_ptr<Database>& database);
  DbIndex index_of(const Database& database) const;
  void write(DbIndex db, const Entry& entry);
  void save_chain(Database& database, const KeyRef& key, bool own_at_once);
  std::multimap<uint64_t, Owed>::iterator find_owed(DbIndex db, const KeyRef& key);
  size_t left_of(const Entry& entry) const;
  bool step_unfinished();
  bool step_walk();

  Store& store_;
  SnapshotSink& sink_;
  uint32_t number_;
  std::vector<Covered> covered_;
  std::vector<Owed> found_;             // of the bucket being written
  std::multimap<uint64_t, Owed> owed_;  // large entries of saved buckets, by key hash
  Owed unfinished_{0, nullptr};         // the entry the sink has a part of
  size_t unfinished_bytes_ = 0;         // of that part, about
  const Entry* awaited_ = nullptr;      // large, and the next to be written
  size_t at_ = 0;                       // of covered_
  unsigned shard_ = 0;
  base::WalkCursor cursor_;
  uint64_t keys_total_ = 0;
  uint64_t keys_written_ = 0;
  size_t kept_bytes_ = 0;
};

}  // namespace quoll::store
