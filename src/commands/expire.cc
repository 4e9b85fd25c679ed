// Deadlines: EXPIRE and its relatives, TTL and its relatives, PERSIST. A deadline is absolute unix
// time in ms; the journal holds nothing but PEXPIREAT.
#include <optional>

#include "base/numbers.h"
#include "base/text.h"
#include "commands/families.h"
#include "server/call.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr store::Event kEventDeadline{"expire", 'g'};
constexpr store::Event kEventPersist{"persist", 'g'};

enum class Unit { seconds, milliseconds };

struct Conditions {
  bool nx = false;  // only a key without deadline
  bool xx = false;  // only a key with one
  bool gt = false;  // only to a later one; none counts as the latest
  bool lt = false;  // only to an earlier one

  bool met(const store::Entry* entry, base::Millis deadline) const {
    if (nx && entry->has_ttl()) return false;
    if (xx && !entry->has_ttl()) return false;
    if (gt && (!entry->has_ttl() || deadline <= entry->deadline())) return false;
    if (lt && entry->has_ttl() && deadline >= entry->deadline()) return false;
    return true;
  }
};

bool parse_conditions(Call& call, Conditions& conditions) {
  for (size_t i = 3; i < call.argc(); ++i) {
    Bytes word = call.arg(i);
    if (base::equals_ignoring_case(word, "nx")) {
      conditions.nx = true;
    } else if (base::equals_ignoring_case(word, "xx")) {
      conditions.xx = true;
    } else if (base::equals_ignoring_case(word, "gt")) {
      conditions.gt = true;
    } else if (base::equals_ignoring_case(word, "lt")) {
      conditions.lt = true;
    } else {
      std::string text = "ERR Unsupported option ";
      text += word.substr(0, word.find('\0'));
      call.reply.error(text);
      return false;
    }
  }
  if (conditions.nx && (conditions.xx || conditions.gt || conditions.lt)) {
    call.reply.error("ERR NX and XX, GT or LT options at the same time are not compatible");
    return false;
  }
  if (conditions.gt && conditions.lt) {
    call.reply.error("ERR GT and LT options at the same time are not compatible");
    return false;
  }
  return true;
}

// The deadline that argument 2 names. Negative numbers are allowed: such a deadline has passed.
bool parse_deadline(Call& call, Unit unit, base::Millis from, base::Millis& deadline) {
  int64_t value;
  if (!call.integer(2, value)) return false;
  constexpr int64_t kSecondsMax = INT64_MAX / 1000;
  bool fits = unit == Unit::milliseconds || (value <= kSecondsMax && value >= -kSecondsMax);
  if (fits && unit == Unit::seconds) value *= 1000;
  if (fits && value <= INT64_MAX - from) {
    deadline = value + from;
    return true;
  }
  std::string text = "ERR invalid expire time in '";
  text += call.command.spec->name;
  text += "' command";
  call.reply.error(text);
  return false;
}

void expire_generic(Call& call, Unit unit, base::Millis from) {
  Conditions conditions;
  base::Millis deadline;
  if (!parse_conditions(call, conditions) || !parse_deadline(call, unit, from, deadline)) return;
  store::Edit edit = call.edit(1);
  if (!edit.found() || !conditions.met(edit.entry(), deadline)) return call.reply.integer(0);
  if (deadline <= call.now) {
    edit.erase();
    edit.done(store::kEventDel);
    call.effect({call.server.settings().lazyfree_lazy_expire ? "UNLINK" : "DEL", call.arg(1)});
  } else {
    edit.set_deadline(deadline);
    edit.done(kEventDeadline);
    char text[base::kIntTextMax];
    call.effect({"PEXPIREAT", call.arg(1), Bytes{text, base::format_int(deadline, text)}});
  }
  call.reply.integer(1);
}

void expire(Call& call) { expire_generic(call, Unit::seconds, call.now); }
void pexpire(Call& call) { expire_generic(call, Unit::milliseconds, call.now); }
void expireat(Call& call) { expire_generic(call, Unit::seconds, 0); }
void pexpireat(Call& call) { expire_generic(call, Unit::milliseconds, 0); }

