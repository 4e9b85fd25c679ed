// GossipCore: who of the cluster lives, as a pure step machine. SWIM with Lifeguard's suspicion:
// every node asks one other per second whether it is there, so each pays the same however many
// there are, and what it learns travels in the same datagrams.
//
//   a -> b  ping                          once per period, everybody in turn, in random order
//   b -> a  ack
//
//   a -> b  ping        (no answer in time)
//   a -> c  ask b       three others ask for a; and the driver tries b by TCP
//   c -> b  ping        b -> c  ack       c -> a  vouch b       (c, early: nack: I am here, b is
//   silent)
//           (no answer at all)
//   a: b is suspect     told on; b hears it and raises its incarnation: b lives
//   a: b has failed     no word of b for so long; the sooner, the more nodes say they suspect it
//
// What is told of a node is ordered by (incarnation, alive < suspect < fail < left). Only the node
// itself raises its incarnation. So everybody ends with the same, in whatever order things come.
//
// Rules:
//   1. Gossip says who lives, and nothing else: it never decides who owns what. Members come from
//      the topology (set_members), and from nowhere else.
//   2. Every datagram carries the sender's version of the topology. Who has an older one asks for
//      what it lacks. A sender that is not in a topology at least as new as its own is forgotten
//      for ever: it is told so and not answered.
//   3. What another cluster sends, or what is not sealed by the cluster's secret, is not heard.
//   4. Who was stopped (a pause, a busy loop) gives everybody else as much more time. Who misses
//      answers, or is suspected, doubts itself first: its patience grows up to eightfold.
//   5. A node whose main loop does not turn for kLoopAgeMax is as good as dead, and keeps silent.
//   6. A node tells its address with its incarnation; the higher incarnation's counts. An address
//      that only the network says is used to answer, never noted.
//   7. Nodes that failed or left are asked now and then, so that halves of a cluster find each
//      other again. Who hears from one that it takes for suspect, failed or left tells it; that one
//      then raises its incarnation.
//
// Cost: 57 bytes per datagram without news, 2.2 datagrams a second; O(1) per datagram but for the
// news in it; 88 bytes per member. Measured with 1,000 nodes and 1 % loss (scripts/run-sim --gossip
// --full), IP and UDP included: 191 bytes a second sent per node, 3.8 KB/s by the busiest while two
// halves of the cluster find each other again; a death known to all after 17 to 20 s; in an hour
// nobody taken for dead who lives, with TCP or without.
//
// Sources: Das, Gupta, Motivala, "SWIM" (2002); Dadgar, Phillips, Currey, "Lifeguard" (2018), and
// the values of HashiCorp's memberlist.
//
// To be driven by a thread of its own that owns the UDP socket and the age of the main loop, so
// that a long script is no death. Time is steady ms from the driver; chance a seed; what it wants
// done it leaves in take().
#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/gossip_frames.h"
#include "cluster/news_queue.h"

