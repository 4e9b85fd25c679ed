// Deadlines of fields. The journal holds HPEXPIREAT with the fields that got the deadline, and HDEL
// with those that went because it had passed.
#include "base/text.h"
#include "commands/hash_family.h"
#include "server/server.h"

namespace quoll::commands::hashes {
namespace {

// The codes of one field.
constexpr int64_t kNoField = -2;
constexpr int64_t kNoDeadline = -1;
constexpr int64_t kConditionNotMet = 0;
constexpr int64_t kChanged = 1;
constexpr int64_t kDeleted = 2;

enum class Condition : uint8_t { none, nx, xx, gt, lt };

Condition condition_of(Bytes word) {
  if (base::equals_ignoring_case(word, "nx")) return Condition::nx;
  if (base::equals_ignoring_case(word, "xx")) return Condition::xx;
  if (base::equals_ignoring_case(word, "gt")) return Condition::gt;
  if (base::equals_ignoring_case(word, "lt")) return Condition::lt;
  return Condition::none;
}

// No deadline counts as the latest of all.
bool met(Condition condition, base::Millis present, base::Millis deadline) {
  bool has_one = present != data::kHashNoDeadline;
  switch (condition) {
    case Condition::none:
      return true;
    case Condition::nx:
      return !has_one;
    case Condition::xx:
      return has_one;
    case Condition::gt:
      return has_one && deadline > present;
    case Condition::lt:
      return deadline < present;
  }
  return false;
}

void reply_for_each(Call& call, size_t count, int64_t code) {
  call.reply.array(count);
  for (size_t i = 0; i < count; ++i) call.reply.integer(code);
}

// Gives the fields the deadline, or deletes them when it has passed, and replies a code for each.
void apply_deadline(Call& call, store::Edit& edit, const FieldRange& fields, Condition condition,
                    base::Millis deadline) {
  const base::Millis now = edit_clock(call);
  bool past = deadline <= now;
  std::vector<Bytes> changed;
  Hash& hash = edit.value<Hash>();
  call.reply.array(fields.count);
  for (size_t i = 0; i < fields.count; ++i) {
    Bytes field = call.arg(fields.first + i);
    HashItem item;
    if (!hash.find(field, now, item)) {
      call.reply.integer(kNoField);
      continue;
    }
    if (!met(condition, item.deadline, deadline)) {
      call.reply.integer(kConditionNotMet);
      continue;
    }
    if (past)
      hash.erase(field);
    else
      hash.set_deadline(field, deadline);
    changed.push_back(field);
    call.reply.integer(past ? kDeleted : kChanged);
  }
  if (changed.empty()) return;
  edit.done(past ? kEventHdel : kEventHexpire);
  EffectLine line(call, past ? "HDEL" : "HPEXPIREAT");
  if (!past) {
    line.add_number(deadline);
    line.add("FIELDS");
    line.add_number(static_cast<int64_t>(changed.size()));
  } else {
    call.store.counters().expired_fields += changed.size();
  }
  for (Bytes field : changed) line.add(field);
  line.state();
  if (past) edit.erase_if_empty();
}

void expire_generic(Call& call, Unit unit, base::Millis from) {
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  base::Millis deadline;
  if (!parse_deadline(call, 2, unit, from, deadline)) return;
  Condition condition = condition_of(call.arg(3));
  FieldRange fields;
  if (!parse_fields(call, condition == Condition::none ? 3 : 4,
                    "ERR Parameter `numFields` should be greater than 0", fields))
    return;
  if (!edit.found()) return reply_for_each(call, fields.count, kNoField);
  apply_deadline(call, edit, fields, condition, deadline);
}

// Milliseconds or seconds from `from` to each field's deadline; seconds are rounded up.
void ttl_generic(Call& call, Unit unit, base::Millis from) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  FieldRange fields;
  if (!parse_fields(call, 2, kFieldCountError, fields)) return;
  if (!entry) return reply_for_each(call, fields.count, kNoField);
  auto hash = entry->value<Hash>();
  call.reply.array(fields.count);
  for (size_t i = 0; i < fields.count; ++i) {
    HashItem item;
    if (!hash->find(call.arg(fields.first + i), call.now, item)) {
      call.reply.integer(kNoField);
    } else if (item.deadline == data::kHashNoDeadline) {
      call.reply.integer(kNoDeadline);
    } else {
      base::Millis span = item.deadline - from;
      call.reply.integer(unit == Unit::seconds ? (span + 999) / 1000 : span);
    }
  }
}

}  // namespace

void hexpire(Call& call) { expire_generic(call, Unit::seconds, call.now); }
void hpexpire(Call& call) { expire_generic(call, Unit::milliseconds, call.now); }
void hexpireat(Call& call) { expire_generic(call, Unit::seconds, 0); }
void hpexpireat(Call& call) { expire_generic(call, Unit::milliseconds, 0); }

void httl(Call& call) { ttl_generic(call, Unit::seconds, call.now); }
void hpttl(Call& call) { ttl_generic(call, Unit::milliseconds, call.now); }
void hexpiretime(Call& call) { ttl_generic(call, Unit::seconds, 0); }
void hpexpiretime(Call& call) { ttl_generic(call, Unit::milliseconds, 0); }

void hpersist(Call& call) {
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  FieldRange fields;
  if (!parse_fields(call, 2, kFieldCountError, fields)) return;
  if (!edit.found()) return reply_for_each(call, fields.count, kNoField);
  const base::Millis now = edit_clock(call);
  Hash& hash = edit.value<Hash>();
  std::vector<Bytes> changed;
  call.reply.array(fields.count);
  for (size_t i = 0; i < fields.count; ++i) {
    Bytes field = call.arg(fields.first + i);
    HashItem item;
    if (!hash.find(field, now, item)) {
      call.reply.integer(kNoField);
    } else if (!hash.drop_deadline(field)) {
      call.reply.integer(kNoDeadline);
    } else {
      changed.push_back(field);
      call.reply.integer(kChanged);
    }
  }
  if (changed.empty()) return;
  edit.done(kEventHpersist);
  EffectLine line(call, "HPERSIST");
  line.add("FIELDS");
  line.add_number(static_cast<int64_t>(changed.size()));
  for (Bytes field : changed) line.add(field);
  line.state();
}

}  // namespace quoll::commands::hashes
