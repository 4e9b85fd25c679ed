// INCREX: a counter with bounds and expiry in one step. Semantics: Redis 8.8's documentation.
//
//   result = value + increment; when it leaves [LBOUND, UBOUND] or the type's range, the command
//   changes nothing and replies [value, 0]; with SATURATE the result stops at the bound instead.
//   The reply is [result, increment that was applied].
#include <algorithm>
#include <cfloat>
#include <cmath>

#include "commands/string_options.h"
#include "server/server.h"

namespace quoll::commands::strings {
namespace {

struct Options {
  size_t by_int = 0;  // arguments; 0 = not given
  size_t by_float = 0;
  size_t lower = 0;
  size_t upper = 0;
  bool saturate = false;
  bool only_without_ttl = false;  // ENX
  Expiry expiry;
};

// Takes an option with one argument that may come once.
bool take_once(size_t& place, const base::Args& args, size_t& i) {
  if (place != 0 || i + 1 >= args.size()) return false;
  place = ++i;
  return true;
}

bool take_flag(bool& flag) { return !std::exchange(flag, true); }

bool take(Options& options, const base::Args& args, size_t& i) {
  constexpr uint8_t kAllowed = Expiry::kTimes | Expiry::kPersist;
  uint64_t option = word(args[i]);
  switch (option) {
    case word("byint"):
      return !options.by_float && take_once(options.by_int, args, i);
    case word("byfloat"):
      return !options.by_int && take_once(options.by_float, args, i);
    case word("lbound"):
      return take_once(options.lower, args, i);
    case word("ubound"):
      return take_once(options.upper, args, i);
    case word("saturate"):
      return take_flag(options.saturate);
    case word("enx"):
      return take_flag(options.only_without_ttl);
    default:
      return options.expiry.kind == Expiry::kNone && options.expiry.take(option, kAllowed, args, i);
  }
}

bool parse(Call& call, Options& options) {
  for (size_t i = 2; i < call.argc(); ++i) {
    if (!take(options, call.args, i)) {
      call.syntax_error();
      return false;
    }
  }
  if (options.only_without_ttl && options.expiry.kind == Expiry::kPersist) {
    call.syntax_error();
    return false;
  }
  if (options.only_without_ttl && !options.expiry.has_time()) {
    call.reply.error("ERR ENX flag requires an expiration");
    return false;
  }
  return options.expiry.resolve(call);
}

// What differs between counting in integers and in floats.
struct Integers {
  using Number = int64_t;
  static constexpr Number kMin = INT64_MIN;
  static constexpr Number kMax = INT64_MAX;
  static constexpr Bytes kBadIncrement = "ERR Increment is not an integer or out of range";
  static constexpr Bytes kBadLower = "ERR LBOUND is not an integer or out of range";
  static constexpr Bytes kBadUpper = "ERR UBOUND is not an integer or out of range";
  static constexpr Bytes kBadValue = server::errors::kNotInteger;
  static constexpr store::Event kEvent = kEventIncrBy;

  static bool parse(Bytes text, Number& number) { return base::parse_int(text, number); }
  static bool finite(Number) { return true; }
  // value + by, or the end of the range with `overflowed` set.
  static Number add(Number value, Number by, bool& overflowed) {
    Number sum;
    overflowed = __builtin_add_overflow(value, by, &sum);
    return !overflowed ? sum : by > 0 ? kMax : kMin;
  }
  static bool subtract(Number a, Number b, Number& difference) {
    return !__builtin_sub_overflow(a, b, &difference);
  }
  static std::string text(Number number) {
    char digits[base::kIntTextMax];
    return {digits, base::format_int(number, digits)};
  }
  static data::Value value(Number number, Bytes) { return data::Value::of_integer(number); }
  static void reply(Call& call, Number number) { call.reply.integer(number); }
};

struct Floats {
  using Number = long double;
  static constexpr Number kMin = -LDBL_MAX;
  static constexpr Number kMax = LDBL_MAX;
  static constexpr Bytes kBadIncrement = "ERR Increment is not a valid float";
  static constexpr Bytes kBadLower = "ERR LBOUND is not a valid float";
  static constexpr Bytes kBadUpper = "ERR UBOUND is not a valid float";
  static constexpr Bytes kBadValue = server::errors::kNotFloat;
  static constexpr store::Event kEvent = kEventIncrByFloat;

