#include "server/cluster_role.h"

#include <algorithm>

namespace quoll::server {

ClusterRole role_in(const ClusterView& view) {
  const std::vector<ClusterMember>& members = view.members();
  ClusterRole role;
  if (view.self() >= members.size()) return role;
  role.offset = members[view.self()].position;
  for (const ClusterShard& shard : view.shards()) {
    if (std::ranges::find(shard.members, view.self()) == shard.members.end()) continue;
    role.follows = shard.leader != view.self();
    if (role.follows) {
      if (shard.leader < members.size()) role.leader = &members[shard.leader];
      continue;
    }
    for (const size_t place : shard.members)
      if (place != view.self() && !members[place].witness)
        role.followers.push_back(&members[place]);
  }
  return role;
}

}  // namespace quoll::server
