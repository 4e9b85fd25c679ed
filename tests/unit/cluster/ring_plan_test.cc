// What holds of every plan of the ring (ring_plan.h), over random topologies and what happens to
// them; and what a person reads of one.
#include "cluster/ring_plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "base/hash.h"
#include "cluster/ring_places.h"
#include "tests/unit/cluster/chance.h"

namespace quoll::cluster {
namespace {

RingMember member(NodeIndex index, const std::string& dc, const std::string& rack,
                  const std::string& host, uint32_t weight = kWeightDefault) {
  return {.index = index,
          .id = "node-" + std::to_string(index),
          .location = {dc, rack, host},
          .weight = weight};
}

// Nodes on hosts of their own, in so many racks by turns.
std::vector<RingMember> even_members(unsigned nodes, unsigned racks) {
  std::vector<RingMember> members;
  for (unsigned i = 0; i < nodes; ++i)
    members.push_back(member(static_cast<NodeIndex>(i), "dc", "rack" + std::to_string(i % racks),
                             "host" + std::to_string(i)));
  return members;
}

const RingMember& find(const std::vector<RingMember>& members, NodeIndex index) {
  for (const RingMember& m : members)
    if (m.index == index) return m;
  FAIL("n" << index << " holds a copy, but is no member");
  return members[0];
}

// The part of each node by weight, caps applied at each level, as a real number.
std::map<NodeIndex, double> exact_shares(const RingPlaces& ring, unsigned groups) {
  std::map<NodeIndex, double> shares;
  struct Claim {
    double weight, cap;
    int place, node;
  };
  const auto divide = [&](auto&& self, int number, double total) -> void {
    const RingPlace& place = ring.places[static_cast<size_t>(number)];
    std::vector<Claim> claims;
    for (int p : place.places) {
      const RingPlace& below = ring.places[static_cast<size_t>(p)];
      claims.push_back({static_cast<double>(below.weight), double(below.cap) * groups, p, -1});
    }
    for (int n : place.nodes)
      claims.push_back(
          {double(ring.nodes[static_cast<size_t>(n)].member->weight), double(groups), -1, n});
    std::vector<double> parts(claims.size(), -1);
    for (bool again = true; again;) {
      again = false;
      double left = total, weight = 0;
      for (size_t i = 0; i < claims.size(); ++i)
        if (parts[i] >= 0)
          left -= parts[i];
        else
          weight += claims[i].weight;
      for (size_t i = 0; i < claims.size(); ++i)
        if (parts[i] < 0 && claims[i].weight * left / weight > claims[i].cap) {
          parts[i] = claims[i].cap;
          again = true;
        }
      if (again) continue;
      for (size_t i = 0; i < claims.size(); ++i)
        if (parts[i] < 0) parts[i] = claims[i].weight * left / weight;
    }
    for (size_t i = 0; i < claims.size(); ++i)
      if (claims[i].place >= 0)
        self(self, claims[i].place, parts[i]);
      else
        shares[ring.nodes[static_cast<size_t>(claims[i].node)].member->index] = parts[i];
  };
  divide(divide, 0, double(ring.copies) * groups);
  return shares;
}

void check_groups(const RingPlan& plan, const std::vector<RingMember>& members,
                  const RingPlaces& ring) {
  for (const RingGroup& group : plan.table.groups) {
    REQUIRE(group.members.size() == plan.copies);
    std::set<Location> hosts;
    std::map<int, unsigned> in_place;
    for (NodeIndex index : group.members) {
      const RingMember& m = find(members, index);
      REQUIRE(!m.leaves);
      REQUIRE(m.weight > 0);
      REQUIRE(hosts.insert(m.location).second);
      for (int place : ring.nodes[static_cast<size_t>(ring.node_of(index))].within)
        if (place != kNoPlace) ++in_place[place];
    }
    for (const auto& [place, count] : in_place)
      REQUIRE(count <= ring.places[static_cast<size_t>(place)].cap);
  }
}

// The caps as the design gives them, where hosts suffice; else there is a warning.
void check_caps(const RingPlan& plan, const RingPlaces& ring, const RingRules& rules) {
  if (!rules.dc_copies.empty() || !plan.warnings.empty()) return;
  REQUIRE(plan.copies == rules.copies);
  unsigned racks = 0, dcs = 0;
  for (const RingPlace& place : ring.places) {
    racks += place.depth == 2;
    dcs += place.depth == 1;
  }
  for (const RingPlace& place : ring.places) {
    if (place.depth == 2) REQUIRE(place.cap <= (rules.copies + racks - 1) / racks);
    if (place.depth == 1) REQUIRE(place.cap <= (rules.copies + dcs - 1) / dcs);
  }
}

void check_balance(const RingPlan& plan, const RingPlaces& ring) {
  std::map<NodeIndex, unsigned> counts, leads;
  for (const RingGroup& group : plan.table.groups) {
    for (NodeIndex index : group.members) ++counts[index];
    ++leads[group.members[0]];
  }
  const auto shares = exact_shares(ring, static_cast<unsigned>(plan.table.groups.size()));
  REQUIRE(plan.shares.size() == ring.nodes.size());
  for (const RingShare& share : plan.shares) {
    REQUIRE(counts[share.node] == share.target);
    REQUIRE(leads[share.node] == share.leads);
    REQUIRE(share.leads >= share.target / plan.copies);
    REQUIRE(share.leads <= (share.target + plan.copies - 1) / plan.copies);
    // Rounded at up to four levels, each of which may give one more or less.
    REQUIRE(std::abs(share.target - shares.at(share.node)) < kPlaceDepths);
  }
}

void check_moves(const RingTable& before, const RingPlan& plan) {
  unsigned made = 0;
  std::vector<RingGroup> moved = before.groups;
  moved.resize(plan.table.groups.size());
  for (RingGroup& group : moved)
    if (!group.holders.empty()) group.members = group.holders;
  for (const RingMove& move : plan.moves) {
    if (move.why == RingMove::Why::planned_back) continue;
    std::vector<NodeIndex>& nodes = moved[move.group].members;
    if (move.from != kNoNode) REQUIRE(std::erase(nodes, move.from) == 1);
    if (move.to != kNoNode) nodes.push_back(move.to);
    made += move.to != kNoNode;
  }
  REQUIRE(made == plan.made);
  REQUIRE(plan.made >= plan.made_least);
  for (size_t g = 0; g < moved.size(); ++g) {
    std::vector<NodeIndex> wanted = plan.table.groups[g].members;
    std::sort(wanted.begin(), wanted.end());
    std::sort(moved[g].members.begin(), moved[g].members.end());
    REQUIRE(wanted == moved[g].members);
  }
}

RingTable settled(const RingTable& table) {
  RingTable done = table;
  for (RingGroup& group : done.groups) group.holders.clear();
  return done;
}

void check_again(const RingPlan& plan, const std::vector<RingMember>& members,
                 const RingRules& rules) {
  const RingPlan begun = plan_ring(plan.table, members, rules);
  REQUIRE(begun.table == plan.table);
  REQUIRE(begun.leader_moves.empty());
  const RingPlan done = plan_ring(settled(plan.table), members, rules);
  REQUIRE(done.moves.empty());
  REQUIRE(done.table == settled(plan.table));
}

// No exchange of copies makes the plan cheaper: the network has no cycle of negative cost. Every
// vertex and arc in full, by Bellman and Ford.
void check_least(const RingTable& before, const RingPlan& plan, const RingPlaces& ring) {
  struct Arc {
    size_t from, to;
    int cost;
  };
  std::vector<Arc> arcs;
  const size_t places = ring.places.size(), first_node = plan.table.groups.size() * places;
  for (size_t g = 0; g < plan.table.groups.size(); ++g) {
    const std::vector<NodeIndex>& copies = plan.table.groups[g].members;
    std::vector<unsigned> used(places);
    for (size_t n = 0; n < ring.nodes.size(); ++n) {
      const RingNode& node = ring.nodes[n];
      const auto within = [&](const std::vector<NodeIndex>& nodes) {
        return std::find(nodes.begin(), nodes.end(), node.member->index) != nodes.end();
      };
      const size_t place = g * places + static_cast<size_t>(node.place);
      const bool holds = before.groups.size() > g && within(before.groups[g].members);
      if (within(copies)) {
        for (int p : node.within)
          if (p != kNoPlace) ++used[static_cast<size_t>(p)];
        arcs.push_back({first_node + n, place, holds ? 0 : -1});
      } else {
        arcs.push_back({place, first_node + n, holds ? 0 : 1});
      }
    }
    for (size_t p = 1; p < places; ++p) {
      const size_t up = g * places + static_cast<size_t>(ring.places[p].parent);
      if (used[p] < ring.places[p].cap) arcs.push_back({up, g * places + p, 0});
      if (used[p] > 0) arcs.push_back({g * places + p, up, 0});
    }
  }
  std::vector<int> distance(first_node + ring.nodes.size());
  bool changes = true;
  for (size_t round = 0; changes && round <= distance.size(); ++round) {
    changes = false;
    for (const Arc& arc : arcs)
      if (distance[arc.from] + arc.cost < distance[arc.to]) {
        distance[arc.to] = distance[arc.from] + arc.cost;
        changes = true;
        REQUIRE(distance[arc.to] > -static_cast<int>(distance.size()));
      }
  }
  REQUIRE(!changes);
}

RingPlan check_plan(const RingTable& before, std::vector<RingMember> members,
                    const RingRules& rules, Chance& chance) {
  const RingPlan plan = plan_ring(before, members, rules);
  const RingPlaces ring = lay_out(members, rules);
  check_groups(plan, members, ring);
  check_caps(plan, ring, rules);
  check_balance(plan, ring);
  check_moves(before, plan);
  check_again(plan, members, rules);
  if (before == settled(before)) check_least(before, plan, ring);
  for (const RingMove& move : plan.moves) REQUIRE(!describe(move, plan, members).empty());
  // In whatever order the members are listed.
  for (size_t i = members.size(); i > 1; --i)
    std::swap(members[i - 1], members[chance.between(0, static_cast<unsigned>(i) - 1)]);
  const RingPlan shuffled = plan_ring(before, members, rules);
  REQUIRE(shuffled.table == plan.table);
  return plan;
}

RingMember random_member(NodeIndex index, Chance& chance, unsigned dcs, unsigned racks,
                         bool weights) {
  const std::string dc = "dc" + std::to_string(chance.between(1, dcs));
  const std::string rack = "r" + std::to_string(chance.between(1, racks));
  const std::string host =
      "h" + std::to_string(chance.one_in(4) ? chance.between(1, 3) : 100 + index);
  return member(index, dc, rack, host, weights ? chance.between(1, 400) : kWeightDefault);
}

// A cluster and some events in its life.
void live(uint64_t seed) {
  CAPTURE(seed);
  Chance chance(seed);
  const unsigned dcs = chance.one_in(3) ? chance.between(2, 3) : 1;
  const unsigned racks = chance.between(1, 5);
  const bool weights = chance.one_in(2);
  RingRules rules{.copies = chance.between(1, 5), .dc_copies = {}};
  if (chance.one_in(5))
    for (unsigned dc = 1; dc <= dcs; ++dc)
      rules.dc_copies.push_back({"dc" + std::to_string(dc), chance.between(1, 3)});
  NodeIndex next = 0;
  std::vector<RingMember> members;
  for (unsigned n = chance.between(1, 16); n > 0; --n)
    members.push_back(random_member(next++, chance, dcs, racks, weights));
  const auto serves = [&] { return lay_out(members, rules).copies > 0; };
  if (!serves()) return;
  RingTable table = check_plan({}, members, rules, chance).table;
  for (int event = 0; event < 5; ++event) {
    if (!chance.one_in(3)) table = settled(table);  // the moves are done
    const size_t any = chance.between(0, static_cast<unsigned>(members.size()) - 1);
    switch (chance.between(1, 5)) {
      case 1:
      case 2:
        members.push_back(random_member(next++, chance, dcs, racks, weights));
        break;
      case 3:
        members[any].leaves = true;
        break;
      case 4:
        members.erase(members.begin() + static_cast<std::ptrdiff_t>(any));
        break;
      case 5:
        members[any].weight = chance.between(1, 400);
        break;
    }
    if (members.empty() || !serves()) return;
    table = check_plan(table, members, rules, chance).table;
  }
}

}  // namespace

TEST_CASE("ring plan: what holds of every plan holds through the lives of random clusters") {
  for (uint64_t seed = 1; seed <= 40; ++seed) live(seed);
}

TEST_CASE("ring plan: adding the fourth to tenth node moves at most 1.1 times what must move") {
  for (unsigned racks : {1u, 3u, 4u}) {
    for (unsigned copies : {2u, 3u}) {
      CAPTURE(racks);
      CAPTURE(copies);
      const RingRules rules{.copies = copies, .dc_copies = {}};
      RingTable table = plan_ring({}, even_members(3, racks), rules).table;
      for (unsigned nodes = 4; nodes <= 10; ++nodes) {
        CAPTURE(nodes);
        const auto members = even_members(nodes, racks);
        const RingPlan plan = plan_ring(settled(table), members, rules);
        CHECK(plan.made * 10 <= plan.made_least * 11);
        CHECK(plan.made_least > 0);
        table = plan.table;
      }
    }
  }
}

TEST_CASE("ring plan: without places in the way, nodes of one weight differ by one copy at most") {
  for (unsigned nodes = 3; nodes <= 40; nodes += 3) {
    CAPTURE(nodes);
    const RingPlan plan = plan_ring({}, even_members(nodes, 1), {});
    unsigned least = ~0u, most = 0;
    for (const RingShare& share : plan.shares) {
      least = std::min(least, share.target);
      most = std::max(most, share.target);
    }
    CHECK(most - least <= 1);
  }
}

TEST_CASE("ring plan: weights are followed") {
  auto members = even_members(6, 1);
  members[2].weight = 200;
  const RingPlan plan = plan_ring({}, members, {});
  // 192 copies by 7 parts of weight.
  for (const RingShare& share : plan.shares)
    CHECK(std::abs(static_cast<int>(share.target) - (share.node == 2 ? 54 : 27)) <= 1);
  CHECK(plan.warnings.empty());
}

TEST_CASE("ring plan: a fresh plan gives a node few peers, in any size of cluster") {
  for (unsigned nodes : {20u, 60u, 200u}) {
    const RingPlan plan = plan_ring({}, even_members(nodes, 5), {});
    std::map<NodeIndex, std::set<NodeIndex>> peers;
    for (const RingGroup& group : plan.table.groups)
      for (NodeIndex a : group.members)
        for (NodeIndex b : group.members)
          if (a != b) peers[a].insert(b);
    size_t all = 0;
    for (const auto& [node, others] : peers) all += others.size();
    CHECK(all <= 16 * nodes);
  }
}

TEST_CASE("ring plan: the number of groups is a power of two that gives each node its copies") {
  CHECK(group_count(1, 3) == 64);
  CHECK(group_count(6, 3) == 64);
  CHECK(group_count(7, 3) == 128);
  CHECK(group_count(100, 3) == 2048);
  CHECK(group_count(1000, 3) == 4096);
  CHECK(group_count(1'000'000, 1) == 4096);
  const RingPlan plan = plan_ring({}, even_members(3, 3), {});
  CHECK(plan.table.groups.size() == 64);
  CHECK(plan.table.slots_per_group() == 256);
  CHECK(plan.table.group_of(0) == 0);
  CHECK(plan.table.group_of(255) == 0);
  CHECK(plan.table.group_of(256) == 1);
  CHECK(plan.table.group_of(16383) == 63);
}

TEST_CASE("ring plan: what cannot be is said") {
  SUBCASE("too few hosts") {
    const RingPlan plan = plan_ring({}, even_members(2, 1), {});
    CHECK(plan.copies == 2);
    REQUIRE(plan.warnings.size() == 1);
    CHECK(plan.warnings[0] == "3 copies are wanted, but there are only 2 hosts");
  }
  SUBCASE("three nodes on one host are one host") {
    const std::vector<RingMember> members = {member(0, "dc", "r", "h"), member(1, "dc", "r", "h"),
                                             member(2, "dc", "r", "h"), member(3, "dc", "r", "i")};
    const RingPlan plan = plan_ring({}, members, {});
    CHECK(plan.copies == 2);
    CHECK(plan.warnings[0] == "3 copies are wanted, but there are only 2 hosts");
  }
  SUBCASE("a rack that must hold more than its part") {
    auto members = even_members(6, 1);
    members[0].location.rack = "small";
    const RingPlan plan = plan_ring({}, members, {.copies = 5, .dc_copies = {}});
    CHECK(plan.copies == 5);
    CHECK(plan.warnings[0] ==
          "a rack must hold 4 of 5 copies, not 3: other racks have too few hosts");
    // The only node of its rack has a copy of every group: by weight it would have fewer.
    CHECK(plan.shares[0].target >= 53);
  }
  SUBCASE("a rack of one node beside racks of four") {
    auto members = even_members(8, 2);
    members.push_back(member(8, "dc", "rack2", "host8"));
    const RingPlan plan = plan_ring({}, members, {});
    REQUIRE(plan.warnings.size() == 1);
    CHECK(plan.warnings[0] ==
          "n8 (dc/rack2/host8) gets 128 copies, by weight alone it would get 43: its rack or data "
          "centre decides");
  }
  SUBCASE("data centres with copies of their own") {
    std::vector<RingMember> members;
    for (NodeIndex i = 0; i < 6; ++i)
      members.push_back(
          member(i, i < 4 ? "east" : "west", "r" + std::to_string(i), "h" + std::to_string(i)));
    const RingPlan plan = plan_ring(
        {}, members, {.copies = 3, .dc_copies = {{"east", 2}, {"west", 3}, {"south", 1}}});
    CHECK(plan.copies == 4);
    REQUIRE(plan.warnings.size() >= 2);
    CHECK(plan.warnings[0] == "3 copies are wanted in west, but there are only 2 hosts");
    CHECK(plan.warnings[1] == "1 copies are wanted in south, but there are only 0 hosts");
    for (const RingGroup& group : plan.table.groups)
      CHECK(std::count_if(group.members.begin(), group.members.end(),
                          [](NodeIndex n) { return n >= 4; }) == 2);
  }
  SUBCASE("many more nodes than the ring was made for") {
    const RingTable small = plan_ring({}, even_members(3, 3), {}).table;
    CHECK(plan_ring(small, even_members(12, 3), {}).warnings.empty());
    const RingPlan plan = plan_ring(small, even_members(24, 3), {});
    CHECK(plan.table.groups.size() == 64);
    REQUIRE(plan.warnings.size() == 1);
    CHECK(plan.warnings[0] ==
          "the ring has 64 groups, for 24 nodes there would be 256: shares are coarse");
  }
  SUBCASE("nobody") {
    auto members = even_members(1, 1);
    members[0].leaves = true;
    const RingPlan plan = plan_ring({}, members, {});
    CHECK(plan.copies == 0);
    CHECK(plan.table.groups.size() == 64);
    CHECK(plan.warnings[0] == "nobody is there to hold a copy");
  }
}

TEST_CASE("ring plan: every move says why") {
  const auto first_of = [](const RingPlan& plan, const std::vector<RingMember>& members) {
    REQUIRE(!plan.moves.empty());
    return describe(plan.moves[0], plan, members);
  };
  const RingTable table = plan_ring({}, even_members(4, 4), {}).table;
  SUBCASE("a newcomer takes its share") {
    const auto members = even_members(5, 5);
    const RingPlan plan = plan_ring(table, members, {});
    const std::string text = first_of(plan, members);
    CHECK(text.find("-> n4 (dc/rack4/host4): n") != std::string::npos);
    CHECK(text.find("has more than its share, 48 of 3") != std::string::npos);
    CHECK(text.starts_with("group " + std::to_string(plan.moves[0].group) + " (slots " +
                           std::to_string(plan.moves[0].group * 256) + "-"));
    for (const RingMove& move : plan.moves) CHECK(move.to == 4);
  }
  SUBCASE("a node leaves") {
    auto members = even_members(4, 4);
    members[1].leaves = true;
    const RingPlan plan = plan_ring(table, members, {});
    CHECK(plan.made == 48);
    CHECK(first_of(plan, members).find("n1 leaves") != std::string::npos);
    // Its copies stay until others have them.
    CHECK(plan.table.groups[plan.moves[0].group].holders.size() == 3);
  }
  SUBCASE("a node is gone") {
    auto members = even_members(4, 4);
    members.erase(members.begin() + 1);
    const RingPlan plan = plan_ring(table, members, {});
    CHECK(plan.made == 48);
    CHECK(first_of(plan, members).find("n1 is gone") != std::string::npos);
    CHECK(plan.table.groups[plan.moves[0].group].holders.size() == 2);
  }
  SUBCASE("two copies turn out to be on one host") {
    auto members = even_members(5, 5);
    members[1].location = members[0].location;
    const RingPlan plan = plan_ring(table, members, {});
    CHECK(std::any_of(plan.moves.begin(), plan.moves.end(),
                      [](const RingMove& move) { return move.why == RingMove::Why::shares_host; }));
  }
  SUBCASE("two copies turn out to be in one rack") {
    auto members = even_members(5, 5);
    members[1].location.rack = members[0].location.rack;
    const RingPlan plan = plan_ring(table, members, {});
    CHECK(std::any_of(plan.moves.begin(), plan.moves.end(),
                      [](const RingMove& move) { return move.why == RingMove::Why::shares_rack; }));
  }
  SUBCASE("more and fewer copies") {
    const auto members = even_members(4, 4);
    const RingPlan more = plan_ring(table, members, {.copies = 4, .dc_copies = {}});
    CHECK(more.made == 64);
    CHECK(first_of(more, members).ends_with("the group has too few copies"));
    const RingPlan fewer = plan_ring(table, members, {.copies = 2, .dc_copies = {}});
    CHECK(fewer.made == 0);
    CHECK(fewer.moves.size() == 64);
    CHECK(first_of(fewer, members).ends_with("the group has more copies than it needs"));
  }
}

TEST_CASE("ring plan: a plan under way is given up without moving anything back") {
  const auto four = even_members(4, 4);
  const RingTable table = plan_ring({}, four, {}).table;
  const auto five = even_members(5, 5);
  const RingTable begun = plan_ring(table, five, {}).table;
  // The newcomer leaves again before it holds anything.
  const RingPlan back = plan_ring(begun, four, {});
  CHECK(back.made == 0);
  for (const RingMove& move : back.moves) CHECK(move.why == RingMove::Why::planned_back);
  for (size_t g = 0; g < table.groups.size(); ++g) {
    auto was = table.groups[g].members, is = back.table.groups[g].members;
    std::sort(was.begin(), was.end());
    std::sort(is.begin(), is.end());
    CHECK(was == is);
  }
}

TEST_CASE("ring plan: stand-ins are on other racks first, then on other hosts, in ring order") {
  const auto members = even_members(9, 4);
  const RingPlan plan = plan_ring({}, members, {});
  for (GroupNumber g = 0; g < plan.table.groups.size(); ++g) {
    const auto walk = fallbacks(plan.table, g, members, 9);
    REQUIRE(walk.size() == 6);
    std::set<std::string> racks;
    std::set<NodeIndex> nodes;
    for (NodeIndex n : plan.table.groups[g].members) {
      racks.insert(find(members, n).location.rack);
      nodes.insert(n);
    }
    REQUIRE(racks.size() == 3);
    CHECK(racks.count(find(members, walk[0]).location.rack) == 0);
    for (NodeIndex n : walk) CHECK(nodes.insert(n).second);
  }
  // Different groups have different ones.
  std::set<NodeIndex> first;
  for (GroupNumber g = 0; g < plan.table.groups.size(); ++g)
    first.insert(fallbacks(plan.table, g, members, 1)[0]);
  CHECK(first.size() > 3);
}

TEST_CASE("ring plan: a thousand nodes, fresh and one more") {
  const RingPlan plan = plan_ring({}, even_members(1000, 20), {});
  CHECK(plan.table.groups.size() == 4096);
  for (const RingShare& share : plan.shares) {
    CHECK(share.target >= 12);
    CHECK(share.target <= 13);
  }
  const RingPlan more = plan_ring(plan.table, even_members(1001, 20), {});
  CHECK(more.made * 10 <= more.made_least * 11);
}

TEST_CASE("ring plan: a division gives the rest to those that hold more, then by remainder") {
  using Claims = std::vector<RingClaim>;
  CHECK(apportion(10, Claims{{1, 9, 0}, {1, 9, 0}, {1, 9, 4}}) == std::vector<uint64_t>{3, 3, 4});
  CHECK(apportion(10, Claims{{5, 9, 0}, {3, 9, 0}, {3, 9, 0}}) == std::vector<uint64_t>{4, 3, 3});
  CHECK(apportion(10, Claims{{8, 4, 0}, {1, 9, 0}, {1, 9, 0}}) == std::vector<uint64_t>{4, 3, 3});
  CHECK(apportion(10, Claims{{8, 4, 0}, {3, 5, 0}, {1, 9, 0}}) == std::vector<uint64_t>{4, 5, 1});
  CHECK(apportion(0, Claims{{1, 4, 0}}) == std::vector<uint64_t>{0});
}

TEST_CASE("location: three names") {
  CHECK(parse_location("dc1/rackA/host7") == Location{"dc1", "rackA", "host7"});
  CHECK(parse_location("dc1/rackA/host7")->text() == "dc1/rackA/host7");
  for (const char* text : {"", "a", "a/b", "a/b/", "/b/c", "a//c", "a/b/c/d", "a/b/c d"})
    CHECK(!parse_location(text));
  CHECK(!parse_location("a/b/" + std::string(kLocationBytesMax, 'c')));
}

}  // namespace quoll::cluster
