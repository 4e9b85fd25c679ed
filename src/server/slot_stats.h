// SlotStats: what the commands of each slot cost, for CLUSTER SLOT-STATS. How many keys a slot has
// the store knows itself.
//
//   per slot   processor time of its commands, bytes of their lines as RESP, bytes of their replies
//
// A command of several keys counts for the slot of its first; those of a transaction one by one,
// those of a script as the script; one that waits for keys when it is over.
//
// Cost: nothing while it is off (the dispatcher comes here on the way of slow commands). While it
// is on 24 bytes per slot, and the command's words are looked at once more.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace quoll::server {

class SlotStats {
 public:
  struct Slot {
    base::Nanos nanos = 0;
    uint64_t bytes_in = 0;
    uint64_t bytes_out = 0;
  };

  bool active() const { return !slots_.empty(); }
  // Whoever switches it off forgets what was counted.
  void set_active(bool on);
  void record(unsigned slot, base::Nanos elapsed, base::Args line, uint64_t reply_bytes);
  // Zeros while it is off.
  Slot of(unsigned slot) const { return active() ? slots_[slot] : Slot{}; }
  void forget(unsigned slot);
  void reset();

 private:
  std::vector<Slot> slots_;
};

// Bytes of the command line as clients send it.
uint64_t request_bytes_of(base::Args line);

}  // namespace quoll::server
