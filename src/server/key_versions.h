// KeyVersions: fencing tokens of keys, for OBJECT VERSION at the leader of a group.
//
//   token = epoch << 40 | index of an entry of the log
//
// What a token promises, for one key:
//   1. it never goes down, whoever leads and whatever was restarted meanwhile;
//   2. behind a change of the key it is greater than every token told before the change.
// So who takes a lock later has the greater token, and a resource that remembers the greatest one
// it has seen can refuse the others. It is the index of the entry that changed the key last, or of
// a later one; the same token twice means that the key has not changed in between.
//
// Nothing is kept per key, on disk or between members:
//
//   places   a fixed table of 65,536 indexes. A change notes its entry's index at the place that
//   the
//            key's hash selects; keys that share a place share the greater index.
//   floor    what a key whose place is empty is told: the last entry of the log when the leader was
//            first asked in its epoch. Before that nothing is noted and the table does not exist.
//
// Why that keeps the promises: a leader of epoch e tells indexes from the floor on up to the last
// entry at that time, so a change that follows has a greater one, and places only grow (2 and 1
// within an epoch; within it no entry is ever taken back from its leader). A later leader's epoch
// is greater, and the epoch stands in front: all it tells is greater than all that was told before
// it (1 and 2 across failover, restart, checkpoint and full synchronization; each of them begins a
// new epoch, or a follower's part, and a follower tells nothing). That an old leader does not
// answer behind a new one's back is what the confirmation of reads is for. An index told may belong
// to an entry that is lost with its leader: the epoch that follows is greater all the same.
//
// Inside a transaction or script, behind a change of its own, the token is that of its own entry,
// whichever key it has changed: all of it is one entry.
//
// Indexes need 40 bits, a trillion entries of one epoch. A token is exact as a double, where
// clients or Lua make it one, for 8,192 epochs.
//
// Pure. Cost: nothing before the first question of an epoch; then 512 KiB, and one hash and one
// store per change.
#pragma once

#include <algorithm>
#include <vector>

#include "base/hash.h"
#include "cluster/group_types.h"
#include "store/commit.h"

namespace quoll::server {

constexpr unsigned kTokenIndexBits = 40;

inline uint64_t token_of(cluster::Position at) { return (at.epoch << kTokenIndexBits) | at.index; }
inline cluster::Position position_of(uint64_t token) {
  return {token >> kTokenIndexBits, token & ((uint64_t{1} << kTokenIndexBits) - 1)};
}

class KeyVersions {
 public:
  // Another epoch begins, or we lead no more.
  void forget() { places_ = {}; }
  bool on() const { return !places_.empty(); }

  // The commit became the entry `index` of the epoch.
  void changed(const store::Commit& commit, cluster::Index index) {
    if (__builtin_expect(!on(), 1)) return;
    for (const store::Touch& touch : commit.touches) {
      if (touch.change == store::Change::keyless)
        floor_ = index;
      else
        place(touch.db, touch.key) = index;
    }
  }

  // The index to tell for a key. `last`: the last entry of the log. `own`: the entry that the open
  // commit will be, if it has changed something; else 0.
  cluster::Index tell(store::DbIndex db, base::Bytes key, cluster::Index last, cluster::Index own) {
    if (!on()) {
      places_.resize(kPlaces);
      floor_ = last;
    }
    cluster::Index& noted = place(db, key);
    if (own != 0) noted = own;
    return std::max(noted, floor_);
  }

 private:
  static constexpr size_t kPlaces = 1 << 16;

  cluster::Index& place(store::DbIndex db, base::Bytes key) {
    constexpr uint64_t kSpread = 0x9e3779b97f4a7c15u;  // golden ratio: databases fall apart
    return places_[(base::hash_key(key) + db * kSpread) % kPlaces];
  }

  std::vector<cluster::Index> places_;
  cluster::Index floor_ = 0;
};

}  // namespace quoll::server
