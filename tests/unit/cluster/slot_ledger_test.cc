#include "cluster/slot_ledger.h"

#include <doctest/doctest.h>

#include "cluster/topology_change.h"

namespace quoll::cluster {
namespace {

// Three groups of a node each: 0 has the slots 0 to 99, 1 those to 199, 2 those to 299.
class Slots {
 public:
  Slots() {
    must(FoundCluster{std::string(kNodeIdBytes, 'c'), {}});
    SetGroups groups;
    for (uint16_t n = 0; n < 3; ++n) {
      TopologyMember member;
      member.id = std::string(kNodeIdBytes, static_cast<char>('0' + n));
      member.bus = NodeAddress::v4(10, 0, 0, static_cast<uint8_t>(n + 1), 17000);
      member.port = 7000;
      member.location = {"dc", "rack", std::to_string(n)};
      must(JoinMember{member});
      groups.groups.push_back({n, RingGroup{{n}, {}}});
    }
    must(groups);
    must(AssignSlots{{{0, 99, kNoGroup, 0}, {100, 199, kNoGroup, 1}, {200, 299, kNoGroup, 2}}});
  }

  void must(decltype(TopologyChange::body) body) {
    const auto applied = now.apply({.expected = now.version(), .body = std::move(body)});
    INFO(applied.error());
    REQUIRE(applied.ok());
  }
  void call_off(GroupNumber from, GroupNumber to, UnitNumber number) {
    must(HandOverSlots{from, to, number.version, {}});
  }
  void hand_over(GroupNumber from, GroupNumber to, UnitNumber number, const SlotList& slots) {
    HandOverSlots change{from, to, number.version, {}};
    for (const uint16_t slot : slots) change.ranges.emplace_back(slot, slot);
    must(std::move(change));
  }
  UnitNumber unit(uint64_t count) const { return {now.version(), count}; }

