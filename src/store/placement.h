// Placement: the hash by which a key lies in its database. A server of a cluster keeps the keys of
// a slot together, so that what concerns a slot walks a part of the table and not all of it:
//
//   by_hash   64 bits of the key's hash
//   by_slot   14 bits of the slot | the upper 50 bits of the key's hash
//
// The top 8 bits pick the shard: 64 slots share one, and the next 6 bits are the first of its
// directory. A hot {tag} deepens the directory of its shard only.
//
// Every entry says how it was placed, so that tables can hash it again without asking anybody.
// Cost: by_slot adds the CRC16 of the key or its tag.
#pragma once

#include <cstdint>
#include <memory>

#include "base/crc16.h"
#include "base/hash.h"

namespace quoll::store {

enum class Placement : uint8_t { by_hash, by_slot };

constexpr unsigned kSlotBits = 14;
constexpr unsigned kSlots = 1u << kSlotBits;
static_assert(kSlots == base::kKeySlots);

inline uint64_t slot_hash(base::Bytes key) {
  return uint64_t{base::key_slot(key)} << (64 - kSlotBits) | base::hash_key(key) >> kSlotBits;
}
inline uint64_t placed_hash(base::Bytes key, Placement placement) {
  return __builtin_expect(placement == Placement::by_hash, 1) ? base::hash_key(key)
                                                              : slot_hash(key);
}
// Of a hash by slot.
constexpr unsigned slot_of(uint64_t hash) {
  return static_cast<unsigned>(hash >> (64 - kSlotBits));
}

// How many keys each slot of a database has. 64 KiB.
struct SlotCounts {
  uint32_t keys[kSlots] = {};
};

}  // namespace quoll::store
