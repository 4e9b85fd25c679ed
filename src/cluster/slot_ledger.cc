#include "cluster/slot_ledger.h"

#include <fmt/format.h>

#include <algorithm>

#include "cluster/group_frames.h"
#include "cluster/topology.h"

namespace quoll::cluster {
namespace {

using base::Error;
using base::Result;

void put_unit(FieldWriter& out, const UnitNumber& number) {
  out.number(number.version).number(number.count);
}

bool take_unit(FieldReader& in, UnitNumber& number) {
  return in.number(number.version) && in.number(number.count);
}

template <class Slots>
void put_slots(FieldWriter& out, const Slots& slots) {
  out.number(static_cast<uint16_t>(slots.size()));
  for (const uint16_t slot : slots) out.number(slot);
}

// In order, none twice.
bool take_slots(FieldReader& in, SlotList& slots) {
  uint16_t count = 0;
  if (!in.number(count) || count > base::kKeySlots) return false;
  for (; count > 0; --count) {
    uint16_t slot = 0;
    if (!in.number(slot) || slot >= base::kKeySlots) return false;
    if (!slots.empty() && slots.back() >= slot) return false;
    slots.push_back(slot);
  }
  return true;
}

bool any_owned(const Topology& topology, const SlotList& slots, GroupNumber group) {
  return std::ranges::any_of(slots,
                             [&](const uint16_t slot) { return topology.owner(slot) == group; });
}

bool all_owned(const Topology& topology, const SlotList& slots, GroupNumber group) {
  return std::ranges::all_of(slots,
                             [&](const uint16_t slot) { return topology.owner(slot) == group; });
}

bool handed_over(const Topology& topology, GroupNumber from, const UnitNumber& number) {
  return topology.handed_over(from) > number.version;
}

bool is_settled(const SlotLedger::Coming& coming, const Topology& topology, GroupNumber from) {
  return handed_over(topology, from, coming.number) || !any_owned(topology, coming.slots, from);
}

void leave_over(SlotLedger& ledger, const SlotList& slots, const Topology& topology,
                GroupNumber own) {
  for (const uint16_t slot : slots)
    if (topology.owner(slot) != own) ledger.leftover.insert(slot);
}

}  // namespace

std::bitset<base::kKeySlots> SlotLedger::named() const {
  std::bitset<base::kKeySlots> named;
  if (released)
    for (const uint16_t slot : released->slots) named.set(slot);
  for (const auto& [from, unit] : coming)
    for (const uint16_t slot : unit.slots) named.set(slot);
  for (const uint16_t slot : leftover) named.set(slot);
  return named;
}

//   size4 cluster floor8 released1 [number16 target2 slots] count2 then per source: group2 number16
//   adopting1 slots; then the leftover slots. Slots: count2 slot2...
std::string encode_ledger(const SlotLedger& ledger) {
  std::string bytes;
  FieldWriter out(bytes);
  out.bytes(ledger.cluster).number(ledger.floor);
  out.number(static_cast<uint8_t>(ledger.released.has_value()));
  if (ledger.released) {
    put_unit(out, ledger.released->number);
    out.number(ledger.released->target);
    put_slots(out, ledger.released->slots);
  }
  out.number(static_cast<uint16_t>(ledger.coming.size()));
  for (const auto& [from, unit] : ledger.coming) {
    out.number(from);
    put_unit(out, unit.number);
    out.number(static_cast<uint8_t>(unit.adopting));
    put_slots(out, unit.slots);
  }
  put_slots(out, ledger.leftover);
  return bytes;
}

std::optional<SlotLedger> decode_ledger(base::Bytes bytes) {
  FieldReader in(bytes);
  SlotLedger ledger;
  base::Bytes cluster;
  uint8_t flag = 0;
  uint16_t count = 0;
  if (!in.bytes(cluster) || !in.number(ledger.floor) || !in.number(flag) || flag > 1) return {};
  ledger.cluster = cluster;
  if (flag) {
    auto& released = ledger.released.emplace();
    if (!take_unit(in, released.number) || !in.number(released.target) ||
        !take_slots(in, released.slots))
      return {};
  }
  if (!in.number(count)) return {};
  for (; count > 0; --count) {
    GroupNumber from = 0;
    SlotLedger::Coming unit;
    if (!in.number(from) || !take_unit(in, unit.number) || !in.number(flag) || flag > 1 ||
        !take_slots(in, unit.slots))
      return {};
    unit.adopting = flag;
    if (!ledger.coming.emplace(from, std::move(unit)).second) return {};
  }
  SlotList leftover;
  if (!take_slots(in, leftover) || !in.empty()) return {};
  ledger.leftover.insert(leftover.begin(), leftover.end());
  return ledger;
}

void release(SlotLedger& ledger, const UnitNumber& number, GroupNumber target,
             const SlotList& slots) {
  ledger.released = {number, target, slots};
  ledger.floor = std::max(ledger.floor, number.version);
}

bool is_over(const SlotLedger::Released& released, const Topology& topology, GroupNumber own) {
  if (topology.version() < released.number.version) return false;
  return handed_over(topology, own, released.number) || !any_owned(topology, released.slots, own) ||
         !topology.groups().count(released.target);
}

std::bitset<base::kKeySlots> withheld(const SlotLedger& ledger, const Topology& topology) {
  std::bitset<base::kKeySlots> slots = ledger.named();
  for (const auto& [from, unit] : ledger.coming)
    if (unit.adopting && handed_over(topology, from, unit.number))
      for (const uint16_t slot : unit.slots) slots.reset(slot);
  return slots;
}

void tidy(SlotLedger& ledger, const Topology& topology, GroupNumber own,
          const std::function<bool(unsigned slot)>& is_empty) {
  if (topology.version() < ledger.floor) return;
  const SlotLedger before = ledger;
  if (ledger.released && is_over(*ledger.released, topology, own)) {
    // Those that the target has never had, and never will, are ours again.
    leave_over(ledger, ledger.released->slots, topology, own);
    ledger.released.reset();
  }
  for (auto it = ledger.coming.begin(); it != ledger.coming.end();) {
    const auto& [from, unit] = *it;
    if (!is_settled(unit, topology, from)) {
      ++it;
      continue;
    }
    // Ours though nobody has handed them over: others' keys are not in them.
    if (handed_over(topology, from, unit.number))
      leave_over(ledger, unit.slots, topology, own);
    else
      ledger.leftover.insert(unit.slots.begin(), unit.slots.end());
    it = ledger.coming.erase(it);
  }
  std::erase_if(ledger.leftover, is_empty);
  if (ledger != before) ledger.floor = topology.version();
}

Result<> begin_coming(SlotLedger& ledger, const Topology& topology, GroupNumber own,
                      GroupNumber from, const UnitNumber& number, const SlotList& slots) {
  if (from == own) return Error{"the source and the target are one group"};
  if (topology.version() < ledger.floor)
    return Error{std::string(kSoon) + "the topology here is behind"};
  if (handed_over(topology, from, number))
    return Error{std::string(kSoon) + "the source has handed over slots since it began this"};
  if (!all_owned(topology, slots, from))
    return Error{std::string(kSoon) + "a slot is not the source's, as far as known here"};
  const auto known = ledger.coming.find(from);
  if (known != ledger.coming.end()) {
    if (known->second.number > number) return Error{"this comes too late"};
    if (known->second.adopting)
      return Error{std::string(kSoon) + "the slots before these are being adopted"};
  }
  std::bitset<base::kKeySlots> taken;
  if (ledger.released)
    for (const uint16_t slot : ledger.released->slots) taken.set(slot);
  for (const auto& [other, unit] : ledger.coming)
    for (const uint16_t slot : unit.slots)
      if (other != from) taken.set(slot);
  for (const uint16_t slot : slots)
    if (taken[slot]) return Error{fmt::format("{}slot {} comes or goes already", kSoon, slot)};
  drop_coming(ledger, from, known == ledger.coming.end() ? number : known->second.number);
  for (const uint16_t slot : slots) ledger.leftover.erase(slot);
  ledger.coming[from] = {number, false, slots};
  ledger.floor = topology.version();
  return {};
}

void drop_coming(SlotLedger& ledger, GroupNumber from, const UnitNumber& number) {
  const auto known = ledger.coming.find(from);
  if (known == ledger.coming.end() || known->second.number != number || known->second.adopting)
    return;
  ledger.leftover.insert(known->second.slots.begin(), known->second.slots.end());
  ledger.coming.erase(known);
}

bool adopt_coming(SlotLedger& ledger, GroupNumber from, const UnitNumber& number,
                  const SlotList& slots) {
  const auto known = ledger.coming.find(from);
  if (known != ledger.coming.end() && known->second.number == number) {
    known->second.adopting = true;
    return true;
  }
  if (number.count > 0 || known != ledger.coming.end()) return false;
  ledger.coming[from] = {number, true, slots};
  return true;
}

}  // namespace quoll::cluster
