#include "cluster/ring_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "cluster/ring_flow.h"
#include "cluster/ring_leaders.h"
#include "cluster/ring_places.h"

namespace quoll::cluster {
namespace {

using Nodes = std::vector<NodeIndex>;

constexpr size_t kWarningsOfWeight = 8;  // nodes named
constexpr unsigned kGroupsFewer = 4;     // times fewer groups than there would be are too few

const Nodes& holders_of(const RingGroup& group) {
  return group.holders.empty() ? group.members : group.holders;
}

// One plan being made.
class Planner {
 public:
  Planner(const RingTable& previous, const std::vector<RingMember>& members, const RingRules& rules)
      : previous_(previous), members_(members), ring_(lay_out(members, rules)) {
    if (previous_.groups.empty())
      previous_.groups.resize(group_count(ring_.nodes.size(), rules.copies));
    QUOLL_CHECK(std::has_single_bit(previous_.groups.size()) &&
                previous_.groups.size() <= kGroupsMax);
  }

  RingPlan make() {
    plan_.warnings = ring_.warnings;
    plan_.copies = ring_.copies;
    if (ring_.copies == 0) {
      plan_.table.groups.resize(previous_.groups.size());
      plan_.warnings.push_back("nobody is there to hold a copy");
      return std::move(plan_);
    }
    count_held();
    set_targets(ring_, groups());
    RingFlow flow(ring_, offers());
    wanted_ = flow.solve();
    fill_table();
    compare();
    if (lost_ > 0)
      plan_.warnings.push_back(fmt::format("{} groups have lost all their copies", lost_));
    note_shares();
    return std::move(plan_);
  }

 private:
  unsigned groups() const { return static_cast<unsigned>(previous_.groups.size()); }
  RingNode& node(int n) { return ring_.nodes[static_cast<size_t>(n)]; }
  NodeIndex index(int n) { return node(n).member->index; }

  void count_held() {
    for (const RingGroup& group : previous_.groups)
      for (NodeIndex member : group.members)
        if (const int n = ring_.node_of(member); n != kNoPlace) ++node(n).held;
  }

  std::vector<std::vector<RingFlow::Offer>> offers() const {
    std::vector<std::vector<RingFlow::Offer>> offers(previous_.groups.size());
    for (size_t g = 0; g < offers.size(); ++g) {
      const RingGroup& group = previous_.groups[g];
      for (NodeIndex member : group.members)
        if (const int n = ring_.node_of(member); n != kNoPlace)
          offers[g].push_back({n, contains(holders_of(group), member) ? kCostKept : kCostBegun});
      for (NodeIndex holder : holders_of(group))
        if (const int n = ring_.node_of(holder); n != kNoPlace && !contains(group.members, holder))
          offers[g].push_back({n, kCostUndone});
    }
    return offers;
  }

  // Who was a member stays where it stood, newcomers follow in the order of their numbers; then the
  // leaders.
  void fill_table() {
    std::vector<std::vector<int>> ordered(wanted_.size());
    std::vector<bool> keeps(wanted_.size());
    for (size_t g = 0; g < wanted_.size(); ++g) {
      const Nodes& before = previous_.groups[g].members;
      const auto place = [&](int n) {
        return std::pair(std::find(before.begin(), before.end(), index(n)) - before.begin(),
                         index(n));
      };
      ordered[g] = wanted_[g];
      std::sort(ordered[g].begin(), ordered[g].end(),
                [&](int a, int b) { return place(a) < place(b); });
      keeps[g] = !before.empty() && index(ordered[g][0]) == before[0];
    }
    balance_leaders(ordered, keeps, ring_.nodes.size());
    plan_.table.groups.resize(ordered.size());
    for (size_t g = 0; g < ordered.size(); ++g)
      for (int n : ordered[g]) plan_.table.groups[g].members.push_back(index(n));
  }

  void compare() {
    for (size_t g = 0; g < plan_.table.groups.size(); ++g) {
      const RingGroup& before = previous_.groups[g];
      RingGroup& after = plan_.table.groups[g];
      const auto number = static_cast<GroupNumber>(g);
      compare_copies(number, before, after);
      const NodeIndex led = before.members.empty() ? kNoNode : before.members[0];
      if (led != after.members[0]) plan_.leader_moves.push_back({number, led, after.members[0]});
    }
  }

