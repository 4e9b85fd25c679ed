// DEBUG: for tests and for looking inside. Runs only as enable-debug-command allows
// (kNeedsPermission).
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "base/allocator.h"
#include "base/glob.h"
#include "base/memory.h"
#include "base/text.h"
#include "commands/config_rewriter.h"
#include "commands/debug_keys.h"
#include "commands/families.h"
#include "commands/help.h"
#include "server/debug_switches.h"
#include "server/log.h"
#include "server/replication.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr double kSleepSecondsMax = 3600 * 24 * 365;
constexpr int kGlobTrials = 100'000;  // of STRINGMATCH-TEST
constexpr size_t kGlobBytesMax = 32;
constexpr uint64_t kPackedThresholdMax = uint64_t{1} << 32;

constexpr Bytes kDebugHelp[] = {
    "AOF-FLUSH-SLEEP <microsec>",
    "    Server will sleep before flushing the AOF, this is used for testing.",
    "ASSERT",
    "    Crash by assertion failed.",
    "CHANGE-REPL-ID",
    "    Change the replication IDs of the instance.",
    "    Dangerous: should be used only for testing the replication subsystem.",
    "CLOSE-CLUSTER-LINK-ON-PACKET-DROP <0|1>",
    "CLUSTERLINK KILL <to|from|all> <node-id>",
    "DROP-CLUSTER-PACKET-FILTER <packet-type>",
    "DELAY-RDB-CLIENT-FREE-SECONDS <seconds>",
    "PAUSE-AFTER-FORK <0|1>",
    "    Of tests of clusters and child processes: there are none here.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Like CONFIG REWRITE but writes all configuration options, including",
    "    keywords not listed in original configuration file or default values.",
    "DICT-RESIZING <0|1>",
    "    Accepted without effect: tables grow in small steps here.",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "HTSTATS <dbid>",
    "    Return hash table statistics of the specified database.",
    "HTSTATS-KEY <key>",
    "    Like HTSTATS but for the hash table stored at <key>'s value.",
    "LISTPACK <key>",
    "    Show low level info about the listpack encoding of <key>.",
    "LOADAOF",
    "    Flush the AOF buffers on disk and reload the AOF in memory.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "MALLCTL <key> [<val>]",
    "    Get or set a malloc tuning integer.",
    "MALLCTL-STR <key>",
    "    Get a malloc tuning string.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "OOM",
    "    Crash the server simulating an out-of-memory error.",
    "PANIC",
    "    Crash the server simulating a panic.",
    "PAUSE-CRON <0|1>",
    "    Stop periodic cron job processing.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> string keys named key:<num>. If <prefix> is specified then",
    "    it is used instead of the 'key' prefix.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "QUICKLIST <key> [<0|1>]",
    "    Show low level info about the quicklist encoding of <key>.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Accepted without effect.",
    "RELOAD [option ...]",
    "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
    "    * MERGE: conflicting keys will be loaded from RDB.",
    "    * NOFLUSH: the existing database will not be removed before load, but",
    "      conflicting keys will generate an exception and kill the server.",
    "    * NOSAVE: the database will be loaded from an existing RDB file.",
    "REPLICATE <string>",
    "    Replicates the provided string to replicas, allowing data divergence.",
    "REPLYBUFFER PEAK-RESET-TIME <NEVER|RESET|time>",
    "REPLYBUFFER RESIZING <0|1>",
    "    Accepted without effect: reply buffers come from a pool.",
    "SEGFAULT",
    "    Crash the server with sigsegv.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed. Setting it to 1 reenables back the default.",
    "SET-DISABLE-DENY-SCRIPTS <0|1>",
    "    Whether scripts may call commands that are denied to them.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Enables or disables checksum checks for RDB files and RESTORE's payload.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
    "STRINGMATCH-TEST",
    "    Run a fuzz tester against the glob matcher.",
};

// Redis reads flags with atoi().
bool is_on(const Call& call, size_t argument) {
  int64_t value;
  return base::parse_int(call.arg(argument), value) && value != 0;
}

bool is(const Call& call, size_t argument, Bytes word) {
  return base::equals_ignoring_case(call.arg(argument), word);
}

// --- acts --------------------------------------------------------------------------------------

void debug_assert(Call&) { QUOLL_CHECK(!"DEBUG ASSERT"); }

