// What tests of the store and of its files have in common.
#pragma once

#include "base/bytes.h"
#include "store/commit.h"

namespace quoll {

constexpr base::Millis kNow = 1'700'000'000'000;

namespace store {
constexpr Event kSet{"set", '$'};
}

}  // namespace quoll
