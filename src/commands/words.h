// Words of a command's arguments that several families look at, and what Redis shows of objects it
// shares.
#pragma once

#include "base/text.h"

namespace quoll::commands {

inline bool same_word(base::Bytes argument, base::Bytes word) {
  return base::equals_ignoring_case(argument, word);
}

// Redis shares the objects of these integers and says so by this count; tools look for it.
constexpr int64_t kSharedIntegers = 10000;
constexpr int64_t kSharedReferences = INT32_MAX;

}  // namespace quoll::commands
