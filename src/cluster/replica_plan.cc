#include "cluster/replica_plan.h"

#include <algorithm>
#include <tuple>

namespace quoll::cluster {
namespace {

// A group, and who of it is there and stays.
struct Standing {
  GroupNumber number;
  const RingGroup* group;
  bool has_slots;
  std::vector<NodeIndex> there;
  size_t alive = 0;  // those that leave, too
};

// It has data of the group and is no member any more; nothing else happens to the group until it
// goes on without it.
bool gives_up_holders(const RingGroup& group) {
  return std::ranges::any_of(group.holders,
                             [&](NodeIndex node) { return !contains(group.members, node); });
}

std::vector<Standing> standing(const Topology& topology, const std::set<NodeIndex>& gone) {
  std::vector<Standing> all;
  std::set<GroupNumber> owners;
  for (unsigned slot = 0; slot < base::kKeySlots; ++slot)
    if (slot == 0 || topology.owner(slot) != topology.owner(slot - 1))
      owners.insert(topology.owner(slot));
  for (const auto& [number, group] : topology.groups()) {
    if (gives_up_holders(group)) continue;
    Standing one{number, &group, owners.count(number) > 0, {}};
    for (const NodeIndex node : group.members) {
      if (gone.count(node)) continue;
      ++one.alive;
      if (!topology.find(node)->leaves) one.there.push_back(node);
    }
    all.push_back(std::move(one));
  }
  return all;
}

// As far as the topology tells. Of two one may do with the witness: nobody tells of that here.
bool may_have_quorum(const Standing& one) {
  const size_t members = one.group->members.size();
  return members == 2 ? one.alive > 0 : one.alive > members / 2;
}

std::vector<NodeIndex> replicas_of(const Standing& one, const NodesSeen& seen) {
  std::vector<NodeIndex> replicas;
  for (const NodeIndex node : one.there)
    if (!seen.leaders.count(node)) replicas.push_back(node);
  // Nobody has told who leads: one of them will.
  if (replicas.size() == one.there.size() && !replicas.empty()) replicas.erase(replicas.begin());
  std::erase_if(replicas, [&](NodeIndex node) { return seen.away.count(node) > 0; });
  return replicas;
}

// How near it is to those that are left: the less the better.
auto nearness(const Topology& topology, NodeIndex node, const std::vector<NodeIndex>& left) {
  const TopologyMember& a = *topology.find(node);
  unsigned hosts = 0, racks = 0, dcs = 0;
  bool lighter = false;
  for (const NodeIndex one : left) {
    const Location& b = topology.find(one)->location;
    const bool dc = a.location.dc == b.dc;
    const bool rack = dc && a.location.rack == b.rack;
    const bool host = rack && a.location.host == b.host;
    hosts += host;
    racks += rack;
    dcs += dc;
    lighter |= a.weight < topology.find(one)->weight;
  }
  return std::tuple(hosts, racks, dcs, lighter, a.id);
}

NodeIndex who_is_gone(const Topology& topology, const Standing& one,
                      const std::set<NodeIndex>& gone) {
  for (const NodeIndex node : one.group->members)
    if (gone.count(node) && !topology.find(node)->leaves) return node;
  return kNoNode;
}

std::optional<ReplicaMove> spare_replica_for(const Topology& topology, const Standing& wants,
                                             const std::vector<Standing>& all,
                                             const NodesSeen& seen, unsigned barrier) {
  if (wants.there.size() != 1 || wants.group->members.size() < 2) return {};
  std::vector<NodeIndex> spare;
  const Standing* giver = nullptr;
  size_t most = barrier;
  for (const Standing& one : all) {
    if (one.number == wants.number || !may_have_quorum(one)) continue;
    std::vector<NodeIndex> replicas = replicas_of(one, seen);
    if (replicas.size() <= most) continue;
    giver = &one;
    most = replicas.size();
    spare = std::move(replicas);
  }
  if (!giver) return {};
  const auto best = std::ranges::min_element(
      spare, {}, [&](NodeIndex node) { return nearness(topology, node, wants.there); });
  return ReplicaMove{*best, giver->number, wants.number, who_is_gone(topology, wants, seen.gone)};
}

bool is_empty(const Topology& topology, const Standing& one) {
  return !one.has_slots && one.there.size() == 1 && one.group->members.size() == 1 &&
         topology.find(one.there[0])->weight > 0;
}

// Somebody beside the node could be the witness of the group that it is to be in.
bool finds_witness(const Topology& topology, const Standing& wants, NodeIndex node,
                   const NodesSeen& seen) {
  return std::ranges::any_of(topology.members(), [&](const auto& one) {
    return one.first != node && !one.second.leaves && !seen.gone.count(one.first) &&
           !seen.away.count(one.first) && !contains(wants.group->members, one.first);
  });
}

std::optional<ReplicaMove> empty_node_for(const Topology& topology, const Standing& wants,
                                          const std::vector<Standing>& all, const NodesSeen& seen) {
  const NodeIndex gone = who_is_gone(topology, wants, seen.gone);
  if (wants.there.empty() || gone == kNoNode) return {};
  const Standing* best = nullptr;
  for (const Standing& one : all) {
    if (!is_empty(topology, one) || seen.away.count(one.there[0])) continue;
    if (wants.group->members.size() == 2 && !finds_witness(topology, wants, one.there[0], seen))
      continue;
    if (!best || nearness(topology, one.there[0], wants.there) <
                     nearness(topology, best->there[0], wants.there))
      best = &one;
  }
  if (!best) return {};
  return ReplicaMove{best->there[0], best->number, wants.number, gone, true};
}

}  // namespace

std::optional<ReplicaMove> next_replica_move(const Topology& topology, const NodesSeen& seen,
                                             unsigned barrier, GroupNumber asks) {
  const std::vector<Standing> all = standing(topology, seen.gone);
  std::vector<const Standing*> wanting;
  for (const Standing& one : all) {
    const bool asked = asks == kNoGroup ? may_have_quorum(one) : one.number == asks;
    const bool lacks = one.there.size() < one.group->members.size();
    if (asked && lacks && one.has_slots) wanting.push_back(&one);
  }
  for (const Standing* wants : wanting)
    if (auto move = spare_replica_for(topology, *wants, all, seen, barrier)) return move;
  std::ranges::stable_sort(wanting, {}, [](const Standing* one) { return one->there.size(); });
  for (const Standing* wants : wanting)
    if (auto move = empty_node_for(topology, *wants, all, seen)) return move;
  return {};
}

NextStep next_to_move_replica(const Topology& topology, const ReplicaMove& move) {
  const std::optional<TopologyChange> nothing;
  const auto from = topology.groups().find(move.from);
  const auto to = topology.groups().find(move.to);
  if (from == topology.groups().end() || to == topology.groups().end()) return nothing;
  RingGroup gives = from->second, gets = to->second;
  if (gives_up_holders(gives) || gives_up_holders(gets)) return nothing;
  // Their logs count on who goes until they say otherwise (next_to_settle_holders).
  if (gets.holders.empty()) gets.holders = gets.members;
  if (!move.empty && gives.holders.empty()) gives.holders = gives.members;
  if (std::erase(gives.members, move.node) == 0) return nothing;
  if (move.empty && (!gives.members.empty() || !slots_of(topology, move.from).empty()))
    return nothing;
  if (move.instead != kNoNode) {
    if (std::erase(gets.members, move.instead) == 0) return nothing;
    if (!move.empty) gives.members.push_back(move.instead);
  }
  gets.members.push_back(move.node);
  return std::optional(TopologyChange{
      topology.version(), SetGroups{{{move.from, std::move(gives)}, {move.to, std::move(gets)}}}});
}

NextStep next_to_begin_group(const Topology& topology, NodeIndex node) {
  const TopologyMember* member = topology.find(node);
  if (!member || member->leaves) return base::Error{"the node is no member that stays"};
  if (group_of(topology, node) != kNoGroup) return std::optional<TopologyChange>();
  // The lower half is that of nodes that come, by their indexes.
  constexpr GroupNumber kHalf = kGroupsMax / 2;
  auto number = static_cast<GroupNumber>(kHalf + topology.version() % kHalf);
  while (topology.groups().count(number))
    number = static_cast<GroupNumber>((number + 1) % kGroupsMax);
  return std::optional(
      TopologyChange{topology.version(), SetGroups{{{number, RingGroup{{node}, {}}}}}});
}

}  // namespace quoll::cluster
