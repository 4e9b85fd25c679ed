// History: when clients asked for something and when they were told, as all checkers read it, and
// one line of a timeline.
#pragma once

#include <limits>
#include <string>

#include "base/bytes.h"

namespace quoll::sim {

using base::Nanos;

// Nobody was told (-UNCERTAIN, a lost connection, a client that gave up): it may have happened at
// any time since it was asked for, may yet happen, or never.
constexpr Nanos kNever = std::numeric_limits<Nanos>::max();

struct Interval {
  Nanos invoked = 0;
  Nanos returned = kNever;
  bool known() const { return returned != kNever; }
  bool before(const Interval& other) const { return returned < other.invoked; }
};

// "   12.345 ..   13.001 ms  client 3   SET r1 v7 -> OK"
std::string timeline_row(const Interval& interval, int client, const std::string& text);

}  // namespace quoll::sim
