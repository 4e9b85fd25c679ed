#include "cluster/topology_steps.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "cluster/group_frames.h"

namespace quoll::cluster {
namespace {

using base::Error;

TopologyChange step(const Topology& topology, decltype(TopologyChange::body) body) {
  return {.expected = topology.version(), .body = std::move(body)};
}

// For a group of the node. Indexes of nodes never return, so what is known of a group that was, who
// led it or what goes to it, is not taken for the new one's.
GroupNumber free_group(const Topology& topology, NodeIndex node) {
  auto number = static_cast<GroupNumber>(node % kGroupsMax);
  while (topology.groups().count(number))
    number = static_cast<GroupNumber>((number + 1) % kGroupsMax);
  return number;
}

// The slots go to the group; those that are its (a step before did it) stay. `refuse(slot, owner)`
// says why one may not.
template <class Refuse>
NextStep assign(const Topology& topology, const SlotRanges& slots, GroupNumber to,
                Refuse&& refuse) {
  AssignSlots change;
  for (const SlotRange& range : slots)
    for (unsigned slot = range.first; slot <= range.last; ++slot) {
      const GroupNumber owner = topology.owner(slot);
      if (std::string why = refuse(slot, owner); !why.empty()) return Error{std::move(why)};
      if (owner == to) continue;
      const auto at = static_cast<uint16_t>(slot);
      AssignSlots::Range* last = change.ranges.empty() ? nullptr : &change.ranges.back();
      if (last && last->last + 1 == at && last->from == owner)
        last->last = at;
      else
        change.ranges.push_back({at, at, owner, to});
    }
  if (change.ranges.empty()) return std::optional<TopologyChange>();
  return std::optional(step(topology, std::move(change)));
}

bool describes(const TopologyMember& known, const TopologyMember& told) {
  return known.bus == told.bus && known.port == told.port && known.tls_port == told.tls_port &&
         known.hostname == told.hostname;
}

}  // namespace

std::string NodeClaim::encode() const {
  std::string bytes;
  FieldWriter out(bytes);
  put_member(member, out);
  out.number(static_cast<uint32_t>(slots.size()));
  for (const SlotRange& range : slots) out.number(range.first).number(range.last);
  return bytes;
}

std::optional<NodeClaim> NodeClaim::decode(base::Bytes bytes) {
  NodeClaim claim;
  FieldReader in(bytes);
  uint32_t count = 0;
  if (!take_member(in, claim.member) || !in.number(count) || count > base::kKeySlots) return {};
  for (; count > 0; --count) {
    SlotRange range;
    if (!in.number(range.first) || !in.number(range.last)) return {};
    if (range.first > range.last || range.last >= base::kKeySlots) return {};
    if (!claim.slots.empty() && range.first <= claim.slots.back().last) return {};
    claim.slots.push_back(range);
  }
  if (!in.empty()) return {};
  return claim;
}

GroupNumber group_of(const Topology& topology, NodeIndex node) {
  for (const auto& [number, group] : topology.groups())
    if (contains(group.members, node)) return number;
  return kNoGroup;
}

SlotRanges slots_of(const Topology& topology, GroupNumber group) {
  SlotRanges ranges;
  for (unsigned slot = 0; slot < base::kKeySlots; ++slot) {
    if (topology.owner(slot) != group) continue;
    const auto at = static_cast<uint16_t>(slot);
    if (!ranges.empty() && ranges.back().last + 1 == at)
      ranges.back().last = at;
    else
      ranges.push_back({at, at});
  }
  return ranges;
}

NextStep next_to_found(const Topology& topology, const std::string& cluster_id,
                       const NodeClaim& claim) {
  if (topology.cluster_id().empty())
    return std::optional(step(topology, FoundCluster{cluster_id, {}}));
  if (NextStep joined = next_to_join(topology, claim); !joined || joined.value()) return joined;
  return next_to_govern(topology, {});
}

NextStep next_to_join(const Topology& topology, const NodeClaim& claim) {
  const NodeIndex index = topology.index_of(claim.member.id);
  if (index == kNoNode) {
    if (topology.is_forgotten(claim.member.id))
      return Error{"this node was removed from the cluster"};
    return std::optional(step(topology, JoinMember{claim.member}));
  }
  if (NextStep moved = next_to_announce(topology, claim); !moved || moved.value()) return moved;
  if (topology.find(index)->leaves) return std::optional<TopologyChange>();
  if (group_of(topology, index) == kNoGroup)
    return std::optional(
        step(topology, SetGroups{{{free_group(topology, index), RingGroup{{index}, {}}}}}));
  // One that is in another's group by now has no slots of its own.
  if (topology.groups().at(group_of(topology, index)).members.size() > 1)
    return std::optional<TopologyChange>();
  SlotRanges missing;
  for (const SlotRange& range : claim.slots)
    for (unsigned slot = range.first; slot <= range.last && slot < base::kKeySlots; ++slot)
      if (topology.owner(slot) == kNoGroup)
        missing.push_back({static_cast<uint16_t>(slot), static_cast<uint16_t>(slot)});
  return next_to_add_slots(topology, index, missing);
}

NextStep next_to_announce(const Topology& topology, const NodeClaim& claim) {
  const NodeIndex index = topology.index_of(claim.member.id);
  if (index == kNoNode) return Error{"ERR Unknown node " + claim.member.id};
  const TopologyMember& known = *topology.find(index);
  const TopologyMember& told = claim.member;
  if (describes(known, told) || told.incarnation <= known.incarnation)
    return std::optional<TopologyChange>();
  return std::optional(step(topology, MoveMember{index, told.bus, told.port, told.tls_port,
                                                 told.hostname, told.incarnation}));
}

NextStep next_to_add_slots(const Topology& topology, NodeIndex node, const SlotRanges& slots) {
  const GroupNumber group = group_of(topology, node);
  if (group == kNoGroup) return Error{"ERR This node has no group that could have slots"};
  return assign(topology, slots, group, [group](unsigned slot, GroupNumber owner) {
    const bool fine = owner == group || owner == kNoGroup;
    return fine ? std::string() : fmt::format("ERR Slot {} is already busy", slot);
  });
}

NextStep next_to_drop_slots(const Topology& topology, NodeIndex node, const SlotRanges& slots) {
  const GroupNumber group = group_of(topology, node);
  return assign(topology, slots, kNoGroup, [group](unsigned slot, GroupNumber owner) {
    const bool fine = owner == group || owner == kNoGroup;
    return fine ? std::string() : fmt::format("ERR Slot {} is another node's", slot);
  });
}

NextStep next_to_hand_over(const Topology& topology, NodeIndex node, GroupNumber from,
                           TopologyVersion decided, const std::vector<uint16_t>& slots) {
  const GroupNumber group = group_of(topology, node);
  if (group == kNoGroup) return Error{"the node has no group"};
  if (topology.handed_over(from) > decided) return std::optional<TopologyChange>();
  HandOverSlots change{from, group, decided, {}};
  for (const uint16_t slot : slots) {
    if (topology.owner(slot) != from) continue;
    if (!change.ranges.empty() && change.ranges.back().second + 1 == slot)
      change.ranges.back().second = slot;
    else
      change.ranges.emplace_back(slot, slot);
  }
  if (change.ranges.empty()) return Error{"none of the slots is the source's any more"};
  return std::optional(step(topology, std::move(change)));
}

NextStep next_to_call_off(const Topology& topology, GroupNumber from, GroupNumber to,
                          TopologyVersion decided) {
  const bool there = topology.groups().count(from) && topology.groups().count(to);
  if (!there || topology.handed_over(from) > decided) return std::optional<TopologyChange>();
  return std::optional(step(topology, HandOverSlots{from, to, decided, {}}));
}

NextStep next_to_forget(const Topology& topology, base::Bytes id) {
  const NodeIndex index = topology.index_of(id);
  if (index == kNoNode) {
    if (topology.is_forgotten(id)) return std::optional<TopologyChange>();
    return Error{"ERR Unknown node " + std::string(id)};
  }
  // What cannot be is refused before anything is changed.
  const GroupNumber own = group_of(topology, index);
  // Who else is to have the data, but has not got them yet, does not count.
  const RingGroup* known = own == kNoGroup ? nullptr : &topology.groups().at(own);
  const bool alone = known && (known->members.size() == 1 || known->holders == std::vector{index});
  if (alone && !slots_of(topology, own).empty())
    return Error{"ERR The node has slots: move them to other nodes first"};
  if (!topology.find(index)->leaves) return std::optional(step(topology, LeaveMember{index, true}));
  if (contains(topology.governors(), index)) return next_to_govern(topology, {});
  if (own != kNoGroup) {
    RingGroup others = topology.groups().at(own);
    std::erase(others.members, index);
    std::erase(others.holders, index);
    return std::optional(step(topology, SetGroups{{{own, std::move(others)}}}));
  }
  return std::optional(step(topology, RemoveMember{index}));
}

NextStep next_to_replicate(const Topology& topology, NodeIndex node, base::Bytes id) {
  const NodeIndex other = topology.index_of(id);
  if (other == kNoNode) return Error{"ERR Unknown node " + std::string(id)};
  if (other == node) return Error{"ERR Can't replicate myself"};
  const GroupNumber own = group_of(topology, node);
  const GroupNumber wanted = group_of(topology, other);
  if (wanted == kNoGroup) return Error{"ERR The node has no group that could take in members"};
  if (own == wanted) return std::optional<TopologyChange>();
  SetGroups change;
  RingGroup group = topology.groups().at(wanted);
  // It has none of the data yet (next_to_settle_holders).
  if (group.holders.empty()) group.holders = group.members;
  group.members.push_back(node);
  change.groups.emplace_back(wanted, std::move(group));
  if (own != kNoGroup) {
    if (topology.groups().at(own).members.size() > 1 || !slots_of(topology, own).empty())
      return Error{
          "ERR To set a master the node must be empty and without assigned slots and replicas."};
    change.groups.emplace_back(own, RingGroup{});
  }
  return std::optional(step(topology, std::move(change)));
}

namespace {

// One that the group has stays unless it is dead; else chance decides, the same everywhere. A dead
// one that the group has is better than none: it may come back.
NodeIndex witness_for(const Topology& topology, GroupNumber number, const GroupShape& now,
                      const std::set<NodeIndex>& dead) {
  const std::vector<NodeIndex>& members = topology.groups().at(number).members;
  const std::vector<NodeIndex>& holders = topology.groups().at(number).holders;
  NodeIndex present = kNoNode, chosen = kNoNode;
  uint64_t least = UINT64_MAX;
  for (const auto& [index, member] : topology.members()) {
    if (member.leaves || contains(members, index)) continue;
    const auto place = now.place_of(member.id);
    const bool has = place && now.is_witness(*place);
    // Whose data it still has is first to be without it, else it would wait for that for ever.
    if (!has && contains(holders, index)) continue;
    if (has) present = index;
    if (dead.count(index)) continue;
    if (has && now.votes(*place)) return index;
    const std::string text = fmt::format("{} {}", number, member.id);
    const uint64_t hash = has ? 0 : XXH3_64bits(text.data(), text.size());
    if (hash >= least) continue;
    least = hash;
    chosen = index;
  }
  return chosen == kNoNode ? present : chosen;
}

// The log of a group that it is no member of any more still counts on it.
bool is_held_elsewhere(const Topology& topology, GroupNumber number, NodeIndex node) {
  return std::ranges::any_of(topology.groups(), [&](const auto& one) {
    return one.first != number && contains(one.second.holders, node) &&
           !contains(one.second.members, node);
  });
}

}  // namespace

WantedMembers wanted_members(const Topology& topology, GroupNumber number, const GroupShape& now,
                             const std::set<NodeIndex>& dead) {
  WantedMembers wanted;
  const auto group = topology.groups().find(number);
  if (group == topology.groups().end()) return wanted;
  for (const NodeIndex node : group->second.members) {
    const TopologyMember* member = topology.find(node);
    if (!member) continue;
    const auto place = now.place_of(member->id);
    const bool votes = place && now.votes(*place);
    const bool comes = !dead.count(node) && !is_held_elsewhere(topology, number, node);
    if (votes || comes) wanted.push_back({member->id, false});
  }
  if (wanted.size() != 2) return wanted;
  const NodeIndex witness = witness_for(topology, number, now, dead);
  if (witness != kNoNode) wanted.push_back({topology.find(witness)->id, true});
  return wanted;
}

NextStep next_to_weigh(const Topology& topology, NodeIndex node, uint32_t weight,
                       const Location& location) {
  const TopologyMember* known = topology.find(node);
  if (!known || (known->weight == weight && known->location == location))
    return std::optional<TopologyChange>();
  return std::optional(step(topology, WeighMember{node, weight, location}));
}

bool is_ordered(const Topology& topology, const std::string& name) {
  return topology.documents().count({DocumentKind::order, name}) > 0;
}

NextStep next_to_order(const Topology& topology, const std::string& name, bool holds) {
  if (is_ordered(topology, name) == holds) return std::optional<TopologyChange>();
  return std::optional(step(topology, PutDocument{DocumentKind::order, name, holds ? "yes" : ""}));
}

NextStep next_to_govern(const Topology& topology, const std::set<NodeIndex>& dead) {
  const std::vector<NodeIndex> wanted = topology.wanted_governors(dead);
  if (wanted.empty()) return Error{"ERR No node could hold the topology"};
  const auto sorted = [](std::vector<NodeIndex> nodes) {
    std::ranges::sort(nodes);
    return nodes;
  };
  if (sorted(wanted) == sorted(topology.governors())) return std::optional<TopologyChange>();
  return std::optional(step(topology, SetGovernors{wanted}));
}

}  // namespace quoll::cluster
