// HOTKEYS: which keys cost most; see server/hot_keys.h. Syntax, errors and reply are those of Redis
// 8.6.
#include "base/text.h"
#include "commands/counted_map.h"
#include "commands/families.h"
#include "commands/help.h"
#include "server/hot_keys.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr int64_t kMetrics = 2;  // CPU and NET
constexpr int64_t kDurationMax_s = 1'000'000;
constexpr int64_t kLastSlot = 16383;

constexpr Bytes kHotkeysHelp[] = {
    "START <METRICS count [CPU] [NET]> [COUNT k] [DURATION seconds] [SAMPLE ratio]",
    "    Begin to look for the keys that cost most.",
    "    * METRICS count [CPU] [NET]",
    "        How many metrics follow, and which: time of commands, bytes on the wire.",
    "    * COUNT k",
    "        How many keys are reported per metric. Default: 10",
    "    * DURATION seconds",
    "        End by itself after that time. Default: when stopped",
    "    * SAMPLE ratio",
    "        Look at one of so many commands, by chance. Default: 1, all",
    "STOP",
    "    End it. GET still reports what was found.",
    "GET",
    "    KeysReport what was found.",
    "RESET",
    "    Forget what was found.",
};

bool number(Call& call, size_t i, int64_t least, int64_t most, Bytes error, int64_t& value) {
  if (!call.integer(i, value, error)) return false;
  if (value >= least && value <= most) return true;
  call.reply.error(error);
  return false;
}

// "METRICS count metric..." from argument 2 on; unknown metrics are passed over, as newer servers
// have more. Returns the index behind, 0 when the error was replied.
size_t parse_metrics(Call& call, HotKeys::Plan& plan) {
  auto fail = [&](Bytes error) -> size_t { return call.reply.error(error), 0; };
  if (call.argc() < 4 || !base::equals_ignoring_case(call.arg(2), "metrics"))
    return fail("ERR METRICS parameter is required");
  int64_t count = 0;
  if (!number(call, 3, 1, kMetrics, "ERR METRICS count must be > 0 and <= 2", count)) return 0;
  size_t at = 4;
  for (; at < call.argc() && count > 0; ++at, --count) {
    if (base::equals_ignoring_case(call.arg(at), "cpu")) {
      if (plan.cpu) return fail("ERR METRICS CPU defined more than once!");
      plan.cpu = true;
    } else if (base::equals_ignoring_case(call.arg(at), "net")) {
      if (plan.net) return fail("ERR METRICS NET defined more than once!");
      plan.net = true;
    }
  }
  if (count > 0) return fail("ERR METRICS count does not match number of metric types provided");
  if (!plan.cpu && !plan.net)
    return fail("ERR METRICS no valid metrics passed. Supported: CPU|NET");
  return at;
}

// False: the error was replied.
bool parse_options(Call& call, size_t at, HotKeys::Plan& plan) {
  for (; at < call.argc(); at += 2) {
    auto is = [&](Bytes word) {
      return at + 1 < call.argc() && base::equals_ignoring_case(call.arg(at), word);
    };
    int64_t value = 0;
    if (is("count")) {
      if (!number(call, at + 1, 1, kHotKeysCountMax, "ERR COUNT must be between 1 and 64", value))
        return false;
      plan.count = static_cast<size_t>(value);
    } else if (is("duration")) {
      if (!number(call, at + 1, 1, kDurationMax_s, "ERR DURATION must be between 1 and 1000000",
                  value))
        return false;
      plan.duration_ms = value * 1000;
    } else if (is("sample")) {
      if (!number(call, at + 1, 1, INT32_MAX, "ERR SAMPLE ratio must be positive", value))
        return false;
      plan.sample = static_cast<uint64_t>(value);
    } else if (is("slots")) {
      call.reply.error("ERR SLOTS parameter cannot be used in non-cluster mode");
      return false;
    } else {
      call.syntax_error();
      return false;
    }
  }
  return true;
}

// The session as it is now: one whose time is over ends here, too.
HotKeys& hot_keys(Call& call) {
  HotKeys& hot_keys = call.server.hot_keys();
  if (hot_keys.end_due(call.now, call.server.host().process)) call.server.hot_keys_changed();
  return hot_keys;
}

void hotkeys_start(Call& call) {
  if (hot_keys(call).active())
    return call.reply.error("ERR hotkey tracking session already in progress");
  HotKeys::Plan plan;
  size_t at = parse_metrics(call, plan);
  if (at == 0 || !parse_options(call, at, plan)) return;
  host::Host& host = call.server.host();
  call.server.hot_keys().start(plan, call.now, host.process, host.random.draw());
  call.server.hot_keys_changed();
  call.reply.ok();
}

