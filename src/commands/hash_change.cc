// Commands that change fields without a word on their deadlines.
#include <cmath>

#include "base/numbers.h"
#include "commands/hash_family.h"
#include "server/server.h"

namespace quoll::commands::hashes {
namespace {

// The bytes of a large value, to be moved into the hash. Only where no other pair of the command
// can replace it: the journal still reads the argument.
base::Blob* large_value(Call& call, size_t argument) {
  if (__builtin_expect(call.arg(argument).size() < wire::kBlobThreshold, 1)) return nullptr;
  if (call.argc() != argument + 1) return nullptr;
  base::Blob* blob = call.blob(argument);
  return blob && *blob ? blob : nullptr;
}

// HSET and HMSET. False: the error was replied.
bool set_pairs(Call& call, int64_t& created) {
  if (call.argc() % 2 == 1) {
    reply_wrong_arity(call);
    return false;
  }
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return false;
  if (!edit.found()) edit.create<Hash>();
  Hash& hash = edit.value<Hash>();
  const data::Packing& packing = call.server.packing();
  const base::Millis now = edit_clock(call);
  created = 0;
  if (call.argc() > 4) {
    hash.expect(call.args.subspan(2), packing);
    for (size_t i = 2; i < call.argc(); i += 2)
      created += hash.set(call.arg(i), call.arg(i + 1), Hash::Deadline::drop, now, packing);
  } else {
    created = hash.set(call.arg(2), call.arg(3), Hash::Deadline::drop, now, packing,
                       large_value(call, 3));
  }
  edit.done(kEventHset);
  return true;
}

// What a counter command finds in its field.
struct Counted {
  bool found = false;
  bool timed = false;
  HashItem item;
};

Counted look(const store::Entry* entry, Bytes field, base::Millis now) {
  Counted counted;
  if (!entry) return counted;
  counted.found = entry->value<Hash>()->find(field, now, counted.item);
  counted.timed = counted.found && counted.item.deadline != data::kHashNoDeadline;
  return counted;
}

// Stores the new value of a counter; a field past its deadline starts anew.
void store_counter(Call& call, store::Edit& edit, Bytes text, const store::Event& event) {
  if (!edit.found()) edit.create<Hash>();
  Hash& hash = edit.value<Hash>();
  drop_expired(call, edit, hash, call.args.subspan(2, 1));
  hash.set(call.arg(2), text, Hash::Deadline::keep, edit_clock(call), call.server.packing());
  edit.done(event);
}

}  // namespace

void hset(Call& call) {
  int64_t created;
  if (set_pairs(call, created)) call.reply.integer(created);
}

void hmset(Call& call) {
  int64_t created;
  if (set_pairs(call, created)) call.reply.ok();
}

void hsetnx(Call& call) {
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  if (look(edit.entry(), call.arg(2), edit_clock(call)).found) return call.reply.integer(0);
  if (!edit.found()) edit.create<Hash>();
  edit.value<Hash>().set(call.arg(2), call.arg(3), Hash::Deadline::drop, edit_clock(call),
                         call.server.packing(), large_value(call, 3));
  edit.done(kEventHset);
  call.effect({"HSET", call.arg(1), call.arg(2), call.arg(3)});
  call.reply.integer(1);
}

void hincrby(Call& call) {
  int64_t by;
  if (!call.integer(3, by)) return;
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  int64_t value = 0;
  Counted counted = look(edit.entry(), call.arg(2), edit_clock(call));
  if (counted.found) {
    const PackedItem& old = counted.item.value;
    value = old.integer;
    if (!old.is_integer && !base::parse_int(old.bytes, value))
      return call.reply.error("ERR hash value is not an integer");
  }
  if (__builtin_add_overflow(value, by, &value))
    return call.reply.error("ERR increment or decrement would overflow");
  char text[base::kIntTextMax];
  store_counter(call, edit, {text, base::format_int(value, text)}, kEventHincrBy);
  call.effect_verbatim();
  call.reply.integer(value);
}

void hincrbyfloat(Call& call) {
  long double by;
  if (!base::parse_long_double(call.arg(3), by)) return call.reply.error(server::errors::kNotFloat);
  if (std::isnan(by) || std::isinf(by)) return call.reply.error("ERR value is NaN or Infinity");
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  long double value = 0;
  Counted counted = look(edit.entry(), call.arg(2), edit_clock(call));
  if (counted.found) {
    const PackedItem& old = counted.item.value;
    value = static_cast<long double>(old.integer);
    if (!old.is_integer && !base::parse_long_double(old.bytes, value))
      return call.reply.error("ERR hash value is not a float");
  }
  value += by;
  if (std::isnan(value) || std::isinf(value))
    return call.reply.error("ERR increment would produce NaN or Infinity");
  std::string text = base::format_long_double_human(value);
  store_counter(call, edit, text, kEventHincrByFloat);
  if (counted.timed)
    call.effect({"HSETEX", call.arg(1), "KEEPTTL", "FIELDS", "1", call.arg(2), text});
  else
    call.effect({"HSET", call.arg(1), call.arg(2), text});
  call.reply.bulk(text);
}

void hdel(Call& call) {
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  if (!edit.found()) return call.reply.integer(0);
  Hash& hash = edit.value<Hash>();
  bool dropped = drop_expired(call, edit, hash, call.args.subspan(2));
  int64_t removed = 0;
  for (size_t i = 2; i < call.argc(); ++i) removed += hash.erase(call.arg(i));
  if (removed > 0) {
    edit.done(kEventHdel);
    call.effect_verbatim();
  }
  if (removed > 0 || dropped) edit.erase_if_empty();
  call.reply.integer(removed);
}

}  // namespace quoll::commands::hashes
