#include "commands/hash_family.h"

#include "base/check.h"
#include "base/numbers.h"
#include "base/text.h"
#include "server/server.h"

namespace quoll::commands::hashes {

void reply_wrong_arity(Call& call) {
  std::string text = "ERR wrong number of arguments for '";
  text += call.command.spec->name;
  text += "' command";
  call.reply.error(text);
}

bool parse_fields(Call& call, size_t at, Bytes count_error, FieldRange& fields) {
  if (at >= call.argc() || !base::equals_ignoring_case(call.arg(at), "fields")) {
    call.reply.error("ERR Mandatory argument FIELDS is missing or not at the right position");
    return false;
  }
  if (at + 1 >= call.argc()) {
    reply_wrong_arity(call);
    return false;
  }
  int64_t count;
  if (!call.integer(at + 1, count, count_error)) return false;
  if (count < 1) {
    call.reply.error(count_error);
    return false;
  }
  fields = {at + 2, call.argc() - at - 2};
  if (static_cast<uint64_t>(count) == fields.count) return true;
  call.reply.error("ERR The `numfields` parameter must match the number of arguments");
  return false;
}

bool parse_deadline(Call& call, size_t argument, Unit unit, base::Millis from,
                    base::Millis& deadline) {
  int64_t value;
  if (!call.integer(argument, value)) return false;
  if (value < 0) {
    call.reply.error("ERR invalid expire time, must be >= 0");
    return false;
  }
  constexpr int64_t kMillisPerSecond = 1000;
  bool fits = unit == Unit::milliseconds || value <= data::kHashDeadlineMax / kMillisPerSecond;
  if (fits && unit == Unit::seconds) value *= kMillisPerSecond;
  if (fits && value <= data::kHashDeadlineMax - from) {
    deadline = value + from;
    return true;
  }
  std::string text = "ERR invalid expire time in '";
  text += call.command.spec->name;
  text += "' command";
  call.reply.error(text);
  return false;
}

bool drop_expired(Call& call, store::Edit& edit, Hash& hash, base::Args fields) {
  const base::Millis now = edit_clock(call);
  if (hash.earliest_deadline() > now) return false;
  EffectLine line(call, "HDEL");
  size_t words = line.size();
  for (Bytes field : fields) {
    HashItem item;
    if (!hash.find(field, item) || !item.expired(now)) continue;
    hash.erase(field);
    line.add(field);
  }
  if (line.size() == words) return false;
  call.store.counters().expired_fields += line.size() - words;
  edit.done(kEventHexpired);
  line.state();
  return true;
}

void EffectLine::add_number(int64_t number) {
  QUOLL_CHECK(numbers_used_ < 2);
  char* text = numbers_[numbers_used_++];
  words_.emplace_back(text, base::format_int(number, text));
}

}  // namespace quoll::commands::hashes
