// Which slots move to which groups, so that every group has its share: a pure function of who has
// which slots, and of what weighs how much.
//
//   slots    0 ........... 5460 | 5461 ......... 10922 | 10923 ........ 16383
//   now              g0         |          g1          |         g2               g3 came: none
//   planned      g0      |  g3  |  g3  |      g1       |     g2       |  g3
//
//   1. Shares: the slots that somebody has are divided by weight. What remains of the division
//   goes,
//      one each, to groups that have more than that already, then to the largest remainders.
//   2. Who has more than its share gives exactly that. What they give, and what others lack, are
//      laid beside each other in the order of the groups: so a plan that was carried out in part,
//      by several sources at once and in whatever order, is planned on unchanged.
//   3. From a group go, first, slots that border on the receiver's, then whole ranges that are
//   small
//      enough, then the end of its last range: so few ranges arise.
//
// A group whose members all leave has no share. One of which nobody is there who could give or take
// keeps what it has. Slots that nobody has are left to nobody.
//
// What holds of every plan (slot_plan_test.cc, over random topologies):
//   - a share is within one slot of the group's part by weight
//   - the slots that move are sum max(0, held - share): no plan with these shares moves fewer, and
//   no
//     shares within one slot of the parts let fewer move
//   - planning again moves nothing; in what order the groups are listed makes no difference
//
// A group weighs what the least of its members does that stay: each of them has all of its data.
// Witnesses have none and do not count.
//
// Cost: a pass over the slots per plan, some 50 us, and one per pair of groups that slots move
// between.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cluster/topology_steps.h"

namespace quoll::cluster {

using SlotOwners = std::array<GroupNumber, base::kKeySlots>;

struct SlotGroup {
  GroupNumber group = kNoGroup;
  uint32_t weight = kWeightDefault;  // 0: no share, while others weigh something
  bool leaves = false;
  bool away = false;  // nobody of it is there: it keeps what it has
};

struct PlannedMove {
  enum class Why : uint8_t { leaves, no_weight, over_share };
  GroupNumber from = kNoGroup;
  GroupNumber to = kNoGroup;
  unsigned count = 0;  // of slots
  SlotRanges slots;    // in order
  Why why = Why::over_share;
};

struct SlotShare {
  GroupNumber group = kNoGroup;
  unsigned held = 0;
  unsigned share = 0;
};

struct SlotPlan {
  std::vector<PlannedMove> moves;  // by source, then by target
  std::vector<SlotShare> shares;   // by group
  unsigned moved = 0;              // slots
  unsigned stuck = 0;              // slots of groups that leave, and nobody could take them

  const SlotShare* find(GroupNumber group) const;
};

SlotPlan plan_slots(const SlotOwners& owners, std::vector<SlotGroup> groups);

// So many slots of one group that should go to another one first.
SlotRanges slots_to_move(const SlotOwners& owners, GroupNumber from, GroupNumber to,
                         unsigned count);

SlotOwners owners_of(const Topology& topology);

// What might be, beside what the topology says.
struct WhatIf {
  std::set<NodeIndex> leave;
  std::map<NodeIndex, uint32_t> weigh;
};
// `away`: groups of which nobody is there.
std::vector<SlotGroup> slot_groups(const Topology& topology, const std::set<GroupNumber>& away,
                                   const WhatIf& what_if = {});

// "4096-5460 (1365 slots): a -> b, a has more than its share (5461 of 4096)".
std::string describe(const PlannedMove& move, const SlotPlan& plan,
                     const std::function<std::string(GroupNumber)>& name);
// "0-5 7".
std::string format_slots(const SlotRanges& slots);

}  // namespace quoll::cluster
