// ClusterNode: what is the same on all nodes: messages for subscribers.
#include "server/cluster_node.h"
#include "server/server.h"

namespace quoll::server {

using cluster::NodeIndex;

void ClusterNode::find_group_others() {
  group_others_.clear();
  const auto group = topology().groups().find(held_group_);
  if (group == topology().groups().end()) return;
  for (const NodeIndex node : group->second.members)
    if (node != index_) group_others_.push_back(node);
}

// Nobody can be a subscriber of a node that is dead.
PublicationRoute::Told ClusterNode::tell_others(PubSub::Kind kind, base::Bytes batch) {
  const std::string body = topology().cluster_id() + std::string(batch);
  Told told;
  for (const NodeIndex node : kind == PubSub::Kind::shard ? group_others_ : indexes_) {
    if (node == index_ || !topology().find(node)) continue;
    const bool taken =
        members_[place_of(node)].liveness != Liveness::failed &&
        bus_->tell(endpoint(node), cluster::Question::publish, body, kPublicationsUnsentMax);
    ++(taken ? told.nodes : told.slow);
  }
  return told;
}

}  // namespace quoll::server
