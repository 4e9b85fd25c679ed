// Notifier: turns touches into keyspace events ("__keyspace@0__:key", "__keyevent@0__:set") for the
// classes that notify-keyspace-events selects.
//
// A message that a transaction publishes, and the key that one of its reads missed, stand in the
// order of its commands: behind the events of the commands before them, though these are told only
// when the transaction's commit closes. While the gate demands something, all messages of a unit (a
// transaction or script) wait for its end, and then at the gate: what they say may come from it, or
// from changes of others that it has read.
#pragma once

#include <string>
#include <vector>

#include "server/notify_flags.h"
#include "server/output_gate.h"
#include "server/publications.h"
#include "server/pubsub.h"
#include "server/unsettled_keys.h"
#include "store/commit.h"

namespace quoll::server {

class Notifier final : public store::CommitSink {
 public:
  Notifier(PubSub& pubsub, const OutputGate& gate, Publications& publications)
      : pubsub_(pubsub), gate_(gate), publications_(publications) {}

  // Where changes that are not settled are known from.
  void set_unsettled(const UnsettledKeys& keys) { unsettled_ = &keys; }
  void set_mask(uint32_t mask) {
    // Nothing may be left behind when nobody listens any more.
    if (!in_unit_) send_waiting(SIZE_MAX, {});
    mask_ = mask;
    listen(mask & (notify::kKeyspace | notify::kKeyevent));
  }
  void absorb(const store::Commit& commit) override;
  // A read that found no key (class m); not a change, so it does not come by a commit.
  void key_miss(store::DbIndex db, Bytes key, const store::CommitBuilder& commits) {
    if (__builtin_expect(mask_ & notify::kKeyMiss, 0)) announce_miss(db, key, commits);
  }
  // PUBLISH and SPUBLISH, behind the touches of the commit if it is open; returns the receivers
  // here. Other nodes' clients get it, too; events are for our own.
  size_t publish(PubSub::Kind kind, Bytes channel, Bytes message,
                 const store::CommitBuilder& commits) {
    return publish(kind, channel, message, commits, {}, Reach::cluster);
  }
  // Around a transaction or script. What the messages of one may show is settled with the ticket.
  void unit_begins() { in_unit_ = gate_.demanding(); }
  void unit_over(const Ticket& ticket) {
    in_unit_ = false;
    if (__builtin_expect(!waiting_.empty(), 0)) send_waiting(SIZE_MAX, ticket);
  }

 private:
  enum class Reach : uint8_t { server, cluster };
  struct Waiting {
    size_t behind;  // touches of the commit
    PubSub::Kind kind;
    Reach reach;
    std::string channel;
    std::string message;
  };

  void send_waiting(size_t told, const Ticket& ticket);
  size_t publish(PubSub::Kind kind, Bytes channel, Bytes message,
                 const store::CommitBuilder& commits, const Ticket& ticket, Reach reach);
  size_t send(PubSub::Kind kind, Bytes channel, Bytes message, const Ticket& ticket, Reach reach);
  void announce_miss(store::DbIndex db, Bytes key, const store::CommitBuilder& commits);
  void announce(uint32_t kind, Bytes event, store::DbIndex db, Bytes key, const Ticket& ticket);

  PubSub& pubsub_;
  const OutputGate& gate_;
  Publications& publications_;
  const UnsettledKeys* unsettled_ = nullptr;
  uint32_t mask_ = 0;
  bool in_unit_ = false;
  std::vector<Waiting> waiting_;
};

}  // namespace quoll::server
