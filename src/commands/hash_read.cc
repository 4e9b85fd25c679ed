// Commands that look at a hash.
#include "base/numbers.h"
#include "commands/hash_family.h"
#include "server/server.h"

namespace quoll::commands::hashes {
namespace {

// The live field at argument i. `entry` may be null.
bool live_field(Call& call, const store::Entry* entry, size_t i, HashItem& item) {
  return entry && entry->value<Hash>()->find(call.arg(i), call.now, item);
}

enum Parts : uint8_t { kFields = 1, kValues = 2 };

void reply_all(Call& call, uint8_t parts) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  uint64_t live = 0;
  if (entry) {
    auto hash = entry->value<Hash>();
    live = hash->size() - hash->expired(call.now);
  }
  if (parts == (kFields | kValues))
    call.reply.map(live);
  else
    call.reply.array(live);
  if (live == 0) return;
  entry->value<Hash>()->for_each([&](const HashItem& item) {
    if (item.expired(call.now)) return;
    if (parts & kFields) reply_item(call, item.field);
    if (parts & kValues) reply_item(call, item.value);
  });
}

}  // namespace

void hget(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  HashItem item;
  if (!live_field(call, entry, 2, item)) return call.reply.null();
  reply_item(call, item.value);
}

void hmget(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  call.reply.array(call.argc() - 2);
  for (size_t i = 2; i < call.argc(); ++i) {
    HashItem item;
    if (live_field(call, entry, i, item))
      reply_item(call, item.value);
    else
      call.reply.null();
  }
}

void hgetall(Call& call) { reply_all(call, kFields | kValues); }
void hkeys(Call& call) { reply_all(call, kFields); }
void hvals(Call& call) { reply_all(call, kValues); }

void hlen(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  call.reply.integer(entry ? static_cast<int64_t>(entry->value<Hash>()->size()) : 0);
}

void hstrlen(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  HashItem item;
  if (!live_field(call, entry, 2, item)) return call.reply.integer(0);
  char text[base::kIntTextMax];
  call.reply.integer(static_cast<int64_t>(item.value.text(text).size()));
}

void hexists(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  HashItem item;
  call.reply.integer(live_field(call, entry, 2, item));
}

}  // namespace quoll::commands::hashes
