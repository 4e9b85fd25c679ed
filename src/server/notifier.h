// Notifier: turns touches into keyspace events ("__keyspace@0__:key", "__keyevent@0__:set") for the
// classes that notify-keyspace-events selects.
#pragma once

#include "server/notify_flags.h"
#include "server/output_gate.h"
#include "server/pubsub.h"
#include "store/commit.h"

namespace quoll::server {

class Notifier final : public store::CommitSink {
 public:
  Notifier(PubSub& pubsub, const OutputGate& gate) : pubsub_(pubsub), gate_(gate) {}

  void set_mask(uint32_t mask) {
    mask_ = mask;
    listen(mask & (notify::kKeyspace | notify::kKeyevent));
  }
  void absorb(const store::Commit& commit) override;
  // A read that found no key (class m); not a change, so it does not come by a commit.
  void key_miss(store::DbIndex db, Bytes key) {
    if (mask_ & notify::kKeyMiss) announce(notify::kKeyMiss, "keymiss", db, key, {});
  }

 private:
  void announce(uint32_t kind, Bytes event, store::DbIndex db, Bytes key, const Ticket& ticket);

  PubSub& pubsub_;
  const OutputGate& gate_;
  uint32_t mask_ = 0;
};

}  // namespace quoll::server
