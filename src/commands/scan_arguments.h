// What the commands of one collection that iterate by cursor share (ZSCAN and its like): their
// cursor, their options and the head of their reply.
#pragma once

#include "base/text.h"
#include "server/call.h"

namespace quoll::commands {

// A cursor is whatever strtoul reads whole: a sign is fine, and nothing at all is 0.
inline bool parse_scan_cursor(server::Bytes text, uint64_t& cursor) {
  text = text.substr(0, text.find('\0'));
  cursor = 0;
  if (text.empty()) return true;
  bool minus = text[0] == '-';
  if (minus || text[0] == '+') text.remove_prefix(1);
  if (text.empty()) return false;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    auto digit = static_cast<uint64_t>(c - '0');
    if (cursor > (UINT64_MAX - digit) / 10) return false;
    cursor = cursor * 10 + digit;
  }
  if (minus) cursor = -cursor;
  return true;
}

struct ScanArguments {
  server::Bytes pattern = "*";
  int64_t count = 10;

  // The options from argument `first` on; false with the error replied.
  bool parse(server::Call& call, size_t first) {
    for (size_t i = first; i < call.argc(); i += 2) {
      bool valued = i + 1 < call.argc();
      if (valued && base::equals_ignoring_case(call.arg(i), "count")) {
        if (!call.integer(i + 1, count)) return false;
        if (count >= 1) continue;
      } else if (valued && base::equals_ignoring_case(call.arg(i), "match")) {
        pattern = call.arg(i + 1);
        continue;
      }
      call.syntax_error();
      return false;
    }
    return true;
  }
};

// The first of the reply's two elements.
inline void reply_scan_cursor(server::Call& call, uint64_t cursor) {
  call.reply.array(2);
  char text[base::kIntTextMax];
  call.reply.bulk({text, base::format_uint(cursor, text)});
}

}  // namespace quoll::commands
