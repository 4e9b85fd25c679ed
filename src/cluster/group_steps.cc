#include "cluster/group_steps.h"

#include <algorithm>

namespace quoll::cluster {
namespace {

bool is_wanted(const WantedMembers& wanted, const GroupShape::Place& place) {
  for (const WantedMember& one : wanted)
    if (one.id == place.id && one.witness == place.witness) return true;
  return false;
}

// No place is left for who is to come: those who have come vote, and as many who are to go make
// room, or one. Who is not there goes first.
std::optional<GroupShape> make_room(const GroupShape& now, const WantedMembers& wanted,
                                    const std::function<bool(Member)>& caught_up) {
  GroupShape next = now;
  size_t leaving = 0;
  for (Member m = 0; m < kMembersMax; ++m) {
    if (!now.uses(m) || now.votes(m)) continue;
    if (!caught_up(m)) return {};
    next.now.places |= 1u << m;
    ++leaving;
  }
  leaving = std::max<size_t>(leaving, 1);
  for (const bool there : {false, true})
    for (Member m = 0; m < kMembersMax && leaving > 0; ++m) {
      if (!next.uses(m) || is_wanted(wanted, now.places[m]) || caught_up(m) != there) continue;
      next.drop(m);
      next.now.places &= ~(1u << m);
      --leaving;
    }
  if (next == now) return {};
  return next;
}

}  // namespace

std::optional<GroupShape> next_shape(const GroupShape& now, const WantedMembers& wanted,
                                     const std::function<bool(Member)>& caught_up) {
  if (now.joint() || now.unknown() || wanted.empty()) return {};
  GroupShape next = now;
  // A learner that is not wanted any more makes room.
  for (Member m = 0; m < kMembersMax; ++m)
    if (now.uses(m) && !now.votes(m) && !is_wanted(wanted, now.places[m])) next.drop(m);
  if (next != now) return next;
  for (const WantedMember& one : wanted) {
    if (now.place_of(one.id)) continue;
    const auto place = now.free_place(one.witness);
    if (!place) return make_room(now, wanted, caught_up);
    return next.add(*place, one.id, one.witness);
  }
  next.now.places = 0;
  for (Member m = 0; m < kMembersMax; ++m) {
    if (!now.uses(m)) continue;
    if (!is_wanted(wanted, now.places[m])) {
      next.drop(m);
    } else if (now.votes(m) || caught_up(m)) {
      next.now.places |= 1u << m;
    } else {
      return {};
    }
  }
  if (next == now) return {};
  return next;
}

bool goes_on(const GroupShape& shape, const std::function<bool(Member)>& there) {
  return shape.each_voters([&](const Voters& voters) {
    unsigned present = 0;
    for (Member m = 0; m < kMembersMax; ++m) present += voters.has(m) && there(m);
    return present >=
           std::max({voters.write_quorum(), voters.read_quorum(), voters.election_quorum()});
  });
}

}  // namespace quoll::cluster
