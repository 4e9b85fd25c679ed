#include "server/notifier.h"

#include <fmt/format.h>

namespace quoll::server {
namespace {

uint32_t class_of(char kind) {
  switch (kind) {
    case 'g':
      return notify::kGeneric;
    case '$':
      return notify::kString;
    case 'l':
      return notify::kList;
    case 's':
      return notify::kSet;
    case 'h':
      return notify::kHash;
    case 'z':
      return notify::kZset;
    case 'x':
      return notify::kExpired;
    case 'e':
      return notify::kEvicted;
    case 't':
      return notify::kStream;
    case 'd':
      return notify::kModule;
    case 'n':
      return notify::kNewKey;
    default:
      return 0;
  }
}

// The channels.
std::string of_key(store::DbIndex db, Bytes key) {
  return fmt::format("__keyspace@{}__:{}", db, key);
}
std::string of_event(store::DbIndex db, Bytes event) {
  return fmt::format("__keyevent@{}__:{}", db, event);
}

}  // namespace

void Notifier::announce(uint32_t kind, Bytes event, store::DbIndex db, Bytes key,
                        const Ticket& ticket) {
  if (!(mask_ & kind)) return;
  if (mask_ & notify::kKeyspace) pubsub_.publish(of_key(db, key), event, ticket);
  if (mask_ & notify::kKeyevent) pubsub_.publish(of_event(db, event), key, ticket);
}

void Notifier::announce_miss(store::DbIndex db, Bytes key, const store::CommitBuilder& commits) {
  constexpr Bytes kEvent = "keymiss";
  constexpr auto kKind = PubSub::Kind::channel;
  const Ticket ticket = gate_.ticket(unsettled_->of(db, key));
  if (mask_ & notify::kKeyspace)
    publish(kKind, of_key(db, key), kEvent, commits, ticket, Reach::server);
  if (mask_ & notify::kKeyevent)
    publish(kKind, of_event(db, kEvent), key, commits, ticket, Reach::server);
}

size_t Notifier::publish(PubSub::Kind kind, Bytes channel, Bytes message,
                         const store::CommitBuilder& commits, const Ticket& ticket, Reach reach) {
  const bool in_order = listening() && commits.recorded() > 0;
  if (!in_order && !in_unit_) return send(kind, channel, message, ticket, reach);
  waiting_.push_back({commits.recorded(), kind, reach, std::string(channel), std::string(message)});
  return kind == PubSub::Kind::shard ? pubsub_.subscribers(kind, channel)
                                     : pubsub_.receivers(channel);
}

size_t Notifier::send(PubSub::Kind kind, Bytes channel, Bytes message, const Ticket& ticket,
                      Reach reach) {
  if (reach == Reach::cluster) publications_.add(kind, channel, message, ticket);
  return kind == PubSub::Kind::shard ? pubsub_.publish_shard(channel, message, ticket)
                                     : pubsub_.publish(channel, message, ticket);
}

// Sends the messages that stand behind the touches told so far.
void Notifier::send_waiting(size_t told, const Ticket& ticket) {
  size_t sent = 0;
  while (sent < waiting_.size() && waiting_[sent].behind <= told) {
    const Waiting& one = waiting_[sent++];
    send(one.kind, one.channel, one.message, ticket, one.reach);
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(sent));
}

void Notifier::absorb(const store::Commit& commit) {
  Ticket ticket = gate_.ticket(commit.seq);
  size_t told = 0;
  for (const store::Touch& touch : commit.touches) {
    if (__builtin_expect(!waiting_.empty(), 0)) send_waiting(told, ticket);
    ++told;
    if (touch.change == store::Change::created && commit.origin != store::Origin::load)
      announce(notify::kNewKey, "new", touch.db, touch.key, ticket);
    if (touch.event.name[0] == '\0' || touch.change == store::Change::keyless) continue;
    announce(class_of(touch.event.kind), touch.event.name, touch.db, touch.key, ticket);
  }
  send_waiting(SIZE_MAX, ticket);
}

}  // namespace quoll::server
