// What change of the topology comes next, so that something is so: pure functions to be asked again
// after every change, until they say that there is nothing left. Who asks proposes what they say;
// when another change came first, it is asked again. So a sequence of changes that was interrupted
// goes on from wherever it stands.
//
// Errors are for the client that asked, in Redis's words where Redis has any.
#pragma once

#include <optional>
#include <vector>

#include "cluster/group_steps.h"
#include "cluster/topology_change.h"

namespace quoll::cluster {

struct SlotRange {
  uint16_t first = 0;
  uint16_t last = 0;  // included
  bool operator==(const SlotRange&) const = default;
};
using SlotRanges = std::vector<SlotRange>;

// The change to be proposed; nothing: it is so.
using NextStep = base::Result<std::optional<TopologyChange>>;

// A node as it describes itself: who it is, and the slots it served when it was alone.
struct NodeClaim {
  TopologyMember member;
  SlotRanges slots;

  std::string encode() const;
  // Nothing: malformed. Ranges come in order, so that all of them are not more than all slots.
  static std::optional<NodeClaim> decode(base::Bytes bytes);
};

// The group of which the node is a member; kNoGroup: none.
GroupNumber group_of(const Topology& topology, NodeIndex node);
// The slots of a group, in order.
SlotRanges slots_of(const Topology& topology, GroupNumber group);

// A cluster of one node, the governor of itself, with an empty group.
NextStep next_to_found(const Topology& topology, const std::string& cluster_id,
                       const NodeClaim& claim);
// The node is a member as it describes itself, with a group and the slots it claims.
NextStep next_to_join(const Topology& topology, const NodeClaim& claim);
// A member is known as it describes itself. It may be without a group (replica_plan.h), and stays
// so.
NextStep next_to_announce(const Topology& topology, const NodeClaim& claim);
// Slots that nobody has go to the node's group.
NextStep next_to_add_slots(const Topology& topology, NodeIndex node, const SlotRanges& slots);
// Slots of the node's group are nobody's.
NextStep next_to_drop_slots(const Topology& topology, NodeIndex node, const SlotRanges& slots);
// Slots of one group, which has released them in a unit begun on this version, go to the node's:
// those of them that it still has. Nothing is left when it has handed over slots since.
NextStep next_to_hand_over(const Topology& topology, NodeIndex node, GroupNumber from,
                           TopologyVersion decided, const std::vector<uint16_t>& slots);
// No unit that the group began on this version or before is adopted any more: a hand-over of no
// slots. Nothing is left when slots of it were handed over since, or either group is gone.
NextStep next_to_call_off(const Topology& topology, GroupNumber from, GroupNumber to,
                          TopologyVersion decided);
// The node is no member, and never will be again. It must have no slots, but for
// those that others have with it.
NextStep next_to_forget(const Topology& topology, base::Bytes id);
// The node, empty and without slots, is a member of the other one's group, and of no other.
NextStep next_to_replicate(const Topology& topology, NodeIndex node, base::Bytes id);
// The node weighs as much, and stands there.
NextStep next_to_weigh(const Topology& topology, NodeIndex node, uint32_t weight,
                       const Location& location);
// Whom the group needs, as it stands: its members, and a witness beside two of them, so that it
// goes on without any one. No witness: there is no node left for that. Who is `dead` (for too long)
// neither begins to vote nor is the witness while another node could be; a voter with data stays
// one: it may have what was acknowledged. Nor does who still counts in the log of another group.
WantedMembers wanted_members(const Topology& topology, GroupNumber group, const GroupShape& now,
                             const std::set<NodeIndex>& dead);
// Those hold the topology who should.
NextStep next_to_govern(const Topology& topology, const std::set<NodeIndex>& dead);
// An operator's order, which holds until it is taken back: see DocumentKind::order.
NextStep next_to_order(const Topology& topology, const std::string& name, bool holds);
bool is_ordered(const Topology& topology, const std::string& name);

}  // namespace quoll::cluster
