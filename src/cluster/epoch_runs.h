// EpochRuns: which epoch each entry of a log has, without the entries.
//
//   base | epoch 1 from index 1 | epoch 4 from index 70 | ... | last
//
// Epochs only grow along a log. Pure. Cost: 16 bytes per change of the leader.
#pragma once

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "cluster/group_types.h"

namespace quoll::cluster {

class EpochRuns {
 public:
  // Empty behind `base`.
  void restart(Position base) {
    runs_.clear();
    base_ = last_ = base;
  }
  Position base() const { return base_; }
  Position last() const { return last_; }

  bool follows(Position next) const {
    return next.index == last_.index + 1 && next.epoch >= last_.epoch;
  }
  void append(Position next) {
    QUOLL_CHECK(follows(next));
    if (runs_.empty() || next.epoch > last_.epoch) runs_.push_back(next);
    last_ = next;
  }
  // Of base() or an entry behind it.
  Position at(Index index) const {
    QUOLL_CHECK(index >= base_.index && index <= last_.index);
    if (index == base_.index) return base_;
    auto behind =
        std::upper_bound(runs_.begin(), runs_.end(), index,
                         [](Index wanted, const Position& run) { return wanted < run.index; });
    return {std::prev(behind)->epoch, index};
  }
  bool holds(Position entry) const {
    return entry.index >= base_.index && entry.index <= last_.index && at(entry.index) == entry;
  }
  // Drops everything behind `index`.
  void truncate(Index index) {
    last_ = at(index);
    while (!runs_.empty() && runs_.back().index > index) runs_.pop_back();
  }
  // Forgets everything up to `base`, which is held.
  void trim(Position base) {
    QUOLL_CHECK(holds(base));
    auto behind =
        std::upper_bound(runs_.begin(), runs_.end(), base.index,
                         [](Index wanted, const Position& run) { return wanted < run.index; });
    const bool inside = behind != runs_.begin() && base.index < last_.index;
    if (behind != runs_.begin()) behind = runs_.erase(runs_.begin(), behind);
    base_ = base;
    // The run that `base` is in goes on behind it, unless the next one begins right there.
    const bool begins = behind != runs_.end() && behind->index == base.index + 1;
    if (inside && !begins) runs_.insert(behind, {base.epoch, base.index + 1});
  }

 private:
  std::vector<Position> runs_;  // the first entry of each
  Position base_;
  Position last_;
};

}  // namespace quoll::cluster
