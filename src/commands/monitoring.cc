// Watching the server: SLOWLOG, COMMANDLOG (Valkey's, which has logs of large requests and replies
// beside the slow one) and MONITOR.
#include "base/text.h"
#include "commands/families.h"
#include "commands/help.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr int64_t kSlowEntriesShown = 10;  // by SLOWLOG GET without a count

constexpr Bytes kSlowlogHelp[] = {
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
};

constexpr Bytes kCommandlogHelp[] = {
    "GET <count> <type>",
    "    Return top <count> entries of the specified <type> from the commandlog (-1 mean all).",
    "    Entries are made of:",
    "    id, timestamp,",
    "        time in microseconds for type of slow,",
    "        or size in bytes for type of large-request,",
    "        or size in bytes for type of large-reply",
    "    arguments array, client IP and port,",
    "    client name",
    "LEN <type>",
    "    Return the length of the specified type of commandlog.",
    "RESET <type>",
    "    Reset the specified type of commandlog.",
};

void reply_entries(Call& call, const SlowLog& log, int64_t count) {
  const auto& entries = log.entries();
  const auto held = static_cast<int64_t>(entries.size());
  if (count == -1 || count > held) count = held;
  call.reply.array(static_cast<size_t>(count));
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const SlowEntry& entry = entries[i];
    call.reply.array(6);
    call.reply.integer(static_cast<int64_t>(entry.id));
    call.reply.integer(entry.unix_seconds);
    call.reply.integer(entry.micros);
    call.reply.array(entry.args.size());
    for (const std::string& arg : entry.args) call.reply.bulk(arg);
    call.reply.bulk(entry.peer);
    call.reply.bulk(entry.client_name);
  }
}

void slowlog_get(Call& call) {
  if (call.argc() > 3) return reply_unknown_subcommand(call);
  int64_t count = kSlowEntriesShown;
  if (call.argc() == 3 && (!base::parse_int(call.arg(2), count) || count < -1))
    return call.reply.error("ERR count should be greater than or equal to -1");
  reply_entries(call, call.server.slow_log(), count);
}

void slowlog_len(Call& call) {
  call.reply.integer(static_cast<int64_t>(call.server.slow_log().entries().size()));
}

void slowlog_reset(Call& call) {
  call.server.slow_log().reset();
  call.reply.ok();
}

// The log that the argument names; replies the error when it names none.
SlowLog* log_named(Call& call, size_t argument) {
  const Bytes name = call.arg(argument);
  if (base::equals_ignoring_case(name, "slow")) return &call.server.slow_log();
  if (base::equals_ignoring_case(name, "large-request")) return &call.server.large_requests();
  if (base::equals_ignoring_case(name, "large-reply")) return &call.server.large_replies();
  call.reply.error("ERR type should be one of the following: slow, large-request, large-reply");
  return nullptr;
}

void commandlog_get(Call& call) {
  int64_t count;
  if (!base::parse_int(call.arg(2), count) || count < -1)
    return call.reply.error("ERR count should be greater than or equal to -1");
  if (const SlowLog* log = log_named(call, 3)) reply_entries(call, *log, count);
}

void commandlog_len(Call& call) {
  if (const SlowLog* log = log_named(call, 2))
    call.reply.integer(static_cast<int64_t>(log->entries().size()));
}

void commandlog_reset(Call& call) {
  SlowLog* log = log_named(call, 2);
  if (!log) return;
  log->reset();
  call.reply.ok();
}

void commandlog_help(Call& call) { reply_help(call, kCommandlogHelp); }

void slowlog_help(Call& call) { reply_help(call, kSlowlogHelp); }

void monitor(Call& call) {
  if (call.session.in_exec)
    return call.reply.error("ERR MONITOR isn't allowed for DENY BLOCKING client");
  // A second MONITOR has no reply, as in Redis.
  if (call.server.add_monitor(call.session)) call.reply.ok();
}

constexpr uint32_t kMonitoringFlags = kAdmin | kLoading | kStale;

constexpr CommandSpec kMonitoringCommands[] = {
    {.name = "slowlog",
     .arity = -2,
     .group = "server",
     .since = "2.2.12",
     .summary = "A container for commands about the slow log.",
     .complexity = "Depends on subcommand."},
    {.name = "slowlog|get",
     .arity = -2,
     .run = slowlog_get,
     .flags = kMonitoringFlags,
     .group = "server",
     .since = "2.2.12",
     .summary = "Returns the latest entries of the slow log.",
     .complexity = "O(N) where N is the number of entries returned",
     .syntax = "[count]",
     .tips = "request_policy:all_nodes,nondeterministic_output"},
    {.name = "slowlog|len",
     .arity = 2,
     .run = slowlog_len,
     .flags = kMonitoringFlags,
     .group = "server",
     .since = "2.2.12",
     .summary = "Returns how many entries the slow log holds.",
     .complexity = "O(1)",
     .tips = "request_policy:all_nodes,response_policy:agg_sum,nondeterministic_output"},
    {.name = "slowlog|reset",
     .arity = 2,
     .run = slowlog_reset,
     .flags = kMonitoringFlags,
     .group = "server",
     .since = "2.2.12",
     .summary = "Empties the slow log.",
     .complexity = "O(N) where N is the number of entries in the slowlog",
     .tips = "request_policy:all_nodes,response_policy:all_succeeded"},
    {.name = "slowlog|help",
     .arity = 2,
     .run = slowlog_help,
     .flags = kLoading | kStale,
     .group = "server",
     .since = "6.2.0",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
    {.name = "commandlog",
     .arity = -2,
     .group = "server",
     .since = "8.1.0",
     .summary = "A container for commands about the logs of slow and large commands.",
     .complexity = "Depends on subcommand."},
    {.name = "commandlog|get",
     .arity = 4,
     .run = commandlog_get,
     .flags = kMonitoringFlags,
     .group = "server",
     .since = "8.1.0",
     .summary = "Returns the latest entries of the named log.",
     .complexity = "O(N) where N is the number of entries returned",
     .syntax = "count type",
     .tips = "request_policy:all_nodes,nondeterministic_output"},
    {.name = "commandlog|len",
     .arity = 3,
     .run = commandlog_len,
     .flags = kMonitoringFlags,
     .group = "server",
     .since = "8.1.0",
     .summary = "Returns how many entries the named log holds.",
     .complexity = "O(1)",
     .syntax = "type",
     .tips = "request_policy:all_nodes,response_policy:agg_sum,nondeterministic_output"},
    {.name = "commandlog|reset",
     .arity = 3,
     .run = commandlog_reset,
     .flags = kMonitoringFlags,
     .group = "server",
     .since = "8.1.0",
     .summary = "Empties the named log.",
     .complexity = "O(N) where N is the number of entries in the log",
     .syntax = "type",
     .tips = "request_policy:all_nodes,response_policy:all_succeeded"},
    {.name = "commandlog|help",
     .arity = 2,
     .run = commandlog_help,
     .flags = kLoading | kStale,
     .group = "server",
     .since = "8.1.0",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
    {.name = "monitor",
     .arity = 1,
     .run = monitor,
     .flags = kMonitoringFlags | kNoScript,
     .group = "server",
     .since = "1.0.0",
     .summary = "Shows every command that the server runs from now on."},
};
static_assert(well_formed(kMonitoringCommands));

}  // namespace

Family monitoring_commands() { return kMonitoringCommands; }

}  // namespace quoll::commands
