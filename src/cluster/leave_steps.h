// A node that leaves the cluster, as changes of the topology (topology_steps.h):
//
//   next_to_leave      it leaves: from now on it has no share of the slots, and whoever replaces
//                      governors and witnesses passes it over
//   ...                its slots move; others take its parts
//   next_to_depart     it gives up its place in its group, which takes note when nobody counts on
//   it
//                      any more (next_to_settle_holders); then it is no member, for ever
//   next_to_stay       it stays after all
//
// While a group's `holders` differ from its members, who is among them and no member may still be
// asked for votes and data: it stays a member of the cluster until the group's own log says
// otherwise.
#pragma once

#include "cluster/slot_plan.h"
#include "cluster/topology_steps.h"

namespace quoll::cluster {

// Refused if its slots could go nowhere. `away`: groups of which nobody is there.
NextStep next_to_leave(const Topology& topology, base::Bytes id, const std::set<GroupNumber>& away);
NextStep next_to_stay(const Topology& topology, base::Bytes id);
// Of one that leaves, when nobody needs it any more. Errors say what it waits for.
NextStep next_to_depart(const Topology& topology, base::Bytes id);
// Who has the group's data, as whoever leads it says of the topology as it was `seen`: those who
// vote in its log, which goes on without all others. Nothing is left to say when they are its
// members.
NextStep next_to_settle_holders(const Topology& topology, GroupNumber group, const RingGroup& seen,
                                const std::vector<NodeIndex>& voters);

// Who leaves may leave `of` to, there and staying: some member of the group beside the node.
bool has_others(const Topology& topology, GroupNumber of, NodeIndex beside,
                const std::set<NodeIndex>& gone);

}  // namespace quoll::cluster
