// GossipWorld: nodes of a cluster as their gossip only (cluster::GossipCore), on virtual time and a
// network that loses, delays, doubles and cuts, all from one seed.
//
//   node:     core <-> datagrams: any order, any loss; to whoever has the address now
//             core <-> topology: versions that the world agrees on; a node that asks gets that of
//                      the node it asks, by TCP
//   faults:   ends, pauses, busy loops, cuts between parts, one-way deafness, moves to another
//             address
//
// What must hold, checked as it happens:
//   - nobody hears of a node that is not in the topology, or of another cluster's
//   - who was forgotten is not heard of again
//   - incarnations never go back
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cluster/gossip_core.h"
#include "tests/sim/sim_chance.h"

namespace quoll::sim {

using base::Millis;
using cluster::NodeAddress;
using cluster::NodeIndex;
using cluster::NodeState;

constexpr Millis kSecond = 1000;
constexpr size_t kDatagramOverhead = 28;  // IPv4 and UDP

struct GossipNetwork {
  int64_t loss_ppm = 0;  // of every datagram
  int64_t twice_ppm = 0;
  Millis delay_min = 1;
  Millis delay_max = 3;
  bool tcp = true;  // the fallback probe gets through where the network does
};

class GossipWorld {
 public:
  GossipWorld(uint64_t seed, size_t nodes, const GossipNetwork& network, uint32_t cluster = 7);

  // --- what happens
  void run(Millis time);
  void network(const GossipNetwork& network) { network_ = network; }
  void end(NodeIndex node);
  // Again, at another address or the same; it knows nothing of its last life but its number.
  void begin(NodeIndex node, bool elsewhere);
  void pause(NodeIndex node, Millis time);
  // Its main loop does not turn, its gossip does.
  void keep_busy(NodeIndex node, Millis time);
  void leave(NodeIndex node);
  void move(NodeIndex node);
  // One who is in no topology yet; it has the newest.
  NodeIndex join();
  // Out of the topology; it is not told.
  void forget(NodeIndex node);
  // Somebody has a new topology that says where everybody is. All that were apart when each of them
  // moved cannot find each other without.
  void inform();
  // The network falls apart: nodes hear those of their own part only.
  void split(const std::set<NodeIndex>& part);
  void heal() { part_.clear(); }
  // Everything sent to it is lost.
  void deafen(NodeIndex node, bool deaf);
  // What a node of another world sends to this address.
  void deliver(const NodeAddress& to, const NodeAddress& from, const std::string& bytes);

  // --- what is seen
  Millis now() const { return now_; }
  size_t living() const;
  std::vector<NodeIndex> all_living() const;
  // Everybody living takes this node for that.
  bool all_see(NodeIndex node, NodeState state) const;
  // Everybody living sees everybody as they are, and where they are. "" or who does not.
  std::string difference() const;
  // Runs until `holds` or for `most`; how long it took, -1: it did not come.
  template <class Holds>
  Millis until(Millis most, Holds&& holds) {
    for (const Millis began = now_; now_ - began <= most; run(100))
      if (holds()) return now_ - began;
    return -1;
  }
  cluster::GossipCore& core(NodeIndex node) { return *nodes_[node].core; }
  const NodeAddress& address(NodeIndex node) const { return nodes_[node].address; }
  bool was_told_forgotten(NodeIndex node) const { return nodes_[node].forgotten; }
  struct Counts {
    uint64_t datagrams = 0, bytes = 0;  // with IP and UDP
    uint64_t suspicions = 0;            // of nodes that live
    uint64_t false_deaths = 0;          // of nodes that live
    uint64_t tcp_probes = 0, pulls = 0, compares = 0;
  };
  Counts& counts() { return counts_; }
  // What the busiest node sent per second since the last time, with IP and UDP.
  double most_sent_per_second(Millis since_last);
  const std::string& failure() const { return failure_; }
  // Copies of all datagrams go here, too.
  void overhear(std::vector<std::string>* to) { overheard_ = to; }

 private:
  struct Node {
    std::unique_ptr<cluster::GossipCore> core;
    NodeAddress address;
    bool lives = false;
    bool left = false;
    bool left_before = false;  // in any of its lives
    bool forgotten = false;
    bool deaf = false;
    bool paused = false;
    uint64_t life = 0;
    Millis wake = -1;  // under way
    cluster::TopologyVersion version = 0;
    std::deque<std::pair<NodeAddress, std::string>> inbox;  // while paused
    std::map<NodeIndex, cluster::Incarnation> seen;
    uint64_t sent_bytes = 0;
    uint64_t sent_before = 0;
  };
  struct Event {
    enum class Kind : uint8_t { wake, datagram, tcp, topology, resume, loop };
    Kind kind;
    NodeIndex node;
    uint64_t life = 0;
    NodeAddress to = {};
    NodeAddress from = {};
    std::string bytes = {};
    uint64_t number = 0;
  };
  class Seal;

  void post(Millis at, Event event) { queue_[at].push_back(std::move(event)); }
  void play(Event& event);
  void after(NodeIndex node);  // what its core wants done
  void schedule(NodeIndex node);
  void send(NodeIndex from, cluster::GossipActions::Send& send);
  void note(NodeIndex node, const cluster::GossipActions::Change& change);
  void adopt(NodeIndex node, cluster::TopologyVersion version);
  bool connected(NodeIndex a, NodeIndex b) const { return part_.count(a) == part_.count(b); }
  // Who has said farewell is not asked what it sees.
  bool looks_on(NodeIndex n) const { return members_.count(n) && !nodes_[n].left; }
  int node_at(const NodeAddress& address) const;
  NodeAddress new_address();
  void change_topology();
  void fail(const std::string& what);

  SimChance chance_;
  uint32_t cluster_;
  GossipNetwork network_;
  std::unique_ptr<cluster::GossipSeal> seal_;
  Millis now_ = 1'000'000;
  std::map<Millis, std::deque<Event>> queue_;
  std::vector<Node> nodes_;
  std::map<NodeAddress, NodeIndex> addresses_;
  uint32_t addresses_given_ = 0;
  std::set<NodeIndex> members_;
  std::set<NodeIndex> part_;
  std::vector<std::vector<cluster::GossipMember>> topologies_;  // by version, from 1
  Counts counts_;
  std::string failure_;
  std::vector<std::string>* overheard_ = nullptr;
};

}  // namespace quoll::sim
