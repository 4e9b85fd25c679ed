// SlotSet: some of the slots.
#pragma once

#include <bitset>

#include "store/placement.h"

namespace quoll::store {

using SlotSet = std::bitset<kSlots>;

}  // namespace quoll::store