  void compare_copies(GroupNumber number, const RingGroup& before, RingGroup& after) {
    const Nodes& holders = holders_of(before);
    Nodes from, to;
    for (NodeIndex holder : holders)
      if (!contains(after.members, holder)) from.push_back(holder);
    for (NodeIndex member : after.members)
      if (!contains(holders, member)) to.push_back(member);
    plan_.made += static_cast<unsigned>(to.size());
    for (size_t i = 0; i < std::max(from.size(), to.size()); ++i) {
      const NodeIndex source = i < from.size() ? from[i] : kNoNode;
      const NodeIndex target = i < to.size() ? to[i] : kNoNode;
      plan_.moves.push_back({number, source, target, reason(number, holders, source, target)});
    }
    for (NodeIndex member : before.members)
      if (!contains(holders, member) && !contains(after.members, member))
        plan_.moves.push_back({number, member, kNoNode, RingMove::Why::planned_back});
    // Who is no member of the cluster any more holds nothing that anybody could fetch.
    for (NodeIndex holder : holders)
      if (is_member(holder)) after.holders.push_back(holder);
    if (after.holders.empty() && !holders.empty()) ++lost_;
    if (std::is_permutation(after.holders.begin(), after.holders.end(), after.members.begin(),
                            after.members.end()))
      after.holders.clear();
  }

  bool is_member(NodeIndex index) const {
    return std::any_of(members_.begin(), members_.end(),
                       [&](const RingMember& member) { return member.index == index; });
  }

  // Copies of the group that stand, with this node, in its place of a depth.
  unsigned standing_with(const Nodes& holders, NodeIndex index, unsigned depth) {
    const int n = ring_.node_of(index);
    unsigned count = 0;
    for (NodeIndex other : holders)
      if (const int m = ring_.node_of(other); m != kNoPlace)
        count += node(m).within[depth] == node(n).within[depth];
    return count;
  }

  RingMove::Why reason(GroupNumber number, const Nodes& holders, NodeIndex from, NodeIndex to) {
    using Why = RingMove::Why;
    if (from == kNoNode) return Why::missing;
    const int n = ring_.node_of(from);
    if (n == kNoPlace) return is_member(from) ? Why::leaves : Why::gone;
    if (to == kNoNode && holders.size() > plan_.table.groups[number].members.size())
      return Why::surplus;
    const RingNode& left = node(n);
    static constexpr Why kWhy[] = {Why::surplus, Why::shares_dc, Why::shares_rack,
                                   Why::shares_host};
    for (unsigned depth = kPlaceDepths - 1; depth > 0; --depth) {
      const int place = left.within[depth];
      if (place != kNoPlace &&
          standing_with(holders, from, depth) > ring_.places[static_cast<size_t>(place)].cap)
        return kWhy[depth];
    }
    return left.held > left.target ? Why::over_share : Why::makes_room;
  }

  void note_shares() {
    std::vector<unsigned> leads(ring_.nodes.size());
    for (const RingGroup& group : plan_.table.groups)
      ++leads[static_cast<size_t>(ring_.node_of(group.members[0]))];
    for (size_t n = 0; n < ring_.nodes.size(); ++n) {
      const RingNode& node = ring_.nodes[n];
      plan_.shares.push_back({node.member->index, node.held, node.target, leads[n]});
    }
    std::sort(plan_.shares.begin(), plan_.shares.end(),
              [](const RingShare& a, const RingShare& b) { return a.node < b.node; });
    count_made_least();
    warn_of_weights();
    const unsigned fitting = group_count(ring_.nodes.size(), plan_.copies);
    if (groups() * kGroupsFewer <= fitting)
      plan_.warnings.push_back(
          fmt::format("the ring has {} groups, for {} nodes there would be {}: shares are coarse",
                      groups(), ring_.nodes.size(), fitting));
  }

  // What nodes lack of their targets, whichever of the copies they hold may stay.
  void count_made_least() {
    std::vector<unsigned> holds(ring_.nodes.size());
    for (const RingGroup& group : previous_.groups)
      for (NodeIndex holder : holders_of(group))
        if (const int n = ring_.node_of(holder); n != kNoPlace) ++holds[static_cast<size_t>(n)];
    for (size_t n = 0; n < holds.size(); ++n)
      plan_.made_least += std::max(ring_.nodes[n].target, holds[n]) - holds[n];
  }

  // Where places give a node a quarter more than its weight asks for.
  void warn_of_weights() {
    std::vector<const RingNode*> off;
    for (const RingNode& node : ring_.nodes)
      if (4 * node.target > 5 * node.by_weight + 4) off.push_back(&node);
    std::sort(off.begin(), off.end(), [](const RingNode* a, const RingNode* b) {
      return a->member->index < b->member->index;
    });
    for (size_t i = 0; i < std::min(off.size(), kWarningsOfWeight); ++i)
      plan_.warnings.push_back(
          fmt::format("n{} ({}) gets {} copies, by weight alone it would get {}: its rack or data "
                      "centre decides",
                      off[i]->member->index, off[i]->member->location.text(), off[i]->target,
                      off[i]->by_weight));
    if (off.size() > kWarningsOfWeight)
      plan_.warnings.push_back(
          fmt::format("so it is with {} more nodes", off.size() - kWarningsOfWeight));
  }

