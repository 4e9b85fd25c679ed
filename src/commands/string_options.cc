#include "commands/string_options.h"

#include "base/hash.h"
#include "server/server.h"

namespace quoll::commands::strings {
namespace {

constexpr base::Millis kMillisPerSecond = 1000;
constexpr size_t kDigestDigits = 16;

Expiry::Kind expiry_kind(uint64_t option) {
  switch (option) {
    case word("ex"):
      return Expiry::kEx;
    case word("px"):
      return Expiry::kPx;
    case word("exat"):
      return Expiry::kExAt;
    case word("pxat"):
      return Expiry::kPxAt;
    case word("keepttl"):
      return Expiry::kKeep;
    case word("persist"):
      return Expiry::kPersist;
    default:
      return Expiry::kNone;
  }
}

Condition::Kind condition_kind(uint64_t option) {
  switch (option) {
    case word("nx"):
      return Condition::Kind::nx;
    case word("xx"):
      return Condition::Kind::xx;
    case word("ifeq"):
      return Condition::Kind::ifeq;
    case word("ifne"):
      return Condition::Kind::ifne;
    case word("ifdeq"):
      return Condition::Kind::ifdeq;
    case word("ifdne"):
      return Condition::Kind::ifdne;
    default:
      return Condition::Kind::none;
  }
}

// Both cases are read, as DIGEST's readers may print either.
bool parse_digest(Bytes text, uint64_t& value) {
  if (text.size() != kDigestDigits) return false;
  value = 0;
  for (char c : text) {
    char digit = base::to_lower(c);
    if (digit >= '0' && digit <= '9') {
      value = value << 4 | static_cast<uint64_t>(digit - '0');
    } else if (digit >= 'a' && digit <= 'f') {
      value = value << 4 | static_cast<uint64_t>(digit - 'a' + 10);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

bool Expiry::take(uint64_t option, uint8_t allowed, const base::Args& args, size_t& i) {
  Kind found = expiry_kind(option);
  if (!(found & allowed) || (kind != kNone && kind != found)) return false;
  if (found & kTimes) {
    if (i + 1 >= args.size()) return false;
    argument = ++i;
  }
  kind = found;
  return true;
}

bool Expiry::resolve(Call& call) {
  if (!has_time()) return true;
  int64_t time;
  if (!call.integer(argument, time)) return false;
  bool seconds = kind & (kEx | kExAt);
  bool valid = time > 0 && !(seconds && time > INT64_MAX / kMillisPerSecond);
  if (valid && seconds) time *= kMillisPerSecond;
  if (valid && !absolute()) valid = !__builtin_add_overflow(time, call.now, &time);
  if (!valid) {
    std::string text = "ERR invalid expire time in '";
    text.append(call.command.spec->name).append("' command");
    call.reply.error(text);
    return false;
  }
  // The largest number means "no deadline" in the store.
  deadline = time < store::kNoDeadline ? time : store::kNoDeadline - 1;
  return true;
}

bool Expiry::past(const Call& call) const {
  return deadline <= call.now && call.store.commits().origin() == store::Origin::client;
}

bool Condition::take(uint64_t option, const base::Args& args, size_t& i) {
  Kind found = condition_kind(option);
  if (found == Kind::none || (kind != Kind::none && kind != found)) return false;
  if (found >= Kind::ifeq) {
    if (i + 1 >= args.size()) return false;
    value = args[++i];
  }
  kind = found;
  return true;
}

bool Condition::resolve(Call& call) {
  if (kind != Kind::ifdeq && kind != Kind::ifdne) return true;
  if (parse_digest(value, digest)) return true;
  call.reply.error("ERR digest must be exactly 16 hexadecimal characters");
  return false;
}

bool Condition::met(const store::Entry* entry) const {
  char scratch[kTextScratch];
  switch (kind) {
    case Kind::none:
      return true;
    case Kind::nx:
      return !entry;
    case Kind::xx:
      return entry;
    case Kind::ifeq:
      return entry && entry->text(scratch) == value;
    case Kind::ifne:
      return !entry || entry->text(scratch) != value;
    case Kind::ifdeq:
      return entry && base::xxh3(entry->text(scratch)) == digest;
    case Kind::ifdne:
      return !entry || base::xxh3(entry->text(scratch)) != digest;
  }
  return false;
}

bool reply_old(Call& call, const store::Entry* entry) {
  if (!entry) {
    call.reply.null();
    return true;
  }
  if (!is_string(entry)) {
    call.wrong_type();
    return false;
  }
  reply_text(call, entry);
  return true;
}

void remove(Call& call, store::Edit& edit) {
  edit.erase();
  edit.done(store::kEventDel);
  call.effect({"DEL", call.arg(1)});
}

bool too_long(Call& call, size_t size, size_t extra) {
  auto limit = static_cast<size_t>(call.server.settings().proto_max_bulk_len);
  if (call.store.commits().origin() != store::Origin::client) return false;
  if (size + extra <= limit && size + extra >= size) return false;
  call.reply.error(server::errors::kStringTooLong);
  return true;
}

}  // namespace quoll::commands::strings
