// ClusterGossip: who of the cluster lives, as the main loop sees it. The gossip itself runs on the
// side loop (cluster/gossip_runner.h), so that others hear from us while a script or a debugging
// sleep holds the main loop; only one that does not turn for kLoopAgeMax makes us silent.
//
//   owner --- set_members, leave, move ... --> orders  --> side loop: GossipCore <-> UDP
//   owner <-- events, from rung or tick() ---- reports <--/
//                 |
//                 v
//           what is known of each member: answers without a lock
//
// Gossip says who lives and nothing else; members come from the topology (set_members) alone.
//
// Invariants:
//   - Events come on the main loop, from tick() or a turn of their own, never from inside a call of
//     the owner; from any of them the owner may call anything, and destroy this.
//   - Of changes that followed each other while the main loop was busy, the last one is told.
// Cost: 64 bytes per member; a turn of the main loop per change that others must hear of.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "cluster/gossip_runner.h"
#include "host/host.h"

namespace quoll::server {

// What the owner hears. "Node" is never ourselves.
class ClusterGossipEvents {
 public:
  virtual ~ClusterGossipEvents() = default;
  // Another state than before; `from` said so first, which may be ourselves.
  virtual void gossip_state(cluster::NodeIndex node, cluster::NodeState state,
                            cluster::NodeIndex from) = 0;
  // It is reached elsewhere now, and says so with this incarnation: newer than the topology.
  virtual void gossip_moved(cluster::NodeIndex node, const cluster::NodeAddress& address,
                            cluster::Incarnation incarnation) = 0;
  // That node has a newer topology. Told again every kPullRetryMs until set_members() has it.
  virtual void gossip_pull(cluster::NodeIndex from, cluster::TopologyVersion version) = 0;
  // It is time to compare digests of the topology with this one.
  virtual void gossip_compare(cluster::NodeIndex with) = 0;
  // A topology as new as this does not know us: we were forgotten.
  virtual void gossip_forgotten(cluster::TopologyVersion version) = 0;
  // It did not answer: connect to its bus and have it say its number, then tcp_answered().
  virtual void gossip_try_tcp(cluster::NodeIndex node, const cluster::NodeAddress& address) = 0;
  // It answered by TCP only: somebody keeps our datagrams, or its, from arriving.
  virtual void gossip_udp_blocked(cluster::NodeIndex node) = 0;
};

struct ClusterGossipSetup {
  cluster::NodeIndex self = cluster::kNoNode;
  std::string cluster_id;
  cluster::NodeAddress address;          // where others reach our bus
  cluster::Incarnation incarnation = 1;  // higher than in the last life, if we know
  std::vector<host::Endpoint> binds;     // where we receive datagrams
  std::vector<std::string> secrets;      // cluster_secret.h
};

// What is known of a member.
struct GossipNode {
  cluster::NodeState state = cluster::NodeState::alive;
  cluster::NodeAddress address;
  cluster::Incarnation incarnation = 0;
  cluster::Incarnation address_incarnation = 0;
  unsigned reports = 0;            // nodes that say they suspect it
  base::Millis ping_sent = 0;      // unix ms of the first ping that it has not answered; 0: none
  base::Millis pong_received = 0;  // unix ms of its last answer; 0: none yet
};

class ClusterGossip {
 public:
  // Host and events outlive it.
  ClusterGossip(host::Host& host, ClusterGossipSetup setup, ClusterGossipEvents& events);
  ~ClusterGossip();
  ClusterGossip(const ClusterGossip&) = delete;

  // The error is that of a bind; it may be started again.
  base::Result<> start();
  // At least some times a second: the main loop turns.
  void tick();

  // --- what happened. Before start(), too, but for ticks nothing is sent until then.
  void set_members(std::vector<cluster::GossipMember> members, cluster::TopologyVersion version);
  // We go on purpose. Keep it for some kProbePeriodMs, so that others hear of it.
  void leave();
  // Others reach us elsewhere from now on.
  void move(const cluster::NodeAddress& address);
  void tcp_answered(cluster::NodeIndex node);
  void set_secrets(std::vector<std::string> secrets);

  // --- what is known, as of the last report
  // nullptr: no member, or ourselves.
  const GossipNode* find(cluster::NodeIndex node) const;
  // Ourselves as well. Who is no member has left.
  cluster::NodeState state(cluster::NodeIndex node) const;
  cluster::Incarnation incarnation() const { return incarnation_; }  // our own
  const cluster::GossipCore::Counts& counts() const { return counts_; }
  // How far our clock is ahead of the median of all; nothing: nobody has answered yet.
  std::optional<base::Millis> clock_ahead() const { return clock_ahead_; }
  // How much we doubt ourselves: 0 (all is well) to kHealthMax.
  unsigned health() const { return health_; }

 private:
  template <class Write>
  void order(Write&& write);
  void stamp();
  void collect();
  void learn(cluster::NodeIndex index, const cluster::GossipReport::Seen& seen);

  host::Host& host_;
  ClusterGossipSetup setup_;
  ClusterGossipEvents& events_;
  cluster::GossipDesk desk_;
  std::unique_ptr<cluster::GossipRunner> runner_;  // once started
  base::Nanos stamped_ = 0;
  bool leaving_ = false;
  std::unordered_map<cluster::NodeIndex, GossipNode> nodes_;  // the other members
  cluster::TopologyVersion topology_ = 0;
  cluster::Incarnation incarnation_;
  unsigned health_ = 0;
  std::optional<base::Millis> clock_ahead_;
  cluster::GossipCore::Counts counts_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::server
