// GroupWorld: what the group says of its slots.
#include <algorithm>

#include "tests/sim/group/group_world.h"

namespace quoll::sim {

using cluster::EntryKind;

void GroupWorld::tell_ledger(Member m) {
  GroupCore& core = *nodes_[m].core;
  if (!core.may_tell_slots()) return;
  cluster::SlotLedger ledger = core.shape().slots;
  ledger.floor = ++ledgers_told_;
  ledger.leftover = {static_cast<uint16_t>(ledger.floor % base::kKeySlots)};
  note("member " + std::to_string(m) + " tells ledger " + std::to_string(ledger.floor) +
       " behind entry " + std::to_string(core.last().index));
  core.tell_slots(ledger);
}

void GroupWorld::note_ledger(const cluster::Entry& entry, Epoch by) {
  const uint64_t before = ledgers_.empty() ? 0 : ledgers_.back().number;
  if (entry.header.kind == EntryKind::shape &&
      cluster::decode_shape(entry.payload)->slots.floor != before)
    return fail("a change of the group does not keep its ledger");
  if (entry.header.kind != EntryKind::slots) return;
  const uint64_t number = cluster::decode_ledger(entry.payload)->floor;
  if (number <= before) fail("an older ledger was committed behind a newer one");
  ++counts_.ledgers;
  ledgers_.push_back({entry.header.at, by, number});
}

// All data came before they were committed; who has them leads, and has just committed them.
void GroupWorld::note_ledger_of_data(const GroupCore& core) {
  const Position base = core.log().base();
  const uint64_t before = ledgers_.empty() ? 0 : ledgers_.back().number;
  const uint64_t number = core.shape_at(base.index).slots.floor;
  if (number < before) return fail("an older ledger came with all data");
  if (number == before) return;
  ++counts_.ledgers;
  ledgers_.push_back({base, core.epoch(), number});
}

// It is in the log, or in what lies before that. Leaders of later epochs than the one in which it
// was committed have it; of earlier ones, only who has its entry.
bool GroupWorld::has_ledger(const GroupCore& core, const CommittedLedger& ledger) const {
  const Position base = core.log().base();
  if (base.index < ledger.at.index) return core.log().epoch_at(ledger.at.index) == ledger.at.epoch;
  return base.index <= core.commit() || base.epoch == ledger.at.epoch || base.epoch > ledger.by;
}

void GroupWorld::check_ledger(Member m) {
  const GroupCore& core = *nodes_[m].core;
  const uint64_t number = core.shape().slots.floor;
  if (ledgers_.empty() || broken()) return;
  const CommittedLedger& last = ledgers_.back();
  auto wrong = [&](const std::string& what, uint64_t wanted) {
    fail("member " + std::to_string(m) + " " + what + " ledger " + std::to_string(number) +
         " in force, committed: " + std::to_string(wanted));
  };
  // Who was deposed and has not heard of it may lead on with an older one, and nobody hears it.
  const bool newest = core.leads() && core.epoch() >= leaders_.rbegin()->first;
  if (newest && number < last.number) return wrong("leads with", last.number);
  const auto known = std::find_if(ledgers_.rbegin(), ledgers_.rend(),
                                  [&](const auto& one) { return has_ledger(core, one); });
  if (known != ledgers_.rend() && number < known->number) return wrong("has", known->number);
  // What is committed is never one of those that were not.
  const bool committed = number == 0 || std::ranges::any_of(ledgers_, [&](const auto& one) {
                           return one.number == number;
                         });
  if (core.shape_settled() && !committed) return wrong("takes for committed", last.number);
}

}  // namespace quoll::sim
