#include "cluster/slot_plan.h"

#include <fmt/format.h>

#include <algorithm>

namespace quoll::cluster {
namespace {

unsigned size_of(const SlotRange& range) { return range.last - range.first + 1u; }

SlotRanges joined(std::vector<uint16_t> slots) {
  std::ranges::sort(slots);
  SlotRanges ranges;
  for (const uint16_t slot : slots)
    if (!ranges.empty() && ranges.back().last + 1 == slot)
      ranges.back().last = slot;
    else
      ranges.push_back({slot, slot});
  return ranges;
}

// Slots of one group on their way to others.
class Giver {
 public:
  Giver(SlotOwners& owners, SlotRanges ranges) : owners_(owners), ranges_(std::move(ranges)) {}

  SlotRanges give(GroupNumber to, unsigned count) {
    to_ = to;
    left_ = count;
    taken_.clear();
    for (SlotRange& range : ranges_) give_beside(range);
    drop_empty();
    give_whole();
    while (left_ > 0 && !ranges_.empty()) {
      SlotRange& last = ranges_.back();
      take_end(last, std::min(left_, size_of(last)));
      drop_empty();
    }
    return joined(std::move(taken_));
  }

 private:
  static bool empty(const SlotRange& range) { return range.first > range.last; }
  void drop_empty() { std::erase_if(ranges_, empty); }
  void take(unsigned first, unsigned count) {
    for (unsigned slot = first; slot < first + count; ++slot) {
      owners_[slot] = to_;
      taken_.push_back(static_cast<uint16_t>(slot));
    }
    left_ -= count;
  }
  // A range that is taken whole is {1, 0}.
  void take_end(SlotRange& range, unsigned count) {
    take(range.last + 1u - count, count);
    if (count == size_of(range))
      range = {1, 0};
    else
      range.last = static_cast<uint16_t>(range.last - count);
  }
  void take_begin(SlotRange& range, unsigned count) {
    take(range.first, count);
    if (count == size_of(range))
      range = {1, 0};
    else
      range.first = static_cast<uint16_t>(range.first + count);
  }
  void give_beside(SlotRange& range) {
    const unsigned count = std::min(left_, size_of(range));
    if (count == 0) return;
    if (range.last + 1u < base::kKeySlots && owners_[range.last + 1u] == to_)
      take_end(range, count);
    else if (range.first > 0 && owners_[range.first - 1u] == to_)
      take_begin(range, count);
  }
  // The smallest first.
  void give_whole() {
    std::vector<SlotRange*> by_size;
    for (SlotRange& range : ranges_) by_size.push_back(&range);
    std::ranges::stable_sort(by_size, {}, [](const SlotRange* range) { return size_of(*range); });
    for (SlotRange* range : by_size) {
      if (size_of(*range) > left_) break;
      take_end(*range, size_of(*range));
    }
    drop_empty();
  }

