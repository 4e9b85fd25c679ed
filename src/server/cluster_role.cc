#include "server/cluster_role.h"

#include <algorithm>

#include "server/group.h"
#include "server/server.h"

namespace quoll::server {

ClusterRole role_in_cluster(Server& server) {
  const ClusterView& view = *server.cluster();
  const std::vector<ClusterMember>& members = view.members();
  ClusterRole role;
  if (view.self() >= members.size()) return role;
  const ReplicaGroup* group = server.group();
  if (group && group->core()) role.offset = group->core()->last().index;
  for (const ClusterShard& shard : view.shards()) {
    if (std::ranges::find(shard.members, view.self()) == shard.members.end()) continue;
    role.follows = shard.leader != view.self();
    if (role.follows) {
      if (shard.leader < members.size()) role.leader = &members[shard.leader];
      continue;
    }
    for (const size_t place : shard.members)
      if (place != view.self() && !members[place].witness && members[place].connected)
        role.followers.push_back(&members[place]);
  }
  return role;
}

}  // namespace quoll::server
