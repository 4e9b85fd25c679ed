// What shape of a group comes next, so that its members become the wanted ones: a pure function to
// be asked again after every change, until it says that there is nothing left.
//
//   whoever is wanted and is not there       comes as a learner, one after the other
//   all that are wanted have caught up       they vote, and who is not wanted goes: one change
//
// Until all have caught up those that vote go on voting, so a group never counts on somebody who
// lacks what it has acknowledged, nor is left with a number of voters nobody asked for. Where there
// are not places enough for all of both, those who have caught up take the places of as many who
// are to go, and so on; where nobody could even come, one goes first.
//
// Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cluster/group_shape.h"

namespace quoll::cluster {

struct WantedMember {
  std::string id;
  bool witness = false;
};
using WantedMembers = std::vector<WantedMember>;

// Nothing: it is so, or it must wait for who learns, or for a place.
std::optional<GroupShape> next_shape(const GroupShape& now, const WantedMembers& wanted,
                                     const std::function<bool(Member)>& caught_up);

// With those that are there each of its configurations has its quorums. A change to a shape that
// has not would be the last one until somebody comes back.
bool goes_on(const GroupShape& shape, const std::function<bool(Member)>& there);

}  // namespace quoll::cluster
