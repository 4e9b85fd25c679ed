#include "store/slot_digests.h"

#include <xxhash.h>

#include "base/check.h"
#include "store/digest.h"

namespace quoll::store {
namespace {

SlotDigest of_entry(DbIndex db, const Entry& entry, uint64_t seed) {
  struct {
    std::array<uint64_t, 3> words;
    Millis deadline;
  } const parts{Digest::of_key(db, entry, seed).words(),
                entry.has_ttl() ? entry.deadline() : kNoDeadline};
  const XXH128_hash_t hash = XXH3_128bits_withSeed(&parts, sizeof parts, seed);
  return {hash.low64, hash.high64};
}

size_t items_of(const Entry& entry) {
  return entry.type() == data::Type::string ? 0 : entry.collection()->size();
}

}  // namespace

bool SlotDigests::step(const Store& store) {
  if (complete()) return false;
  slots_[next_] = of_slot(store, next_);
  return ++next_ < kSlots;
}

SlotDigest SlotDigests::of_slot(const Store& store, unsigned slot) const {
  SlotDigest sum;
  size_t keys = 0, bytes = 0, items = 0;
  for (DbIndex db = 0; db < store.databases(); ++db) {
    if (store.keys(db) == 0) continue;
    keys += store.keys_in_slot(db, slot);
    if (keys > kSlotDigestKeysMax) return kNone;
    bool whole = true;
    store.visit_slot(db, slot, [&](const Entry* entry) {
      bytes += entry->footprint(1);
      items += items_of(*entry);
      whole = whole && bytes <= kSlotDigestBytesMax && items <= kSlotDigestItemsMax;
      if (!whole) return false;
      const SlotDigest one = of_entry(db, *entry, seed_);
      sum.low += one.low;
      sum.high += one.high;
      return true;
    });
    if (!whole) return kNone;
  }
  return sum;
}

void SlotDigests::all_changed() {
  std::ranges::fill(slots_.begin(), slots_.begin() + next_, kNone);
}

SlotSet SlotDigests::equal(const std::vector<SlotDigest>& others) const {
  QUOLL_CHECK(others.size() == kSlots);
  SlotSet equal;
  for (unsigned slot = 0; slot < kSlots; ++slot)
    equal[slot] = slots_[slot] != kNone && slots_[slot] == others[slot];
  return equal;
}

}  // namespace quoll::store
