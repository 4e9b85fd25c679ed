#include "server/notifier.h"

#include <fmt/format.h>

namespace quoll::server {
namespace {

uint32_t class_of(char kind) {
  switch (kind) {
    case 'g': return notify::kGeneric;
    case '$': return notify::kString;
    case 'l': return notify::kList;
    case 's': return notify::kSet;
    case 'h': return notify::kHash;
    case 'z': return notify::kZset;
    case 'x': return notify::kExpired;
    case 'e': return notify::kEvicted;
    case 't': return notify::kStream;
    case 'd': return notify::kModule;
    case 'n': return notify::kNewKey;
    default: return 0;
  }
}

}  // namespace

void Notifier::announce(uint32_t kind, Bytes event, store::DbIndex db, Bytes key,
                        const Ticket& ticket) {
  if (!(mask_ & kind)) return;
  if (mask_ & notify::kKeyspace)
    pubsub_.publish(fmt::format("__keyspace@{}__:{}", db, key), event, ticket);
  if (mask_ & notify::kKeyevent)
    pubsub_.publish(fmt::format("__keyevent@{}__:{}", db, event), key, ticket);
}

void Notifier::absorb(const store::Commit& commit) {
  Ticket ticket = gate_.ticket(commit.seq);
  for (const store::Touch& touch : commit.touches) {
    if (touch.change == store::Change::created)
      announce(notify::kNewKey, "new", touch.db, touch.key, ticket);
    if (touch.event.name[0] == '\0' || touch.change == store::Change::keyless) continue;
    announce(class_of(touch.event.kind), touch.event.name, touch.db, touch.key, ticket);
  }
}

}  // namespace quoll::server
