// Defragmenter: when and how much memory is moved together (store/defragmentation.h).
//
//   once a second   fragmentation above active-defrag-threshold-lower and
//   active-defrag-ignore-bytes
//                   begins a cycle: one walk over all keys
//   end of a turn   a slice of the walk: at most kSlice, and less in a turn that is long already;
//                   the next slice is due when the share of the CPU is kept, which lies between
//                   active-defrag-cycle-min and -max as fragmentation between the two thresholds
//
// A cycle rests while a snapshot is open, data are being loaded, or nothing may change. After one
// that hardly moved anything the next waits for kFruitlessRest: what is left is not ours to move.
//
// Cost: nothing while activedefrag is off; one look at the allocator's figures per second while on.
#pragma once

#include "host/host.h"
#include "store/defragmentation.h"

namespace quoll::server {

class Server;

class Defragmenter {
 public:
  static constexpr base::Nanos kSlice = base::kNanosPerMilli / 2;

  explicit Defragmenter(Server& server);

  // Why activedefrag cannot be switched on; empty: it can.
  static base::Bytes obstacle();
  void tick();  // ten times a second
  bool due(base::Nanos now) const { return percent_ != 0 && now >= due_; }
  void work(base::Nanos budget);

  // Share of the CPU that the cycle under way takes, 0: there is none.
  int64_t running() const { return percent_; }
  base::Nanos running_for() const;

 private:
  void consider();
  void begin(int64_t percent);
  void end(bool complete);
  bool must_rest() const;
  void schedule(base::Nanos delay);
  int64_t percent_for(double fragmentation_percent) const;

  Server& server_;
  store::Defragmentation walk_;
  int64_t percent_ = 0;
  unsigned ticks_ = 0;
  base::Nanos due_ = 0;
  base::Nanos begun_ = 0;
  base::Nanos rest_until_ = 0;
  base::Nanos refreshed_ = 0;
  uint64_t moved_before_ = 0;  // the cycle
  uint64_t left_before_ = 0;
  host::TimerId timer_ = 0;
};

}  // namespace quoll::server
