// The whole driver of the gossip (server/cluster_gossip.h) on some nodes: main loops and side
// loops, datagrams that get lost, crashes, busy main loops, a secret that is changed at work. The
// gossip of many nodes is in tests/sim/gossip.
#include <algorithm>
#include <map>
#include <set>

#include "cluster/node_endpoint.h"
#include "server/cluster_gossip.h"
#include "tests/sim/scenario.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {
namespace {

using cluster::NodeAddress;
using cluster::NodeIndex;
using cluster::NodeState;

constexpr NodeIndex kNodes = 5;
constexpr uint16_t kBusPort = 17'000;
constexpr Nanos kMilliNanos = base::kNanosPerMilli;
constexpr Nanos kTickNanos = 100 * kMilliNanos;
constexpr Nanos kSecondNanos = 1'000 * kMilliNanos;
constexpr Nanos kKnownWithin = 60 * kSecondNanos;  // a death, a life, an address: by all

const std::string kFirstSecret = "the secret of now";
const std::string kNextSecret = "the secret of then";

struct Cluster;

NodeAddress first_address(NodeIndex n) {
  return NodeAddress::v4(127, 0, 0, static_cast<uint8_t>(n + 1), kBusPort);
}

// What lives on a node: the driver, and an owner who ticks and answers for its TCP probes.
class GossipOwner final : public server::ClusterGossipEvents {
 public:
  GossipOwner(Cluster& cluster, NodeIndex self, host::Host& host);
  ~GossipOwner() override;

  server::ClusterGossip gossip;

  void gossip_state(NodeIndex node, NodeState state, NodeIndex from) override;
  void gossip_moved(NodeIndex node, const NodeAddress& address, cluster::Incarnation) override;
  void gossip_pull(NodeIndex from, cluster::TopologyVersion version) override;
  void gossip_compare(NodeIndex) override {}
  void gossip_forgotten(cluster::TopologyVersion) override;
  void gossip_try_tcp(NodeIndex node, const NodeAddress& address) override;
  void gossip_udp_blocked(NodeIndex node) override;

 private:
  void tick();

  Cluster& cluster_;
  NodeIndex self_;
  host::Host& host_;
};

struct Cluster {
  explicit Cluster(Run& run) : run(run), world(run.seed, run.plan) {
    world.trace(run.trace);
    run.follow(world);
    for (NodeIndex n = 0; n < kNodes; ++n) {
      addresses.push_back(first_address(n));
      secrets.push_back({kFirstSecret});
    }
    for (NodeIndex n = 0; n < kNodes; ++n)
      world.add_node([this, n](host::Host& host) -> std::shared_ptr<void> {
        return std::make_shared<GossipOwner>(*this, n, host);
      });
  }
  ~Cluster() { run.unfollow(); }

  std::vector<cluster::GossipMember> members() const {
    std::vector<cluster::GossipMember> all;
    for (NodeIndex n = 0; n < kNodes; ++n) all.push_back({n, first_address(n), 1});
    return all;
  }
  bool all_see(NodeIndex node, NodeState state) const {
    for (const auto& [n, owner] : owners)
      if (n != node && owner->gossip.state(node) != state) return false;
    return true;
  }
  bool all_alive() const {
    for (NodeIndex n = 0; n < kNodes; ++n)
      if (!all_see(n, NodeState::alive)) return false;
    return owners.size() == kNodes;
  }
  void run_for(Nanos time) { world.run_for(time); }
  bool reached(const char* what, const std::function<bool()>& holds) {
    return run.check(world.run_until(holds, kKnownWithin), what);
  }
  // Nobody who lives was taken for dead by anybody.
  void check_nobody_died(const char* what) { run.check(deaths.empty(), what); }

  Run& run;
  std::vector<NodeAddress> addresses;  // of the next start
  std::vector<std::vector<std::string>> secrets;
  std::map<NodeIndex, GossipOwner*> owners;  // of nodes that run
  cluster::TopologyVersion topology = 1;
  bool tcp_works = false;
  std::set<NodeIndex> deaths;  // told by anybody
  std::set<NodeIndex> moved;
  std::set<NodeIndex> blocked;
  std::set<NodeIndex> told_forgotten;
  uint64_t pulls = 0;
  SimWorld world;  // ends first: its nodes know the rest
};

GossipOwner::GossipOwner(Cluster& cluster, NodeIndex self, host::Host& host)
    : gossip(host,
             {.self = self,
              .cluster_id = std::string(40, 'a'),
              .address = cluster.addresses[self],
              .binds = {cluster::endpoint_of(cluster.addresses[self])},
              .secrets = cluster.secrets[self]},
             *this),
      cluster_(cluster),
      self_(self),
      host_(host) {
  gossip.set_members(cluster.members(), 1);
  cluster.run.check(gossip.start().ok(), "the gossip does not start");
  cluster.owners[self] = this;
  tick();
}

GossipOwner::~GossipOwner() { cluster_.owners.erase(self_); }

void GossipOwner::tick() {
  gossip.tick();
  host_.loop.after(kTickNanos, [this] { tick(); });
}

void GossipOwner::gossip_state(NodeIndex node, NodeState state, NodeIndex) {
  if (state == NodeState::fail) cluster_.deaths.insert(node);
}

void GossipOwner::gossip_moved(NodeIndex node, const NodeAddress& address, cluster::Incarnation) {
  if (address == cluster_.addresses[node]) cluster_.moved.insert(node);
}

void GossipOwner::gossip_pull(NodeIndex, cluster::TopologyVersion version) {
  ++cluster_.pulls;
  cluster_.run.check(version == cluster_.topology, "a topology is told of that nobody has");
  gossip.set_members(cluster_.members(), version);
}

void GossipOwner::gossip_forgotten(cluster::TopologyVersion) {
  cluster_.told_forgotten.insert(self_);
}

void GossipOwner::gossip_try_tcp(NodeIndex node, const NodeAddress&) {
  if (cluster_.tcp_works && cluster_.owners.count(node)) gossip.tcp_answered(node);
}

void GossipOwner::gossip_udp_blocked(NodeIndex node) { cluster_.blocked.insert(node); }

}  // namespace

