#include "server/call.h"

#include <cmath>

#include "base/numbers.h"
#include "base/text.h"
#include "server/server.h"

namespace quoll::server {

const store::Entry* Call::find_key(const store::KeyRef& key) {
  const store::Entry* entry = store.find(db, key, now);
  if (__builtin_expect(entry != nullptr, 1)) {
    ++server.stats().keyspace_hits;
    if (!session.no_touch) store.note_access(entry, now);
  } else {
    ++server.stats().keyspace_misses;
    server.notifier().key_miss(db, key.bytes, store.commits());
  }
  return entry;
}

const store::Entry* Call::look(size_t i, bool tell_miss) {
  const store::Entry* entry = store.find(db, key(i), now);
  if (entry) {
    ++server.stats().keyspace_hits;
  } else {
    ++server.stats().keyspace_misses;
    if (tell_miss) server.notifier().key_miss(db, args[i], store.commits());
  }
  return entry;
}

bool Call::timeout_seconds(size_t i, base::Millis& timeout_ms) {
  long double seconds;
  if (!base::parse_long_double(args[i], seconds)) {
    reply.error("ERR timeout is not a float or out of range");
    return false;
  }
  long double millis = ceill(seconds * 1000);  // less than a millisecond is not for ever
  if (millis < 0) {
    reply.error(errors::kTimeoutNegative);
    return false;
  }
  if (millis > static_cast<long double>(INT64_MAX - now)) {
    reply.error(errors::kTimeoutOutOfRange);
    return false;
  }
  timeout_ms = static_cast<base::Millis>(millis);
  return true;
}

bool Call::timeout_millis(size_t i, base::Millis& timeout_ms) {
  if (!integer(i, timeout_ms, "ERR timeout is not an integer or out of range")) return false;
  if (timeout_ms < 0) {
    reply.error(errors::kTimeoutNegative);
    return false;
  }
  if (timeout_ms > INT64_MAX - now) {
    reply.error(errors::kTimeoutOutOfRange);
    return false;
  }
  return true;
}

void Call::redact(size_t i) { server.dispatcher().redact(i); }

void Call::subcommand_error() {
  constexpr size_t kShownBytes = 128;
  reply.error("ERR unknown subcommand or wrong number of arguments for '" +
              std::string(errors::shown(args[1].substr(0, kShownBytes))) + "'. Try " +
              base::to_upper(errors::shown(args[0])) + " HELP.");
}

bool Call::integer(size_t i, int64_t& value, Bytes error) {
  if (base::parse_int(args[i], value)) return true;
  reply.error(error);
  return false;
}

}  // namespace quoll::server
