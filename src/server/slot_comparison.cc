#include "server/slot_comparison.h"

namespace quoll::server {

SlotComparison::SlotComparison(const host::Host& host, store::Store& store)
    : host_(host), store_(store) {
  store_.commits().add_sink(*this);
}

void SlotComparison::begin(uint64_t seed) {
  digests_.emplace(seed);
  listen(true);
}

void SlotComparison::end() {
  digests_.reset();
  listen(false);
}

void SlotComparison::work() {
  if (!running() || complete()) return;
  const base::Nanos end = host_.clock.steady() + kSlotBudget;
  while (digests_->step(store_) && host_.clock.steady() < end) {
  }
  if (!complete()) host_.loop.turn_again();
}

bool SlotComparison::unchanged(const store::SlotSet& slots) const {
  if (!running()) return false;
  for (unsigned slot = 0; slot < store::kSlots; ++slot)
    if (slots[slot] && digests_->slots()[slot] == store::SlotDigests::kNone) return false;
  return true;
}

void SlotComparison::absorb(const store::Commit& commit) {
  for (const store::Touch& touch : commit.touches) {
    if (touch.change == store::Change::keyless)
      digests_->all_changed();
    else
      digests_->changed(base::key_slot(touch.key));
  }
}

}  // namespace quoll::server
