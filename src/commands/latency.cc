// LATENCY: spikes above latency-monitor-threshold, and histograms of every command's duration.
#include "commands/families.h"
#include "commands/help.h"
#include "commands/latency_report.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr Bytes kLatencyHelp[] = {
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the "
    "specified command names.",
    "    If no commands are specified then all histograms are replied.",
};

void latency_latest(Call& call) {
  const auto& series = call.server.latency().series();
  call.reply.array(series.size());
  for (const auto& [event, samples] : series) {
    const LatencySample latest = samples.latest();
    call.reply.array(4);
    call.reply.bulk(event);
    call.reply.integer(latest.unix_seconds);
    call.reply.integer(latest.millis);
    call.reply.integer(samples.max_millis());
  }
}

void latency_history(Call& call) {
  const auto& series = call.server.latency().series();
  const auto at = series.find(call.arg(2));
  if (at == series.end()) return call.reply.array(0);
  const std::vector<LatencySample> samples = at->second.samples();
  call.reply.array(samples.size());
  for (const LatencySample& sample : samples) {
    call.reply.array(2);
    call.reply.integer(sample.unix_seconds);
    call.reply.integer(sample.millis);
  }
}

void latency_reset(Call& call) {
  call.reply.integer(static_cast<int64_t>(call.server.latency().reset(call.args.subspan(2))));
}

void latency_graph_reply(Call& call) {
  const auto& series = call.server.latency().series();
  const auto at = series.find(call.arg(2));
  if (at == series.end())
    return call.reply.error("ERR No samples available for event '" + std::string(call.arg(2)) +
                            "'");
  call.reply.verbatim(latency_graph(at->first, at->second, call.now / 1000));
}

void latency_doctor(Call& call) {
  call.reply.verbatim(latency_diagnosis(call.server.latency(), call.server.settings()));
}

// One entry of the map, when the command has run.
size_t reply_histogram(Call& call, const Command& command) {
  const base::Histogram* latency = command.counters.latency.get();
  if (!latency || latency->empty()) return 0;
  call.reply.bulk(command.name);
  call.reply.map(2);
  call.reply.bulk("calls");
  call.reply.integer(static_cast<int64_t>(latency->count()));
  call.reply.bulk("histogram_usec");
  size_t rows = 0;
  call.reply.begin_deferred();
  latency->each_power_of_two([&](uint64_t limit_us, uint64_t calls) {
    call.reply.integer(static_cast<int64_t>(limit_us));
    call.reply.integer(static_cast<int64_t>(calls));
    ++rows;
  });
  call.reply.end_deferred(wire::ReplyWriter::Kind::map, rows);
  return 1;
}

// A command and all its subcommands.
size_t reply_histograms(Call& call, const Command& command) {
  size_t count = reply_histogram(call, command);
  for (const Command* sub : command.subcommands) count += reply_histogram(call, *sub);
  return count;
}

void latency_histogram(Call& call) {
  const CommandTable& table = call.server.commands();
  size_t count = 0;
  call.reply.begin_deferred();
  if (call.argc() == 2) {
    for (const auto& command : table.all()) count += reply_histogram(call, *command);
  }
  for (Bytes name : call.args.subspan(2))
    if (const Command* command = table.find_full(name)) count += reply_histograms(call, *command);
  call.reply.end_deferred(wire::ReplyWriter::Kind::map, count);
}

void latency_help(Call& call) { reply_help(call, kLatencyHelp); }

constexpr uint32_t kLatencyFlags = kAdmin | kNoScript | kLoading | kStale;
constexpr Bytes kReadTips =
    "nondeterministic_output,request_policy:all_nodes,response_policy:special";

constexpr CommandSpec kLatencyCommands[] = {
    {.name = "latency",
     .arity = -2,
     .group = "server",
     .since = "2.8.13",
     .summary = "A container for commands about latency.",
     .complexity = "Depends on subcommand."},
    {.name = "latency|latest",
     .arity = 2,
     .run = latency_latest,
     .flags = kLatencyFlags,
     .group = "server",
     .since = "2.8.13",
     .summary = "Returns the latest spike of every event.",
     .complexity = "O(1)",
     .tips = kReadTips},
    {.name = "latency|history",
     .arity = 3,
     .run = latency_history,
     .flags = kLatencyFlags,
     .group = "server",
     .since = "2.8.13",
     .summary = "Returns the recorded spikes of an event.",
     .complexity = "O(1)",
     .syntax = "event",
     .tips = kReadTips},
    {.name = "latency|graph",
     .arity = 3,
     .run = latency_graph_reply,
     .flags = kLatencyFlags,
     .group = "server",
     .since = "2.8.13",
     .summary = "Draws the recorded spikes of an event.",
     .complexity = "O(1)",
     .syntax = "event",
     .tips = kReadTips},
    {.name = "latency|doctor",
     .arity = 2,
     .run = latency_doctor,
     .flags = kLatencyFlags,
     .group = "server",
     .since = "2.8.13",
     .summary = "Reports the recorded spikes in words.",
     .complexity = "O(1)",
     .tips = kReadTips},
    {.name = "latency|histogram",
     .arity = -2,
     .run = latency_histogram,
     .flags = kLatencyFlags,
     .group = "server",
     .since = "7.0.0",
     .summary = "Returns how the durations of commands distribute.",
     .complexity =
         "O(N) where N is the number of commands with latency information being retrieved.",
     .syntax = "[command [command ...]]",
     .tips = kReadTips},
    {.name = "latency|reset",
     .arity = -2,
     .run = latency_reset,
     .flags = kLatencyFlags,
     .group = "server",
     .since = "2.8.13",
     .summary = "Forgets the spikes of the events named, or of all.",
     .complexity = "O(1)",
     .syntax = "[event [event ...]]",
     .tips = "request_policy:all_nodes,response_policy:all_succeeded"},
    {.name = "latency|help",
     .arity = 2,
     .run = latency_help,
     .flags = kLoading | kStale,
     .group = "server",
     .since = "2.8.13",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kLatencyCommands));

}  // namespace

Family latency_commands() { return kLatencyCommands; }

}  // namespace quoll::commands