void debug_oom(Call&) { base::allocate(SIZE_MAX / 2); }

void debug_panic(Call& call) {
  log::warning("------------------------------------------------");
  log::warning("!!! Software Failure. Press left mouse button to continue");
  log::warning("Guru Meditation: {} #{}:{}", "Panic called by DEBUG PANIC", "debug.cc", __LINE__);
  log::warning("------------------------------------------------");
  if (call.server.settings().use_exit_on_panic) std::_Exit(1);
  std::abort();
}

void debug_segfault(Call& call) { call.server.host().process.crash(); }

void debug_sleep(Call& call) {
  double seconds = std::strtod(std::string(call.arg(2)).c_str(), nullptr);
  if (!(seconds > 0)) seconds = 0;
  if (seconds > kSleepSecondsMax) seconds = kSleepSecondsMax;
  call.server.host().process.sleep(static_cast<base::Nanos>(seconds * 1e9));
  call.server.refresh_clock();
  call.reply.ok();
}

void debug_log(Call& call) {
  log::warning("DEBUG LOG: {}", call.arg(2));
  call.reply.ok();
}

void debug_error(Call& call) { call.reply.error(call.arg(2)); }

void debug_rewrite_all(Call& call) {
  rewrite_config_file(call, true, "ERR CONFIG-REWRITE-FORCE-ALL failed: ");
}

void debug_change_repl_id(Call& call) {
  log::notice("Changing replication IDs after receiving change-repl-id");
  call.server.replication().change_id();
  call.reply.ok();
}

void debug_set_active_expire(Call& call) {
  call.server.set_active_expiry(is_on(call, 2));
  call.reply.ok();
}

void debug_pause_cron(Call& call) {
  call.server.set_periodic_work(!is_on(call, 2));
  call.reply.ok();
}

void debug_trust_payloads(Call& call) {
  debug_switches().trust_payloads = is_on(call, 2);
  call.reply.ok();
}

void debug_scripts_may_run_denied(Call& call) {
  debug_switches().scripts_may_run_denied = is_on(call, 2);
  call.reply.ok();
}

void debug_aof_flush_sleep(Call& call) {
  int64_t micros = 0;
  (void)base::parse_int(call.arg(2), micros);
  debug_switches().aof_flush_sleep_us = micros;
  call.reply.ok();
}

// The line goes to the replicas as it is, past the data here.
void debug_replicate(Call& call) {
  cluster::ReplicaFeed& feed = call.server.replication().feed();
  std::string line = fmt::format("*{}\r\n", call.argc() - 2);
  for (Bytes word : call.args.subspan(2)) line += fmt::format("${}\r\n{}\r\n", word.size(), word);
  feed.relay(line);
  feed.forget_database();
  call.reply.ok();
}

void debug_clusterlink(Call& call) {
  call.reply.error("ERR Debug option only available for cluster mode enabled setup!");
}

// LISTPACK and QUICKLIST: what there is to say of a packed value, on standard output.
void print_packed(Call& call, Bytes encoding, const char* name, const char* otherwise) {
  const store::Entry* entry = call.peek(2);
  if (!entry) return call.reply.error("ERR no such key");
  if (entry->encoding_name() != encoding) return call.reply.error(otherwise);
  std::printf("{total bytes %zu} {num entries %llu}\n", entry->footprint(0),
              static_cast<unsigned long long>(entry->collection()->size()));
  std::fflush(stdout);
  call.reply.simple(fmt::format("{} structure printed on stdout", name));
}

void debug_listpack(Call& call) {
  print_packed(call, "listpack", "Listpack", "ERR Not a listpack encoded object.");
}

void debug_quicklist(Call& call) {
  print_packed(call, "quicklist", "Quicklist", "ERR Not a quicklist encoded object.");
}

void debug_accepted(Call& call) { call.reply.ok(); }

void debug_packed_threshold(Call& call) {
  uint64_t bytes;
  if (!base::parse_memory(call.arg(2), bytes) || bytes > kPackedThresholdMax)
    return call.reply.error(
        "ERR argument must be a memory value bigger than 1 and smaller than 4gb");
  call.reply.ok();
}

