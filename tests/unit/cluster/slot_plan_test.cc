// What holds of every plan of slots (slot_plan.h), over random clusters and what happens to them.
#include "cluster/slot_plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

namespace quoll::cluster {
namespace {

class SlotDice {
 public:
  explicit SlotDice(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  unsigned below(unsigned n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<unsigned>((state_ >> 20) % n);
  }

 private:
  uint64_t state_;
};

SlotOwners nobodys() {
  SlotOwners owners;
  owners.fill(kNoGroup);
  return owners;
}

std::vector<SlotGroup> even_groups(unsigned count) {
  std::vector<SlotGroup> groups;
  for (unsigned i = 0; i < count; ++i) groups.push_back({.group = static_cast<GroupNumber>(i)});
  return groups;
}

// As redis-cli --cluster create does.
SlotOwners created(unsigned groups) {
  SlotOwners owners;
  for (unsigned slot = 0; slot < base::kKeySlots; ++slot)
    owners[slot] = static_cast<GroupNumber>(slot * groups / base::kKeySlots);
  return owners;
}

std::map<GroupNumber, unsigned> counted(const SlotOwners& owners) {
  std::map<GroupNumber, unsigned> counts;
  for (const GroupNumber owner : owners)
    if (owner != kNoGroup) ++counts[owner];
  return counts;
}

unsigned ranges_in(const SlotOwners& owners) {
  unsigned ranges = 1;
  for (unsigned slot = 1; slot < base::kKeySlots; ++slot)
    ranges += owners[slot] != owners[slot - 1];
  return ranges;
}

void carry_out(SlotOwners& owners, const PlannedMove& move) {
  unsigned count = 0;
  for (const SlotRange& range : move.slots)
    for (unsigned slot = range.first; slot <= range.last; ++slot) {
      count += owners[slot] == move.from;
      owners[slot] = move.to;
    }
  CHECK(count == move.count);
}

void carry_out(SlotOwners& owners, const SlotPlan& plan) {
  for (const PlannedMove& move : plan.moves) carry_out(owners, move);
}

// Checks what holds of the plan, and gives what it leads to.
SlotOwners checked(const SlotOwners& owners, const std::vector<SlotGroup>& groups) {
  const SlotPlan plan = plan_slots(owners, groups);
  auto held = counted(owners);
  uint64_t weight = 0, slots = 0, least = 0;
  for (const SlotGroup& group : groups) {
    if (!group.leaves && !group.away) weight += group.weight;
    if (!group.away) slots += held[group.group];
  }
  SlotOwners after = owners;
  carry_out(after, plan);
  auto has = counted(after);
  for (const SlotGroup& group : groups) {
    const SlotShare* share = plan.find(group.group);
    REQUIRE(share);
    CHECK(share->held == held[group.group]);
    CHECK(share->share == has[group.group]);
    least += share->held - std::min(share->held, share->share);
    if (group.away || weight == 0) {
      CHECK(share->share == share->held);
    } else if (group.leaves) {
      CHECK(share->share == 0);
    } else {
      const double part = double(slots) * group.weight / double(weight);
      CHECK(std::abs(share->share - part) < 1);
    }
  }
  CHECK(plan.moved == least);
  if (weight > 0)
    CHECK(plan.stuck == std::accumulate(groups.begin(), groups.end(), 0u,
                                        [&](unsigned sum, const SlotGroup& one) {
                                          return sum +
                                                 (one.leaves && one.away ? held[one.group] : 0);
                                        }));
  bool left_alone = true;
  for (unsigned slot = 0; slot < base::kKeySlots; ++slot)
    left_alone &= (owners[slot] == kNoGroup) == (after[slot] == kNoGroup);
  CHECK(left_alone);
  CHECK(plan_slots(after, groups).moves.empty());
  return after;
}

std::vector<SlotGroup> random_groups(SlotDice& dice) {
  std::vector<SlotGroup> groups;
  const unsigned count = 1 + dice.below(20);
  for (unsigned i = 0; i < count; ++i)
    groups.push_back({.group = static_cast<GroupNumber>(i * (1 + dice.below(3)) + 20 * i),
                      .weight = dice.below(8) ? 1 + dice.below(300) : dice.below(2) * 1000000,
                      .leaves = dice.below(7) == 0,
                      .away = dice.below(9) == 0});
  return groups;
}

// Runs of one owner, few or many.
SlotOwners random_owners(SlotDice& dice, const std::vector<SlotGroup>& groups) {
  SlotOwners owners = nobodys();
  const unsigned longest = dice.below(3) == 0 ? 3 : 1 + dice.below(3000);
  for (unsigned slot = 0; slot < base::kKeySlots;) {
    const unsigned which = dice.below(static_cast<unsigned>(groups.size()) + 1);
    const GroupNumber owner = which < groups.size() ? groups[which].group : kNoGroup;
    for (unsigned n = 1 + dice.below(longest); n > 0 && slot < base::kKeySlots; --n)
      owners[slot++] = owner;
  }
  return owners;
}

}  // namespace

TEST_CASE("slot plan: balance, the fewest moves, nothing left to plan, over random clusters") {
  for (unsigned seed = 1; seed <= 150; ++seed) {
    CAPTURE(seed);
    SlotDice dice(seed);
    const std::vector<SlotGroup> groups = random_groups(dice);
    checked(random_owners(dice, groups), groups);
  }
}

TEST_CASE("slot plan: in what order groups are listed makes no difference") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    SlotDice dice(seed);
    std::vector<SlotGroup> groups = random_groups(dice);
    const SlotOwners owners = random_owners(dice, groups);
    SlotOwners one = owners, other = owners;
    carry_out(one, plan_slots(owners, groups));
    std::ranges::reverse(groups);
    carry_out(other, plan_slots(owners, groups));
    CHECK(one == other);
  }
}

