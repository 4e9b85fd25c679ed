// GroupShape: who is in a replica group, by place, and how many of whom must agree. It is part of
// the group's log (EntryKind::shape), so it changes as everything else there does.
//
//   place     0    1    2    3    4 ... 8
//   node      a    b    c    d    -          its id, 40 hex digits
//   now       x    x    x    .    .          voters whose word counts
//   next      x    x    .    x    .          while a change of voters is under way: theirs, too
//   witness   .    .    x    .    .          keeps the log and has no data
//
//   voter     counts for commits, elections and reads
//   witness   a voter without data
//   learner   in a place and no voter: it gets the log (and data) and counts for nothing
//
// A place keeps its node from the shape that adds it to the one that drops it; the next node comes
// only in a later one. Two configurations at once (`joint`): whatever needs a quorum needs one of
// each. W and R are rules, so that they follow the number of voters. See group_core.h.
//
// Nodes of a group whose members are listed once and for all have no ids here: whoever has the
// place is meant.
//
// With it goes what the group says of slots on their way (slot_ledger.h): that has entries of its
// own, and changes nothing of who is in the group.
//
// Pure.
#pragma once

#include <array>
#include <bit>
#include <optional>
#include <string>

#include "base/result.h"
#include "cluster/quorum.h"
#include "cluster/slot_ledger.h"

namespace quoll::cluster {

struct QuorumRule {
  enum class Kind : uint8_t { majority, all, number };
  Kind kind = Kind::majority;
  uint8_t number = 0;  // of Kind::number
  unsigned of(size_t voters) const;
  bool operator==(const QuorumRule&) const = default;
};

// Whose word counts, and how many words are enough: a configuration.
struct Voters {
  uint32_t places = 0;  // bit m: the member at place m
  QuorumRule write;     // W
  QuorumRule read;      // R

  bool has(Member member) const { return places >> member & 1; }
  size_t size() const { return static_cast<size_t>(std::popcount(places)); }
  unsigned write_quorum() const { return write.of(size()); }
  unsigned read_quorum() const { return read.of(size()); }
  unsigned election_quorum() const {
    return cluster::election_quorum(size(), write_quorum(), read_quorum());
  }
  bool operator==(const Voters&) const = default;
};

enum class MemberRole : uint8_t { none, voter, witness, learner };

struct GroupShape {
  struct Place {
    bool used = false;
    bool witness = false;
    bool leaving = false;  // of a joint shape: dropped when the change is complete
    std::string id;        // of the node; "": whoever has the place
    bool operator==(const Place&) const = default;
  };
  std::array<Place, kMembersMax> places;
  Voters now;
  std::optional<Voters> next;
  SlotLedger slots;

  bool joint() const { return next.has_value(); }
  // Nobody has told us yet who is in the group.
  bool unknown() const { return now.places == 0; }
  bool uses(Member member) const { return member < kMembersMax && places[member].used; }
  bool votes(Member member) const { return now.has(member) || (next && next->has(member)); }
  bool is_witness(Member member) const { return uses(member) && places[member].witness; }
  MemberRole role(Member member) const;
  size_t members() const;
  uint32_t used() const;  // bit m: somebody has the place
  // The configuration that stays.
  const Voters& last() const { return next ? *next : now; }
  uint32_t all_voters() const { return now.places | (next ? next->places : 0); }
  // Whether the node with this id is the one meant by the place.
  bool is(Member member, base::Bytes id) const;
  std::optional<Member> place_of(base::Bytes id) const;
  // One that nobody has; nothing: all are taken. The first for who has the data, the last for a
  // witness: what a node has said as a witness is not taken for what it says when it has the data.
  std::optional<Member> free_place(bool witness) const;
  // Every configuration in force: what needs a quorum needs one in each.
  template <class Holds>
  bool each_voters(Holds&& holds) const {
    return holds(now) && (!next || holds(*next));
  }

  GroupShape& add(Member member, base::Bytes id, bool witness = false);
  void drop(Member member) { places[member] = {}; }
  bool operator==(const GroupShape&) const = default;
};

// Of a group whose members are listed: they all vote.
GroupShape listed_shape(const GroupConfig& group);

// What is wrong with it, for whoever asked for it.
base::Result<> check_shape(const GroupShape& shape, Durability durability);
// The same of a change from one to the other; neither is joint.
base::Result<> check_change(const GroupShape& from, const GroupShape& to);
// Between the two: the places and the voters of both.
GroupShape joint_shape(const GroupShape& from, const GroupShape& to);
// What follows it.
GroupShape settled_shape(const GroupShape& joint);

std::string encode_shape(const GroupShape& shape);
std::optional<GroupShape> decode_shape(base::Bytes bytes);

}  // namespace quoll::cluster