  RingTable previous_;
  const std::vector<RingMember>& members_;
  RingPlaces ring_;
  std::vector<std::vector<int>> wanted_;
  unsigned lost_ = 0;  // groups whose holders are all gone
  RingPlan plan_;
};

std::string name_of(NodeIndex index, const std::vector<RingMember>& members) {
  for (const RingMember& member : members)
    if (member.index == index) return fmt::format("n{} ({})", index, member.location.text());
  return fmt::format("n{}", index);
}

}  // namespace

unsigned group_count(size_t nodes, unsigned copies) {
  const size_t wanted = (kCopiesPerNode * nodes + copies - 1) / std::max(copies, 1u);
  return static_cast<unsigned>(std::clamp<size_t>(std::bit_ceil(wanted), kGroupsMin, kGroupsMax));
}

RingPlan plan_ring(const RingTable& previous, const std::vector<RingMember>& members,
                   const RingRules& rules) {
  return Planner(previous, members, rules).make();
}

std::string describe(const RingMove& move, const RingPlan& plan,
                     const std::vector<RingMember>& members) {
  using Why = RingMove::Why;
  const unsigned first = plan.table.first_slot(move.group);
  std::string text = fmt::format("group {} (slots {}-{}): ", move.group, first,
                                 first + plan.table.slots_per_group() - 1);
  const std::string from = name_of(move.from, members);
  if (move.from == kNoNode)
    text += name_of(move.to, members);
  else if (move.to == kNoNode)
    text += from + " gives up its copy";
  else
    text += from + " -> " + name_of(move.to, members);
  const auto share = std::find_if(plan.shares.begin(), plan.shares.end(),
                                  [&](const RingShare& s) { return s.node == move.from; });
  const std::string node = fmt::format("n{}", move.from);
  switch (move.why) {
    case Why::missing:
      return text + ": the group has too few copies";
    case Why::gone:
      return text + ": " + node + " is gone";
    case Why::leaves:
      return text + ": " + node + " leaves";
    case Why::shares_host:
      return text + ": another copy is on the same host";
    case Why::shares_rack:
      return text + ": the rack has too many copies of the group";
    case Why::shares_dc:
      return text + ": the data centre has too many copies of the group";
    case Why::over_share:
      return text + fmt::format(": {} has more than its share, {} of {}", node, share->held,
                                share->target);
    case Why::makes_room:
      return text + ": " + node + " takes the copy of a group that could not go elsewhere";
    case Why::surplus:
      return text + ": the group has more copies than it needs";
    case Why::planned_back:
      return text + ": it was begun, and is no longer wanted";
  }
  return text;
}

std::vector<NodeIndex> fallbacks(const RingTable& table, GroupNumber group,
                                 const std::vector<RingMember>& members, size_t most) {
  std::vector<const RingMember*> ring;
  for (const RingMember& member : members)
    if (!member.leaves) ring.push_back(&member);
  const auto token = [](const RingMember* member) {
    return std::pair(ring_token(member->id), base::Bytes(member->id));
  };
  std::sort(ring.begin(), ring.end(), [&](auto* a, auto* b) { return token(a) < token(b); });
  const uint64_t home = ~uint64_t{0} / table.groups.size() * group;
  const auto start = std::find_if(ring.begin(), ring.end(), [&](const RingMember* member) {
    return ring_token(member->id) >= home;
  });
  std::rotate(ring.begin(), start, ring.end());

  std::vector<const Location*> used;
  for (const RingMember* member : ring)
    if (contains(table.groups[group].members, member->index)) used.push_back(&member->location);
  const auto is_used = [&](const RingMember* member, bool rack) {
    return std::any_of(used.begin(), used.end(), [&](const Location* at) {
      return at->dc == member->location.dc && at->rack == member->location.rack &&
             (rack || at->host == member->location.host);
    });
  };
  std::vector<NodeIndex> walk;
  for (const bool by_rack : {true, false})
    for (const RingMember* member : ring) {
      if (walk.size() >= most) return walk;
      if (is_used(member, by_rack)) continue;
      walk.push_back(member->index);
      used.push_back(&member->location);
    }
  return walk;
}

}  // namespace quoll::cluster