  Topology now;
};

bool full(unsigned) { return false; }
bool empty(unsigned) { return true; }

SlotLedger some_ledger() {
  SlotLedger ledger;
  ledger.cluster = std::string(kNodeIdBytes, 'c');
  ledger.floor = 12;
  release(ledger, {9, 3}, 2, {1, 5, 16383});
  ledger.coming[1] = {{8, 1}, true, {7}};
  ledger.coming[4] = {{10, 2}, false, {8, 9}};
  ledger.leftover = {0, 100};
  return ledger;
}

}  // namespace

TEST_CASE("slot ledger: its bytes tell all of it, and nothing else is a ledger") {
  for (const SlotLedger& one : {some_ledger(), SlotLedger{}}) {
    const std::string bytes = encode_ledger(one);
    REQUIRE(decode_ledger(bytes).has_value());
    CHECK(*decode_ledger(bytes) == one);
    for (size_t size = 0; size < bytes.size(); ++size)
      CHECK_FALSE(decode_ledger(base::Bytes(bytes).substr(0, size)).has_value());
    CHECK_FALSE(decode_ledger(bytes + "x").has_value());
  }
  SlotLedger unordered;
  unordered.released = {{1, 1}, 2, {5, 5}};
  CHECK_FALSE(decode_ledger(encode_ledger(unordered)).has_value());
  unordered.released->slots = {16384};
  CHECK_FALSE(decode_ledger(encode_ledger(unordered)).has_value());
  CHECK(SlotLedger{}.empty());
  CHECK_FALSE(some_ledger().empty());
  CHECK(some_ledger().named().count() == 8);
}

TEST_CASE(
    "slot ledger: what was released is withheld until it is the target's and its keys are gone") {
  Slots slots;
  SlotLedger source;
  const UnitNumber unit = slots.unit(1);
  release(source, unit, 1, {5, 6});
  CHECK(source.floor == unit.version);
  tidy(source, slots.now, 0, empty);
  REQUIRE(source.released);
  CHECK(withheld(source, slots.now).count() == 2);
  CHECK_FALSE(is_over(*source.released, slots.now, 0));
  slots.hand_over(0, 1, unit, {5, 6});
  CHECK(is_over(*source.released, slots.now, 0));
  tidy(source, slots.now, 0, full);
  CHECK_FALSE(source.released);
  CHECK(source.leftover == std::set<uint16_t>{5, 6});
  CHECK(source.floor == slots.now.version());
  CHECK(withheld(source, slots.now)[5]);
  tidy(source, slots.now, 0, [](unsigned slot) { return slot == 5; });
  CHECK(source.leftover == std::set<uint16_t>{6});
  tidy(source, slots.now, 0, empty);
  CHECK(source.names_nothing());
}

TEST_CASE("slot ledger: a target that is gone leaves the slots to the source") {
  Slots slots;
  const Topology before = slots.now;
  SlotLedger source;
  slots.must(PutDocument{DocumentKind::user, "u", "on"});
  release(source, slots.unit(1), 2, {5});
  // Who knows less does not take them back, though it knows of no such group.
  CHECK_FALSE(is_over(*source.released, Topology(), 0));
  CHECK_FALSE(is_over(*source.released, before, 0));
  slots.must(AssignSlots{{{200, 299, 2, kNoGroup}}});
  slots.must(SetGroups{{{2, {}}}});
  tidy(source, slots.now, 0, full);
  CHECK(source.names_nothing());
  CHECK(source.floor == slots.now.version());
}

TEST_CASE("slot ledger: what was called off is the source's again, on either side") {
  Slots slots;
  SlotLedger source, target;
  const UnitNumber unit = slots.unit(1);
  REQUIRE(begin_coming(target, slots.now, 1, 0, unit, {5, 6}).ok());
  SUBCASE("before the target has heard of the release") {}
  SUBCASE("while it asks the topology") { CHECK(adopt_coming(target, 0, unit, {5, 6})); }
  release(source, unit, 1, {5, 6});
  const Topology before = slots.now;
  slots.call_off(0, 1, unit);
  // Neither of them acts on what it does not know yet.
  tidy(source, before, 0, full);
  CHECK(source.released);
  CHECK(withheld(source, slots.now)[5]);
  CHECK(is_over(*source.released, slots.now, 0));
  tidy(source, slots.now, 0, full);
  CHECK(source.names_nothing());
  CHECK(source.floor == slots.now.version());
  tidy(target, slots.now, 1, full);
  CHECK(target.coming.empty());
  CHECK(target.leftover == std::set<uint16_t>{5, 6});
  // What was begun before is too late for either; the next one is not.
  CHECK(begin_coming(target, slots.now, 1, 0, {unit.version, 2}, {5}).error().starts_with(kSoon));
  CHECK(begin_coming(target, slots.now, 1, 0, slots.unit(2), {5}).ok());
}

TEST_CASE("slot ledger: slots that the topology says were handed to us are never emptied") {
  Slots slots;
  SlotLedger target;
  const UnitNumber unit = slots.unit(1);
  REQUIRE(begin_coming(target, slots.now, 1, 0, unit, {5, 6}).ok());
  // That it is being adopted is not in this log.
  slots.hand_over(0, 1, unit, {5});
  CHECK(withheld(target, slots.now)[5]);
  tidy(target, slots.now, 1, full);
  CHECK(target.coming.empty());
  CHECK(target.leftover == std::set<uint16_t>{6});
  CHECK_FALSE(withheld(target, slots.now)[5]);
}

TEST_CASE("slot ledger: a unit comes, is adopted, and is served once the topology says so") {
  Slots slots;
  SlotLedger target;
  const UnitNumber unit = slots.unit(1);
  REQUIRE(begin_coming(target, slots.now, 1, 0, unit, {5, 6}).ok());
  CHECK(withheld(target, slots.now).count() == 2);
  tidy(target, slots.now, 1, empty);
  CHECK(target.coming.count(0) == 1);
  CHECK(adopt_coming(target, 0, unit, {5, 6}));
  CHECK(target.coming.at(0).adopting);
  // It was the source's last word of it.
  drop_coming(target, 0, unit);
  tidy(target, slots.now, 1, empty);
  CHECK(target.coming.count(0) == 1);
  CHECK(withheld(target, slots.now)[5]);
  const Topology before = slots.now;
  slots.hand_over(0, 1, unit, {5, 6});
  CHECK(withheld(target, before)[5]);
  CHECK(withheld(target, slots.now).none());
  tidy(target, before, 1, empty);  // who knows less leaves it as it is
  CHECK(target.coming.count(0) == 1);
  tidy(target, slots.now, 1, full);
  CHECK(target.names_nothing());
  CHECK(target.floor == slots.now.version());
}

TEST_CASE("slot ledger: a unit that fails leaves keys behind, which are not served") {
  Slots slots;
  SlotLedger target;
  const UnitNumber unit = slots.unit(1);
  REQUIRE(begin_coming(target, slots.now, 1, 0, unit, {5}).ok());
  SUBCASE("as the source says") {
    drop_coming(target, 0, {unit.version, 0});  // of another unit
    CHECK(target.coming.count(0) == 1);
    drop_coming(target, 0, unit);
  }
  SUBCASE("as the next unit of the source says") {
    REQUIRE(begin_coming(target, slots.now, 1, 0, slots.unit(2), {6}).ok());
    CHECK(target.coming.at(0).slots == SlotList{6});
    target.coming.clear();
  }
  SUBCASE("as it went to another group") {
    slots.hand_over(0, 2, slots.unit(2), {5});
    tidy(target, slots.now, 1, full);
  }
  SUBCASE("as it became ours by another way") {
    slots.must(AssignSlots{{{5, 5, 0, kNoGroup}}});
    slots.must(AssignSlots{{{5, 5, kNoGroup, 1}}});
    tidy(target, slots.now, 1, full);
    CHECK(withheld(target, slots.now)[5]);
  }
  CHECK(target.coming.empty());
  CHECK(target.leftover == std::set<uint16_t>{5});
}

TEST_CASE("slot ledger: what must not begin is refused") {
  Slots slots;
  SlotLedger target;
  const auto refusal = [&](GroupNumber from, UnitNumber number, const SlotList& list) {
    SlotLedger copy = target;
    const auto begun = begin_coming(copy, slots.now, 1, from, number, list);
    return begun ? std::string() : begun.error();
  };
  CHECK(refusal(1, slots.unit(1), {101}) == "the source and the target are one group");
  CHECK(refusal(0, slots.unit(1), {5, 201}).starts_with(kSoon));
  REQUIRE(begin_coming(target, slots.now, 1, 0, slots.unit(2), {5}).ok());
  CHECK(refusal(0, slots.unit(2), {5}).empty());  // its answer was lost
  CHECK(refusal(0, slots.unit(1), {6}) == "this comes too late");
  CHECK(adopt_coming(target, 0, slots.unit(2), {5}));
  CHECK(refusal(0, slots.unit(3), {6}).starts_with(kSoon));
  CHECK(refusal(2, slots.unit(1), {201}).empty());
  target.floor = slots.now.version() + 1;
  CHECK(refusal(2, slots.unit(1), {201}).starts_with(kSoon));
}

TEST_CASE("slot ledger: nothing is adopted that did not come") {
  Slots slots;
  SlotLedger target;
  CHECK_FALSE(adopt_coming(target, 0, slots.unit(1), {5}));
  REQUIRE(begin_coming(target, slots.now, 1, 0, slots.unit(2), {5}).ok());
  CHECK_FALSE(adopt_coming(target, 0, slots.unit(1), {5}));
  CHECK_FALSE(target.coming.at(0).adopting);
  // From servers that kept no ledger.
  CHECK(adopt_coming(target, 2, slots.unit(0), {205}));
  CHECK(target.coming.at(2).adopting);
}

TEST_CASE("slot ledger: leftovers of a slot go when it comes again") {
  Slots slots;
  SlotLedger target;
  target.leftover = {5, 6};
  REQUIRE(begin_coming(target, slots.now, 1, 0, slots.unit(1), {5}).ok());
  CHECK(target.leftover == std::set<uint16_t>{6});
  CHECK(target.named().count() == 2);
}

}  // namespace quoll::cluster