namespace quoll::cluster {

constexpr base::Millis kProbePeriodMs = 1000;
constexpr base::Millis kProbeTimeoutMs = 500;  // of an answer, before others are asked
constexpr base::Millis kNackAfterMs = 400;     // so that it is there before the period ends
constexpr unsigned kAskedPerProbe = 3;
constexpr unsigned kHealthMax = 7;        // patience is one more times as long
constexpr unsigned kSuspicionMult = 4;    // periods per decimal digit of the number of nodes
constexpr unsigned kSuspicionSpread = 6;  // the longest suspicion is so many times the shortest
constexpr unsigned kConfirmationsMax = 2;
constexpr unsigned kReviveEvery = 5;              // periods between pings of one that is away
constexpr unsigned kAnnounceTo = 3;               // nodes that hear urgent news at once
constexpr base::Millis kPauseMs = 1000;           // so late a turn counts as a pause
constexpr base::Millis kLoopAgeMax = 5000;        // of a main loop that may be busy
constexpr base::Millis kPullRetryMs = 1000;       // between two requests for the topology
constexpr base::Millis kCompareEveryMs = 30'000;  // digests of the topology
constexpr size_t kRelaysMax = 256;                // pings on their way for others

struct GossipConfig {
  uint32_t cluster = 0;  // hash of the cluster's id
  NodeIndex self = kNoNode;
  Incarnation incarnation = 1;  // higher than in its last life, if it knows
  NodeAddress address;
  uint64_t nonce = 0;  // of the first datagram: drawn at random for every life
};

// As the topology has it.
struct GossipMember {
  NodeIndex index = kNoNode;
  NodeAddress address;
  Incarnation incarnation = 0;  // with which it told the address
};

struct GossipActions {
  struct Send {
    NodeAddress to;
    std::string bytes;
  };
  struct Change {
    NodeIndex node;
    NodeState state;
    Incarnation incarnation;
    NodeIndex from;  // who said so
  };
  struct Move {
    NodeIndex node;
    NodeAddress address;
    Incarnation incarnation;
  };
  struct TryTcp {  // connect to its bus and have it say its number; then tcp_answered()
    NodeIndex node;
    NodeAddress address;
  };
  struct Pull {  // its topology is newer
    NodeIndex from;
    TopologyVersion version;
  };
  std::vector<Send> sends;
  std::vector<Change> changes;
  std::vector<Move> moves;
  std::vector<TryTcp> tcp;
  std::vector<NodeIndex> udp_blocked;  // these answered by TCP only
  std::vector<NodeIndex> touched;      // their views are others now; may name one twice
  std::optional<Pull> pull;
  std::optional<NodeIndex> compare;          // digests of the topology with this one
  std::optional<TopologyVersion> forgotten;  // a topology as new as this does not know us
};

// What is known of a node.
struct GossipView {
  NodeState state = NodeState::alive;
  Incarnation incarnation = 0;
  NodeAddress address;
  Incarnation address_incarnation = 0;  // with which it told the address
  uint8_t reports = 0;                  // nodes that say they suspect it, while it is suspect
  // Of our pings, in the driver's ms:
  base::Millis pinged_at = 0;    // the first since its last answer; 0: none waits for one
  base::Millis answered_at = 0;  // the last answer; 0: none yet
};

class GossipCore {
 public:
  // `seal` outlives the core.
  GossipCore(const GossipConfig& config, GossipSeal& seal, uint64_t seed, base::Millis now);

  // --- what happened
  // The topology of this version has these members. Who is new counts as alive.
  void set_members(const std::vector<GossipMember>& members, TopologyVersion version,
                   base::Millis now);
  void tick(base::Millis now);
  void receive(const NodeAddress& from, base::Bytes bytes, base::Millis now);
  void tcp_answered(NodeIndex node, base::Millis now);
  // We are reached elsewhere now.
  void move(const NodeAddress& address, base::Millis now);
  // We go on purpose: everybody shall know. The driver goes on ticking for some periods.
  void leave(base::Millis now);
  void set_loop_age(base::Millis age, base::Millis now);
  // Wall time minus the driver's steady time, for the clocks to be compared.
  void set_wall(base::Millis wall_less_steady) { wall_ = wall_less_steady; }

  // --- what follows
  GossipActions take() { return std::exchange(actions_, {}); }
  // When tick() is due at the latest.
  base::Millis next_wake() const;

  NodeState state(NodeIndex node) const;
  const NodeAddress* address(NodeIndex node) const;
  GossipView view(NodeIndex node) const;  // of another member
  bool is_member(NodeIndex node) const { return find(node) != nullptr; }
  Incarnation incarnation() const { return incarnation_; }
  TopologyVersion topology() const { return topology_; }
  size_t nodes() const { return members_.size() + 1; }
  size_t count(NodeState state) const;  // of the others
  unsigned health() const { return health_; }
  bool silent() const { return silent_; }
  // How far our clock is ahead of the median of those heard; nothing: nobody was.
  std::optional<base::Millis> clock_ahead() const;

