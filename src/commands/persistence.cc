// The persistence family: SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, DUMP, RESTORE.
#include "base/text.h"
#include "cluster/replica_dialect.h"
#include "commands/families.h"
#include "commands/words.h"
#include "persist/dump_payload.h"
#include "server/debug_switches.h"
#include "server/log.h"
#include "server/replication.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr store::Event kEventRestore{"restore", 'g'};

// Redis forks for this and answers later; here the walk goes on between commands. The client waits,
// the others do not.
void save(Call& call) {
  if (call.server.persistence().saving())
    return call.reply.error("ERR Background save already in progress");
  call.session.block(0, [](Session& session) { session.reply().ok(); });
  call.server.persistence().save(
      [&server = call.server, id = call.session.id](base::Result<> done) {
        if (Session* session = server.find_session(id)) session->unblock(done ? "" : "ERR");
      });
}

void bgsave(Call& call) {
  bool schedule = call.argc() > 1;
  if (call.argc() > 2 || (schedule && !same_word(call.arg(1), "schedule")))
    return call.syntax_error();
  Persistence& persistence = call.server.persistence();
  if (persistence.saving()) return call.reply.error("ERR Background save already in progress");
  if (persistence.snapshot_active() && !schedule)
    return call.reply.error(
        "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE "
        "in "
        "order to schedule a BGSAVE whenever possible.");
  bool later = persistence.snapshot_active() || call.session.in_exec;
  persistence.save_in_background();
  call.reply.simple(later ? "Background saving scheduled" : "Background saving started");
}

void bgrewriteaof(Call& call) {
  Persistence& persistence = call.server.persistence();
  if (persistence.rewriting())
    return call.reply.error("ERR Background append only file rewriting already in progress");
  bool later = persistence.snapshot_active() || call.session.in_exec;
  persistence.rewrite_aof();
  call.reply.simple(later ? "Background append only file rewriting scheduled"
                          : "Background append only file rewriting started");
}

void lastsave(Call& call) {
  call.reply.integer(call.server.persistence().save_info().last_save_ms / 1000);
}

void dump(Call& call) {
  const store::Entry* entry = call.find(1);
  if (!entry) return call.reply.null();
  const Settings& settings = call.server.settings();
  call.reply.bulk(persist::dump_payload(*entry, static_cast<unsigned>(settings.rdb_version),
                                        settings.rdbcompression));
}

struct RestoreOptions {
  bool replace = false;
  bool absolute = false;
  int64_t idle_seconds = -1;
  int64_t frequency = -1;
};

// False: an error was replied.
bool parse_options(Call& call, RestoreOptions& options) {
  constexpr int64_t kFrequencyMax = 255;
  for (size_t i = 4; i < call.argc(); ++i) {
    bool more = i + 1 < call.argc();
    if (same_word(call.arg(i), "replace")) {
      options.replace = true;
    } else if (same_word(call.arg(i), "absttl")) {
      options.absolute = true;
    } else if (same_word(call.arg(i), "idletime") && more && options.frequency < 0) {
      if (!call.integer(++i, options.idle_seconds)) return false;
      if (options.idle_seconds < 0) {
        call.reply.error("ERR Invalid IDLETIME value, must be >= 0");
        return false;
      }
    } else if (same_word(call.arg(i), "freq") && more && options.idle_seconds < 0) {
      if (!call.integer(++i, options.frequency)) return false;
      if (options.frequency < 0 || options.frequency > kFrequencyMax) {
        call.reply.error("ERR Invalid FREQ value, must be >= 0 and <= 255");
        return false;
      }
    } else {
      call.syntax_error();
      return false;
    }
  }
  return true;
}

// The payload is journaled as it came: replaying it decodes the same bytes. Replicas get it in the
// oldest form that holds the value, for they may know no newer one.
void tell_restored(Call& call, const store::Entry& entry, base::Millis deadline) {
  Bytes payload = call.arg(3);
  std::string older;
  if (call.server.replication().feed().listening() && !cluster::knows_payload(payload)) {
    older = persist::dump_payload(entry, cluster::kReplicaRdbVersion, false);
    payload = older;
  }
  call.effect({"RESTORE", call.arg(1), std::to_string(deadline), payload, "REPLACE", "ABSTTL"});
}

void restore_value(Call& call, const RestoreOptions& options, base::Millis deadline,
                   data::Value value) {
  store::Edit edit = call.edit(1);
  if (edit.found()) edit.erase();  // what replaces it is a new key
  edit.put(std::move(value), deadline ? store::Ttl::at(deadline) : store::Ttl::drop());
  store::AccessClock& access = call.store.access();
  if (options.idle_seconds >= 0)
    edit.entry()->set_access_clock(access.idle_for(options.idle_seconds, call.now));
  if (options.frequency >= 0)
    edit.entry()->set_access_clock(
        access.used_so_often(static_cast<uint32_t>(options.frequency), call.now));
  edit.done(kEventRestore);
  tell_restored(call, *edit.entry(), deadline);
}

