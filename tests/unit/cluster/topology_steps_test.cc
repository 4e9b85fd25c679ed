#include "cluster/topology_steps.h"

#include <doctest/doctest.h>

namespace quoll::cluster {
namespace {

NodeClaim claim_of(char letter, SlotRanges slots = {}) {
  NodeClaim claim;
  claim.member.id = std::string(kNodeIdBytes, letter);
  claim.member.bus = NodeAddress::v4(10, 0, 0, static_cast<uint8_t>(letter), 17000);
  claim.member.port = 7000;
  claim.member.location = {"dc", "rack", std::string(1, letter)};
  claim.slots = std::move(slots);
  return claim;
}

// Makes what the steps say until they say nothing; how many there were.
template <class Next>
size_t make(Topology& topology, Next&& next) {
  for (size_t steps = 0; steps < 100; ++steps) {
    const NextStep step = next(topology);
    REQUIRE(step.ok());
    if (!step.value()) return steps;
    REQUIRE(topology.apply(*step.value()).ok());
  }
  FAIL("there is no end of it");
  return 0;
}

template <class Next>
std::string refusal(Topology topology, Next&& next) {
  for (size_t steps = 0; steps < 100; ++steps) {
    const NextStep step = next(topology);
    if (!step.ok()) return step.error();
    if (!step.value()) return "";
    REQUIRE(topology.apply(*step.value()).ok());
  }
  return "no end";
}

Topology of_one() {
  Topology topology;
  make(topology, [](const Topology& now) {
    return next_to_found(now, std::string(kNodeIdBytes, 'c'), claim_of('a', {{0, 99}}));
  });
  return topology;
}

Topology of_two() {
  Topology topology = of_one();
  make(topology, [](const Topology& now) { return next_to_join(now, claim_of('b', {{50, 149}})); });
  return topology;
}

}  // namespace

TEST_CASE("topology_steps: who is alone founds a cluster and governs it") {
  const Topology topology = of_one();
  CHECK(topology.members().size() == 1);
  CHECK(topology.governors() == std::vector<NodeIndex>{0});
  CHECK(group_of(topology, 0) == 0);
  CHECK(slots_of(topology, 0) == SlotRanges{{0, 99}});
}

TEST_CASE("topology_steps: who joins gets a group, and of its slots those that nobody has") {
  Topology topology = of_two();
  CHECK(group_of(topology, 1) == 1);
  CHECK(slots_of(topology, 0) == SlotRanges{{0, 99}});
  CHECK(slots_of(topology, 1) == SlotRanges{{100, 149}});
  CHECK(make(topology, [](const Topology& now) {
          return next_to_join(now, claim_of('b', {{50, 149}}));
        }) == 0);
}

TEST_CASE(
    "topology_steps: who has become another one's replica brings no slots to that one's group") {
  Topology topology = of_one();
  make(topology, [](const Topology& now) { return next_to_join(now, claim_of('b')); });
  make(topology, [&](const Topology& now) {
    return next_to_replicate(now, now.index_of(claim_of('b').member.id), claim_of('a').member.id);
  });
  CHECK(make(topology, [](const Topology& now) {
          return next_to_join(now, claim_of('b', {{500, 510}}));
        }) == 0);
  CHECK(topology.owner(500) == kNoGroup);
}

TEST_CASE("topology_steps: a node that is reached elsewhere says so with a higher incarnation") {
  Topology topology = of_two();
  NodeClaim moved = claim_of('b');
  moved.member.port = 7001;
  CHECK(make(topology, [&](const Topology& now) { return next_to_join(now, moved); }) == 0);
  moved.member.incarnation = 2;
  CHECK(make(topology, [&](const Topology& now) { return next_to_join(now, moved); }) == 1);
  CHECK(topology.find(1)->port == 7001);
}

TEST_CASE("topology_steps: of an adoption and its calling off only one comes about") {
  Topology topology = of_two();
  const TopologyVersion decided = topology.version();
  const auto hand_over = [&](const Topology& now) {
    return next_to_hand_over(now, 1, 0, decided, {90});
  };
  const auto call_off = [&](const Topology& now) { return next_to_call_off(now, 0, 1, decided); };
  SUBCASE("called off") {
    CHECK(make(topology, call_off) == 1);
    CHECK(make(topology, hand_over) == 0);
    CHECK(topology.owner(90) == 0);
  }
  SUBCASE("adopted") {
    CHECK(make(topology, hand_over) == 1);
    CHECK(make(topology, call_off) == 0);
    CHECK(topology.owner(90) == 1);
  }
  SUBCASE("by nobody, for a group that is not there") {
    CHECK(make(topology,
               [&](const Topology& now) { return next_to_call_off(now, 0, 7, decided); }) == 0);
  }
}

TEST_CASE("topology_steps: slots are added, dropped and handed over") {
  Topology topology = of_two();
  CHECK(make(topology, [](const Topology& now) {
          return next_to_add_slots(now, 0, {{200, 210}, {212, 212}});
        }) == 1);
  CHECK(slots_of(topology, 0) == SlotRanges{{0, 99}, {200, 210}, {212, 212}});
  CHECK(refusal(topology, [](const Topology& now) {
          return next_to_add_slots(now, 1, {{205, 205}});
        }) == "ERR Slot 205 is already busy");
  CHECK(make(topology, [](const Topology& now) {
          return next_to_drop_slots(now, 0, {{200, 209}});
        }) == 1);
  CHECK(refusal(topology, [](const Topology& now) {
          return next_to_drop_slots(now, 0, {{120, 120}});
        }) == "ERR Slot 120 is another node's");
  const TopologyVersion decided = topology.version();
  const auto hand_over = [&](const Topology& now) {
    return next_to_hand_over(now, 1, 0, decided, {90, 91, 92, 210});
  };
  CHECK(make(topology, hand_over) == 1);
  CHECK(slots_of(topology, 1) == SlotRanges{{90, 92}, {100, 149}, {210, 210}});
  CHECK(topology.handed_over(0) == topology.version());
  CHECK(topology.handed_over(1) == 0);
  // They are not taken a second time, though they are the source's again.
  const TopologyVersion later = topology.version();
  make(topology, [&](const Topology& now) {
    return next_to_hand_over(now, 0, 1, later, {91, 92});
  });
  CHECK(make(topology, hand_over) == 0);
  CHECK(slots_of(topology, 0) == SlotRanges{{0, 89}, {91, 99}, {212, 212}});
  CHECK(refusal(topology, [](const Topology& now) {
          return next_to_hand_over(now, 1, 0, now.version(), {90, 300});
        }) == "none of the slots is the source's any more");
}

TEST_CASE("topology_steps: who has slots is not forgotten; who has none is, for ever") {
  Topology topology = of_two();
  const std::string id(kNodeIdBytes, 'b');
  const auto forget = [&](const Topology& now) { return next_to_forget(now, id); };
  CHECK(forget(topology).error() == "ERR The node has slots: move them to other nodes first");
  make(topology, [](const Topology& now) { return next_to_drop_slots(now, 1, {{100, 149}}); });
  CHECK(make(topology, forget) > 0);
  CHECK(topology.members().size() == 1);
  CHECK(make(topology, forget) == 0);
  CHECK(refusal(topology, [](const Topology& now) { return next_to_join(now, claim_of('b')); }) ==
        "this node was removed from the cluster");
}

TEST_CASE("topology_steps: a node's description survives its encoding, and nothing else does") {
  const NodeClaim claim = claim_of('a', {{0, 5}, {7, 7}});
  const std::string bytes = claim.encode();
  const auto decoded = NodeClaim::decode(bytes);
  REQUIRE(decoded);
  CHECK(decoded->member == claim.member);
  CHECK(decoded->slots == claim.slots);
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK(!NodeClaim::decode(bytes.substr(0, size)));
  CHECK(!NodeClaim::decode(bytes + "x"));
}

// Whoever is told has work for every slot that is named.
TEST_CASE("topology_steps: a node claims a slot once, and slots that there are") {
  const auto survives = [](SlotRanges slots) {
    return NodeClaim::decode(claim_of('a', std::move(slots)).encode()).has_value();
  };
  CHECK(survives({{0, base::kKeySlots - 1}}));
  CHECK(!survives(SlotRanges(base::kKeySlots, {0, base::kKeySlots - 1})));
  CHECK(!survives({{0, 5}, {5, 6}}));
  CHECK(!survives({{7, 8}, {0, 5}}));
  CHECK(!survives({{5, 4}}));
  CHECK(!survives({{0, base::kKeySlots}}));
}

}  // namespace quoll::cluster
