// Commands that look at one set.
#include <vector>

#include "base/glob.h"
#include "base/numbers.h"
#include "base/text.h"
#include "commands/set_family.h"
#include "server/server.h"

namespace quoll::commands::sets {
namespace {

// The cursor of SSCAN: bucket 6 | depth 5 | prefix. 0 is both the start and the end; any number is
// a valid place.
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
};

bool parse_scan(Call& call, ScanOptions& options) {
  for (size_t i = 3; i < call.argc(); i += 2) {
    bool valued = i + 1 < call.argc();
    if (valued && base::equals_ignoring_case(call.arg(i), "count")) {
      if (!call.integer(i + 1, options.count)) return false;
      if (options.count >= 1) continue;
    } else if (valued && base::equals_ignoring_case(call.arg(i), "match")) {
      options.pattern = call.arg(i + 1);
      continue;
    }
    call.syntax_error();
    return false;
  }
  return true;
}

void reply_cursor(Call& call, uint64_t cursor) {
  call.reply.array(2);
  char text[base::kIntTextMax];
  call.reply.bulk({text, base::format_uint(cursor, text)});
}

}  // namespace

void sismember(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  call.reply.integer(entry && entry->value<Set>()->contains(call.arg(2)));
}

void smismember(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  call.reply.array(call.argc() - 2);
  for (size_t i = 2; i < call.argc(); ++i)
    call.reply.integer(entry && entry->value<Set>()->contains(call.arg(i)));
}

void scard(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  call.reply.integer(entry ? static_cast<int64_t>(entry->value<Set>()->size()) : 0);
}

void smembers(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  if (!entry) return call.reply.set(0);
  auto set = entry->value<Set>();
  call.reply.set(set->size());
  set->for_each([&](const PackedItem& member) { reply_member(call, member); });
}

// Packed sets come whole in one step, as in Redis.
void sscan(Call& call) {
  uint64_t cursor;
  if (!parse_cursor(call.arg(2), cursor)) return call.reply.error("ERR invalid cursor");
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  ScanOptions options;
  if (entry && !parse_scan(call, options)) return;
  bool all = options.pattern == "*";
  std::vector<PackedItem> found;
  auto visit = [&](const PackedItem& member) {
    char text[base::kIntTextMax];
    if (all || base::glob_match(options.pattern, member.text(text))) found.push_back(member);
  };
  uint64_t next = 0;
  if (entry) {
    auto set = entry->value<Set>();
    if (set->encoding() == Set::Encoding::table) {
      base::WalkCursor at = unpack_cursor(cursor);
      uint64_t seen = 0;
      bool more = true;
      while (more && seen < static_cast<uint64_t>(options.count))
        more = set->table().walk(at, [&](const data::SetMember* member) {
          ++seen;
          visit(PackedItem::of_bytes(member->bytes()));
        });
      if (more) next = pack_cursor(at);
    } else {
      set->for_each(visit);
    }
  }
  reply_cursor(call, next);
  call.reply.array(found.size());
  for (const PackedItem& member : found) reply_member(call, member);
}

}  // namespace quoll::commands::sets
