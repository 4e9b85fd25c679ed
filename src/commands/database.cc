// Databases as a whole: KEYS, SCAN, RANDOMKEY, DBSIZE, FLUSHDB, FLUSHALL, SWAPDB.
#include <vector>

#include "base/glob.h"
#include "base/numbers.h"
#include "base/text.h"
#include "commands/databases.h"
#include "commands/families.h"
#include "server/call.h"
#include "server/cluster_node.h"
#include "server/server.h"
#include "server/slot_moves.h"

namespace quoll::commands {

using namespace server;

bool int32_argument(Call& call, size_t i, int32_t& value, Bytes error) {
  int64_t wide;
  if (!call.integer(i, wide, error.empty() ? errors::kNotInteger : error)) return false;
  value = static_cast<int32_t>(wide);
  if (value == wide) return true;
  call.reply.error(error.empty()
                       ? "ERR value is out of range, value must between -2147483648 and 2147483647"
                       : error);
  return false;
}

bool database_argument(Call& call, size_t i, store::DbIndex& db) {
  int32_t number;
  if (!int32_argument(call, i, number)) return false;
  db = static_cast<store::DbIndex>(number);
  if (number >= 0 && db < call.store.databases()) return true;
  call.reply.error(errors::kDbOutOfRange);
  return false;
}

namespace {

void dbsize(Call& call) { call.reply.integer(static_cast<int64_t>(call.store.keys(call.db))); }

void randomkey(Call& call) {
  host::Random& random = call.server.host().random;
  const store::Entry* entry = call.store.random(call.db, call.now, [&] { return random.draw(); });
  if (!entry) return call.reply.null();
  call.reply.bulk(entry->key());
}

// Stops for the whole walk, as Redis does; SCAN is the way to look at a large database.
void keys(Call& call) {
  Bytes pattern = call.arg(1);
  bool all = pattern == "*";
  size_t count = 0;
  uint64_t cursor = 0;
  call.reply.begin_deferred();
  do {
    cursor = call.store.scan(call.db, cursor, UINT64_MAX, [&](const store::Entry* entry) {
      if (entry->expired(call.now) || (!all && !base::glob_match(pattern, entry->key()))) return;
      call.reply.bulk(entry->key());
      ++count;
    });
  } while (cursor != 0 && !call.session.reply_in_vain());
  call.reply.end_deferred(wire::ReplyWriter::Kind::array, count);
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
  Bytes type;
  bool typed = false;
  int64_t count = 10;
};

bool parse_scan(Call& call, ScanOptions& options) {
  for (size_t i = 2; i < call.argc(); i += 2) {
    Bytes word = call.arg(i);
    bool valued = i + 1 < call.argc();
    if (valued && base::equals_ignoring_case(word, "count")) {
      if (!call.integer(i + 1, options.count)) return false;
      if (options.count >= 1) continue;
    } else if (valued && base::equals_ignoring_case(word, "match")) {
      options.pattern = call.arg(i + 1);
      continue;
    } else if (valued && base::equals_ignoring_case(word, "type")) {
      // An unknown type is no error: no key has it.
      options.type = call.arg(i + 1).substr(0, call.arg(i + 1).find('\0'));
      options.typed = true;
      continue;
    }
    call.syntax_error();
    return false;
  }
  return true;
}

void scan(Call& call) {
  uint64_t cursor;
  if (!parse_cursor(call.arg(1), cursor)) return call.reply.error("ERR invalid cursor");
  ScanOptions options;
  if (!parse_scan(call, options)) return;
  bool all = options.pattern == "*";
  std::vector<const store::Entry*> found;
  auto visit = [&](const store::Entry* entry) {
    if (entry->expired(call.now)) return;
    if (!all && !base::glob_match(options.pattern, entry->key())) return;
    if (options.typed) {
      ++call.server.stats().keyspace_hits;  // Redis looks the key up again for its type
      if (!base::equals_ignoring_case(options.type, data::type_name(entry->type()))) return;
    }
    found.push_back(entry);
  };
  cursor = call.store.scan(call.db, cursor, static_cast<uint64_t>(options.count), visit);
  call.reply.array(2);
  char text[base::kIntTextMax];
  call.reply.bulk({text, base::format_uint(cursor, text)});
  call.reply.array(found.size());
  for (const store::Entry* entry : found) call.reply.bulk(entry->key());
}

// ASYNC or SYNC makes no difference: emptying is O(1), and the memory is given back in the
// background in bounded steps.
bool parse_flush(Call& call) {
  // Keys that are on their way here still are another group's.
  const server::ClusterNode* node = call.server.node();
  if (node && node->serves() && node->moves().any_coming()) {
    call.reply.error("TRYAGAIN Slots are being moved to this node");
    return false;
  }
  if (call.argc() == 1) return true;
  if (call.argc() == 2 && (base::equals_ignoring_case(call.arg(1), "async") ||
                           base::equals_ignoring_case(call.arg(1), "sync")))
    return true;
  call.syntax_error();
  return false;
}

// FLUSHALL empties one database after the other; only the first is news to clients that cache.
constexpr store::Event kEventFlushNext{"flushall", 0};

void empty_database(Call& call, store::DbIndex db,
                    const store::Event& event = store::kEventFlushDb) {
  call.server.watches().before_database_change(db, db, call.now);
  call.store.flush(db);
  call.store.commits().touch(db, {}, event, store::Change::keyless);
}

// An empty database is flushed, too: followers may not know that it is empty.
void flushdb(Call& call) {
  if (!parse_flush(call)) return;
  empty_database(call, call.db);
  call.reply.ok();
}

void flushall(Call& call) {
  if (!parse_flush(call)) return;
  bool any = false;
  for (store::DbIndex db = 0; db < call.store.databases(); ++db) {
    if (call.store.keys(db) == 0) continue;
    empty_database(call, db, any ? kEventFlushNext : store::kEventFlushDb);
    any = true;
  }
  if (!any) empty_database(call, call.db);
  call.server.persistence().flushed_all();
  call.reply.ok();
}

void swapdb(Call& call) {
  if (call.server.cluster()) return call.reply.error("ERR SWAPDB is not allowed in cluster mode");
  int32_t first;
  int32_t second;
  if (!int32_argument(call, 1, first, "ERR invalid first DB index")) return;
  if (!int32_argument(call, 2, second, "ERR invalid second DB index")) return;
  auto a = static_cast<store::DbIndex>(first);
  auto b = static_cast<store::DbIndex>(second);
  // Negative numbers are large ones here.
  if (a >= call.store.databases() || b >= call.store.databases())
    return call.reply.error(errors::kDbOutOfRange);
  if (a != b) call.server.watches().before_database_change(a, b, call.now);
  call.store.swap(a, b);
  call.store.commits().touch(a, {}, store::kEventSwapDb, store::Change::keyless);
  if (a != b) call.store.commits().touch(b, {}, store::kEventSwapDb, store::Change::keyless);
  call.reply.ok();
}

constexpr CommandSpec kDatabaseCommands[] = {
    {.name = "keys",
     .arity = 2,
     .run = keys,
     .access = Access::read,
     .categories = kCatDangerous,
     .group = "generic",
     .since = "1.0.0",
     .summary = "Lists the keys whose names match a pattern.",
     .complexity = "O(N) where N is the number of keys in the database.",
     .syntax = "pattern",
     .tips = "request_policy:all_shards,nondeterministic_output_order"},
    {.name = "scan",
     .arity = -2,
     .run = scan,
     .access = Access::read,
     .group = "generic",
     .since = "2.8.0",
     .summary = "Lists the keys of the database in steps.",
     .complexity = "O(1) for each step, O(N) for all of them.",
     .syntax = "cursor [MATCH pattern] [COUNT count] [TYPE type]",
     .tips = "nondeterministic_output,request_policy:special"},
    {.name = "randomkey",
     .arity = 1,
     .run = randomkey,
     .access = Access::read,
     .group = "generic",
     .since = "1.0.0",
     .summary = "Returns a key drawn at random.",
     .complexity = "O(1)",
     .tips = "request_policy:all_shards,nondeterministic_output"},
    {.name = "dbsize",
     .arity = 1,
     .run = dbsize,
     .access = Access::read,
     .flags = kFast,
     .categories = kCatKeyspace,
     .group = "server",
     .since = "1.0.0",
     .summary = "Counts the keys of the database.",
     .complexity = "O(1)",
     .tips = "request_policy:all_shards,response_policy:agg_sum"},
    {.name = "flushdb",
     .arity = -1,
     .run = flushdb,
     .access = Access::write,
     .journal = Journal::verbatim,
     .categories = kCatKeyspace | kCatDangerous,
     .group = "server",
     .since = "1.0.0",
     .summary = "Removes all keys of the database.",
     .complexity = "O(1); memory is given back in the background.",
     .syntax = "[ASYNC | SYNC]",
     .tips = "request_policy:all_shards,response_policy:all_succeeded"},
    {.name = "flushall",
     .arity = -1,
     .run = flushall,
     .access = Access::write,
     .journal = Journal::verbatim,
     .categories = kCatKeyspace | kCatDangerous,
     .group = "server",
     .since = "1.0.0",
     .summary = "Removes all keys of all databases.",
     .complexity =
         "O(N) where N is the number of databases; memory is given back in the background.",
     .syntax = "[ASYNC | SYNC]",
     .tips = "request_policy:all_shards,response_policy:all_succeeded"},
    {.name = "swapdb",
     .arity = 3,
     .run = swapdb,
     .access = Access::write,
     .journal = Journal::verbatim,
     .flags = kFast,
     .categories = kCatKeyspace | kCatDangerous,
     .group = "server",
     .since = "4.0.0",
     .summary = "Exchanges two databases.",
     .complexity = "O(N) where N is the number of watched keys.",
     .syntax = "index1 index2"},
};
static_assert(well_formed(kDatabaseCommands));

}  // namespace

Family database_commands() { return kDatabaseCommands; }

}  // namespace quoll::commands