  static bool parse(Bytes text, Number& number) { return base::parse_long_double(text, number); }
  static bool finite(Number number) { return !std::isinf(number); }
  static Number add(Number value, Number by, bool& overflowed) {
    Number sum = value + by;
    overflowed = std::isinf(sum);
    return std::clamp(sum, kMin, kMax);
  }
  static bool subtract(Number a, Number b, Number& difference) {
    difference = a - b;
    return !std::isinf(difference);
  }
  static std::string text(Number number) { return base::format_long_double_human(number); }
  static data::Value value(Number, Bytes text) { return data::Value::of_bytes(text); }
  // The full precision of the counter, which a double would not hold.
  static void reply(Call& call, Number number) {
    std::string digits = text(number);
    if (call.reply.protocol() == 2) return call.reply.bulk(digits);
    call.reply.raw(",");
    call.reply.raw(digits);
    call.reply.raw("\r\n");
  }
};

template <class Kind>
struct Step {
  using Number = typename Kind::Number;

  Number by = 1;
  Number lower = Kind::kMin;
  Number upper = Kind::kMax;
  Number old = 0;
  Number result = 0;
  Number applied = 0;
  bool refused = false;  // out of bounds, and not to be saturated

  bool read(Call& call, const Options& options, size_t increment) {
    Bytes error;
    if (increment && !Kind::parse(call.arg(increment), by)) {
      error = Kind::kBadIncrement;
    } else if (!Kind::finite(by)) {
      error = "ERR BYFLOAT increment cannot be Infinity";
    } else if (options.lower && !Kind::parse(call.arg(options.lower), lower)) {
      error = Kind::kBadLower;
    } else if (options.upper && !Kind::parse(call.arg(options.upper), upper)) {
      error = Kind::kBadUpper;
    } else if (lower > upper) {
      error = "ERR LBOUND can't be greater than UBOUND";
    }
    // An infinite bound is the end of the range.
    lower = std::clamp(lower, Kind::kMin, Kind::kMax);
    upper = std::clamp(upper, Kind::kMin, Kind::kMax);
    if (!error.empty()) call.reply.error(error);
    return error.empty();
  }

  bool compute(Call& call, const store::Entry* entry, bool saturate) {
    char scratch[kTextScratch];
    if (entry && !is_string(entry)) {
      call.wrong_type();
      return false;
    }
    if (entry && !Kind::parse(entry->text(scratch), old)) {
      call.reply.error(Kind::kBadValue);
      return false;
    }
    if (!Kind::finite(old)) {
      call.reply.error("ERR value cannot be Infinity");
      return false;
    }
    bool overflowed;
    Number sum = Kind::add(old, by, overflowed);
    bool inside = !overflowed && sum >= lower && sum <= upper;
    refused = !inside && !saturate;
    result = refused ? old : std::clamp(sum, lower, upper);
    if (inside) {
      applied = by;
    } else if (!Kind::subtract(result, old, applied)) {
      call.reply.error("ERR applied increment would overflow");
      return false;
    }
    return true;
  }

  void reply(Call& call) const {
    call.reply.array(2);
    Kind::reply(call, result);
    Kind::reply(call, applied);
  }
};

// Stores the result and its deadline; the effect is the SET that leads to the same state.
template <class Kind>
void store_result(Call& call, store::Edit& edit, const Step<Kind>& step, const Options& options) {
  const Expiry& expiry = options.expiry;
  bool had_ttl = edit.found() && edit.entry()->has_ttl();
  bool expires = expiry.has_time() && !(options.only_without_ttl && had_ttl);
  if (expires && expiry.absolute() && expiry.past(call)) {
    if (edit.found()) remove(call, edit);
    return;
  }
  bool persists = expiry.kind == Expiry::kPersist && had_ttl;
  std::string text = Kind::text(step.result);
  edit.put(Kind::value(step.result, text), expires    ? store::Ttl::at(expiry.deadline)
                                           : persists ? store::Ttl::drop()
                                                      : store::Ttl::keep());
  edit.done(Kind::kEvent);
  if (expires) {
    edit.done(kEventExpire);
    char digits[base::kIntTextMax];
    Bytes deadline(digits, base::format_int(expiry.deadline, digits));
    call.effect({"SET", call.arg(1), text, "PXAT", deadline});
  } else if (persists) {
    edit.done(kEventPersist);
    call.effect({"SET", call.arg(1), text});
  } else {
    call.effect({"SET", call.arg(1), text, "KEEPTTL"});
  }
}

template <class Kind>
void count(Call& call, const Options& options, size_t increment) {
  Step<Kind> step;
  if (!step.read(call, options, increment)) return;
  store::Edit edit = call.edit(1);
  if (!step.compute(call, edit.entry(), options.saturate)) return;
  if (!step.refused) store_result(call, edit, step, options);
  step.reply(call);
}

}  // namespace

void increx(Call& call) {
  Options options;
  if (!parse(call, options)) return;
  if (options.by_float) return count<Floats>(call, options, options.by_float);
  count<Integers>(call, options, options.by_int);
}

}  // namespace quoll::commands::strings
