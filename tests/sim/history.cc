#include "tests/sim/history.h"

#include <cstdio>

namespace quoll::sim {
namespace {

std::string milliseconds(Nanos at) {
  char text[32];
  std::snprintf(text, sizeof(text), "%10.3f",
                static_cast<double>(at) / static_cast<double>(base::kNanosPerMilli));
  return text;
}

}  // namespace

std::string timeline_row(const Interval& interval, int client, const std::string& text) {
  std::string row = milliseconds(interval.invoked) + " .. ";
  row += interval.known() ? milliseconds(interval.returned) : "         ?";
  return row + " ms  client " + std::to_string(client) + "  " + text;
}

}  // namespace quoll::sim
