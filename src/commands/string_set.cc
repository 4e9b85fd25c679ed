// SET and its relatives, and reads that change the key.
#include "commands/string_options.h"
#include "server/server.h"

namespace quoll::commands::strings {
namespace {

// Stores the argument and states the deterministic line for it. The effect comes after the edit
// was opened (which may have recorded the removal of an expired key) and reads the argument, whose
// bytes the keyspace may own by then.
void store_argument(Call& call, store::Edit& edit, size_t argument, const Expiry& expiry) {
  edit.put(value_of(call, argument), expiry.ttl());
  edit.done(kEventSet);
  if (expiry.has_time()) {
    edit.done(kEventExpire);
    char text[base::kIntTextMax];
    Bytes deadline(text, base::format_int(expiry.deadline, text));
    call.effect({"SET", call.arg(1), call.arg(argument), "PXAT", deadline});
  } else if (expiry.kind == Expiry::kKeep) {
    call.effect({"SET", call.arg(1), call.arg(argument), "KEEPTTL"});
  } else {
    call.effect({"SET", call.arg(1), call.arg(argument)});
  }
}

struct SetOptions {
  Expiry expiry;
  Condition condition;
  bool get = false;
};

bool parse(Call& call, SetOptions& options) {
  constexpr uint8_t kAllowed = Expiry::kTimes | Expiry::kKeep;
  for (size_t i = 3; i < call.argc(); ++i) {
    uint64_t option = word(call.arg(i));
    if (option == word("get")) {
      options.get = true;
    } else if (!options.condition.take(option, call.args, i) &&
               !options.expiry.take(option, kAllowed, call.args, i)) {
      call.syntax_error();
      return false;
    }
  }
  return options.expiry.resolve(call) && options.condition.resolve(call);
}

void set_with_options(Call& call) {
  SetOptions options;
  if (!parse(call, options)) return;
  if (options.get && !reply_old(call, call.find(1))) return;
  store::Edit edit = call.edit(1);
  if (options.condition.compares() && edit.found() && !is_string(edit.entry()))
    return call.wrong_type();
  if (!options.condition.met(edit.entry())) {
    if (!options.get) call.reply.null();
    return;
  }
  store_argument(call, edit, 2, options.expiry);
  if (!options.get) call.reply.ok();
}

// SETEX and PSETEX: key, time, value.
void set_expiring(Call& call, Expiry::Kind kind) {
  Expiry expiry;
  expiry.kind = kind;
  expiry.argument = 2;
  if (!expiry.resolve(call)) return;
  store::Edit edit = call.edit(1);
  store_argument(call, edit, 3, expiry);
  call.reply.ok();
}

// The key at argument 1, whose access was already counted when it was found.
store::Edit edit_found(Call& call) {
  return call.store.edit(call.db, call.key(1), call.now, false);
}

}  // namespace

void set(Call& call) {
  if (__builtin_expect(call.argc() > 3, 0)) return set_with_options(call);
  store::Edit edit = call.edit(1);
  edit.put(value_of(call, 2), store::Ttl::drop());
  edit.done(kEventSet);
  call.effect_verbatim();
  call.reply.ok();
}

void setnx(Call& call) {
  store::Edit edit = call.edit(1);
  if (edit.found()) return call.reply.integer(0);
  store_argument(call, edit, 2, Expiry{});
  call.reply.integer(1);
}

void setex(Call& call) { set_expiring(call, Expiry::kEx); }
void psetex(Call& call) { set_expiring(call, Expiry::kPx); }

void getset(Call& call) {
  if (!reply_old(call, call.find(1))) return;
  store::Edit edit = call.edit(1);
  store_argument(call, edit, 2, Expiry{});
}

void getdel(Call& call) {
  const store::Entry* entry = call.find(1);
  if (!reply_old(call, entry) || !entry) return;
  store::Edit edit = edit_found(call);
  remove(call, edit);
}

void getex(Call& call) {
  Expiry expiry;
  for (size_t i = 2; i < call.argc(); ++i) {
    uint64_t option = word(call.arg(i));
    if (!expiry.take(option, Expiry::kTimes | Expiry::kPersist, call.args, i))
      return call.syntax_error();
  }
  const store::Entry* entry = call.find(1);
  if (!entry) return call.reply.null();
  if (!is_string(entry)) return call.wrong_type();
  if (!expiry.resolve(call)) return;
  reply_text(call, entry);
  if (expiry.kind == Expiry::kNone || (expiry.kind == Expiry::kPersist && !entry->has_ttl()))
    return;
  store::Edit edit = edit_found(call);
  if (expiry.kind == Expiry::kPersist) {
    edit.persist();
    edit.done(kEventPersist);
    return call.effect({"PERSIST", call.arg(1)});
  }
  if (expiry.absolute() && expiry.past(call)) return remove(call, edit);
  edit.set_deadline(expiry.deadline);
  edit.done(kEventExpire);
  char text[base::kIntTextMax];
  call.effect({"PEXPIREAT", call.arg(1), {text, base::format_int(expiry.deadline, text)}});
}

}  // namespace quoll::commands::strings
