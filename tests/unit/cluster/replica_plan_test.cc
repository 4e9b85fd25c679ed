// Who takes the place of a member that is gone, and who may not (replica_plan.h).
#include "cluster/replica_plan.h"

#include <doctest/doctest.h>

#include "cluster/leave_steps.h"
#include "tests/unit/cluster/grouped_topology.h"

namespace quoll::cluster {
namespace {

auto moving(const ReplicaMove& move) {
  return [move](const Topology& now) { return next_to_move_replica(now, move); };
}
auto settling(GroupNumber group) {
  return [group](const Topology& now) {
    return next_to_settle_holders(now, group, now.groups().at(group),
                                  now.groups().at(group).members);
  };
}

}  // namespace

TEST_CASE("replica plan: a group without replicas gets one of those that have several") {
  Topology topology = grouped({2, 3, 4});  // 0 1 | 2 3 4 | 5 6 7 8
  const std::set<NodeIndex> leaders{0, 2, 5};
  CHECK(!next_replica_move(topology, {{}, {}, leaders}, 1));
  const auto move = next_replica_move(topology, {{1}, {}, leaders}, 1);
  REQUIRE(move);
  CHECK(move->from == 2);
  CHECK(move->to == 0);
  CHECK(move->node == 7);  // 6 is in the rack of 0; of 7 and 8 the lowest id
  CHECK(move->instead == 1);
  CHECK(make_all(topology, [&](const Topology& now) { return next_to_move_replica(now, *move); }) ==
        "");
  CHECK(topology.groups().at(0).members == std::vector<NodeIndex>{0, 7});
  CHECK(topology.groups().at(2).members == std::vector<NodeIndex>{5, 6, 8, 1});
  CHECK(!next_replica_move(topology, {{1}, {}, leaders}, 1));
  // Both logs still count on those who go.
  CHECK(topology.groups().at(0).holders == std::vector<NodeIndex>{0, 1});
  CHECK(topology.groups().at(2).holders == std::vector<NodeIndex>{5, 6, 7, 8});
  CHECK(!next_replica_move(topology, {{1, 7}, {}, leaders}, 1));
  for (const GroupNumber group : {0, 2})
    CHECK(make_all(topology, [group](const Topology& now) {
            return next_to_settle_holders(now, group, now.groups().at(group),
                                          now.groups().at(group).members);
          }) == "");
  // The barrier keeps what others need.
  CHECK(next_replica_move(topology, {{1, 7}, {}, leaders}, 1));
  CHECK(!next_replica_move(topology, {{1, 7}, {}, leaders}, 2));
}

TEST_CASE("replica plan: not a leader, not for a group that never had replicas, or has no slots") {
  Topology topology = grouped({1, 3, 2});  // 0 | 1 2 3 | 4 5
  CHECK(!next_replica_move(topology, {{}, {}, {0, 1, 4}}, 0));
  const auto move = next_replica_move(topology, {{4}, {}, {0, 2, 5}}, 1);  // 5 leads now
  REQUIRE(move);
  CHECK((move->node == 1 || move->node == 3));
  CHECK(move->instead == 4);
  CHECK(!next_replica_move(topology, {{4, 5}, {}, {0, 2}}, 1));  // nobody of it is left
  will(topology, LeaveMember{5, true});
  const auto leaves = next_replica_move(topology, {{}, {}, {0, 2, 4}}, 1);
  REQUIRE(leaves);
  CHECK(leaves->instead == kNoNode);  // it goes by itself
}

TEST_CASE("replica plan: whoever gives a replica waits neither for who comes instead nor for it") {
  Topology topology = grouped({2, 3, 1});  // 0 1 | 2 3 4 | 5
  const auto move = next_replica_move(topology, {{1}, {}, {0, 2, 5}}, 1);
  REQUIRE(move);
  const NodeIndex stays = move->node == 3 ? 4 : 3;
  CHECK(make_all(topology, [&](const Topology& now) { return next_to_move_replica(now, *move); }) ==
        "");
  GroupShape shape;
  shape.add(0, leaver_id(2)).add(1, leaver_id(3)).add(2, leaver_id(4));
  shape.now.places = 0b111;
  // n1 is back, but group 0's log counts on it until it has the one that goes there; and that one
  // must be without our data first, before it is a witness of ours.
  const WantedMembers wanted = wanted_members(topology, 1, shape, {0, 5});
  REQUIRE(wanted.size() == 2);
  CHECK(wanted[0].id == leaver_id(2));
  CHECK(wanted[1].id == leaver_id(stays));
  CHECK(make_all(topology, [](const Topology& now) {
          return next_to_settle_holders(now, 0, now.groups().at(0), now.groups().at(0).members);
        }) == "");
  CHECK(wanted_members(topology, 1, shape, {0, 5}).size() == 3);
}

TEST_CASE(
    "replica plan: no replica for a group that could not take it in, nor of one that could not let "
    "it go") {
  Topology topology = grouped({5, 4});  // 0 1 2 3 4 | 5 6 7 8
  const std::set<NodeIndex> leaders{0, 5};
  CHECK(next_replica_move(topology, {{1, 2, 3, 4}, {}, leaders}, 1) == std::nullopt);
  // Who leads it knows better: the others may never have had a vote.
  CHECK(next_replica_move(topology, {{1, 2, 3, 4}, {}, leaders}, 1, 0));
  CHECK(!next_replica_move(topology, {{1, 2, 3, 4}, {}, leaders}, 1, 1));
  Topology two = grouped({2, 7});  // 0 1 | 2 3 4 5 6 7 8
  CHECK(next_replica_move(two, {{1}, {}, {0, 2}}, 1));
  CHECK(next_replica_move(two, {{1, 6, 7, 8}, {}, {0, 2}}, 1)->node == 4);
  CHECK(!next_replica_move(two, {{1, 5, 6, 7, 8}, {}, {0, 2}}, 0));
}

TEST_CASE("replica plan: who is not there at this moment is not chosen") {
  Topology topology = grouped({2, 3, 1, 1}, 2);  // 0 1 | 2 3 4 | 5 | 6
  CHECK(next_replica_move(topology, {{1}, {}, {0, 2}}, 1)->node == 4);
  CHECK(next_replica_move(topology, {{1}, {4}, {0, 2}}, 0)->node == 3);
  CHECK(next_replica_move(topology, {{1}, {4}, {0, 2}}, 1)->node == 5);
  CHECK(next_replica_move(topology, {{1}, {4, 5}, {0, 2}}, 1)->node == 6);
  CHECK(next_replica_move(topology, {{1}, {3, 4, 5, 6}, {0, 2}}, 1) == std::nullopt);
}

TEST_CASE("replica plan: without a spare replica an empty node takes the place") {
  Topology topology = grouped({2, 1, 1, 1}, 2);  // 0 1 | 2 | 3 | 4
  const NodesSeen seen{{1}, {}, {0, 2, 3, 4}};
  CHECK(!next_replica_move(topology, {{}, {}, seen.leaders}, 1));
  const auto move = next_replica_move(topology, seen, 1);
  REQUIRE(move);
  CHECK(*move == ReplicaMove{4, 3, 0, 1, true});  // 3 is in the rack of 0
  CHECK(move == next_replica_move(topology, seen, 1, 0));
  CHECK(!next_replica_move(topology, seen, 1, 1));  // it lacks nobody
  CHECK(make_all(topology, moving(*move)) == "");
  CHECK(topology.groups().at(0).members == std::vector<NodeIndex>{0, 4});
  CHECK(topology.groups().at(0).holders == std::vector<NodeIndex>{0, 1});
  CHECK(!topology.groups().count(3));
  CHECK(group_of(topology, 1) == kNoGroup);
  CHECK(!next_replica_move(topology, seen, 1));  // the group is changing
  CHECK(make_all(topology, settling(0)) == "");
  CHECK(!next_replica_move(topology, seen, 1));
  // It comes back, and is an empty node. That it tells where it is does not give it a group yet.
  NodeClaim claim{*topology.find(1), {}};
  claim.member.port = 7001;
  ++claim.member.incarnation;
  CHECK(make_all(topology, [&](const Topology& now) { return next_to_announce(now, claim); }) ==
        "");
  CHECK(topology.find(1)->port == 7001);
  CHECK(group_of(topology, 1) == kNoGroup);
  CHECK(make_all(topology, [](const Topology& now) { return next_to_begin_group(now, 1); }) == "");
  const GroupNumber fresh = group_of(topology, 1);
  REQUIRE(fresh != kNoGroup);
  CHECK(fresh >= kGroupsMax / 2);  // no number of one that a node has come with
  CHECK(topology.groups().at(fresh).members == std::vector<NodeIndex>{1});
  CHECK(slots_of(topology, fresh).empty());
  CHECK(next_replica_move(topology, {{4}, {}, seen.leaders}, 1)->node == 1);
}

TEST_CASE(
    "replica plan: the group with the fewest left comes first, and none gives what it has not") {
  Topology topology = grouped({3, 2, 1, 1, 1}, 3);  // 0 1 2 | 3 4 | 5 | 6 | 7
  const std::set<NodeIndex> leaders{0, 3, 5, 6, 7};
  CHECK(next_replica_move(topology, {{2}, {}, leaders}, 2)->to == 0);
  CHECK(next_replica_move(topology, {{2, 4}, {}, leaders}, 2)->to == 1);
  CHECK(next_replica_move(topology, {{2, 4}, {}, leaders}, 2, 0)->to == 0);
  CHECK(!next_replica_move(topology, {{1, 2}, {}, leaders}, 2));  // one of three is no quorum
  CHECK(!next_replica_move(topology, {{5}, {}, leaders}, 2));     // nobody is left
  // Not one with slots, that leaves or shall have no data.
  CHECK(next_replica_move(topology, {{4, 6}, {}, leaders}, 2)->node == 7);
  will(topology, LeaveMember{7, true});
  CHECK(!next_replica_move(topology, {{4, 6}, {}, leaders}, 2));
  will(topology, LeaveMember{7, false});
  will(topology, WeighMember{7, 0, topology.find(7)->location});
  CHECK(!next_replica_move(topology, {{4, 6}, {}, leaders}, 2));
  // Who leaves is not replaced: that is what was wanted.
  will(topology, LeaveMember{4, true});
  CHECK(!next_replica_move(topology, {{}, {}, leaders}, 2));
}

TEST_CASE("replica plan: of the last three none takes a place, for the two need a witness") {
  const Topology three = grouped({2, 1}, 1);  // 0 1 | 2
  CHECK(!next_replica_move(three, {{1}, {}, {0, 2}}, 1));
  const Topology four = grouped({2, 1, 1}, 2);  // 0 1 | 2 | 3
  CHECK(next_replica_move(four, {{1}, {}, {0, 2, 3}}, 1)->node == 3);
  CHECK(!next_replica_move(four, {{1}, {2}, {0, 2, 3}}, 1));
  const Topology more = grouped({3, 1}, 1);  // 0 1 2 | 3
  CHECK(next_replica_move(more, {{1}, {}, {0, 3}}, 2)->node == 3);
}

TEST_CASE("replica plan: an empty node that has got slots or a replica since stays what it is") {
  Topology topology = grouped({2, 1, 1}, 1);  // 0 1 | 2 | 3
  const auto move = next_replica_move(topology, {{1}, {}, {0, 2, 3}}, 1);
  REQUIRE(move);
  Topology with_slots = topology;
  will(with_slots, AssignSlots{{{7, 7, 0, move->from}}});
  CHECK(!next_to_move_replica(with_slots, *move).value());
  Topology with_replica = topology;
  CHECK(make_all(with_replica, [&](const Topology& now) {
          return next_to_replicate(now, move->node == 2 ? 3 : 2, leaver_id(move->node));
        }) == "");
  CHECK(!next_to_move_replica(with_replica, *move).value());
  Topology replaced = topology;
  will(replaced, SetGroups{{{0, RingGroup{{0}, {}}}}});
  CHECK(!next_to_move_replica(replaced, *move).value());
}

}  // namespace quoll::cluster
