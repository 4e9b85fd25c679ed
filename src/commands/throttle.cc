// CL.THROTTLE: how often something may be done, by the generic cell rate algorithm, with the
// arguments and the reply of the redis-cell module.
//
//   CL.THROTTLE key max_burst count period [quantity]
//     limited (0 or 1), limit, remaining, seconds to wait (-1: none), seconds until all is free
//     again
//
// The key holds one number, the theoretical arrival time of the next cell in ns since 1970, and
// expires with it: a caller who was idle for long enough leaves nothing behind. Each cell moves
// that time on by period / count; it may lie ahead of now by as much as max_burst + 1 cells take.
//
// Source: "Rate limiting, Cells, and GCRA" by B. Leach and the README of redis-cell.
#include "commands/families.h"
#include "server/call.h"

namespace quoll::commands {
namespace {

using namespace server;

// Wider than any product of arguments within the limits below.
using Wide = __int128;

constexpr int64_t kNanosPerSecond = 1'000'000'000;
constexpr int64_t kPeriodMax_s = 1'000'000'000;  // about 30 years
constexpr store::Event kEventSet{"set", '$'};
constexpr store::Event kEventThrottled{"expire", 'g'};

struct Rate {
  int64_t burst = 0;
  int64_t count = 0;
  int64_t period_s = 0;
  int64_t quantity = 1;

  Wide cell_ns() const { return Wide{period_s} * kNanosPerSecond / count; }
};

bool argument(Call& call, size_t i, int64_t least, int64_t most, Bytes error, int64_t& value) {
  if (!call.integer(i, value)) return false;
  if (value >= least && value <= most) return true;
  call.reply.error(error);
  return false;
}

// False: the error was replied.
bool parse(Call& call, Rate& rate) {
  constexpr int64_t kMost = INT32_MAX;
  if (!argument(call, 2, 0, kMost, "ERR max_burst is out of range", rate.burst)) return false;
  if (!argument(call, 3, 1, kMost, "ERR count must be positive", rate.count)) return false;
  if (!argument(call, 4, 1, kPeriodMax_s, "ERR period must be positive", rate.period_s))
    return false;
  if (call.argc() == 5) return true;
  if (call.argc() > 6) {
    call.syntax_error();
    return false;
  }
  return argument(call, 5, 0, kMost, "ERR quantity is out of range", rate.quantity);
}

// The arrival time the key holds; `none` when there is no key. False: the error was replied.
bool read_arrival(Call& call, const store::Entry* entry, Wide none, Wide& arrival_ns) {
  arrival_ns = none;
  if (!entry) return true;
  if (entry->type() != data::Type::string) {
    call.wrong_type();
    return false;
  }
  char scratch[base::kIntTextMax];
  int64_t stored;
  if (!base::parse_int(entry->text(scratch), stored)) {
    call.reply.error(errors::kNotInteger);
    return false;
  }
  arrival_ns = stored;
  return true;
}

// Whole seconds, so that waiting for them is enough.
int64_t seconds(Wide ns) {
  return static_cast<int64_t>((ns + kNanosPerSecond - 1) / kNanosPerSecond);
}

void store_arrival(Call& call, int64_t arrival_ns) {
  // Ends when the arrival time is past, not before.
  base::Millis deadline = arrival_ns / base::kNanosPerMilli + 1;
  store::Edit edit = call.edit(1);
  edit.put(data::Value::of_integer(arrival_ns), store::Ttl::at(deadline));
  edit.done(kEventSet);
  edit.done(kEventThrottled);
  char value[base::kIntTextMax], at[base::kIntTextMax];
  call.effect({"SET",
               call.arg(1),
               {value, base::format_int(arrival_ns, value)},
               "PXAT",
               {at, base::format_int(deadline, at)}});
}

void cl_throttle(Call& call) {
  Rate rate;
  if (!parse(call, rate)) return;
  Wide now = Wide{call.now} * base::kNanosPerMilli;
  Wide arrival;
  if (!read_arrival(call, call.peek(1), now, arrival)) return;
  if (arrival < now) arrival = now;

  Wide cell = rate.cell_ns();
  Wide tolerance = cell * (rate.burst + 1);
  Wide cost = cell * rate.quantity;
  Wide next = arrival + cost;
  Wide early = next - tolerance - now;  // > 0: so long before its time
  bool limited = early > 0;
  if (!limited && next > INT64_MAX) return call.reply.error("ERR the rate is too low");
  if (!limited && rate.quantity > 0) store_arrival(call, static_cast<int64_t>(next));

  Wide ahead = (limited ? arrival : next) - now;
  Wide room = tolerance - ahead;
  bool never = cost > tolerance;  // so much at once is never allowed
  call.reply.array(5);
  call.reply.integer(limited);
  call.reply.integer(rate.burst + 1);
  call.reply.integer(room > 0 && cell > 0 ? static_cast<int64_t>(room / cell) : 0);
  call.reply.integer(limited && !never ? seconds(early) : -1);
  call.reply.integer(seconds(ahead));
}

constexpr CommandSpec kThrottleCommands[] = {
    {.name = "cl.throttle",
     .arity = -5,
     .run = cl_throttle,
     .access = Access::write,
     .journal = Journal::rewritten,
     .keys = keys::first(kKeyRw | kKeyAccess | kKeyUpdate),
     .flags = kDenyOom | kFast,
     .group = "string",
     .since = "7.4.0",
     .summary = "Counts something against a rate limit and tells whether it is allowed now.",
     .complexity = "O(1)",
     .syntax = "key max_burst:integer count period:integer [quantity:integer]",
     .tips = "nondeterministic_output"},
};
static_assert(well_formed(kThrottleCommands));

}  // namespace

Family throttle_commands() { return kThrottleCommands; }

}  // namespace quoll::commands