  SlotOwners& owners_;
  SlotRanges ranges_;
  GroupNumber to_ = kNoGroup;
  unsigned left_ = 0;
  std::vector<uint16_t> taken_;
};

std::map<GroupNumber, SlotRanges> ranges_by_group(const SlotOwners& owners) {
  std::map<GroupNumber, SlotRanges> all;
  for (unsigned slot = 0; slot < base::kKeySlots; ++slot) {
    if (owners[slot] == kNoGroup) continue;
    SlotRanges& ranges = all[owners[slot]];
    const auto at = static_cast<uint16_t>(slot);
    if (!ranges.empty() && ranges.back().last + 1 == at)
      ranges.back().last = at;
    else
      ranges.push_back({at, at});
  }
  return all;
}

unsigned size_of(const SlotRanges& ranges) {
  unsigned size = 0;
  for (const SlotRange& range : ranges) size += size_of(range);
  return size;
}

// A group beside what it has and gets.
struct Part {
  SlotGroup of;
  unsigned held = 0;
  unsigned share = 0;
  uint64_t rest = 0;  // of the division
  bool takes() const { return !of.leaves && !of.away; }
};

// Nobody weighs anything: all stay as they are, and nothing leaves.
void divide(std::vector<Part>& parts) {
  uint64_t weight = 0;
  unsigned slots = 0;
  for (Part& part : parts) {
    part.share = part.held;
    if (part.takes()) weight += part.of.weight;
    if (!part.of.away) slots += part.held;
  }
  if (weight == 0) return;
  unsigned left = slots;
  std::vector<Part*> rounded;  // down
  for (Part& part : parts) {
    if (part.of.away) continue;
    const uint64_t exact = part.takes() ? uint64_t{slots} * part.of.weight : 0;
    part.share = static_cast<unsigned>(exact / weight);
    part.rest = exact % weight;
    left -= part.share;
    if (part.rest > 0) rounded.push_back(&part);
  }
  std::ranges::sort(rounded, [](const Part* a, const Part* b) {
    const bool a_has = a->held > a->share, b_has = b->held > b->share;
    if (a_has != b_has) return a_has;
    if (a->rest != b->rest) return a->rest > b->rest;
    return a->of.group < b->of.group;
  });
  for (unsigned i = 0; i < left; ++i) ++rounded[i]->share;
}

PlannedMove::Why why_of(const SlotGroup& group) {
  if (group.leaves) return PlannedMove::Why::leaves;
  return group.weight == 0 ? PlannedMove::Why::no_weight : PlannedMove::Why::over_share;
}

}  // namespace

const SlotShare* SlotPlan::find(GroupNumber group) const {
  const auto found = std::ranges::lower_bound(shares, group, {}, &SlotShare::group);
  return found == shares.end() || found->group != group ? nullptr : &*found;
}

SlotPlan plan_slots(const SlotOwners& owners, std::vector<SlotGroup> groups) {
  std::ranges::sort(groups, {}, &SlotGroup::group);
  std::map<GroupNumber, SlotRanges> ranges = ranges_by_group(owners);
  std::vector<Part> parts;
  for (const SlotGroup& group : groups)
    parts.push_back({.of = group, .held = size_of(ranges[group.group])});
  divide(parts);
  SlotPlan plan;
  SlotOwners now = owners;
  auto to = parts.begin();
  unsigned filled = 0;  // of what `to` lacks
  for (const Part& from : parts) {
    plan.shares.push_back({from.of.group, from.held, from.share});
    if (from.of.leaves) plan.stuck += from.share;
    unsigned gives = from.held - std::min(from.held, from.share);
    plan.moved += gives;
    for (Giver giver(now, std::move(ranges[from.of.group])); gives > 0;) {
      while (to->held + filled >= to->share) {
        ++to;
        filled = 0;
      }
      const unsigned count = std::min(gives, to->share - to->held - filled);
      plan.moves.push_back({.from = from.of.group,
                            .to = to->of.group,
                            .count = count,
                            .slots = giver.give(to->of.group, count),
                            .why = why_of(from.of)});
      gives -= count;
      filled += count;
    }
  }
  return plan;
}

SlotRanges slots_to_move(const SlotOwners& owners, GroupNumber from, GroupNumber to,
                         unsigned count) {
  SlotOwners now = owners;
  return Giver(now, std::move(ranges_by_group(owners)[from])).give(to, count);
}

SlotOwners owners_of(const Topology& topology) {
  SlotOwners owners;
  for (unsigned slot = 0; slot < base::kKeySlots; ++slot) owners[slot] = topology.owner(slot);
  return owners;
}

std::vector<SlotGroup> slot_groups(const Topology& topology, const std::set<GroupNumber>& away,
                                   const WhatIf& what_if) {
  std::vector<SlotGroup> groups;
  for (const auto& [number, group] : topology.groups()) {
    SlotGroup one{.group = number, .weight = kWeightMax, .leaves = true};
    one.away = away.count(number) > 0;
    for (const NodeIndex node : group.members) {
      const TopologyMember* member = topology.find(node);
      if (!member || member->leaves || what_if.leave.count(node)) continue;
      const auto weight = what_if.weigh.find(node);
      one.weight =
          std::min(one.weight, weight == what_if.weigh.end() ? member->weight : weight->second);
      one.leaves = false;
    }
    groups.push_back(one);
  }
  return groups;
}

std::string format_slots(const SlotRanges& slots) {
  std::string text;
  for (const SlotRange& range : slots) {
    if (!text.empty()) text += ' ';
    text += std::to_string(range.first);
    if (range.last != range.first) text += fmt::format("-{}", range.last);
  }
  return text;
}

std::string describe(const PlannedMove& move, const SlotPlan& plan,
                     const std::function<std::string(GroupNumber)>& name) {
  const std::string from = name(move.from);
  std::string why;
  const SlotShare* share = plan.find(move.from);
  switch (move.why) {
    case PlannedMove::Why::leaves:
      why = "leaves";
      break;
    case PlannedMove::Why::no_weight:
      why = "has no weight";
      break;
    case PlannedMove::Why::over_share:
      why = fmt::format("has more than its share ({} of {})", share ? share->held : 0,
                        share ? share->share : 0);
      break;
  }
  return fmt::format("{} ({} slot{}): {} -> {}, {} {}", format_slots(move.slots), move.count,
                     move.count == 1 ? "" : "s", from, name(move.to), from, why);
}

}  // namespace quoll::cluster
