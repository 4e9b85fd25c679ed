// What the files of the CLUSTER family share.
//
//   cluster.cc          the rows, and what concerns slots and keys
//   cluster_members.cc  INFO NODES SLOTS SHARDS REPLICAS LINKS MYID MYSHARDID: the group as
//                       ClusterView shows it
#pragma once

#include "server/call.h"

namespace quoll::commands::clusters {

using server::Bytes;
using server::Call;

void cluster_info(Call& call);
void cluster_links(Call& call);
void cluster_myid(Call& call);
void cluster_myshardid(Call& call);
void cluster_nodes(Call& call);
void cluster_replicas(Call& call);
void cluster_shards(Call& call);
void cluster_slots(Call& call);

}  // namespace quoll::commands::clusters
