// Where replicas are wanted more than where they are, and who takes the place of a member that is
// gone for good. Redis's replica migration (cluster-allow-replica-migration,
// cluster-migration-barrier), and what it lacks: nodes that never had replicas to follow. Decided
// in one place:
//
//   a spare replica
//     wanted   by a group with slots, of several members, of which one is there and stays
//     spare    of the group with the most members that are there, stay and do not lead, if these
//              are more than `barrier`
//     The two change places: the one that is gone is a replica of the group that gave one when it
//     comes back. So groups keep their sizes.
//   else an empty node
//     wanted   by a group with slots of whose members one is gone; first of those with the fewest
//              members left
//     empty    alone in a group without slots, with a weight
//     Its own group goes, and the one that is gone has none; when it comes back it is an empty node
//     with a new one (next_to_begin_group).
//   which      not on the host of those that are left, else not in their rack, else not in their
//              data centre; then one that weighs no less than they; then the one with the lowest id
//
// A group that has no quorum could not take anybody in, and one that gives a replica could not let
// it go: neither takes part. Two of which one is gone have their quorum by a witness: whether they
// do is known to who leads them alone, who is to ask for his group (`asks`). What two are left with
// needs a witness, so there must be a node that can be it. A group that is changing already is left
// alone.
//
// Pure; the same for the same arguments. Cost: O(members + slots).
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
  bool empty = false;           // an empty node: its own group goes

  bool operator==(const ReplicaMove&) const = default;
};

// What is known of the nodes.
struct NodesSeen {
  std::set<NodeIndex> gone;     // for too long
  std::set<NodeIndex> away;     // at this moment, or they came just now: not the ones to be chosen
  std::set<NodeIndex> leaders;  // as far as is known
};

// `asks`: whoever leads this group, and only what it wants; kNoGroup: whatever comes first, as far
// as can be told from the outside.
std::optional<ReplicaMove> next_replica_move(const Topology& topology, const NodesSeen& seen,
                                             unsigned barrier, GroupNumber asks = kNoGroup);

// The change of the topology that it is. Nothing: it is not so any more.
NextStep next_to_move_replica(const Topology& topology, const ReplicaMove& move);

// A member without a group, as one is whose place an empty node has taken, has one of its own, with
// a number that no group has had for long: what is known of the last one is not taken for this.
NextStep next_to_begin_group(const Topology& topology, NodeIndex node);

}  // namespace quoll::cluster
