// Where replicas are wanted more than where they are: a group with slots that had replicas and has
// none left that is there gets one of a group that has several. Redis's replica migration
// (cluster-allow-replica-migration, cluster-migration-barrier), decided in one place:
//
//   wanted    a group with slots, of several members, of which one is there and stays
//   spare     of the group with the most members that are there, stay and do not lead, if these are
//             more than `barrier`
//   which     not on the host of who is left, else not in its rack, else not in its data centre;
//             then the one with the lowest id
//
// The spare one and the one that is gone change places: when it comes back it is a replica of the
// group that gave one. So groups keep their sizes, and no node is without a group. A group that is
// changing already is left alone.
//
// Pure; the same for the same arguments. Cost: O(members).
#pragma once

#include <optional>
#include <set>

#include "cluster/topology_steps.h"

namespace quoll::cluster {

struct ReplicaMove {
  NodeIndex node = kNoNode;
  GroupNumber from = kNoGroup;
  GroupNumber to = kNoGroup;
  NodeIndex instead = kNoNode;  // of this one, which is gone; kNoNode: it leaves by itself
};

// `gone`: for too long; `leaders`: who leads, as far as is known.
std::optional<ReplicaMove> next_replica_move(const Topology& topology,
                                             const std::set<NodeIndex>& gone,
                                             const std::set<NodeIndex>& leaders, unsigned barrier);

// The change of the topology that it is. Nothing: it is not so any more.
NextStep next_to_move_replica(const Topology& topology, const ReplicaMove& move);

}  // namespace quoll::cluster
