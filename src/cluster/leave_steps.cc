#include "cluster/leave_steps.h"

#include <algorithm>

namespace quoll::cluster {
namespace {

using base::Error;

const std::optional<TopologyChange> kNoChange;

NextStep change_to(const Topology& topology, decltype(TopologyChange::body) body) {
  return std::optional(TopologyChange{topology.version(), std::move(body)});
}

Error no_such_node(base::Bytes id) { return Error{"ERR Unknown node " + std::string(id)}; }

}  // namespace

bool has_others(const Topology& topology, GroupNumber of, NodeIndex beside,
                const std::set<NodeIndex>& gone) {
  const auto group = topology.groups().find(of);
  return group != topology.groups().end() &&
         std::ranges::any_of(group->second.members, [&](NodeIndex node) {
           return node != beside && !gone.count(node) && !topology.find(node)->leaves;
         });
}

NextStep next_to_leave(const Topology& topology, base::Bytes id,
                       const std::set<GroupNumber>& away) {
  const NodeIndex index = topology.index_of(id);
  if (index == kNoNode) return no_such_node(id);
  if (topology.find(index)->leaves) return kNoChange;
  const bool others = std::ranges::any_of(topology.members(), [index](const auto& one) {
    return one.first != index && !one.second.leaves;
  });
  if (!others) return Error{"ERR No other node stays: the last one can not leave"};
  WhatIf what_if;
  what_if.leave.insert(index);
  const SlotPlan before = plan_slots(owners_of(topology), slot_groups(topology, away));
  const SlotPlan plan = plan_slots(owners_of(topology), slot_groups(topology, away, what_if));
  if (plan.stuck > before.stuck)
    return Error{
        "ERR The slots of the node could go nowhere: no other group is there and has weight"};
  return change_to(topology, LeaveMember{index, true});
}

NextStep next_to_stay(const Topology& topology, base::Bytes id) {
  const NodeIndex index = topology.index_of(id);
  if (index == kNoNode) return no_such_node(id);
  if (!topology.find(index)->leaves) return kNoChange;
  if (group_of(topology, index) == kNoGroup)
    return Error{"ERR It is too late: the node has given up its place already"};
  return change_to(topology, LeaveMember{index, false});
}

NextStep next_to_depart(const Topology& topology, base::Bytes id) {
  const NodeIndex index = topology.index_of(id);
  if (index == kNoNode) return next_to_forget(topology, id);
  if (!topology.find(index)->leaves) return Error{"ERR The node stays after all"};
  if (contains(topology.governors(), index))
    return Error{"ERR Another node must hold the topology first"};
  const GroupNumber own = group_of(topology, index);
  if (own != kNoGroup && topology.groups().at(own).members.size() > 1) {
    RingGroup group = topology.groups().at(own);
    if (group.holders.empty()) group.holders = group.members;
    std::erase(group.members, index);
    return change_to(topology, SetGroups{{{own, std::move(group)}}});
  }
  for (const auto& [number, group] : topology.groups())
    if (number != own && contains(group.holders, index))
      return Error{"ERR Its group must go on without the node first"};
  return next_to_forget(topology, id);
}

NextStep next_to_settle_holders(const Topology& topology, GroupNumber number, const RingGroup& seen,
                                const std::vector<NodeIndex>& voters) {
  const auto known = topology.groups().find(number);
  if (known == topology.groups().end() || known->second.holders.empty()) return kNoChange;
  if (known->second != seen) return kNoChange;  // whoever leads the group looks again
  RingGroup group = known->second;
  const auto same = [](const std::vector<NodeIndex>& one, const std::vector<NodeIndex>& other) {
    return std::ranges::is_permutation(one, other);
  };
  if (same(voters, group.members))
    group.holders.clear();
  else if (voters.empty() || same(voters, group.holders))
    return kNoChange;
  else
    group.holders = voters;
  return change_to(topology, SetGroups{{{number, std::move(group)}}});
}

}  // namespace quoll::cluster
