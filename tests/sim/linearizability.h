// Linearizability of a key: is there an order of the operations on it, one at a time, each between
// its invocation and its return, in which every reply is the one that was seen?
//
//   client 1  |---- SET k 1 ----|                         SET 1, GET -> 1, GET -> 1: fits
//   client 2        |- GET -> 1 -|
//   client 3                       |- GET -> nothing -|   fits nowhere: a stale read
//
// The search is that of Wing and Gong with Lowe's just-in-time rule and memoisation: it walks along
// the events, and at each return lets just those pending operations take effect that must, keeping
// every state (value, pending operations that took effect, unknown ones used) that may be.
//   - What leaves the value alone takes effect as soon as it fits: that excludes nothing.
//   - A SET may have been there just before another SET, unseen: such ones are not tried in all
//     combinations, but kept as free to have been or to come.
//   - An operation of unknown outcome stays available for ever, and is used only in front of one
//     that would not fit otherwise. A state that used more of them than an equal one is dropped.
//   - Values that no reply shows are one value, and unknown operations that do the same are
//   counted:
//     a hundred unknown INCRs are a number, not 2^100 choices.
//
// Keys are independent of each other. Every key begins absent; nothing expires. Values are not
// empty.
// Cost: operations x states that may be at a time. 20'000 operations of ten clients that do nothing
// else, on 8 keys: 20 ms; 30 ms with 3 in 1'000 of unknown outcome, 0.8 s with 10 in 1'000.
// Concurrent operations on a key: kPendingMax; states: kStatesMax, beyond which the answer is
// `undecided` after some seconds. It takes a dozen unknown INCRs and DELs on a key with eight
// clients at a time to get there: give a run several keys.
//
// Pure.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "tests/sim/history.h"

namespace quoll::sim {

constexpr size_t kPendingMax = 64;
constexpr size_t kStatesMax = 3'000;

enum class Verb : uint8_t {
  //                   reply                      changes the value
  get,              // value or nothing           no
  set,              // "OK"                       to `value`
  set_if_absent,    // "1" or "0": whether done   if there is none
  compare_and_set,  // "1" or "0": whether done   if it is `expected`
  get_and_set,      // value before or nothing    to `value`
  increment,        // the number, or "error"     if it is a number, or there is none
  erase,            // "1" or "0": whether done   to none
  get_and_erase,    // value or nothing           to none
};

struct Operation {
  int client = 0;
  Verb verb = Verb::get;
  std::string key;
  std::string value;
  std::string expected;
  Interval interval;
  std::optional<std::string> result;  // if the outcome is known
};

std::string describe(const Operation& operation);

struct Linearizability {
  enum class Verdict : uint8_t { holds, violated, undecided } verdict = Verdict::holds;
  std::string explanation;  // of what does not hold: a timeline
  size_t states_most = 0;   // at a time
  bool holds() const { return verdict == Verdict::holds; }
};

// The first key that does not hold, else one that is undecided.
Linearizability check_linearizable(std::span<const Operation> history);

}  // namespace quoll::sim
