// ClusterNode: what gossip tells of the others, and what it is told of us.
#include <fmt/format.h>

#include "server/cluster_node.h"
#include "server/endpoints.h"
#include "server/group.h"
#include "server/log.h"
#include "server/server.h"

namespace quoll::server {

using base::Result;
using cluster::NodeIndex;
using cluster::NodeState;
using cluster::Question;

namespace {

Liveness liveness_of(NodeState state) {
  if (state == NodeState::alive) return Liveness::alive;
  return state == NodeState::suspect ? Liveness::suspect : Liveness::failed;
}

}  // namespace

// Gossip needs a cluster, our number there, and an address by which others reach us.
void ClusterNode::follow_gossip() {
  const cluster::TopologyMember* own = topology().find(index_);
  std::erase_if(blocked_, [this](NodeIndex node) { return !topology().find(node); });
  if (gossip_ && (!own || gossip_cluster_ != topology().cluster_id())) gossip_.reset();
  if (!own || own->bus.unknown() || bus_->port() == 0) return;
  if (!gossip_) {
    ClusterGossipSetup setup;
    setup.self = index_;
    setup.cluster_id = gossip_cluster_ = topology().cluster_id();
    setup.address = own->bus;
    setup.incarnation = record_.incarnation;
    for (const std::string& address : server_.settings().bind)
      if (!address.starts_with('-')) setup.binds.push_back(tcp_endpoint(address, bus_->port()));
    setup.secrets = server_.cluster_secrets().of(topology().cluster_id());
    gossip_ = std::make_unique<ClusterGossip>(server_.host(), std::move(setup), *this);
    if (auto started = gossip_->start(); !started)
      log::warning("Cluster: no gossip: {}", started.error());
  }
  gossip_->set_members(topology().gossip_members(), topology().version());
}

void ClusterNode::show_liveness() {
  for (size_t place = 0; place < indexes_.size(); ++place) {  // none before the first picture
    ClusterMember& member = members_[place];
    const GossipNode* heard = gossip_ ? gossip_->find(indexes_[place]) : nullptr;
    member.liveness = heard ? liveness_of(heard->state) : Liveness::alive;
    member.connected = member.liveness != Liveness::failed;
    member.position = position_of(place);
    member.ping_sent = heard ? heard->ping_sent : 0;
    member.pong_received = heard ? heard->pong_received : 0;
  }
}

// Up to where a replica has the log, if we lead its group. Replicas of others are taken for
// complete: their leaders know. 0: it has nothing, or leads.
uint64_t ClusterNode::position_of(size_t place) const {
  constexpr uint64_t kUnknown = 1;
  if (leader_of_group(groups_[place]) == place) return 0;
  if (!serves() || groups_[place] != held_group_) return kUnknown;
  const auto& ours = group_->members();
  const auto found = std::ranges::find(ours, members_[place].id, &ClusterMember::id);
  return found == ours.end() ? kUnknown : found->position;
}

void ClusterNode::secrets_changed() {
  const auto& secrets = server_.cluster_secrets().of_file();
  bus_->set_secrets(secrets.empty() ? cluster::BusSecrets{std::string()} : secrets);
  if (gossip_) gossip_->set_secrets(server_.cluster_secrets().of(topology().cluster_id()));
}

// Who starts at another address than before says so.
// How we are reached, as far as the configuration says; what changes while we run is told anew.
std::string ClusterNode::announcement() const {
  const Settings& now = server_.settings();
  return fmt::format("{} {} {} {} {}", now.cluster_announce_ip, now.cluster_announce_hostname,
                     now.cluster_announce_port ? now.cluster_announce_port : now.port,
                     now.cluster_announce_tls_port, now.cluster_announce_bus_port);
}

void ClusterNode::announce_self() {
  const cluster::TopologyMember* known = topology().find(index_);
  if (announced_ && known && announcement() != announced_as_) {
    announced_ = false;
    ++record_.incarnation;
    save();
  }
  if (announced_ || !known || founding_) return;
  announced_ = true;
  announced_as_ = announcement();
  cluster::NodeClaim own = claim();
  if (own.member.bus != known->bus && gossip_) gossip_->move(own.member.bus);
  make_so([own](const cluster::Topology& now) { return cluster::next_to_announce(now, own); },
          [this, alive = alive_](const Result<>& told) {
            if (*alive && !told) announced_ = false;
          });
}

void ClusterNode::gossip_state(NodeIndex node, NodeState state, NodeIndex from) {
  const cluster::TopologyMember* member = topology().find(node);
  if (!member) return;
  const cluster::TopologyMember* teller = topology().find(from);
  if (state == NodeState::fail)
    log::warning("Marking node {} as failing (by {}).", member->id,
                 teller ? teller->id : record_.id);
  else if (state == NodeState::left)
    log::notice("Node {} has left.", member->id);
  else
    log::verbose("Node {} is {}.", member->id,
                 state == NodeState::alive ? "reachable" : "possibly failing");
  show_liveness();
}

void ClusterNode::gossip_moved(NodeIndex node, const cluster::NodeAddress& address,
                               cluster::Incarnation) {
  if (const cluster::TopologyMember* member = topology().find(node))
    log::notice("Address updated for node {}, now {}", member->id, address.text());
}

void ClusterNode::gossip_pull(NodeIndex from, cluster::TopologyVersion) {
  if (pulling_ || !topology().find(from)) return;
  pulling_ = true;
  pull(endpoint(from), [this, alive = alive_](const Result<>&) {
    if (*alive) pulling_ = false;
  });
}

// Versions and leaders; a topology is what its version says, for its changes are agreed on.
void ClusterNode::gossip_compare(NodeIndex with) { tell(with); }

void ClusterNode::gossip_forgotten(cluster::TopologyVersion) {
  log::warning("Cluster: the other nodes have forgotten this one: see CLUSTER RESET");
}

void ClusterNode::gossip_try_tcp(NodeIndex node, const cluster::NodeAddress& address) {
  bus_->ask(endpoint_of(address), Question::probe, {},
            [this, node, alive = alive_](const Result<std::string>& answer) {
              const cluster::TopologyMember* member = *alive ? topology().find(node) : nullptr;
              if (answer && member && answer.value() == member->id && gossip_)
                gossip_->tcp_answered(node);
            });
}

// Told once, as long as it stays so.
void ClusterNode::gossip_udp_blocked(NodeIndex node) {
  if (!blocked_.insert(node).second) return;
  if (const cluster::TopologyMember* member = topology().find(node))
    log::warning(
        "Cluster: node {} answers by TCP only: something keeps datagrams to or from {} back",
        member->id, member->bus.text());
}

}  // namespace quoll::server
