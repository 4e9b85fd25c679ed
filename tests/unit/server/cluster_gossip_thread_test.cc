// The driver of the gossip as it is in earnest: threads, and UDP on loopback.
#include <map>

#include "cluster/node_endpoint.h"
#include "host/uv_datagrams.h"
#include "server/cluster_gossip.h"
#include "tests/unit/host/host_fixture.h"

namespace quoll::server {
namespace {

using cluster::NodeAddress;
using cluster::NodeIndex;
using cluster::NodeState;

host::Endpoint free_endpoint(const host::Endpoint& at) {
  host::UvLoop loop;
  host::UvDatagrams datagrams(loop);
  REQUIRE(datagrams.bind(at, [](const host::Endpoint&, base::Bytes) {}).ok());
  return datagrams.bound(0);
}

// One of two nodes, with loops of its own.
struct ThreadedNode final : ClusterGossipEvents {
  host::HostFixture f;
  ClusterGossip gossip;
  int pulls = 0;

  ThreadedNode(NodeIndex self, const host::Endpoint& at)
      : gossip(f.host,
               {.self = self,
                .cluster_id = std::string(40, 'd'),
                .address = *cluster::node_address(at),
                .binds = {at},
                .secrets = {"sixteen bytes, or more"}},
               *this) {}
  void gossip_state(NodeIndex, NodeState, NodeIndex) override {}
  void gossip_moved(NodeIndex, const NodeAddress&, cluster::Incarnation) override {}
  void gossip_pull(NodeIndex, cluster::TopologyVersion) override { ++pulls; }
  void gossip_compare(NodeIndex) override {}
  void gossip_forgotten(cluster::TopologyVersion) override {}
  void gossip_try_tcp(NodeIndex, const NodeAddress&) override {}
  void gossip_udp_blocked(NodeIndex) override {}
};

// The second node's main loop never turns, as in a long script.
void answered_while_busy(const host::Endpoint& any) {
  const host::Endpoint at[] = {free_endpoint(any), free_endpoint(any)};
  ThreadedNode looking(0, at[0]);
  ThreadedNode busy(1, at[1]);
  std::vector<cluster::GossipMember> members;
  for (NodeIndex n : {0, 1}) members.push_back({n, *cluster::node_address(at[n]), 1});
  for (ThreadedNode* node : {&looking, &busy}) {
    node->gossip.set_members(members, 1);
    REQUIRE(node->gossip.start().ok());
  }
  base::Millis answered = 0;
  for (int answers = 0; answers < 2; ++answers) {
    REQUIRE(looking.f.run_until([&] {
      looking.gossip.tick();
      looking.f.host.loop.after(10 * base::kNanosPerMilli, [] {});  // another turn
      return looking.gossip.find(1)->pong_received > answered;
    }));
    answered = looking.gossip.find(1)->pong_received;
  }
  // Orders and reports between the threads, both ways.
  looking.gossip.set_members(members, 2);
  REQUIRE(busy.f.run_until([&] {
    busy.gossip.tick();
    busy.f.host.loop.after(10 * base::kNanosPerMilli, [] {});
    return busy.pulls > 0;
  }));
  CHECK(busy.gossip.counts().received >= 2);
}

}  // namespace

TEST_CASE("cluster gossip: a node whose main loop is busy answers, by IPv4") {
  answered_while_busy({host::Endpoint::Family::ipv4, "127.0.0.1", 0});
}

TEST_CASE("cluster gossip: a node whose main loop is busy answers, by IPv6") {
  answered_while_busy({host::Endpoint::Family::ipv6, "::1", 0});
}

}  // namespace quoll::server
