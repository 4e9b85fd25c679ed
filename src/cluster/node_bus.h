// NodeBus: questions between any two nodes, by TCP at the port of the bus. Everything but
// liveness (gossip) and the logs of groups goes this way: joins, proposals, the topology, slots.
//
//   dial -> greeting both ways (who, nonce) -> proof both ways -> question 7 ... answer 7
//
//   greeting   "QUOLLNOD" version4 id40 nonce16
//   proof32    that the secret is known (bus_proof.h); who dials gives it first
//   question   size4 kind1 number4 body        size: of all behind it; number 0: wants no answer
//   answer     size4 0 number4 fine1 body      not fine: the body says why
//
// Whoever knows the cluster's secret may ask; without a secret everybody who reaches the port may,
// and the proof says nothing. Another secret counts for connections made from then on. A question
// is answered once, or fails when the connection ends or its time is over; then nobody knows
// whether it was heard, unless the error begins with kUnheard. Questions over one connection arrive
// in order. A connection that opens with "QUOLLGRP" is one of a member of a group (group_frames.h):
// it is handed on, with what it has sent, once its preamble is there.
//
// Bounds: kAskedMax questions wait for answers per node, frames have up to kNodeFrameBytesMax,
// kStrangerNodesMax connections have not yet proven anything, the oldest giving way to the next,
// kNodesConnectedMax have dialed us; who does not read its answers is left at
// kAnswersWaitingBytesMax.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/bus_proof.h"
#include "cluster/group_types.h"
#include "cluster/rare_trouble.h"
#include "cluster/send_queue.h"
#include "host/host.h"

namespace quoll::cluster {

constexpr size_t kNodeGreetingBytes = 8 + 4 + kMemberIdBytes + kBusNonceBytes;
constexpr size_t kNodeFrameBytesMax = 64 * 1024 * 1024;
constexpr size_t kAskedMax = 1024;
constexpr size_t kStrangerNodesMax = 64;
constexpr size_t kNodesConnectedMax = 8192;  // that dialed us
constexpr size_t kAnswersWaitingBytesMax =
    128 * 1024 * 1024;                           // then who asked and does not read goes
constexpr size_t kLargeAnswerBytes = 64 * 1024;  // such a one is left out before that
constexpr base::Millis kAnswerMs = 5000;         // then a question has failed
constexpr base::Millis kGreetingMs = 2000;       // until the proof is there
constexpr base::Millis kIdleLinkMs = 120'000;    // then a connection nobody uses ends
constexpr base::Millis kBusDialAgainMs = 500;    // who was not reached is not told so long

// In front of an error: the question was never sent.
constexpr base::Bytes kUnheard = "not sent: ";

enum class Question : uint8_t {
  none = 0,    // in a frame: an answer
  join,        // may I be a member?
  invite,      // join the cluster of the one who asks
  propose,     // a change of the topology
  pull,        // the topology, or what changed since a version
  news,        // the asker's version, and which group it leads
  probe,       // are you there?
  take_in,     // which place in a group is mine?
  witness,     // keep the log of a group at this place
  slot_drop,   // the target of slots forgets what it has of them
  slot_keys,   // keys of slots that move
  slot_count,  // how many there are
  slot_adopt,  // the slots are the target's
  publish,     // messages for subscribers; wants no answer
  hands_off,   // slots are moved by hand: nobody rebalances
  run,         // commands of a client of the asker
  slot_take,   // begin to move slots to the asker
  slot_state,  // how such a move is
  slot_stop,   // cancel it
  slot_unit,   // is this unit of slots, which came from you, over?
  recall,      // you are a member of the cluster with this topology
  last = recall,
};

class NodeBus {
 public:
  using OnAnswer = std::function<void(base::Result<std::string>)>;
  struct Asked {
    Question question;
    std::string id;           // of the node that asks
    std::string address;      // from where it came, without the port
    std::string own_address;  // to where
    base::Bytes body;         // until the call returns
  };
  // To be answered once, now or later.
  using Serve = std::function<void(const Asked&, OnAnswer)>;
  // A connection of a member of a group, and what it has sent so far: its preamble at least.
  using OnOther = std::function<void(std::unique_ptr<host::Peer>, std::string)>;

  // Something a person should read.
  using OnTrouble = std::function<void(const std::string&)>;

  // The secret is the empty one.
  NodeBus(const host::Host& host, std::string id, Serve serve);
  ~NodeBus();
  NodeBus(const NodeBus&) = delete;
  NodeBus& operator=(const NodeBus&) = delete;

  base::Result<> listen(const host::Endpoint& at);
  // The port really listened at; 0: nowhere.
  uint16_t port() const { return listeners_.empty() ? 0 : listeners_[0]->endpoint().port; }
  void on_other(OnOther told) { on_other_ = std::move(told); }
  void on_trouble(OnTrouble told) { on_trouble_ = std::move(told); }
  // Of connections made from now on.
  void set_secrets(BusSecrets secrets) { secrets_ = std::move(secrets); }
  // The node is another one: connections that stand, which have told the old id, end in a moment.
  void set_id(std::string id);

  void ask(const host::Endpoint& to, Question question, base::Bytes body, OnAnswer done,
           base::Millis within = kAnswerMs);
  // Without an answer: nobody knows whether it was heard. False: more than `unsent_max` bytes would
  // wait for that node, so it is not told; or it was not reached a moment ago.
  bool tell(const host::Endpoint& to, Question question, base::Bytes body, size_t unsent_max);
  void tick(base::Millis now);  // some times a second
  void flush();                 // at the end of a turn
  // Since the start.
  uint64_t sent() const { return sent_; }
  uint64_t received() const { return received_; }

 private:
  class Link;
  friend class Link;

  void accepted(std::unique_ptr<host::Peer> peer);
  std::shared_ptr<Link> link_to(const host::Endpoint& to);
  void dial(const std::string& key, const host::Endpoint& to);
  void hand_on(Link& link, std::string bytes);
  void ended(Link& link);
  void trouble(std::string text);
  std::vector<std::shared_ptr<Link>> links() const;

  host::Host host_;
  std::string id_;
  BusSecrets secrets_{std::string()};
  Serve serve_;
  OnOther on_other_;
  OnTrouble on_trouble_;
  RareTrouble rare_trouble_;
  std::vector<std::unique_ptr<host::Listener>> listeners_;
  std::map<std::string, std::shared_ptr<Link>> dialed_;  // by address
  std::map<std::string, base::Millis> unreached_;        // until when they are not told
  std::vector<std::shared_ptr<Link>> accepted_;
  std::vector<std::shared_ptr<Link>> buried_;  // until the turn ends
  std::vector<char> scratch_;
  base::Millis now_;  // steady; as of the last tick
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::cluster
