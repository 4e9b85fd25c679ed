// What this server is in its shard, in the words of ROLE and INFO replication: who leads is a
// master, the other members with data are its replicas. Offsets are indexes of the group's log.
#pragma once

#include "server/cluster_view.h"

namespace quoll::server {

class Server;

struct ClusterRole {
  bool follows = false;
  const ClusterMember* leader = nullptr;        // that we follow; nullptr: nobody, or we lead
  std::vector<const ClusterMember*> followers;  // of ours, connected, with data
  uint64_t offset = 0;                          // of the last entry that we hold

  bool linked() const { return leader && leader->connected; }
};

// Of a server that is in one. Points into its view: until that changes. Costs O(slots).
ClusterRole role_in_cluster(Server& server);

}  // namespace quoll::server
