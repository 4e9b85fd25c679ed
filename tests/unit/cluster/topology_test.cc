#include "cluster/topology.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/text.h"
#include "cluster/topology_change.h"
#include "tests/unit/cluster/chance.h"

namespace quoll::cluster {
namespace {

std::string topology_id(unsigned n) { return std::string(24, 'a') + base::to_hex(uint64_t{n}); }

TopologyMember member_of(unsigned n) {
  TopologyMember member;
  member.id = topology_id(n);
  member.bus = NodeAddress::v4(10, 0, 0, static_cast<uint8_t>(n), 16379);
  if (n % 3 == 0) member.bus.v6 = true;
  member.port = 6379;
  member.hostname = n % 2 ? "" : "node" + std::to_string(n) + ".example";
  member.location = {"dc", "rack" + std::to_string(n % 3), "host" + std::to_string(n)};
  return member;
}

base::Result<> change(Topology& topology, TopologyChange::Body body) {
  return topology.apply({topology.version(), std::move(body)});
}

void must(Topology& topology, TopologyChange::Body body) {
  const auto applied = change(topology, std::move(body));
  INFO(applied.error());
  REQUIRE(applied.ok());
}

// Refused with these words, and nothing has changed.
void refused(Topology& topology, TopologyChange::Body body, const std::string& why) {
  const base::Sha256 before = topology.digest();
  const auto applied = change(topology, std::move(body));
  CHECK(!applied.ok());
  CHECK(applied.error() == why);
  CHECK(topology.digest() == before);
}

Topology founded(unsigned members = 0) {
  Topology topology;
  must(topology, FoundCluster{topology_id(1000), {}});
  for (unsigned n = 0; n < members; ++n) must(topology, JoinMember{member_of(n)});
  return topology;
}

// What the ring's plan says, as a change.
SetGroups planned(const Topology& topology) {
  const RingPlan plan = plan_ring(topology.ring_table(), topology.ring_members(), topology.rules());
  SetGroups groups;
  for (size_t g = 0; g < plan.table.groups.size(); ++g)
    groups.groups.emplace_back(static_cast<GroupNumber>(g), plan.table.groups[g]);
  return groups;
}

AssignSlots all_slots(const Topology& topology) {
  const RingTable table = topology.ring_table();
  AssignSlots slots;
  for (GroupNumber g = 0; g < table.groups.size(); ++g) {
    const auto first = static_cast<uint16_t>(table.first_slot(g));
    slots.ranges.push_back(
        {first, static_cast<uint16_t>(first + table.slots_per_group() - 1), kNoGroup, g});
  }
  return slots;
}

void check_decodes(const Topology& topology) {
  const auto decoded = Topology::decode(topology.encode());
  INFO(decoded.error());
  REQUIRE(decoded.ok());
  CHECK(decoded.value() == topology);
  CHECK(decoded.value().digest() == topology.digest());
}

}  // namespace

TEST_CASE("topology: from the first node to a ring, and back") {
  Topology topology;
  refused(topology, JoinMember{member_of(0)}, "the cluster is not founded");
  must(topology, FoundCluster{topology_id(1000), {}});
  refused(topology, FoundCluster{topology_id(1001), {}}, "the cluster is founded already");
  for (unsigned n = 0; n < 4; ++n) must(topology, JoinMember{member_of(n)});
  CHECK(topology.version() == 5);
  CHECK(topology.index_of(topology_id(2)) == 2);
  must(topology, SetGovernors{topology.wanted_governors({})});
  CHECK(topology.governors() == std::vector<NodeIndex>{0, 1, 2});
  must(topology, planned(topology));
  must(topology, all_slots(topology));
  CHECK(topology.groups().size() == 64);
  CHECK(topology.owner(0) == 0);
  CHECK(topology.owner(16383) == 63);
  check_decodes(topology);

  // A node leaves: refused while it has anything, then gone for ever.
  refused(topology, RemoveMember{1}, "this node holds part of the topology");
  must(topology, LeaveMember{1, true});
  must(topology, SetGovernors{topology.wanted_governors({})});
  CHECK(topology.governors() == std::vector<NodeIndex>{0, 2, 3});
  must(topology, planned(topology));
  CHECK(!change(topology, RemoveMember{1}).ok());  // it still holds its copies
  SetGroups moved;
  for (const auto& [number, group] : topology.groups())
    moved.groups.push_back({number, {group.members, {}}});
  must(topology, moved);
  must(topology, RemoveMember{1});
  CHECK(topology.is_forgotten(topology_id(1)));
  CHECK(topology.gossip_members().size() == 3);
  refused(topology, JoinMember{member_of(1)}, "this node was removed from the cluster");
  must(topology, JoinMember{member_of(7)});
  CHECK(topology.index_of(topology_id(7)) == 4);  // 1 is not given again
  check_decodes(topology);
}

TEST_CASE("topology: a change that was decided on another version is refused") {
  Topology topology = founded(1);
  CHECK(topology.apply({1, JoinMember{member_of(1)}}).error() ==
        "decided on version 1, the topology is at 2");
  CHECK(!topology.apply({3, JoinMember{member_of(1)}}).ok());
  CHECK(topology.apply({2, JoinMember{member_of(1)}}).ok());
}

TEST_CASE("topology: what cannot be is refused, and changes nothing") {
  Topology t = founded(4);
  must(t, planned(t));
  must(t, all_slots(t));
  TopologyMember odd = member_of(9);
  odd.id = "xyz";
  refused(t, JoinMember{odd}, "a node id has 40 hexadecimal digits");
  odd = member_of(9);
  odd.location.rack = "a b";
  refused(t, JoinMember{odd}, "a member is described by what cannot be");
  refused(t, JoinMember{member_of(3)}, "this node is a member already");
  refused(t, MoveMember{9, {}, 1, 0, "", 5}, "n9 is no member");
  refused(t, MoveMember{1, NodeAddress::v4(1, 1, 1, 1, 1), 1, 0, "", 1},
          "a later word of this node is known");
  refused(t, MoveMember{1, {}, 1, 0, "", 2}, "a member is described by what cannot be");
  refused(t, WeighMember{1, kWeightMax + 1, {"a", "b", "c"}},
          "a member is described by what cannot be");
  refused(t, LeaveMember{9, true}, "n9 is no member");
  refused(t, SetGovernors{{}}, "the topology is held by 1 to 5 nodes");
  refused(t, SetGovernors{{0, 0}}, "the topology is held by 1 to 5 nodes");
  refused(t, SetGovernors{{0, 9}}, "n9 is no member");
  refused(t, SetGroups{{{0, {{0, 9}, {}}}}}, "n9 is no member");
  refused(t, SetGroups{{{0, {{0, 1}, {9}}}}}, "n9 is no member");
  refused(t, SetGroups{{{0, {{0, 0}, {}}}}}, "a group has up to 9 different members");
  refused(t, SetGroups{{{1, {{0}, {}}}, {1, {{1}, {}}}}}, "a group is named twice");
  refused(t, SetGroups{{{kGroupsMax, {{0}, {}}}}}, "no group is numbered 4096");
  refused(t, SetGroups{{{2, {{0}, {}}}, {0, {{}, {}}}}}, "group 0 has slot 0");
  refused(t, AssignSlots{{{0, 10, 0, 99}}}, "there is no group 99");
  refused(t, AssignSlots{{{0, 16384, 0, 1}}}, "0-16384 are no slots");
  refused(t, AssignSlots{{{0, 10, 1, 2}}}, "slot 0 is not group 1's");
  refused(t, AssignSlots{{{0, 10, 0, 1}, {10, 11, 0, 1}}}, "slot 10 is named twice");
  refused(t, AssignSlots{{{0, 300, 0, 1}}}, "slot 256 is not group 0's");
  refused(t, SetRules{{.copies = 0, .dc_copies = {}}}, "a group has 1 to 9 copies");
  refused(t, SetRules{{.copies = 3, .dc_copies = {{"a", 5}, {"b", 5}}}},
          "a group has 1 to 9 copies");
  refused(t, SetRules{{.copies = 3, .dc_copies = {{"a", 1}, {"a", 1}}}},
          "a data centre is named twice");
  refused(t, PutDocument{static_cast<DocumentKind>(9), "x", "y"}, "no such document can be kept");
  const PutDocument one{DocumentKind::user, "x", "y"};
  refused(t, PutDocuments{{one, one}}, "a document is named twice");
}

TEST_CASE("topology: slots go from one group to another, all of a change or none") {
  Topology t = founded(3);
  must(t, SetGroups{{{0, {{0}, {}}}, {1, {{1}, {}}}}});
  must(t, AssignSlots{{{0, 99, kNoGroup, 0}, {100, 199, kNoGroup, 1}}});
  must(t, AssignSlots{{{50, 60, 0, 1}, {150, 150, 1, 0}}});
  CHECK(t.owner(49) == 0);
  CHECK(t.owner(50) == 1);
  CHECK(t.owner(60) == 1);
  CHECK(t.owner(61) == 0);
  CHECK(t.owner(150) == 0);
  CHECK(t.owner(200) == kNoGroup);
  must(t, AssignSlots{{{61, 61, 0, kNoGroup}}});
  CHECK(t.owner(61) == kNoGroup);
  // Groups that do not count from 0 on are no ring.
  CHECK(t.ring_table().groups.size() == 2);
  must(t, SetGroups{{{5, {{2}, {}}}}});
  CHECK(t.ring_table().groups.empty());
}

TEST_CASE("topology: slots are handed over once, by who has them, and it is known when") {
  Topology t = founded(3);
  must(t, SetGroups{{{0, {{0}, {}}}, {1, {{1}, {}}}}});
  must(t, AssignSlots{{{0, 99, kNoGroup, 0}, {100, 199, kNoGroup, 1}}});
  const TopologyVersion decided = t.version();
  refused(t, HandOverSlots{0, 0, decided, {{1, 2}}}, "slots cannot go from group 0 to group 0");
  refused(t, HandOverSlots{0, 7, decided, {{1, 2}}}, "slots cannot go from group 0 to group 7");
  refused(t, HandOverSlots{0, 1, decided, {{2, 1}}}, "2-1 are no slots");
  refused(t, HandOverSlots{0, 1, decided, {{99, 100}}}, "slot 100 is not group 0's");
  const std::vector<std::pair<uint16_t, uint16_t>> often(base::kKeySlots, {1, 2});
  refused(t, HandOverSlots{0, 1, decided, often}, "a slot is named twice");
  must(t, HandOverSlots{0, 1, decided, {{1, 2}, {50, 50}}});
  CHECK(t.owner(2) == 1);
  CHECK(t.owner(50) == 1);
  CHECK(t.owner(3) == 0);
  CHECK(t.handed_over(0) == t.version());
  refused(t, HandOverSlots{0, 1, decided, {{3, 3}}}, "slots of group 0 were handed over since");
  must(t, HandOverSlots{0, 1, t.version(), {{3, 3}}});
  check_decodes(t);
  // It is remembered longer than the group.
  must(t, AssignSlots{{{0, 0, 0, kNoGroup}, {4, 49, 0, kNoGroup}, {51, 99, 0, kNoGroup}}});
  const TopologyVersion last = t.handed_over(0);
  must(t, SetGroups{{{0, {}}}});
  CHECK(t.handed_over(0) == last);
  check_decodes(t);
}

TEST_CASE("topology: where a node is, what it weighs, and documents") {
  Topology t = founded(2);
  must(t, MoveMember{1, NodeAddress::v4(10, 1, 1, 1, 17000), 7000, 7001, "there.example", 4});
  CHECK(t.find(1)->bus.port == 17000);
  CHECK(t.find(1)->tls_port == 7001);
  CHECK(t.gossip_members()[1].incarnation == 4);
  must(t, WeighMember{1, 250, {"x", "y", "z"}});
  CHECK(t.ring_members()[1].weight == 250);
  CHECK(t.ring_members()[1].location.text() == "x/y/z");
  must(t, PutDocument{DocumentKind::user, "alice", "on >secret ~* +@all"});
  must(t, PutDocument{DocumentKind::keyspace, "alice", "PREFIX a:"});
  CHECK(t.documents().size() == 2);
  CHECK(t.documents_version() == t.version());
  must(t, LeaveMember{1, true});
  CHECK(t.documents_version() == t.version() - 1);
  CHECK(t.documents().at({DocumentKind::user, "alice"}) == "on >secret ~* +@all");
  check_decodes(t);
  must(t, PutDocument{DocumentKind::user, "alice", ""});
  CHECK(t.documents().size() == 1);
}

TEST_CASE("topology: who is behind gets the changes, or all of it") {
  Topology t = founded(3);
  Topology behind = t;
  must(t, LeaveMember{2, true});
  must(t, PutDocument{DocumentKind::user, "bob", "on"});
  const auto delta = t.delta(behind.version());
  REQUIRE(delta);
  CHECK(delta->size() < 200);
  CHECK(behind.apply_delta(*delta).ok());
  CHECK(behind == t);
  CHECK(!behind.apply_delta(*delta).ok());  // a second time
  CHECK(behind == t);
  CHECK(behind.apply_delta(*t.delta(t.version())).ok());  // nothing is missing
  Topology fresh;
  CHECK(fresh.apply_delta(*t.delta(0)).ok());
  CHECK(fresh == t);
  CHECK(!t.delta(t.version() + 1));
  // Who has it from all of it, does not have what came before.
  Topology copied = Topology::decode(t.encode()).value();
  CHECK(!copied.delta(0));
  CHECK(copied.delta(copied.version()));

  SUBCASE("another cluster's changes are refused") {
    Topology other;
    must(other, FoundCluster{topology_id(2000), {}});
    CHECK(t.apply_delta(*other.delta(1)).error() == "these are another cluster's changes");
  }
  SUBCASE("a delta that breaks off changes nothing") {
    const std::string whole = *t.delta(1);
    for (size_t size = 0; size < whole.size(); ++size) {
      Topology start;
      must(start, FoundCluster{topology_id(1000), {}});
      CHECK(!start.apply_delta(base::Bytes(whole).substr(0, size)).ok());
      CHECK(start.version() == 1);
    }
  }
  SUBCASE("history is bounded") {
    const std::string large(1024 * 1024, 'x');
    const TopologyVersion before = t.version();
    for (int i = 0; i < 5; ++i)
      must(t, PutDocument{DocumentKind::function, "lib" + std::to_string(i), large});
    CHECK(!t.delta(before));
    CHECK(t.delta(before + 2));
  }
}

TEST_CASE("topology: random changes, decided by one and followed by others") {
  Chance chance(7);
  Topology t, by_delta, by_copy;
  unsigned next = 0, applied = 0, refused_changes = 0;
  for (int step = 0; step < 1200; ++step) {
    const auto any = [&] { return static_cast<NodeIndex>(chance.below(next + 2)); };
    TopologyChange::Body body;
    switch (chance.below(12)) {
      case 0:
        body = FoundCluster{topology_id(1000), {}};
        break;
      case 1:
        body = JoinMember{
            member_of(static_cast<unsigned>(chance.below(4) ? next : chance.below(next + 1)))};
        break;
      case 2:
        body = MoveMember{any(), NodeAddress::v4(1, 2, 3, 4, static_cast<uint16_t>(step + 1)),
                          1,     0,
                          "h",   static_cast<Incarnation>(chance.below(6))};
        break;
      case 3:
        body = WeighMember{any(), static_cast<uint32_t>(chance.below(300)), {"d", "r", "h"}};
        break;
      case 4:
        body = LeaveMember{any(), chance.below(2) == 0};
        break;
      case 5:
        body = RemoveMember{any()};
        break;
      case 6:
        body = SetGovernors{chance.below(3) ? t.wanted_governors({any()})
                                            : std::vector<NodeIndex>{any(), any()}};
        break;
      case 7:
        body = planned(t);
        break;
      case 8:
        body = SetGroups{
            {{static_cast<GroupNumber>(chance.below(80)),
              {chance.below(3) ? std::vector<NodeIndex>{any(), any()} : std::vector<NodeIndex>{},
               {}}}}};
        break;
      case 9:
      case 10: {
        const auto first = static_cast<uint16_t>(chance.below(base::kKeySlots));
        const auto last =
            static_cast<uint16_t>(std::min<size_t>(first + chance.below(200), base::kKeySlots - 1));
        body = AssignSlots{
            {{first, last, t.owner(first),
              chance.below(4) ? static_cast<GroupNumber>(chance.below(70)) : kNoGroup}}};
        break;
      }
      case 11:
        body = PutDocument{static_cast<DocumentKind>(chance.below(4)),
                           std::to_string(chance.below(5)), std::string(chance.below(3), 'x')};
        break;
    }
    const TopologyChange decided{chance.below(20) ? t.version() : chance.below(50), body};
    const auto decoded = TopologyChange::decode(decided.encode());
    REQUIRE(decoded);
    REQUIRE(decoded->encode() == decided.encode());
    const TopologyVersion before = t.version();
    if (t.apply(*decoded).ok()) {
      ++applied;
      REQUIRE(t.version() == before + 1);
      if (std::holds_alternative<JoinMember>(body)) ++next;
    } else {
      ++refused_changes;
      REQUIRE(t.version() == before);
    }
    if (chance.below(10) == 0) {
      const auto delta = t.delta(by_delta.version());
      REQUIRE(delta);
      REQUIRE(by_delta.apply_delta(*delta).ok());
      REQUIRE(by_delta.digest() == t.digest());
    }
    if (chance.below(50) == 0) {
      auto copy = Topology::decode(t.encode());
      INFO(copy.error());
      REQUIRE(copy.ok());
      REQUIRE(copy.value() == t);
    }
  }
  CHECK(applied > 200);
  CHECK(refused_changes > 200);
  CHECK(t.members().size() > 3);
}

TEST_CASE("topology: bytes that were changed decode to what can be, or not at all") {
  Topology t = founded(3);
  must(t, SetGroups{{{0, {{0, 1}, {}}}, {1, {{1, 2}, {0, 1}}}}});
  must(t, AssignSlots{{{0, 99, kNoGroup, 0}}});
  must(t, PutDocument{DocumentKind::user, "bob", "on"});
  const std::string bytes = t.encode();
  Chance chance(3);
  for (int i = 0; i < 2000; ++i) {
    std::string changed = bytes;
    // Mostly where it says something.
    const size_t at = chance.below(4) ? chance.below(600) : chance.below(changed.size());
    changed[at % changed.size()] = static_cast<char>(chance.below(256));
    const auto decoded = Topology::decode(changed);
    if (decoded.ok()) CHECK(decoded.value().encode() == changed);
  }
  for (size_t size = 0; size < bytes.size(); size += size < 1000 ? 1 : 997)
    CHECK(!Topology::decode(base::Bytes(bytes).substr(0, size)).ok());
  CHECK(!Topology::decode(bytes + "x").ok());
}

TEST_CASE("topology: who holds it, on racks of their own, replaced when dead or leaving") {
  Topology t = founded(2);
  CHECK(t.wanted_governors({}).size() == 1);
  must(t, JoinMember{member_of(3)});  // in the rack of n0
  must(t, JoinMember{member_of(5)});  // in a third rack
  CHECK(t.wanted_governors({}) == std::vector<NodeIndex>{0, 1, 3});
  CHECK(t.wanted_governors({1}) == std::vector<NodeIndex>{0, 3, 2});
  must(t, SetGovernors{{0, 1, 3}});
  CHECK(t.wanted_governors({}) == std::vector<NodeIndex>{0, 1, 3});
  must(t, LeaveMember{0, true});
  CHECK(t.wanted_governors({}) == std::vector<NodeIndex>{1, 3, 2});
  must(t, LeaveMember{0, false});
  for (unsigned n = 10; n < 16; ++n) must(t, JoinMember{member_of(n)});
  CHECK(t.wanted_governors({}).size() == 5);
  must(t, SetGovernors{t.wanted_governors({})});
  CHECK(t.wanted_governors({0, 1}).size() == 5);
  CHECK(t.wanted_governors({0, 1, 2, 3}).size() == 3);
}

}  // namespace quoll::cluster
