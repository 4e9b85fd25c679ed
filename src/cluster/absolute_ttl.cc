#include "cluster/absolute_ttl.h"

#include "base/numbers.h"
#include "base/text.h"

namespace quoll::cluster {
namespace {

constexpr base::Millis kMillisPerSecond = 1000;

bool is(base::Bytes word, base::Bytes name) { return base::equals_ignoring_case(word, name); }

// The instant `text` units from now; "" when it is no number or lies beyond all time.
std::string instant(base::Bytes text, base::Millis unit, base::Millis now) {
  int64_t span, ms, at;
  if (!base::parse_int(text, span) || __builtin_mul_overflow(span, unit, &ms) ||
      __builtin_add_overflow(ms, now, &at))
    return {};
  return std::to_string(at);
}

// SET and GETEX: an option EX or PX, from argument `first` on, becomes PXAT.
bool replace_option(base::Args args, size_t first, base::Millis now,
                    std::vector<std::string>& words) {
  for (size_t i = first; i + 1 < args.size(); ++i) {
    if (!is(args[i], "ex") && !is(args[i], "px")) continue;
    std::string at = instant(args[i + 1], is(args[i], "ex") ? kMillisPerSecond : 1, now);
    if (at.empty()) return false;
    words.assign(args.begin(), args.end());
    words[i] = "PXAT";
    words[i + 1] = at;
    return true;
  }
  return false;
}

bool replace_setex(base::Args args, base::Millis unit, base::Millis now,
                   std::vector<std::string>& words) {
  if (args.size() != 4) return false;
  std::string at = instant(args[2], unit, now);
  if (at.empty()) return false;
  words = {"SET", std::string(args[1]), std::string(args[3]), "PXAT", at};
  return true;
}

bool replace_expire(base::Args args, base::Millis unit, base::Millis now,
                    std::vector<std::string>& words) {
  if (args.size() < 3) return false;
  std::string at = instant(args[2], unit, now);
  if (at.empty()) return false;
  words.assign(args.begin(), args.end());
  words[0] = "PEXPIREAT";
  words[2] = at;
  return true;
}

bool replace_restore(base::Args args, base::Millis now, std::vector<std::string>& words) {
  if (args.size() < 4 || args[2] == "0") return false;
  for (size_t i = 4; i < args.size(); ++i)
    if (is(args[i], "absttl")) return false;
  std::string at = instant(args[2], 1, now);
  if (at.empty()) return false;
  words.assign(args.begin(), args.end());
  words[2] = at;
  words.emplace_back("ABSTTL");
  return true;
}

}  // namespace

bool absolute_ttl(base::Args args, base::Millis now, std::vector<std::string>& words) {
  const base::Bytes name = args[0];
  switch (name.size()) {
    case 3:
      return is(name, "set") && replace_option(args, 3, now, words);
    case 5:
      if (is(name, "getex")) return replace_option(args, 2, now, words);
      return is(name, "setex") && replace_setex(args, kMillisPerSecond, now, words);
    case 6:
      if (is(name, "psetex")) return replace_setex(args, 1, now, words);
      return is(name, "expire") && replace_expire(args, kMillisPerSecond, now, words);
    case 7:
      if (is(name, "pexpire")) return replace_expire(args, 1, now, words);
      return is(name, "restore") && replace_restore(args, now, words);
    default:
      return false;
  }
}

}  // namespace quoll::cluster
