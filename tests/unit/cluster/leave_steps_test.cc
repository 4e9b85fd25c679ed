// Nodes that leave, and replicas that go where they are wanted: changes of the topology one behind
// the other (leave_steps.h, replica_plan.h).
#include "cluster/leave_steps.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "cluster/replica_plan.h"

namespace quoll::cluster {
namespace {

std::string leaver_id(unsigned node) {
  return std::string(kNodeIdBytes, static_cast<char>('0' + node));
}

void will(Topology& topology, decltype(TopologyChange::body) body) {
  const auto applied = topology.apply({topology.version(), std::move(body)});
  REQUIRE_MESSAGE(applied.ok(), applied.error());
}

// Groups of so many members each, all slots evenly theirs; node n is on host n of rack n % 3.
Topology grouped(const std::vector<unsigned>& sizes) {
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
    const auto first = static_cast<uint16_t>(g * base::kKeySlots / sizes.size());
    const auto last = static_cast<uint16_t>((g + 1) * base::kKeySlots / sizes.size() - 1);
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

auto departing(unsigned node) {
  return [node](const Topology& now) { return next_to_depart(now, leaver_id(node)); };
}
auto leaving(unsigned node) {
  return [node](const Topology& now) { return next_to_leave(now, leaver_id(node), {}); };
}

void drain(Topology& topology) {
  const SlotPlan plan = plan_slots(owners_of(topology), slot_groups(topology, {}));
  AssignSlots change;
  for (const PlannedMove& move : plan.moves)
    for (const SlotRange& range : move.slots)
      change.ranges.push_back({range.first, range.last, move.from, move.to});
  if (!change.ranges.empty()) will(topology, change);
}

}  // namespace

TEST_CASE("leave steps: a node leaves when others have its slots and its part of the topology") {
  Topology topology = grouped({1, 1, 1, 1});
  REQUIRE(contains(topology.governors(), 0));
  CHECK(make_all(topology, departing(0)) == "ERR The node stays after all");
  CHECK(make_all(topology, leaving(0)) == "");
  CHECK(topology.find(0)->leaves);
  CHECK(make_all(topology, departing(0)) == "ERR Another node must hold the topology first");
  CHECK(make_all(topology, [](const Topology& now) { return next_to_govern(now, {}); }) == "");
  CHECK(topology.governors() == std::vector<NodeIndex>{1, 2, 3});
  CHECK(make_all(topology, departing(0)) ==
        "ERR The node has slots: move them to other nodes first");
  drain(topology);
  CHECK(slots_of(topology, 0).empty());
  CHECK(make_all(topology, departing(0)) == "");
  CHECK(topology.index_of(leaver_id(0)) == kNoNode);
  CHECK(topology.is_forgotten(leaver_id(0)));
  CHECK(topology.groups().size() == 3);
}

TEST_CASE("leave steps: who leaves a group of several waits until its log is without it") {
  Topology topology = grouped({2, 1, 1});
  CHECK(make_all(topology, leaving(1)) == "");
  CHECK(make_all(topology, [](const Topology& now) { return next_to_govern(now, {}); }) == "");
  CHECK(make_all(topology, departing(1)) == "ERR Its group must go on without the node first");
  CHECK(topology.groups().at(0).members == std::vector<NodeIndex>{0});
  CHECK(topology.groups().at(0).holders == std::vector<NodeIndex>{0, 1});
  CHECK(make_all(topology, [](const Topology& now) { return next_to_stay(now, leaver_id(1)); }) ==
        "ERR It is too late: the node has given up its place already");
  CHECK(make_all(topology, [](const Topology& now) {
          return next_to_settle_holders(now, 0, now.groups().at(0));
        }) == "");
  CHECK(make_all(topology, departing(1)) == "");
  CHECK(topology.is_forgotten(leaver_id(1)));
  CHECK(!slots_of(topology, 0).empty());
}

TEST_CASE("leave steps: refused when the slots could go nowhere; it may stay after all") {
  Topology topology = grouped({1, 1});
  CHECK(make_all(topology, [](const Topology& now) {
          return next_to_leave(now, leaver_id(0), {1});
        }) == "ERR The slots of the node could go nowhere: no other group is there and has weight");
  will(topology, WeighMember{1, 0, topology.find(1)->location});
  CHECK(make_all(topology, leaving(0)) ==
        "ERR The slots of the node could go nowhere: no other group is there and has weight");
  will(topology, WeighMember{1, 50, topology.find(1)->location});
  CHECK(make_all(topology, leaving(0)) == "");
  CHECK(make_all(topology, leaving(0)) == "");
  CHECK(make_all(topology, leaving(1)) == "ERR No other node stays: the last one can not leave");
  CHECK(make_all(topology, leaving(9)) == "ERR Unknown node " + leaver_id(9));
  CHECK(make_all(topology, [](const Topology& now) { return next_to_stay(now, leaver_id(0)); }) ==
        "");
  CHECK(!topology.find(0)->leaves);
}

TEST_CASE("leave steps: what an operator orders holds until it is taken back") {
  Topology topology = grouped({1, 1, 1});
  const auto order = [](bool holds) {
    return [holds](const Topology& now) { return next_to_order(now, "rebalance", holds); };
  };
  CHECK(!is_ordered(topology, "rebalance"));
  CHECK(make_all(topology, order(true)) == "");
  CHECK(is_ordered(topology, "rebalance"));
  CHECK(Topology::decode(topology.encode()).ok());
  const TopologyVersion version = topology.version();
  CHECK(make_all(topology, order(true)) == "");
  CHECK(topology.version() == version);
  CHECK(make_all(topology, order(false)) == "");
  CHECK(!is_ordered(topology, "rebalance"));
}

TEST_CASE("leave steps: a group weighs what the least of those does that stay") {
  Topology topology = grouped({2, 1});
  will(topology, WeighMember{0, 300, topology.find(0)->location});
  CHECK(slot_groups(topology, {})[0].weight == 100);
  CHECK(slot_groups(topology, {}, {.leave = {1}, .weigh = {}})[0].weight == 300);
  CHECK(slot_groups(topology, {}, {.leave = {}, .weigh = {{1, 7}}})[0].weight == 7);
  CHECK(slot_groups(topology, {}, {.leave = {0, 1}, .weigh = {}})[0].leaves);
  CHECK(slot_groups(topology, {1})[1].away);
}

TEST_CASE("replica plan: a group without replicas gets one of those that have several") {
  Topology topology = grouped({2, 3, 4});  // 0 1 | 2 3 4 | 5 6 7 8
  const std::set<NodeIndex> leaders{0, 2, 5};
  CHECK(!next_replica_move(topology, {}, leaders, 1));
  const auto move = next_replica_move(topology, {1}, leaders, 1);
  REQUIRE(move);
  CHECK(move->from == 2);
  CHECK(move->to == 0);
  CHECK(move->node == 7);  // 6 is in the rack of 0; of 7 and 8 the lowest id
  CHECK(move->instead == 1);
  CHECK(make_all(topology, [&](const Topology& now) { return next_to_move_replica(now, *move); }) ==
        "");
  CHECK(topology.groups().at(0).members == std::vector<NodeIndex>{0, 7});
  CHECK(topology.groups().at(2).members == std::vector<NodeIndex>{5, 6, 8, 1});
  CHECK(!next_replica_move(topology, {1}, leaders, 1));
  // Both logs still count on those who go.
  CHECK(topology.groups().at(0).holders == std::vector<NodeIndex>{0, 1});
  CHECK(topology.groups().at(2).holders == std::vector<NodeIndex>{5, 6, 7, 8});
  CHECK(!next_replica_move(topology, {1, 7}, leaders, 1));
  for (const GroupNumber group : {0, 2})
    CHECK(make_all(topology, [group](const Topology& now) {
            return next_to_settle_holders(now, group, now.groups().at(group));
          }) == "");
  // The barrier keeps what others need.
  CHECK(next_replica_move(topology, {1, 7}, leaders, 1));
  CHECK(!next_replica_move(topology, {1, 7}, leaders, 2));
}

TEST_CASE("replica plan: not a leader, not for a group that never had replicas, or has no slots") {
  Topology topology = grouped({1, 3, 2});  // 0 | 1 2 3 | 4 5
  CHECK(!next_replica_move(topology, {}, {0, 1, 4}, 0));
  const auto move = next_replica_move(topology, {4}, {0, 2, 5}, 1);  // 5 leads now
  REQUIRE(move);
  CHECK((move->node == 1 || move->node == 3));
  CHECK(move->instead == 4);
  CHECK(!next_replica_move(topology, {4, 5}, {0, 2}, 1));  // nobody of it is left
  will(topology, LeaveMember{5, true});
  const auto leaves = next_replica_move(topology, {}, {0, 2, 4}, 1);
  REQUIRE(leaves);
  CHECK(leaves->instead == kNoNode);  // it goes by itself
}

TEST_CASE("leave steps: the dead hold the topology no more, unless there are too few others") {
  Topology topology = grouped({1, 1, 1, 1});
  REQUIRE(topology.governors().size() == 3);
  const NodeIndex first = topology.governors()[0];
  const auto wanted = topology.wanted_governors({first});
  CHECK(wanted.size() == 3);
  CHECK(!contains(wanted, first));
  Topology three = grouped({1, 1, 1});
  CHECK(three.wanted_governors({1}).size() == 3);  // as they are: one would be worse
  CHECK(three.wanted_governors({1, 2}).size() == 3);
  Topology young = grouped({1, 1});
  TopologyMember member = *young.find(0);
  member.id = leaver_id(2);
  will(young, JoinMember{member});
  CHECK(young.governors().size() == 1);
  CHECK(young.wanted_governors({1}) == young.governors());
}

TEST_CASE(
    "leave steps: a dead witness is replaced, a dead voter with data is not, nor is one that "
    "learns waited for") {
  const Topology topology = grouped({2, 1, 1});
  GroupShape shape;
  shape.add(0, leaver_id(0)).add(1, leaver_id(1)).add(2, leaver_id(2), true);
  shape.now.places = 0b111;
  const auto ids = [&](const std::set<NodeIndex>& dead, const GroupShape& now) {
    std::vector<std::string> ids;
    for (const WantedMember& one : wanted_members(topology, 0, now, dead)) ids.push_back(one.id);
    return ids;
  };
  using Ids = std::vector<std::string>;
  CHECK(ids({}, shape) == Ids{leaver_id(0), leaver_id(1), leaver_id(2)});
  CHECK(ids({2}, shape) == Ids{leaver_id(0), leaver_id(1), leaver_id(3)});
  CHECK(ids({2, 3}, shape) == Ids{leaver_id(0), leaver_id(1), leaver_id(2)});  // better than none
  CHECK(ids({1}, shape) == Ids{leaver_id(0), leaver_id(1), leaver_id(2)});
  shape.now.places = 0b101;  // n1 learns
  CHECK(ids({1}, shape) == Ids{leaver_id(0)});
}

TEST_CASE("replica plan: whoever gives a replica waits neither for who comes instead nor for it") {
  Topology topology = grouped({2, 3, 1});  // 0 1 | 2 3 4 | 5
  const auto move = next_replica_move(topology, {1}, {0, 2, 5}, 1);
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
          return next_to_settle_holders(now, 0, now.groups().at(0));
        }) == "");
  CHECK(wanted_members(topology, 1, shape, {0, 5}).size() == 3);
}

}  // namespace quoll::cluster
