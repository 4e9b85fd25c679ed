// ChangeWindow: the last commits of the change stream in memory, as the append-only file has them.
//
//   dropped ... floor | held: seq 18, seq 19, seq 21 ... last
//
// Bounded: the oldest go when the limit is passed; one that is larger than the limit alone is not
// held at all. Pure. Cost: one copy per commit and 40 bytes beside it.
#pragma once

#include <deque>
#include <string>

#include "store/commit.h"

namespace quoll::server {

class ChangeWindow {
 public:
  // Empties it: what comes is behind `floor`.
  void begin(store::Seq floor);
  void set_limit(size_t bytes_max);
  void add(store::Seq seq, base::Bytes text);

  // Whether all commits behind `seq` are held.
  bool holds_behind(store::Seq seq) const { return seq >= floor_; }
  store::Seq floor() const { return floor_; }
  store::Seq last() const { return last_; }
  struct Held {
    store::Seq seq;
    std::string text;
  };
  // The first one behind `seq`; null: there is none.
  const Held* behind(store::Seq seq) const;

  size_t bytes() const { return bytes_; }
  size_t bytes_max() const { return bytes_max_; }
  size_t commits() const { return held_.size(); }
  uint64_t dropped() const { return dropped_; }  // since the start

 private:
  static size_t cost(const Held& held) { return sizeof(Held) + held.text.capacity(); }
  void shrink();

  std::deque<Held> held_;
  store::Seq floor_ = 0;
  store::Seq last_ = 0;
  size_t bytes_ = 0;
  size_t bytes_max_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace quoll::server
