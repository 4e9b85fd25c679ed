// Leaders of a ring: every node leads its part of its copies, rounded down or up, and as many
// groups as possible keep theirs.
//
// Who leads too many hands on along a chain: u leads a group with v, which leads a group with w,
// which leads too few. Such a chain exists as long as anybody is out of bounds: if every member led
// 1/N of each group, all would be within. The shortest one is taken.
// Cost: O(groups x copies) per chain. Pure.
#pragma once

#include <cstddef>
#include <vector>

namespace quoll::cluster {

// `groups`: nodes per group, the first of which leads if `keeps` says so. Reorders them, leader
// first.
void balance_leaders(std::vector<std::vector<int>>& groups, const std::vector<bool>& keeps,
                     size_t nodes);

}  // namespace quoll::cluster
