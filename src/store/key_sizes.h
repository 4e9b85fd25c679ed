// KeySizes: how many keys of each type have how many bytes or elements, by powers of two, for
// INFO's section Keysizes. Kept by Edit: every key counts in the row of its type exactly once, and
// the rows of all types together make the number of keys.
//
//   place 0: size 0;  place 1 + e: 2^e <= size < 2^(e+1)
//
// Cost: 2 KB per database in use; an edit looks at the size before and after.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "store/entry.h"

namespace quoll::store {

struct KeySizes {
  static constexpr unsigned kTypes = 6;
  static constexpr unsigned kPlaces = 48;
  static constexpr uint16_t kNowhere = UINT16_MAX;

  uint64_t counts[kTypes * kPlaces] = {};

  uint64_t count(data::Type type, unsigned place) const {
    return counts[static_cast<unsigned>(type) * kPlaces + place];
  }
  // Where the entry belongs; of nullptr kNowhere.
  static uint16_t place_of(const Entry* entry) {
    if (!entry) return kNowhere;
    const bool text = entry->type() == data::Type::string && entry->form() == data::Form::bytes;
    const uint64_t size = __builtin_expect(text, 1) ? entry->text_length() : size_of(entry);
    const auto place = static_cast<unsigned>(std::bit_width(size));
    return static_cast<uint16_t>(static_cast<unsigned>(entry->type()) * kPlaces +
                                 std::min(place, kPlaces - 1));
  }
  void move(uint16_t from, uint16_t to) {
    if (__builtin_expect(from == to, 1)) return;
    if (from != kNowhere) --counts[from];
    if (to != kNowhere) ++counts[to];
  }

 private:
  static uint64_t size_of(const Entry* entry);  // of any entry
};

}  // namespace quoll::store
