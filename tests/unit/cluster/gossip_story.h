// A few nodes of a cluster as their gossip, told as a story: what they say, see and want done, a
// line each. Datagrams arrive at once; what is said to who is away, or over a cut, is lost.
//
//   a -> b  ping
//   b -> a  ack; a fail 3
//   a       sees b fail
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cluster/gossip_cipher.h"
#include "cluster/gossip_core.h"

namespace quoll::cluster {

class GossipStory {
 public:
  // Named a, b, c ...; all know each other, and have told what they had to tell.
  explicit GossipStory(size_t nodes);

  // Everybody's time passes.
  void run(base::Millis time);
  void end(NodeIndex n);
  void begin(NodeIndex n, bool elsewhere, Incarnation incarnation = 1);
  // What one says does not reach the other.
  void cut(NodeIndex from, NodeIndex to) { cuts_.insert({from, to}); }
  void mend() { cuts_.clear(); }
  void tcp_works(bool works) { tcp_ = works; }
  // A newer topology, of these members, is known to these nodes; who asks one of them gets it.
  void give_topology(const std::vector<NodeIndex>& to, const std::vector<NodeIndex>& members);
  NodeIndex add();  // somebody new, who is told nothing
  // What was told since the last time.
  std::string told();

  GossipCore& core(NodeIndex n) { return *nodes_[n].core; }
  base::Millis now() const { return now_; }
  NodeAddress address(NodeIndex n) const { return nodes_[n].address; }
  // The core of `n` did something: tell it.
  void settle(NodeIndex n);

 private:
  struct Node {
    std::unique_ptr<GossipCore> core;
    NodeAddress address;
    TopologyVersion version = 1;
  };
  struct Said {
    NodeIndex from;
    NodeAddress to;
    std::string bytes;
  };

  void deliver();
  int node_at(const NodeAddress& address) const;
  NodeAddress new_address();
  void line(const std::string& who, const std::string& what);

  GossipCipher cipher_;
  std::vector<Node> nodes_;
  std::vector<std::vector<GossipMember>> topologies_;
  std::set<std::pair<NodeIndex, NodeIndex>> cuts_;
  std::deque<Said> on_the_way_;
  bool tcp_ = true;
  uint8_t addresses_ = 0;
  base::Millis now_ = 1'000'000;
  std::string told_;
};

}  // namespace quoll::cluster
