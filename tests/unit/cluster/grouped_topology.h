// A topology of groups that have all slots, and changes of it one behind the other, for tests.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/topology_steps.h"

namespace quoll::cluster {

inline std::string leaver_id(unsigned node) {
  return std::string(kNodeIdBytes, static_cast<char>('0' + node));
}

inline void will(Topology& topology, decltype(TopologyChange::body) body) {
  const auto applied = topology.apply({topology.version(), std::move(body)});
  REQUIRE_MESSAGE(applied.ok(), applied.error());
}

// Groups of so many members each; the slots are divided evenly among the first `with_slots` of
// them. Node n is on host n of rack n % 3.
inline Topology grouped(const std::vector<unsigned>& sizes, size_t with_slots = SIZE_MAX) {
  with_slots = std::min(with_slots, sizes.size());
  Topology topology;
  will(topology, FoundCluster{std::string(kNodeIdBytes, 'c'), {}});
  SetGroups groups;
  AssignSlots slots;
  NodeIndex node = 0;
  for (GroupNumber g = 0; g < sizes.size(); ++g) {
    RingGroup group;
    for (unsigned i = 0; i < sizes[g]; ++i, ++node) {
      TopologyMember member;
      member.id = leaver_id(node);
      member.bus = NodeAddress::v4(10, 0, 0, static_cast<uint8_t>(node + 1), 17000);
      member.location = {"dc", "rack" + std::to_string(node % 3), "host" + std::to_string(node)};
      will(topology, JoinMember{member});
      group.members.push_back(node);
    }
    groups.groups.emplace_back(g, group);
    if (g >= with_slots) continue;
    const auto first = static_cast<uint16_t>(g * base::kKeySlots / with_slots);
    const auto last = static_cast<uint16_t>((g + 1) * base::kKeySlots / with_slots - 1);
    slots.ranges.push_back({first, last, kNoGroup, g});
  }
  will(topology, groups);
  will(topology, slots);
  will(topology, SetGovernors{topology.wanted_governors({})});
  return topology;
}

template <class Next>
std::string make_all(Topology& topology, Next&& next) {
  for (int steps = 0; steps < 100; ++steps) {
    const NextStep step = next(topology);
    if (!step.ok()) return step.error();
    if (!step.value()) return "";
    const auto applied = topology.apply(*step.value());
    REQUIRE_MESSAGE(applied.ok(), applied.error());
  }
  return "no end";
}

}  // namespace quoll::cluster