void cluster_gossip_death(Run& run) {
  Cluster cluster(run);
  cluster.run_for(10 * kSecondNanos);
  cluster.check_nobody_died("a node that lives was taken for dead");
  cluster.world.crash(2);
  if (!cluster.reached("a death is not known", [&] { return cluster.all_see(2, NodeState::fail); }))
    return;
  // It comes back elsewhere, and knows nothing of its last life.
  cluster.addresses[2].port = kBusPort + 1;
  cluster.world.restart(2);
  cluster.reached("who is back is not seen", [&] { return cluster.all_alive(); });
  cluster.reached("its new address is not known", [&] {
    return std::all_of(cluster.owners.begin(), cluster.owners.end(), [&](const auto& owner) {
      const server::GossipNode* node = owner.second->gossip.find(2);
      return owner.first == 2 || node->address == cluster.addresses[2];
    });
  });
  run.check(cluster.moved.count(2) == 1, "nobody was told of the new address");
  run.check(cluster.deaths == std::set<NodeIndex>{2}, "somebody else was taken for dead");
}

// Scripts of four seconds kill nobody; a main loop that stands still for long does.
void cluster_gossip_busy(Run& run) {
  Cluster cluster(run);
  cluster.run_for(5 * kSecondNanos);
  for (int i = 0; i < 4; ++i) {
    cluster.world.keep_busy(static_cast<NodeId>(cluster.world.chance().between(0, kNodes - 1)),
                            4 * kSecondNanos);
    cluster.run_for(6 * kSecondNanos);
  }
  cluster.check_nobody_died("a node in a short script was taken for dead");
  cluster.world.keep_busy(1, 90 * kSecondNanos);
  // Itself, it hears of nothing meanwhile.
  cluster.reached("a main loop that stands still is not noticed", [&] {
    for (const auto& [n, owner] : cluster.owners)
      if (n != 1 && owner->gossip.state(1) != NodeState::fail) return false;
    return true;
  });
  cluster.run_for(90 * kSecondNanos);
  cluster.reached("who turns again is not seen", [&] { return cluster.all_alive(); });
  run.check(cluster.deaths == std::set<NodeIndex>{1}, "somebody else was taken for dead");
}

// The secret is changed in three steps, each node when its time comes; nobody notices.
void cluster_gossip_secret(Run& run) {
  Cluster cluster(run);
  cluster.run_for(5 * kSecondNanos);
  const std::vector<std::vector<std::string>> steps = {
      {kFirstSecret, kNextSecret}, {kNextSecret, kFirstSecret}, {kNextSecret}};
  for (const auto& step : steps) {
    for (auto& [n, owner] : cluster.owners) {
      owner->gossip.set_secrets(cluster.secrets[n] = step);
      cluster.run_for(cluster.world.chance().between(0, 3'000) * kMilliNanos);
    }
    cluster.run_for(5 * kSecondNanos);
  }
  cluster.check_nobody_died("the change of the secret was noticed");
  for (const auto& [n, owner] : cluster.owners)
    run.check(owner->gossip.counts().unauthentic == 0, "a datagram was refused");
  // Who has the old one is nobody.
  cluster.world.crash(3);
  cluster.secrets[3] = {kFirstSecret};
  cluster.world.restart(3);
  cluster.reached("who has the wrong secret is heard", [&] {
    return cluster.owners.count(3) == 1 && cluster.all_see(3, NodeState::fail);
  });
}

// Datagrams to a node get lost, but it answers by TCP: it lives, and somebody is told.
void cluster_gossip_tcp(Run& run) {
  Cluster cluster(run);
  cluster.tcp_works = true;
  cluster.run_for(5 * kSecondNanos);
  for (NodeId n = 0; n < kNodes; ++n)
    if (n != 4) cluster.world.network().block(n, 4);
  cluster.run_for(60 * kSecondNanos);
  run.check(cluster.blocked.count(4) == 1, "nobody is told that datagrams do not arrive");
  for (const auto& [n, owner] : cluster.owners)
    if (n != 4) run.check(owner->gossip.state(4) != NodeState::fail, "a node died that answers");
  cluster.world.network().heal_all();
  cluster.reached("not all are seen again", [&] { return cluster.all_alive(); });
}

// A newer topology comes to one node, and gets about; a node that says farewell has not failed.
void cluster_gossip_topology(Run& run) {
  Cluster cluster(run);
  cluster.run_for(3 * kSecondNanos);
  cluster.topology = 2;
  cluster.owners[0]->gossip.set_members(cluster.members(), 2);
  cluster.run_for(30 * kSecondNanos);
  run.check(cluster.pulls >= kNodes - 1, "not all asked for the newer topology");
  run.check(cluster.told_forgotten.empty(), "a member was told that it is forgotten");
  cluster.owners[1]->gossip.leave();
  cluster.run_for(3 * kSecondNanos);
  cluster.world.crash(1);
  cluster.reached("a farewell is not known", [&] { return cluster.all_see(1, NodeState::left); });
  cluster.check_nobody_died("a farewell was taken for a death");
}

}  // namespace quoll::sim