void debug_replybuffer(Call& call) {
  if (is(call, 2, "peak-reset-time")) {
    int64_t time;
    if (!is(call, 3, "never") && !is(call, 3, "reset") && !call.integer(3, time)) return;
  } else if (!is(call, 2, "resizing")) {
    return reply_unknown_subcommand(call);
  }
  call.reply.ok();
}

void debug_mallctl(Call& call) {
  int64_t given = 0;
  if (call.argc() > 3 && !call.integer(3, given)) return;
  const auto value =
      base::allocator_number(std::string(call.arg(2)), call.argc() > 3 ? &given : nullptr);
  if (!value) return call.reply.error("ERR " + value.error());
  call.reply.integer(value.value());
}

void debug_mallctl_str(Call& call) {
  const auto text = base::allocator_text(std::string(call.arg(2)));
  if (!text) return call.reply.error("ERR " + text.error());
  call.reply.bulk(text.value());
}

// Random patterns of the bytes that mean something against random texts: it must come back.
void debug_stringmatch_test(Call& call) {
  constexpr Bytes kBytes = "*?[]^-\\ab";
  const auto text = [&] {
    std::string made;
    uint64_t chance = call.server.host().random.draw();
    for (size_t size = chance % kGlobBytesMax; size > 0; --size) {
      chance = chance * 6364136223846793005ULL + 1442695040888963407ULL;  // Knuth's MMIX generator
      made += kBytes[(chance >> 33) % kBytes.size()];
    }
    return made;
  };
  int matches = 0;
  for (int i = 0; i < kGlobTrials; ++i) matches += base::glob_match(text(), text());
  QUOLL_CHECK(matches < kGlobTrials);
  call.reply.simple("Apparently Redis did not crash: test passed");
}

// --- PROTOCOL ----------------------------------------------------------------------------------

void protocol_map(Call& call) {
  call.reply.map(3);
  for (int i = 0; i < 3; ++i) {
    call.reply.integer(i);
    call.reply.boolean(i == 1);
  }
}

void protocol_attribute(Call& call) {
  if (call.reply.protocol() > 2) {
    call.reply.attribute(1);
    call.reply.bulk("key-popularity");
    call.reply.array(2);
    call.reply.bulk("key:123");
    call.reply.integer(90);
  }
  call.reply.bulk("Some real reply following the attribute");
}

void protocol_push(Call& call) {
  if (call.reply.protocol() < 3)
    return call.reply.error("ERR RESP2 is not supported by this command");
  call.reply.push(2);
  call.reply.bulk("server-cpu-usage");
  call.reply.integer(42);
  call.reply.bulk("Some real reply following the push reply");
}

