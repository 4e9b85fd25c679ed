// Defragmentation: a walk over all keys that moves blocks lying in sparsely used slabs of the
// allocator together (base/compaction.h): entries, their values, and the tables in between.
//
//   shard's bucket -> entry -> value        an entry is one block; what points to it is its bucket,
//            \           ^                  and a wheel where it has a deadline
//             \          |
//              wheel ----+
//
// Nothing a client can see changes, so no commit is made and no edit opened. Collections of many
// blocks wait until the bucket is done and are then walked in steps of their own, found again by
// key each time.
//
// Not to be stepped while a snapshot is open, which remembers entries by address, nor while an Edit
// is.
//
// Cost: a step is one bucket, or one bucket, node or leaf of a large value: about 1 us.
#pragma once

#include <string>
#include <vector>

#include "base/compaction.h"
#include "data/relocation.h"
#include "store/store.h"

namespace quoll::store {

class Defragmentation {
 public:
  explicit Defragmentation(Store& store,
                           base::Compaction::Rule rule = base::Compaction::Rule::sparse)
      : store_(store), blocks_(rule) {}

  // False: every key was seen, and the next step begins anew.
  bool step();

  base::Compaction& blocks() { return blocks_; }
  uint64_t keys_moved() const { return keys_moved_; }  // of which at least one block moved
  uint64_t keys_left() const { return keys_left_; }

 private:
  struct Unfinished {
    DbIndex db;
    std::string key;
    data::RelocationCursor at;
  };

  void step_unfinished();
  Entry* move_key(Database& database, Entry* entry);
  Entry* move_entry(Database& database, Entry* entry);
  void move_value(Entry* entry);

  Store& store_;
  base::Compaction blocks_;
  std::vector<Unfinished> unfinished_;
  DbIndex db_ = 0;
  unsigned shard_ = 0;
  base::WalkCursor cursor_;
  uint64_t keys_moved_ = 0;
  uint64_t keys_left_ = 0;
};

}  // namespace quoll::store
