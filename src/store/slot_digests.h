// SlotDigests: 128 bits per slot that tell whether two stores hold the same there, computed a slot
// at a time while edits go on.
//
//   slot   the sum of its keys, each XXH3-128 of (digest of key and value, deadline), with a seed
//
// A slot that changed after it was computed, or that holds too much for one step, has no digest: it
// equals nothing. Stores compare by the same seed, which nobody who writes to them should know.
// For stores whose keys are placed by slot.
//
// Cost: 256 KiB; a step at most about a millisecond.
#pragma once

#include <vector>

#include "store/slot_set.h"
#include "store/store.h"

namespace quoll::store {

constexpr size_t kSlotDigestKeysMax = 4096;               // of a slot, for which there is a digest
constexpr size_t kSlotDigestBytesMax = size_t{1} << 20;   // of its keys and values, about
constexpr size_t kSlotDigestItemsMax = size_t{16} << 10;  // of all its collections

struct SlotDigest {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const SlotDigest&) const = default;
};

class SlotDigests {
 public:
  static constexpr SlotDigest kNone{UINT64_MAX, UINT64_MAX};

  explicit SlotDigests(uint64_t seed) : seed_(seed), slots_(kSlots, kNone) {}

  // Computes the next slot. False: all are done.
  bool step(const Store& store);
  bool complete() const { return next_ == kSlots; }
  // Something in the slot changes; or perhaps in all of them.
  void changed(unsigned slot) { slots_[slot] = kNone; }
  void all_changed();

  const std::vector<SlotDigest>& slots() const { return slots_; }
  // Those that are the same there, of kSlots.
  SlotSet equal(const std::vector<SlotDigest>& others) const;

 private:
  SlotDigest of_slot(const Store& store, unsigned slot) const;

  uint64_t seed_;
  unsigned next_ = 0;
  std::vector<SlotDigest> slots_;
};

}  // namespace quoll::store
