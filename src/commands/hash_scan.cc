// HSCAN. Packed hashes come whole in one step, as in Redis.
#include "base/glob.h"
#include "base/numbers.h"
#include "base/text.h"
#include "commands/hash_family.h"
#include "server/server.h"

namespace quoll::commands::hashes {
namespace {

// The cursor: bucket 6 bits | depth 5 | prefix. 0 is both the start and the end; any number is a
// valid place.
base::WalkCursor unpack_cursor(uint64_t packed) {
  constexpr unsigned kDepthLimit = 31;
  base::WalkCursor at;
  at.bucket = packed & (base::kSegmentBuckets - 1);
  at.depth = (packed >> 6) & kDepthLimit;
  at.prefix = (packed >> 11) & ((uint64_t{1} << at.depth) - 1);
  return at;
}

uint64_t pack_cursor(const base::WalkCursor& at) {
  return at.bucket | uint64_t{at.depth} << 6 | at.prefix << 11;
}

// A cursor is whatever strtoul reads whole: a sign is fine, and nothing at all is 0.
bool parse_cursor(Bytes text, uint64_t& cursor) {
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

struct ScanOptions {
  Bytes pattern = "*";
  int64_t count = 10;
  bool values = true;
};

bool parse_scan(Call& call, ScanOptions& options) {
  for (size_t i = 3; i < call.argc(); ++i) {
    bool valued = i + 1 < call.argc();
    if (valued && base::equals_ignoring_case(call.arg(i), "count")) {
      if (!call.integer(++i, options.count)) return false;
      if (options.count >= 1) continue;
    } else if (valued && base::equals_ignoring_case(call.arg(i), "match")) {
      options.pattern = call.arg(++i);
      continue;
    } else if (base::equals_ignoring_case(call.arg(i), "novalues")) {
      options.values = false;
      continue;
    }
    call.syntax_error();
    return false;
  }
  return true;
}

// Adds the next fields to `found` and returns the next cursor.
uint64_t scan_hash(const Hash& hash, uint64_t cursor, const ScanOptions& options, base::Millis now,
                   std::vector<HashItem>& found) {
  bool all = options.pattern == "*";
  auto seen = static_cast<uint64_t>(options.count);
  auto visit = [&](const HashItem& item) {
    if (seen > 0) --seen;
    char text[base::kIntTextMax];
    if (item.expired(now)) return;
    if (all || base::glob_match(options.pattern, item.field.text(text))) found.push_back(item);
  };
  if (hash.packed()) {
    hash.for_each(visit);
    return 0;
  }
  base::WalkCursor at = unpack_cursor(cursor);
  bool more = true;
  while (more && seen > 0) more = hash.walk(at, visit);
  return more ? pack_cursor(at) : 0;
}

}  // namespace

void hscan(Call& call) {
  uint64_t cursor;
  if (!parse_cursor(call.arg(2), cursor)) return call.reply.error("ERR invalid cursor");
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  ScanOptions options;
  if (entry && !parse_scan(call, options)) return;
  std::vector<HashItem> found;
  uint64_t next = 0;
  if (entry) next = scan_hash(*entry->value<Hash>(), cursor, options, call.now, found);
  call.reply.array(2);
  char text[base::kIntTextMax];
  call.reply.bulk({text, base::format_uint(next, text)});
  call.reply.array(options.values ? found.size() * 2 : found.size());
  for (const HashItem& item : found) {
    reply_item(call, item.field);
    if (options.values) reply_item(call, item.value);
  }
}

}  // namespace quoll::commands::hashes
