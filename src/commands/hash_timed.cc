// Commands that read or set values and deadlines in one step: HSETEX, HGETEX, HGETDEL.
#include "base/text.h"
#include "commands/hash_family.h"
#include "server/server.h"

namespace quoll::commands::hashes {
namespace {

struct TimeOption {
  Bytes word;
  Unit unit;
  bool relative;
};
constexpr TimeOption kTimeOptions[] = {
    {"ex", Unit::seconds, true},
    {"px", Unit::milliseconds, true},
    {"exat", Unit::seconds, false},
    {"pxat", Unit::milliseconds, false},
};

const TimeOption* time_option(Bytes word) {
  for (const TimeOption& option : kTimeOptions)
    if (base::equals_ignoring_case(word, option.word)) return &option;
  return nullptr;
}

bool parse_time(Call& call, const TimeOption& option, size_t argument, base::Millis& deadline) {
  return parse_deadline(call, argument, option.unit, option.relative ? call.now : 0, deadline);
}

// ---- HSETEX

struct SetOptions {
  bool fnx = false;  // only if no field exists
  bool fxx = false;  // only if all exist
  bool nx = false;   // only if the key does not exist
  bool xx = false;   // only if it does
  bool keep = false;
  bool timed = false;
  base::Millis deadline = 0;
  base::Args pairs;
};

bool set_error(Call& call, Bytes error) {
  call.reply.error(error);
  return false;
}

bool parse_pairs(Call& call, size_t at, SetOptions& options) {
  if (at + 3 >= call.argc()) {
    reply_wrong_arity(call);
    return false;
  }
  constexpr Bytes kError = "ERR invalid number of fields";
  int64_t count;
  if (!call.integer(at + 1, count, kError)) return false;
  if (count < 1 || count > INT32_MAX) return set_error(call, kError);
  options.pairs = call.args.subspan(at + 2);
  if (options.pairs.size() % 2 == 0 && static_cast<uint64_t>(count) == options.pairs.size() / 2)
    return true;
  reply_wrong_arity(call);
  return false;
}

bool parse_set(Call& call, SetOptions& options) {
  for (size_t i = 2; i < call.argc(); ++i) {
    Bytes word = call.arg(i);
    if (base::equals_ignoring_case(word, "fields")) return parse_pairs(call, i, options);
    bool fnx = base::equals_ignoring_case(word, "fnx");
    bool nx = base::equals_ignoring_case(word, "nx");
    if (fnx || base::equals_ignoring_case(word, "fxx")) {
      if (options.fnx || options.fxx)
        return set_error(call, "ERR Only one of FXX or FNX arguments can be specified");
      (fnx ? options.fnx : options.fxx) = true;
    } else if (nx || base::equals_ignoring_case(word, "xx")) {
      if (options.nx || options.xx)
        return set_error(call, "ERR Only one of XX or NX arguments can be specified");
      (nx ? options.nx : options.xx) = true;
    } else {
      const TimeOption* time = time_option(word);
      bool keep = base::equals_ignoring_case(word, "keepttl");
      if (!time && !keep) {
        std::string text = "ERR unknown argument: ";
        text += server::errors::shown(word);
        return set_error(call, text);
      }
      if (options.keep || options.timed)
        return set_error(
            call, "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified");
      options.keep = keep;
      options.timed = time;
      if (time && i + 1 >= call.argc()) return set_error(call, "ERR missing expire time");
      if (time && !parse_time(call, *time, ++i, options.deadline)) return false;
    }
  }
  return set_error(call, "ERR Mandatory argument FIELDS is missing or not at the right position");
}

bool conditions_met(const SetOptions& options, const store::Entry* entry, base::Millis now) {
  if (options.nx && entry) return false;
  if ((options.xx || options.fxx) && !entry) return false;
  if (!entry || !(options.fnx || options.fxx)) return true;
  auto hash = entry->value<Hash>();
  for (size_t i = 0; i < options.pairs.size(); i += 2) {
    HashItem item;
    if (hash->find(options.pairs[i], now, item) == options.fnx) return false;
  }
  return true;
}

void state_set(Call& call, const SetOptions& options) {
  EffectLine line(call, options.timed || options.keep ? "HSETEX" : "HSET");
  if (options.timed) {
    line.add("PXAT");
    line.add_number(options.deadline);
  } else if (options.keep) {
    line.add("KEEPTTL");
  }
  if (options.timed || options.keep) {
    line.add("FIELDS");
    line.add_number(static_cast<int64_t>(options.pairs.size() / 2));
  }
  for (Bytes word : options.pairs) line.add(word);
  line.state();
}

std::vector<Bytes> fields_of(base::Args pairs) {
  std::vector<Bytes> fields;
  for (size_t i = 0; i < pairs.size(); i += 2) fields.push_back(pairs[i]);
  return fields;
}

// A deadline that has passed: set and deleted at once.
void set_past(Call& call, store::Edit& edit, const SetOptions& options) {
  Hash& hash = edit.value<Hash>();
  EffectLine line(call, "HDEL");
  for (Bytes field : fields_of(options.pairs)) {
    hash.erase(field);
    line.add(field);
  }
  call.store.counters().expired_fields += options.pairs.size() / 2;
  edit.done(kEventHset);
  edit.done(kEventHdel);
  line.state();
  edit.erase_if_empty();
}

// ---- HGETEX

struct GetOptions {
  bool timed = false;
  bool persist = false;
  base::Millis deadline = 0;
  FieldRange fields;
};

bool parse_get(Call& call, GetOptions& options) {
  size_t at = 2;
  if (const TimeOption* time = time_option(call.arg(at))) {
    if (!parse_time(call, *time, at + 1, options.deadline)) return false;
    options.timed = true;
    at += 2;
  } else if (base::equals_ignoring_case(call.arg(at), "persist")) {
    options.persist = true;
    ++at;
  }
  return parse_fields(call, at, kFieldCountError, options.fields);
}

void reply_nulls(Call& call, size_t count) {
  call.reply.array(count);
  for (size_t i = 0; i < count; ++i) call.reply.null();
}

void state_get(Call& call, const GetOptions& options, bool past,
               const std::vector<Bytes>& changed) {
  EffectLine line(call, past ? "HDEL" : options.persist ? "HPERSIST" : "HPEXPIREAT");
  if (!past) {
    if (options.timed) line.add_number(options.deadline);
    line.add("FIELDS");
    line.add_number(static_cast<int64_t>(changed.size()));
  }
  for (Bytes field : changed) line.add(field);
  line.state();
}

}  // namespace

void hsetex(Call& call) {
  SetOptions options;
  if (!parse_set(call, options)) return;
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  const base::Millis now = edit_clock(call);
  if (!conditions_met(options, edit.entry(), now)) return call.reply.integer(0);
  if (!edit.found()) edit.create<Hash>();
  call.reply.integer(1);
  if (options.timed && options.deadline <= now) return set_past(call, edit, options);
  Hash& hash = edit.value<Hash>();
  const data::Packing& packing = call.server.packing();
  hash.expect(options.pairs, packing);
  if (options.keep) drop_expired(call, edit, hash, fields_of(options.pairs));
  Hash::Deadline rule = options.timed || options.keep ? Hash::Deadline::keep : Hash::Deadline::drop;
  for (size_t i = 0; i < options.pairs.size(); i += 2) {
    hash.set(options.pairs[i], options.pairs[i + 1], rule, now, packing);
    if (options.timed) hash.set_deadline(options.pairs[i], options.deadline);
  }
  edit.done(kEventHset);
  if (options.timed) edit.done(kEventHexpire);
  state_set(call, options);
}

void hgetex(Call& call) {
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  GetOptions options;
  if (!parse_get(call, options)) return;
  if (!edit.found()) return reply_nulls(call, options.fields.count);
  const base::Millis now = edit_clock(call);
  bool past = options.timed && options.deadline <= now;
  std::vector<Bytes> changed;
  Hash& hash = edit.value<Hash>();
  call.reply.array(options.fields.count);
  for (size_t i = 0; i < options.fields.count; ++i) {
    Bytes field = call.arg(options.fields.first + i);
    HashItem item;
    if (!hash.find(field, now, item)) {
      call.reply.null();
      continue;
    }
    reply_item(call, item.value);
    if (past)
      hash.erase(field);
    else if (options.timed)
      hash.set_deadline(field, options.deadline);
    else if (!options.persist || !hash.drop_deadline(field))
      continue;
    changed.push_back(field);
  }
  if (changed.empty()) return;
  if (past) call.store.counters().expired_fields += changed.size();
  edit.done(past ? kEventHdel : options.persist ? kEventHpersist : kEventHexpire);
  state_get(call, options, past, changed);
  if (past) edit.erase_if_empty();
}

void hgetdel(Call& call) {
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  FieldRange fields;
  if (!parse_fields(call, 2, kFieldCountError, fields)) return;
  if (!edit.found()) return reply_nulls(call, fields.count);
  const base::Millis now = edit_clock(call);
  Hash& hash = edit.value<Hash>();
  EffectLine line(call, "HDEL");
  size_t words = line.size();
  call.reply.array(fields.count);
  for (size_t i = 0; i < fields.count; ++i) {
    Bytes field = call.arg(fields.first + i);
    HashItem item;
    if (!hash.find(field, now, item)) {
      call.reply.null();
      continue;
    }
    reply_item(call, item.value);
    hash.erase(field);
    line.add(field);
  }
  if (line.size() == words) return;
  edit.done(kEventHdel);
  line.state();
  edit.erase_if_empty();
}

}  // namespace quoll::commands::hashes
