#include "server/call.h"

#include "base/numbers.h"
#include "server/server.h"

namespace quoll::server {

const store::Entry* Call::find_key(const store::KeyRef& key) {
  const store::Entry* entry = store.find(db, key, now);
  if (__builtin_expect(entry != nullptr, 1)) {
    ++server.stats().keyspace_hits;
    if (!session.no_touch) store.note_access(entry, now);
  } else {
    ++server.stats().keyspace_misses;
    server.notifier().key_miss(db, key.bytes);
  }
  return entry;
}

const store::Entry* Call::look(size_t i, bool tell_miss) {
  const store::Entry* entry = store.find(db, key(i), now);
  if (entry) {
    ++server.stats().keyspace_hits;
  } else {
    ++server.stats().keyspace_misses;
    if (tell_miss) server.notifier().key_miss(db, args[i]);
  }
  return entry;
}

bool Call::integer(size_t i, int64_t& value, Bytes error) {
  if (base::parse_int(args[i], value)) return true;
  reply.error(error);
  return false;
}

}  // namespace quoll::server