void debug_protocol(Call& call) {
  constexpr int kElements = 3;
  wire::ReplyWriter& reply = call.reply;
  const auto numbers = [&] {
    for (int i = 0; i < kElements; ++i) reply.integer(i);
  };
  if (is(call, 2, "string")) return reply.bulk("Hello World");
  if (is(call, 2, "integer")) return reply.integer(12345);
  if (is(call, 2, "double")) return reply.real(3.141);
  if (is(call, 2, "null")) return reply.null();
  if (is(call, 2, "bignum")) return reply.big_number("1234567999999999999999999999999999999");
  if (is(call, 2, "map")) return protocol_map(call);
  if (is(call, 2, "attrib")) return protocol_attribute(call);
  if (is(call, 2, "push")) return protocol_push(call);
  if (is(call, 2, "true")) return reply.boolean(true);
  if (is(call, 2, "false")) return reply.boolean(false);
  if (is(call, 2, "verbatim")) return reply.verbatim("This is a verbatim\nstring");
  if (is(call, 2, "array")) {
    reply.array(kElements);
    return numbers();
  }
  if (is(call, 2, "set")) {
    reply.set(kElements);
    return numbers();
  }
  reply.error(
      "ERR Wrong protocol type name. Please use one of the following: "
      "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
}

// --- the table ---------------------------------------------------------------------------------

void debug_help(Call& call) { reply_help(call, kDebugHelp); }

struct Subcommand {
  Bytes name;
  size_t argc_min;
  size_t argc_max;
  Handler run;
};

// The client waits, and so do all others, until the data is in memory again.
void reloaded(Server& server, SessionId id, base::Result<> result, Bytes error) {
  if (Session* session = server.find_session(id)) session->unblock(result ? Bytes() : error);
}

void debug_reload(Call& call) {
  Persistence::Reload how;
  for (size_t i = 2; i < call.argc(); ++i) {
    if (base::equals_ignoring_case(call.arg(i), "nosave")) {
      how.save = false;
    } else if (base::equals_ignoring_case(call.arg(i), "noflush")) {
      how.flush = false;
    } else if (base::equals_ignoring_case(call.arg(i), "merge")) {
      how.merge = true;
    } else {
      return call.reply.error(
          "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
    }
  }
  call.session.block(0, [](Session& session) { session.reply().ok(); });
  call.server.persistence().reload(
      how, [&server = call.server, id = call.session.id](base::Result<> result) {
        reloaded(server, id, std::move(result),
                 "ERR Error trying to load the RDB dump, check server logs.");
      });
}

void debug_loadaof(Call& call) {
  call.session.block(0, [](Session& session) { session.reply().ok(); });
  call.server.persistence().reload_aof(
      [&server = call.server, id = call.session.id](base::Result<> result) {
        reloaded(server, id, std::move(result),
                 "ERR Error trying to load the AOF files, check server logs.");
      });
}

constexpr size_t kAny = SIZE_MAX;

constexpr Subcommand kSubcommands[] = {
    {"help", 2, 2, debug_help},
    {"aof-flush-sleep", 3, 3, debug_aof_flush_sleep},
    {"assert", 2, kAny, debug_assert},
    {"change-repl-id", 2, 2, debug_change_repl_id},
    {"close-cluster-link-on-packet-drop", 3, 3, debug_accepted},
    {"clusterlink", 5, 5, debug_clusterlink},
    {"config-rewrite-force-all", 2, 2, debug_rewrite_all},
    {"delay-rdb-client-free-seconds", 3, 3, debug_accepted},
    {"dict-resizing", 3, 3, debug_accepted},
    {"digest", 2, 2, debug_digest},
    {"digest-value", 2, kAny, debug_digest_value},
    {"drop-cluster-packet-filter", 3, 3, debug_accepted},
    {"error", 3, 3, debug_error},
    {"htstats", 3, 3, debug_htstats},
    {"htstats-key", 3, 3, debug_htstats_key},
    {"listpack", 3, 3, debug_listpack},
    {"loadaof", 2, 2, debug_loadaof},
    {"log", 3, 3, debug_log},
    {"mallctl", 3, 4, debug_mallctl},
    {"mallctl-str", 3, 3, debug_mallctl_str},
    {"object", 3, 3, debug_object},
    {"oom", 2, kAny, debug_oom},
    {"panic", 2, kAny, debug_panic},
    {"pause-after-fork", 3, 3, debug_accepted},
    {"pause-cron", 3, 3, debug_pause_cron},
    {"populate", 3, 5, debug_populate},
    {"protocol", 3, 3, debug_protocol},
    {"quicklist", 3, 4, debug_quicklist},
    {"quicklist-packed-threshold", 3, 3, debug_packed_threshold},
    {"reload", 2, kAny, debug_reload},
    {"replicate", 3, kAny, debug_replicate},
    {"replybuffer", 4, 4, debug_replybuffer},
    {"segfault", 2, kAny, debug_segfault},
    {"set-active-expire", 3, 3, debug_set_active_expire},
    {"set-disable-deny-scripts", 3, 3, debug_scripts_may_run_denied},
    {"set-skip-checksum-validation", 3, 3, debug_trust_payloads},
    {"sleep", 3, 3, debug_sleep},
    {"stringmatch-test", 2, 2, debug_stringmatch_test},
};

void debug(Call& call) {
  for (const Subcommand& one : kSubcommands)
    if (is(call, 1, one.name) && call.argc() >= one.argc_min && call.argc() <= one.argc_max)
      return one.run(call);
  reply_unknown_subcommand(call);
}

constexpr CommandSpec kDebugCommands[] = {
    {.name = "debug",
     .arity = -2,
     .run = debug,
     .flags = kAdmin | kNoScript | kLoading | kStale | kNeedsPermission,
     .group = "server",
     .since = "1.0.0",
     .summary = "Looks inside the server and provokes situations for tests.",
     .complexity = "Depends on subcommand."},
};
static_assert(well_formed(kDebugCommands));

}  // namespace

Family debug_commands() { return kDebugCommands; }

}  // namespace quoll::commands
