// Counters: strings read as 64-bit integers or as 80-bit floats.
#include <cmath>

#include "commands/string_family.h"
#include "server/server.h"

namespace quoll::commands::strings {
namespace {

constexpr Bytes kOverflow = "ERR increment or decrement would overflow";

void increment(Call& call, int64_t by) {
  store::Edit edit = call.edit(1);
  int64_t value = 0;
  if (const store::Entry* entry = edit.entry()) {
    if (__builtin_expect(entry->form() == data::Form::integer, 1)) {
      value = entry->integer();
    } else if (!is_string(entry)) {
      return call.wrong_type();
    } else if (!base::parse_int(entry->text(nullptr), value)) {
      return call.reply.error(server::errors::kNotInteger);
    }
  }
  if (__builtin_add_overflow(value, by, &value)) return call.reply.error(kOverflow);
  edit.put(data::Value::of_integer(value), store::Ttl::keep());
  edit.done(kEventIncrBy);
  call.reply.integer(value);
}

}  // namespace

void incr(Call& call) { increment(call, 1); }
void decr(Call& call) { increment(call, -1); }

void incrby(Call& call) {
  int64_t by;
  if (call.integer(2, by)) increment(call, by);
}

void decrby(Call& call) {
  int64_t by;
  if (!call.integer(2, by)) return;
  if (by == INT64_MIN) return call.reply.error("ERR decrement would overflow");
  increment(call, -by);
}

void incrbyfloat(Call& call) {
  store::Edit edit = call.edit(1);
  long double value = 0;
  long double by;
  if (edit.found()) {
    if (!is_string(edit.entry())) return call.wrong_type();
    char scratch[kTextScratch];
    if (!base::parse_long_double(edit.entry()->text(scratch), value))
      return call.reply.error(server::errors::kNotFloat);
  }
  if (!base::parse_long_double(call.arg(2), by)) return call.reply.error(server::errors::kNotFloat);
  value += by;
  if (std::isnan(value) || std::isinf(value))
    return call.reply.error("ERR increment would produce NaN or Infinity");
  // Kept as text even when it is a whole number, as Redis does.
  std::string text = base::format_long_double_human(value);
  edit.put(data::Value::of_bytes(text), store::Ttl::keep());
  edit.done(kEventIncrByFloat);
  call.effect({"SET", call.arg(1), text, "KEEPTTL"});
  call.reply.bulk(text);
}

}  // namespace quoll::commands::strings
