// Eviction: chooses the key to give up when memory is short, and removes it by an Edit.
//
//   by recency, by frequency   approximated, as Redis publishes it for its LRU: a few keys are
//   drawn
//                              at random, and the best of them stay in a pool of 16 for the next
//                              time. Two things differ: all keys of a drawn table cell are looked
//                              at (they lie in one cache line and are independent of each other),
//                              and a key of the pool that was used since is no victim any more.
//   by deadline                the same pool, filled from the first slot of the timing wheel: no
//                              sampling over all keys
//   by chance                  one key drawn uniformly
//
// A key that is past its deadline is always the first choice.
//
// The pool names keys by database and hash, not by address: entries move and go. Two keys of equal
// hash are one to it, which costs nothing but a worse choice.
//
// Pure: the seed and `now` are arguments. Cost: one to two cache misses per key looked at, about
// 8 keys per eviction at 5 samples.
#pragma once

#include <array>

#include "store/store.h"

namespace quoll::store {

constexpr size_t kEvictionPool = 16;  // candidates kept between evictions

struct EvictionRules {
  enum class By : uint8_t { recency, frequency, deadline, chance };
  By by = By::chance;
  bool only_expiring = false;  // keys without a deadline are never chosen
  size_t samples = 5;          // keys drawn per choice, at least
  bool operator==(const EvictionRules&) const = default;
};

class Eviction {
 public:
  explicit Eviction(Store& store) : store_(store) {}

  void set_seed(uint64_t seed) { state_ = seed | 1; }
  void set_rules(const EvictionRules& rules);

  // Removes one key within the open commit. False: there is none to choose.
  bool evict_one(Millis now);

 private:
  struct Candidate {
    uint64_t hash;
    DbIndex db;
    uint32_t rank;  // the higher, the sooner it goes
  };

  bool choosable(const Database* database) const;
  Database* next_database();
  Entry* draw_entry(Database& database);
  Entry* best_of_pool(Millis now);
  void refill(Millis now);
  void sample_cells(Database& database, Millis now);
  void consider(Entry* entry, Millis now);
  uint32_t rank(const Entry* entry, Millis now) const;
  void look_for_soonest(Millis now);
  void remove(Entry* entry, Millis now);
  uint64_t draw();

  Store& store_;
  EvictionRules rules_;
  std::array<Candidate, kEvictionPool> pool_;  // the first pooled_, by rising rank
  size_t pooled_ = 0;
  DbIndex db_ = 0;  // of the last key drawn
  uint64_t state_ = 1;
};

}  // namespace quoll::store
