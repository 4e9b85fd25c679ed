// Publications: what clients of this server publish, on its way to the clients of other nodes.
//
//   PUBLISH, SPUBLISH -> Notifier -> own subscribers
//                           `------> add() -> batch --turn end--> one frame per node
//                                      `-> waits until its ticket opens, then the same
//
// A message that may show what is not committed yet (of a transaction or script) leaves when it
// may; those behind it wait, so that all arrive in their order. When its ticket fails, because we
// lead no more, it is dropped, as its own subscribers here lose it. Nothing is sent twice and
// nothing is kept for who is not there: a node that does not take what it gets loses messages, like
// a subscriber that is too slow.
//
// Bounds: kPublicationsWaitingMax bytes wait here; on a connection to a node those of the other
// nodes' bound (PublicationRoute). What does not fit is counted, per node that misses it.
//
// Cost: without other nodes one test per message; else its bytes are copied once here and once per
// node.
#pragma once

#include <deque>
#include <string>

#include "cluster/publication_batch.h"
#include "server/output_gate.h"
#include "server/pubsub.h"

namespace quoll::server {

constexpr size_t kPublicationsWaitingMax = size_t{32} << 20;  // bytes, for their tickets
constexpr size_t kPublicationsUnsentMax = size_t{32} << 20;   // bytes, that a node does not take

// The way to other nodes.
class PublicationRoute {
 public:
  virtual ~PublicationRoute() = default;
  // Somebody else may have subscribers.
  virtual bool has_others(PubSub::Kind kind) const = 0;
  // How many nodes were sent the batch, and how many have kPublicationsUnsentMax bytes waiting.
  struct Told {
    uint64_t nodes = 0;
    uint64_t slow = 0;
  };
  virtual Told tell_others(PubSub::Kind kind, Bytes batch) = 0;
};

class Publications {
 public:
  struct Counters {
    uint64_t sent = 0;  // messages, each once per node
    uint64_t received = 0;
    uint64_t lost = 0;  // once per node that did not take it; too long or too many: once
  };

  Publications(PubSub& pubsub, const OutputGate& gate) : pubsub_(pubsub), gate_(gate) {}

  // nullptr: there are no others.
  void set_route(PublicationRoute* route) { route_ = route; }
  void add(PubSub::Kind kind, Bytes channel, Bytes message, const Ticket& ticket) {
    if (__builtin_expect(route_ != nullptr, 0) && route_->has_others(kind))
      add_for_others(kind, channel, message, ticket);
  }
  // At the end of a turn: what may leave does.
  void turn() {
    if (__builtin_expect(!waiting_.empty(), 0)) take_open();
    if (__builtin_expect(batches_[0].messages + batches_[1].messages > 0, 0)) send();
  }
  // Whoever waits for a ticket that is not open waits in vain.
  void give_up_waiting();
  // A batch of another node, for our subscribers. False: it is none.
  bool receive(Bytes batch);

  const Counters& counters() const { return counters_; }

 private:
  struct Batch {
    std::string bytes;
    uint64_t messages = 0;
  };
  struct Waiting {
    Ticket ticket;
    PubSub::Kind kind;
    std::string encoded;
  };

  Batch& batch_of(PubSub::Kind kind) { return batches_[kind == PubSub::Kind::shard]; }
  void add_for_others(PubSub::Kind kind, Bytes channel, Bytes message, const Ticket& ticket);
  void take_open();
  void append(PubSub::Kind kind, Bytes encoded);
  void send();
  void send(PubSub::Kind kind);

  PubSub& pubsub_;
  const OutputGate& gate_;
  PublicationRoute* route_ = nullptr;
  Batch batches_[2];  // for everybody, and for the group
  std::deque<Waiting> waiting_;
  size_t waiting_bytes_ = 0;
  Counters counters_;
};

}  // namespace quoll::server
