// What a counter, a lock and a queue promise, checked over a whole run in one sweep: less than
// linearizability says, but for any number of operations, and over locks that run out.
//
// Cost: O(n log n). Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/sim/history.h"

namespace quoll::sim {

// ---- counter: one key that only INCR changes

struct Count {
  int client = 0;
  Interval interval;
  int64_t result = 0;  // if known
};

// Every result is there once; whoever began after another had its reply got a higher one; a number
// nobody got was taken by an operation of unknown outcome that began early enough; and `total`,
// read at the end, is what was acknowledged, and of the unknown ones not more than there were.
std::optional<std::string> check_counter(std::span<const Count> counts, int64_t total);

// ---- lock: SET NX PX with a fencing token

struct LockHold {
  int client = 0;
  Interval acquired;        // of the SET; only of those that were granted
  Nanos released = kNever;  // when the client asked to give it back: from then on it may be free
  Nanos time_to_live = 0;   // counted by the server from some moment within `acquired`
  int64_t token = 0;
};

// No two clients hold it for sure at one time (from the reply until release or the earliest end of
// its time), and later grants have higher tokens. `slack`: of clocks that drift.
std::optional<std::string> check_lock(std::span<const LockHold> holds, Nanos slack);

// ---- queue: elements that are pushed once each, and popped

struct QueueStep {
  int client = 0;
  Interval interval;
  bool pushes = false;
  std::string element;  // "": popped from an empty queue, or unknown what
};

// Every element comes out at most once and only if it went in; of the acknowledged ones that are
// neither popped nor `left` at the end, each was taken by a pop of unknown outcome.
std::optional<std::string> check_queue(std::span<const QueueStep> steps,
                                       std::span<const std::string> left);

}  // namespace quoll::sim