// By several sources, a little at a time, each planning anew: what one does takes nothing from what
// others have in mind, and no slot moves twice.
TEST_CASE("slot plan: carried out by several sources bit by bit it moves no more than at once") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    SlotDice dice(seed);
    const std::vector<SlotGroup> groups = random_groups(dice);
    SlotOwners owners = random_owners(dice, groups);
    const unsigned moved = plan_slots(owners, groups).moved;
    const unsigned ranges = ranges_in(owners);
    unsigned total = 0;
    for (;;) {
      const SlotPlan plan = plan_slots(owners, groups);
      if (plan.moves.empty()) break;
      // Two sources look at the same plan; both go on with one of theirs.
      const PlannedMove& one = plan.moves[dice.below(static_cast<unsigned>(plan.moves.size()))];
      const PlannedMove& two = plan.moves[dice.below(static_cast<unsigned>(plan.moves.size()))];
      std::vector<const PlannedMove*> begun{&one};
      if (two.from != one.from) begun.push_back(&two);
      for (const PlannedMove* move : begun) {
        const unsigned count = std::min(move->count, 1 + dice.below(400));
        const SlotRanges slots = slots_to_move(owners, move->from, move->to, count);
        carry_out(owners, {.from = move->from, .to = move->to, .count = count, .slots = slots});
        total += count;
      }
    }
    CHECK(total == moved);
    CHECK(ranges_in(owners) <= ranges + 2 * groups.size());
  }
}

TEST_CASE("slot plan: the 4th to 10th node gets its share, and nothing else moves") {
  SlotOwners owners = created(3);
  for (unsigned nodes = 4; nodes <= 10; ++nodes) {
    const std::vector<SlotGroup> groups = even_groups(nodes);
    const SlotPlan plan = plan_slots(owners, groups);
    CHECK(plan.moved == base::kKeySlots / nodes);
    for (const PlannedMove& move : plan.moves) {
      CHECK(move.to == nodes - 1);
      CHECK(move.why == PlannedMove::Why::over_share);
    }
    owners = checked(owners, groups);
    CHECK(ranges_in(owners) <= nodes * nodes);
  }
  // And back: who leaves gives what it has, and nothing else moves.
  for (unsigned nodes = 10; nodes > 3; --nodes) {
    std::vector<SlotGroup> groups = even_groups(nodes);
    groups[nodes - 1].leaves = true;
    CHECK(plan_slots(owners, groups).moved == counted(owners)[static_cast<GroupNumber>(nodes - 1)]);
    owners = checked(owners, groups);
  }
}

TEST_CASE("slot plan: slots go from the ends of ranges, to where they border on the receiver's") {
  const SlotPlan plan = plan_slots(created(3), even_groups(4));
  REQUIRE(plan.moves.size() == 3);
  CHECK(plan.moves[0].slots == SlotRanges{{4096, 5461}});
  CHECK(plan.moves[1].slots == SlotRanges{{5462, 6826}});
  CHECK(plan.moves[2].slots == SlotRanges{{15019, 16383}});
  const auto name = [](GroupNumber group) { return "g" + std::to_string(group); };
  CHECK(describe(plan.moves[0], plan, name) ==
        "4096-5461 (1366 slots): g0 -> g3, g0 has more than its share (5462 of 4096)");
  CHECK(slots_to_move(created(3), 1, 3, 2) == SlotRanges{{10921, 10922}});
}

TEST_CASE("slot plan: weights divide; without weight there is nothing, and nowhere to go") {
  std::vector<SlotGroup> groups = even_groups(3);
  groups[0].weight = 200;
  SlotPlan plan = plan_slots(created(3), groups);
  CHECK(plan.find(0)->share == 8192);
  CHECK(plan.find(1)->share == 4096);
  groups[1].weight = 0;
  plan = plan_slots(created(3), groups);
  CHECK(plan.find(1)->share == 0);
  CHECK(plan.moves.back().why == PlannedMove::Why::no_weight);
  for (SlotGroup& group : groups) group.weight = 0;
  CHECK(plan_slots(created(3), groups).moves.empty());
  groups[2].leaves = true;
  CHECK(plan_slots(created(3), groups).stuck == counted(created(3))[2]);
  CHECK(plan_slots(nobodys(), even_groups(3)).moves.empty());
}

TEST_CASE("slot plan: a group of which nobody is there neither gives nor takes") {
  std::vector<SlotGroup> groups = even_groups(4);
  groups[1].away = true;
  const SlotOwners after = checked(created(3), groups);
  for (unsigned slot = 5462; slot < 10922; ++slot) CHECK(after[slot] == 1);
  groups = even_groups(4);
  groups[3].away = true;
  CHECK(plan_slots(created(3), groups).moved == 0);
}

}  // namespace quoll::cluster
