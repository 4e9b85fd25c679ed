// Nodes that leave: changes of the topology one behind the other (leave_steps.h).
#include "cluster/leave_steps.h"

#include <doctest/doctest.h>

#include "tests/unit/cluster/grouped_topology.h"

namespace quoll::cluster {
namespace {

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
          return next_to_settle_holders(now, 0, now.groups().at(0), now.groups().at(0).members);
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

}  // namespace quoll::cluster