void restore(Call& call) {
  RestoreOptions options;
  if (!parse_options(call, options)) return;
  bool present = call.peek(1) != nullptr;
  if (present && !options.replace)
    return call.reply.error("BUSYKEY Target key name already exists.");
  int64_t ttl;
  if (!call.integer(2, ttl)) return;
  if (ttl < 0) return call.reply.error("ERR Invalid TTL value, must be >= 0");

  persist::DecodeOptions decode;
  decode.packing = call.server.packing();
  decode.now = call.now;
  std::string scratch;
  data::Value value;
  const bool verify = !debug_switches().trust_payloads;
  switch (persist::read_payload(call.arg(3), decode, scratch, value, verify)) {
    case persist::PayloadFault::footer:
      return call.reply.error("ERR DUMP payload version or checksum are wrong");
    case persist::PayloadFault::value:
      log::warning("The payload of a RESTORE is no value: integrity check failed");
      return call.reply.error("ERR Bad data format");
    case persist::PayloadFault::none:
      break;
  }
  base::Millis deadline = ttl;
  if (ttl && !options.absolute && __builtin_add_overflow(ttl, call.now, &deadline))
    return call.reply.error("ERR Invalid TTL value, must be >= 0");
  if (deadline && deadline <= call.now) {
    store::Edit edit = call.edit(1);
    if (edit.found()) {
      edit.erase();
      edit.done(store::kEventDel);
      call.effect({"DEL", call.arg(1)});
    }
  } else {
    restore_value(call, options, deadline, std::move(value));
  }
  call.reply.ok();
}

constexpr CommandSpec kPersistenceCommands[] = {
    {.name = "save",
     .arity = 1,
     .run = save,
     .flags = kAdmin | kNoScript | kNoAsyncLoading | kNoMulti,
     .group = "server",
     .since = "1.0.0",
     .summary = "Writes all databases to the RDB file and answers when it is durable.",
     .complexity = "O(N) where N is the total number of keys in all databases"},
    {.name = "bgsave",
     .arity = -1,
     .run = bgsave,
     .flags = kAdmin | kNoScript | kNoAsyncLoading,
     .group = "server",
     .since = "1.0.0",
     .summary = "Writes all databases to the RDB file in the background.",
     .complexity = "O(1)",
     .syntax = "[SCHEDULE]"},
    {.name = "bgrewriteaof",
     .arity = 1,
     .run = bgrewriteaof,
     .flags = kAdmin | kNoScript | kNoAsyncLoading,
     .group = "server",
     .since = "1.0.0",
     .summary = "Rewrites the append-only file in the background.",
     .complexity = "O(1)"},
    {.name = "lastsave",
     .arity = 1,
     .run = lastsave,
     .flags = kLoading | kStale | kFast,
     .categories = kCatAdmin | kCatDangerous,
     .group = "server",
     .since = "1.0.0",
     .summary = "Returns the unix time of the last successful save.",
     .complexity = "O(1)",
     .tips = "nondeterministic_output"},
    {.name = "dump",
     .arity = 2,
     .run = dump,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .categories = kCatKeyspace,
     .group = "generic",
     .since = "2.6.0",
     .summary = "Returns the value of a key in the form of an RDB file, for RESTORE.",
     .complexity =
         "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of "
         "Redis objects composing the value and M their average size. For small string values the "
         "time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).",
     .syntax = "key",
     .tips = "nondeterministic_output"},
    {.name = "restore",
     .arity = -4,
     .run = restore,
     .access = Access::write,
     .journal = Journal::rewritten,
     .keys = keys::first(kKeyOw | kKeyUpdate),
     .flags = kDenyOom,
     .categories = kCatKeyspace | kCatDangerous,
     .group = "generic",
     .since = "2.6.0",
     .summary = "Makes a key of what DUMP returned.",
     .complexity =
         "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, "
         "where N is the number of Redis objects composing the value and M their average size. For "
         "small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply "
         "O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting "
         "values into sorted sets is O(log(N)).",
     .syntax = "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]"},
    {.name = "restore-asking",
     .arity = -4,
     .run = restore,
     .access = Access::write,
     .journal = Journal::rewritten,
     .keys = keys::first(kKeyOw | kKeyUpdate),
     .flags = kDenyOom | kAsking,
     .categories = kCatKeyspace | kCatDangerous,
     .group = "server",
     .since = "3.0.0",
     .summary = "RESTORE as a cluster sends it when it moves keys.",
     .complexity =
         "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, "
         "where N is the number of Redis objects composing the value and M their average size. For "
         "small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply "
         "O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting "
         "values into sorted sets is O(log(N)).",
     .syntax = "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]"},
};
static_assert(well_formed(kPersistenceCommands));

}  // namespace

Family persistence_commands() { return kPersistenceCommands; }

}  // namespace quoll::commands