constexpr int64_t kNoKey = -2;
constexpr int64_t kNoTtl = -1;

// Milliseconds from `from` to the deadline, or why there are none.
void reply_deadline(Call& call, Unit unit, base::Millis from) {
  const store::Entry* entry = call.look(1);
  if (!entry) return call.reply.integer(kNoKey);
  if (!entry->has_ttl()) return call.reply.integer(kNoTtl);
  // Rounded to the nearest second; unsigned, for the last half second of all may not overflow.
  auto span = static_cast<uint64_t>(entry->deadline() - from);
  call.reply.integer(static_cast<int64_t>(unit == Unit::seconds ? (span + 500) / 1000 : span));
}

void ttl(Call& call) { reply_deadline(call, Unit::seconds, call.now); }
void pttl(Call& call) { reply_deadline(call, Unit::milliseconds, call.now); }
void expiretime(Call& call) { reply_deadline(call, Unit::seconds, 0); }
void pexpiretime(Call& call) { reply_deadline(call, Unit::milliseconds, 0); }

void persist(Call& call) {
  store::Edit edit = call.edit(1);
  if (!edit.found() || !edit.entry()->has_ttl()) return call.reply.integer(0);
  edit.persist();
  edit.done(kEventPersist);
  call.reply.integer(1);
}

constexpr CommandSpec setter(Bytes name, Handler run, Bytes since, Bytes summary, Bytes syntax) {
  return {.name = name,
          .arity = -3,
          .run = run,
          .access = Access::write,
          .journal = Journal::rewritten,
          .keys = keys::first(kKeyRw | kKeyUpdate),
          .flags = kFast,
          .group = "generic",
          .since = since,
          .summary = summary,
          .complexity = "O(1)",
          .syntax = syntax};
}

constexpr CommandSpec getter(Bytes name, Handler run, Bytes since, Bytes summary, Bytes tips) {
  return {.name = name,
          .arity = 2,
          .run = run,
          .access = Access::read,
          .keys = keys::first(kKeyRo | kKeyAccess),
          .flags = kFast,
          .group = "generic",
          .since = since,
          .summary = summary,
          .complexity = "O(1)",
          .syntax = "key",
          .tips = tips};
}

constexpr CommandSpec kExpireCommands[] = {
    setter("expire", expire, "1.0.0", "Lets a key expire after some seconds.",
           "key seconds [NX | XX | GT | LT]"),
    setter("pexpire", pexpire, "2.6.0", "Lets a key expire after some milliseconds.",
           "key milliseconds [NX | XX | GT | LT]"),
    setter("expireat", expireat, "1.2.0", "Lets a key expire at a unix time in seconds.",
           "key unix-time-seconds [NX | XX | GT | LT]"),
    setter("pexpireat", pexpireat, "2.6.0", "Lets a key expire at a unix time in milliseconds.",
           "key unix-time-milliseconds [NX | XX | GT | LT]"),
    getter("ttl", ttl, "1.0.0", "Tells the seconds until a key expires.",
           "nondeterministic_output"),
    getter("pttl", pttl, "2.6.0", "Tells the milliseconds until a key expires.",
           "nondeterministic_output"),
    getter("expiretime", expiretime, "7.0.0",
           "Tells the unix time in seconds at which a key expires.", ""),
    getter("pexpiretime", pexpiretime, "7.0.0",
           "Tells the unix time in milliseconds at which a key expires.", ""),
    {.name = "persist",
     .arity = 2,
     .run = persist,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::first(kKeyRw | kKeyUpdate),
     .flags = kFast,
     .group = "generic",
     .since = "2.2.0",
     .summary = "Takes the deadline off a key.",
     .complexity = "O(1)",
     .syntax = "key"},
};
static_assert(well_formed(kExpireCommands));

}  // namespace

Family expire_commands() { return kExpireCommands; }

}  // namespace quoll::commands