void hotkeys_stop(Call& call) {
  HotKeys& tracked = hot_keys(call);
  if (!tracked.active()) return call.reply.null();
  tracked.stop(call.now, call.server.host().process);
  call.server.hot_keys_changed();
  call.reply.ok();
}

void hotkeys_reset(Call& call) {
  HotKeys& tracked = hot_keys(call);
  if (tracked.active())
    return call.reply.error("ERR hotkey tracking session in progress, stop tracking first");
  tracked.reset();
  call.reply.ok();
}

class KeysReport : public CountedMap {
 public:
  using CountedMap::CountedMap;
  void all_slots() {
    start("selected-slots");
    reply_.array(1);
    reply_.array(2);
    reply_.integer(0);
    reply_.integer(kLastSlot);
  }
  // Keys that weigh nothing in whole units are left out.
  void keys(Bytes name, const base::HeavyHitters& found, size_t count, uint64_t unit) {
    start(name);
    std::vector<base::HeavyHitters::Hit> hits = found.top(count);
    std::erase_if(hits, [&](const auto& hit) { return hit.weight < unit; });
    reply_.array(2 * hits.size());
    for (const auto& hit : hits) {
      reply_.bulk(hit.key);
      reply_.integer(static_cast<int64_t>(hit.weight / unit));
    }
  }
};

void hotkeys_get(Call& call) {
  const HotKeys::Session* session = hot_keys(call).session();
  if (!session) return call.reply.null();
  const bool runs = session->end_ms == 0;
  const auto cpu = runs ? call.server.host().process.cpu_times() : session->cpu_at_end;
  auto millis = [](int64_t from, int64_t to) {
    return static_cast<uint64_t>(std::max<int64_t>(to - from, 0) / 1000);
  };
  call.reply.array(1);  // of maps, one per node
  KeysReport report(call.reply);
  report.number("tracking-active", runs);
  report.number("sample-ratio", session->plan.sample);
  report.all_slots();
  report.number("all-commands-all-slots-us",
                static_cast<uint64_t>(session->nanos / base::kNanosPerMicro));
  report.number("net-bytes-all-commands-all-slots", session->bytes);
  report.number("collection-start-time-unix-ms", static_cast<uint64_t>(session->start_ms));
  report.number("collection-duration-ms",
                static_cast<uint64_t>((runs ? call.now : session->end_ms) - session->start_ms));
  if (session->plan.cpu) {
    report.number("total-cpu-time-user-ms",
                  millis(session->cpu_at_start.user_micros, cpu.user_micros));
    report.number("total-cpu-time-sys-ms",
                  millis(session->cpu_at_start.system_micros, cpu.system_micros));
  }
  if (session->plan.net) report.number("total-net-bytes", session->by_bytes.total());
  if (session->plan.cpu)
    report.keys("by-cpu-time-us", session->by_nanos, session->plan.count, base::kNanosPerMicro);
  if (session->plan.net) report.keys("by-net-bytes", session->by_bytes, session->plan.count, 1);
  report.end();
}

void hotkeys_help(Call& call) { reply_help(call, kHotkeysHelp); }

constexpr CommandSpec row(Bytes name, int arity, Handler run, Bytes summary, Bytes complexity,
                          Bytes syntax = {}) {
  return {.name = name,
          .arity = arity,
          .run = run,
          .flags = kAdmin | kNoScript,
          .group = "server",
          .since = "8.6.0",
          .summary = summary,
          .complexity = complexity,
          .syntax = syntax,
          .tips = "request_policy:special,response_policy:special"};
}

constexpr CommandSpec kHotKeysCommands[] = {
    {.name = "hotkeys",
     .arity = -2,
     .group = "server",
     .since = "8.6.0",
     .summary = "A container for commands about the keys that cost most.",
     .complexity = "Depends on subcommand."},
    row("hotkeys|start", -2, hotkeys_start, "Begins to look for the keys that cost most.", "O(1)",
        "<METRICS count [CPU] [NET]> [COUNT k:integer] [DURATION seconds:integer] "
        "[SAMPLE ratio:integer]"),
    row("hotkeys|stop", 2, hotkeys_stop, "Ends the search for the keys that cost most.", "O(1)"),
    row("hotkeys|get", 2, hotkeys_get, "Reports the keys that cost most.",
        "O(K) where K is the number of keys reported."),
    row("hotkeys|reset", 2, hotkeys_reset, "Forgets the keys that cost most.", "O(1)"),
    {.name = "hotkeys|help",
     .arity = 2,
     .run = hotkeys_help,
     .flags = kLoading | kStale,
     .group = "server",
     .since = "8.6.0",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kHotKeysCommands));

}  // namespace

Family hotkeys_commands() { return kHotKeysCommands; }

}  // namespace quoll::commands
