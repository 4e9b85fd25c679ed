#include "store/access_clock.h"

#include <doctest/doctest.h>

#include "tests/unit/givens.h"

using quoll::kNow;
using quoll::store::AccessClock;
using quoll::store::Millis;

namespace {
constexpr Millis kMinute = 60'000;
}  // namespace

TEST_CASE("access clock: by recency it tells the idle seconds") {
  AccessClock clock;
  uint32_t bits = clock.fresh(kNow);
  CHECK(AccessClock::idle_seconds(bits, kNow) == 0);
  CHECK(AccessClock::idle_seconds(bits, kNow + 90'500) == 90);
  bits = clock.accessed(bits, kNow + 90'500);
  CHECK(AccessClock::idle_seconds(bits, kNow + 91'000) == 1);
  // The seconds wrap after 194 days; a span across the wrap is still right.
  Millis wrap = ((kNow / 1000 | 0xFFFFFF) + 1) * 1000;
  bits = clock.fresh(wrap - 5000);
  CHECK(AccessClock::idle_seconds(bits, wrap + 5000) == 10);
}

TEST_CASE("access clock: by recency the order within a second is known, too") {
  AccessClock clock;
  uint32_t bits = clock.fresh(kNow);
  CHECK(AccessClock::idle_sixteenths(bits, kNow + 62) == 0);
  CHECK(AccessClock::idle_sixteenths(bits, kNow + 63) == 1);
  CHECK(AccessClock::idle_sixteenths(bits, kNow + 90'500) == 90 * 16 + 8);
  CHECK(AccessClock::idle_seconds(bits, kNow + 90'500) == 90);
  CHECK(clock.accessed(bits, kNow + 500) != bits);
  // Across the end of the 28 bits.
  Millis wrap = ((kNow / 1000 | 0xFFFFFF) + 1) * 1000;
  bits = clock.fresh(wrap - 125);
  CHECK(AccessClock::idle_sixteenths(bits, wrap + 125) == 4);
}

TEST_CASE("access clock: by frequency the counter grows slowly and decays") {
  AccessClock clock;
  clock.set_seed(42);
  clock.set_rules({true, 10, 1});
  uint32_t bits = clock.fresh(kNow);
  CHECK(clock.frequency(bits, kNow) == AccessClock::kFresh);
  bits = clock.accessed(bits, kNow);
  CHECK(clock.frequency(bits, kNow) == AccessClock::kFresh + 1);  // the first is certain
  uint32_t last = 0;
  for (int i = 0; i < 100000; ++i) {
    bits = clock.accessed(bits, kNow);
    CHECK(clock.frequency(bits, kNow) >= last);
    last = clock.frequency(bits, kNow);
  }
  // Redis's table for factor 10: about 142 after 100,000 hits.
  CHECK(last > 120);
  CHECK(last < 165);
  CHECK(clock.frequency(bits, kNow + 3 * kMinute) == last - 3);
  CHECK(clock.frequency(bits, kNow + 1000 * kMinute) == 0);
  clock.set_rules({true, 10, 0});
  CHECK(clock.frequency(bits, kNow + 1000 * kMinute) == last);
}

TEST_CASE("access clock: the counter stops at 255") {
  AccessClock clock;
  clock.set_rules({true, 0, 1});
  uint32_t bits = clock.fresh(kNow);
  for (int i = 0; i < 1000; ++i) bits = clock.accessed(bits, kNow);
  CHECK(clock.frequency(bits, kNow) == 255);
}