  struct Counts {
    uint64_t sent = 0, sent_bytes = 0, received = 0;
    uint64_t malformed = 0, foreign = 0, unauthentic = 0, unknown = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  struct Member {
    NodeIndex index = kNoNode;
    NodeState state = NodeState::alive;
    NodeAddress address;
    Incarnation incarnation = 0;
    Incarnation address_incarnation = 0;
    // While suspect.
    base::Millis suspected_at = 0;
    base::Millis fails_at = 0;
    uint8_t confirmations = 0;
    std::array<NodeIndex, kConfirmationsMax + 1> suspected_by{};
    // Its clock less ours.
    std::optional<base::Millis> clock = {};
    // See GossipView.
    base::Millis pinged_at = 0;
    base::Millis answered_at = 0;
  };
  struct Probe {
    NodeIndex target = kNoNode;  // kNoNode: none under way
    Incarnation incarnation = 0;
    uint16_t sequence = 0;
    base::Millis began = 0;
    base::Millis asks_at = 0;  // others; 0: they have been asked
    base::Millis ends_at = 0;
    unsigned asked = 0;
    unsigned nacks = 0;
    bool answered = false;
    bool by_tcp_only = false;
  };
  struct Relay {  // a ping for somebody else
    NodeIndex requester;
    NodeAddress requester_address;
    uint16_t requester_sequence;
    NodeIndex target;
    uint16_t sequence;
    base::Millis nack_at;  // 0: sent
    base::Millis ends_at;
  };

  uint64_t draw();
  size_t below(size_t bound) { return static_cast<size_t>(draw() % bound); }
  const Member* find(NodeIndex node) const;
  Member* find(NodeIndex node) { return const_cast<Member*>(std::as_const(*this).find(node)); }
  unsigned patience() const { return health_ + 1; }
  void doubt(unsigned by) { health_ = std::min(health_ + by, kHealthMax); }

  void remember(const GossipMember& self);
  // Every entry: what came late gives everybody as much more time.
  void note_time(base::Millis now);
  void shift(base::Millis by);

  void begin_probe();
  NodeIndex next_target();
  void ask_others();
  void end_probe();
  void revive();
  void fail_suspects();
  void tick_relays();
  std::vector<Member*> some_alive(size_t count, NodeIndex besides);

  void hear_ping(const Datagram& datagram, const NodeAddress& from);
  void note_answer(Member& member);
  void hear_ack(const Datagram& datagram);
  void hear_ask(const Datagram& datagram, const NodeAddress& from);
  void hear_vouch(const Datagram& datagram);
  bool hear_stranger(const Datagram& datagram, const NodeAddress& from);
  void note_topology(const Datagram& datagram);
  void note_clock(Member& member, const Datagram& datagram);

  void hear(const News& news);
  void refute(const News& news);
  void hear_alive(Member& member, const News& news);
  void hear_suspect(Member& member, const News& news);
  void hear_end(Member& member, const News& news);
  void suspect(Member& member, NodeIndex from);
  void set_deadline(Member& member);
  void change(Member& member, NodeState state, NodeIndex from);
  News news_of(const Member& member, NodeIndex from) const;
  void tell(const Member& member, NodeIndex from);
  void tell_of_self();
  void announce();

  void send(Datagram::Type type, NodeIndex to, const NodeAddress& address, uint16_t sequence,
            NodeIndex about = kNoNode);

  GossipConfig config_;
  GossipSeal& seal_;
  uint64_t chance_;
  base::Millis now_;
  base::Millis wall_ = 0;
  Incarnation incarnation_;
  bool leaving_ = false;
  bool silent_ = false;
  base::Millis silent_since_ = 0;
  TopologyVersion topology_ = 0;
  std::vector<Member> members_;   // by index, without ourselves
  std::vector<int32_t> places_;   // of an index in members_; -1: none
  std::vector<NodeIndex> order_;  // in which they are probed
  size_t next_in_order_ = 0;
  NewsQueue news_;
  unsigned health_ = 0;
  uint16_t sequence_ = 0;
  uint64_t nonce_;
  Probe probe_;
  base::Millis probe_at_;
  unsigned periods_ = 0;
  std::vector<Relay> relays_;
  base::Millis suspicion_at_;  // not later than the first suspicion that ends
  base::Millis pull_at_ = 0;   // not before
  base::Millis compare_at_;
  GossipActions actions_;
  Counts counts_;
};

}  // namespace quoll::cluster
