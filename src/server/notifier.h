// Notifier: turns touches into keyspace events ("__keyspace@0__:key", "__keyevent@0__:set") for the
// classes that notify-keyspace-events selects.
//
// A message that a transaction publishes, and the key that one of its reads missed, stand in the
// order of its commands: behind the events of the commands before them, though these are told only
// when the transaction's commit closes.
#pragma once

#include <string>
#include <vector>

#include "server/notify_flags.h"
#include "server/output_gate.h"
#include "server/pubsub.h"
#include "store/commit.h"

namespace quoll::server {

class Notifier final : public store::CommitSink {
 public:
  Notifier(PubSub& pubsub, const OutputGate& gate) : pubsub_(pubsub), gate_(gate) {}

  void set_mask(uint32_t mask) {
    send_waiting(SIZE_MAX, {});  // nothing may be left behind when nobody listens any more
    mask_ = mask;
    listen(mask & (notify::kKeyspace | notify::kKeyevent));
  }
  void absorb(const store::Commit& commit) override;
  // A read that found no key (class m); not a change, so it does not come by a commit. As with
  // publish(), `recorded` touches of the open commit wait to be told.
  void key_miss(store::DbIndex db, Bytes key, size_t recorded) {
    if (__builtin_expect(mask_ & notify::kKeyMiss, 0)) announce_miss(db, key, recorded);
  }
  // PUBLISH while `recorded` touches of the open commit wait to be told; returns the receivers.
  size_t publish(Bytes channel, Bytes message, size_t recorded);

 private:
  struct Waiting {
    size_t behind;  // touches of the commit
    std::string channel;
    std::string message;
  };

  void send_waiting(size_t told, const Ticket& ticket);
  void announce_miss(store::DbIndex db, Bytes key, size_t recorded);
  void announce(uint32_t kind, Bytes event, store::DbIndex db, Bytes key, const Ticket& ticket);

  PubSub& pubsub_;
  const OutputGate& gate_;
  uint32_t mask_ = 0;
  std::vector<Waiting> waiting_;
};

}  // namespace quoll::server
