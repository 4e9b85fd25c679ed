#include "cluster/replica_plan.h"

#include <algorithm>
#include <tuple>

namespace quoll::cluster {
namespace {

// A group, and who of it is there and stays.
struct Standing {
  GroupNumber number;
  const RingGroup* group;
  std::vector<NodeIndex> there;
};

std::vector<Standing> standing(const Topology& topology, const std::set<NodeIndex>& gone) {
  std::vector<Standing> all;
  for (const auto& [number, group] : topology.groups()) {
    if (!group.holders.empty()) continue;
    Standing one{number, &group, {}};
    for (const NodeIndex node : group.members)
      if (!gone.count(node) && !topology.find(node)->leaves) one.there.push_back(node);
    all.push_back(std::move(one));
  }
  return all;
}

std::vector<NodeIndex> replicas_of(const Standing& one, const std::set<NodeIndex>& leaders) {
  std::vector<NodeIndex> replicas;
  for (const NodeIndex node : one.there)
    if (!leaders.count(node)) replicas.push_back(node);
  // Nobody has told who leads: one of them will.
  if (replicas.size() == one.there.size() && !replicas.empty()) replicas.erase(replicas.begin());
  return replicas;
}

// How near it is to the one that is left: the less the better.
auto nearness(const Topology& topology, NodeIndex node, NodeIndex left) {
  const TopologyMember& a = *topology.find(node);
  const Location& b = topology.find(left)->location;
  const bool dc = a.location.dc == b.dc;
  const bool rack = dc && a.location.rack == b.rack;
  const bool host = rack && a.location.host == b.host;
  return std::tuple(host, rack, dc, a.id);
}

NodeIndex who_is_gone(const Topology& topology, const Standing& one,
                      const std::set<NodeIndex>& gone) {
  for (const NodeIndex node : one.group->members)
    if (gone.count(node) && !topology.find(node)->leaves) return node;
  return kNoNode;
}

}  // namespace

std::optional<ReplicaMove> next_replica_move(const Topology& topology,
                                             const std::set<NodeIndex>& gone,
                                             const std::set<NodeIndex>& leaders, unsigned barrier) {
  const std::vector<Standing> all = standing(topology, gone);
  for (const Standing& wants : all) {
    if (wants.there.size() != 1 || wants.group->members.size() < 2) continue;
    if (slots_of(topology, wants.number).empty()) continue;
    const Standing* giver = nullptr;
    size_t most = barrier;
    for (const Standing& one : all) {
      const size_t spare = replicas_of(one, leaders).size();
      if (one.number == wants.number || spare <= most) continue;
      giver = &one;
      most = spare;
    }
    if (!giver) continue;
    const std::vector<NodeIndex> spare = replicas_of(*giver, leaders);
    const auto best = std::ranges::min_element(
        spare, {}, [&](NodeIndex node) { return nearness(topology, node, wants.there[0]); });
    return ReplicaMove{*best, giver->number, wants.number, who_is_gone(topology, wants, gone)};
  }
  return {};
}

NextStep next_to_move_replica(const Topology& topology, const ReplicaMove& move) {
  const std::optional<TopologyChange> nothing;
  const auto from = topology.groups().find(move.from);
  const auto to = topology.groups().find(move.to);
  if (from == topology.groups().end() || to == topology.groups().end()) return nothing;
  RingGroup gives = from->second, gets = to->second;
  // Their logs count on who goes until they say otherwise (next_to_settle_holders).
  gives.holders = gives.members;
  gets.holders = gets.members;
  if (std::erase(gives.members, move.node) == 0) return nothing;
  if (move.instead != kNoNode) {
    if (std::erase(gets.members, move.instead) == 0) return nothing;
    gives.members.push_back(move.instead);
  }
  gets.members.push_back(move.node);
  return std::optional(TopologyChange{
      topology.version(), SetGroups{{{move.from, std::move(gives)}, {move.to, std::move(gets)}}}});
}

}  // namespace quoll::cluster
