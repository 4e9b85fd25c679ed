#include "base/heavy_hitters.h"

#include <doctest/doctest.h>

#include "base/hash.h"

namespace quoll::base {
namespace {

void add(HeavyHitters& hitters, const std::string& key, uint64_t weight) {
  hitters.add(key, hash_key(key), weight);
}

TEST_CASE("heavy hitters: exact while there is a counter for every key") {
  HeavyHitters hitters(4);
  add(hitters, "a", 5);
  add(hitters, "b", 7);
  add(hitters, "a", 3);
  add(hitters, "c", 1);
  auto top = hitters.top(2);
  REQUIRE(top.size() == 2);
  CHECK(top[0].key == "a");
  CHECK(top[0].weight == 8);
  CHECK(top[1].key == "b");
  CHECK(top[1].weight == 7);
  CHECK(hitters.total() == 16);
}

TEST_CASE("heavy hitters: heavy keys are found among many light ones, and not overstated") {
  HeavyHitters hitters(100);
  uint64_t heavy = 0;
  for (int i = 0; i < 100'000; ++i) {
    add(hitters, "light" + std::to_string(i), 1);
    if (i % 10 == 0) add(hitters, "heavy" + std::to_string(i / 10 % 5), 2), heavy += 2;
  }
  auto top = hitters.top(5);
  REQUIRE(top.size() == 5);
  for (const auto& hit : top) {
    CHECK(hit.key.starts_with("heavy"));
    CHECK(hit.weight <= heavy / 5);
    CHECK(hit.weight > heavy / 5 / 2);
  }
}

TEST_CASE("heavy hitters: keys of equal hash are told apart; huge ones are left out") {
  HeavyHitters hitters(4);
  hitters.add("x", 1, 1);
  hitters.add("y", 1, 2);
  hitters.add(std::string(kHeavyKeyBytesMax + 1, 'k'), 2, 100);
  auto top = hitters.top(10);
  REQUIRE(top.size() == 2);
  CHECK(top[0].key == "y");
  CHECK(hitters.total() == 103);
}

}  // namespace
}  // namespace quoll::base
