// Chance of the world itself (latencies, faults), apart from what the nodes draw.
#pragma once

#include "host/xoshiro.h"

namespace quoll::sim {

class SimChance {
 public:
  explicit SimChance(uint64_t seed) : source_(seed) {}

  uint64_t draw() { return source_.draw(); }
  // Uniform in [low, high].
  int64_t between(int64_t low, int64_t high) {
    if (high <= low) return low;
    return low + static_cast<int64_t>(draw() % static_cast<uint64_t>(high - low + 1));
  }
  bool ppm(int64_t chance) { return chance > 0 && between(1, 1'000'000) <= chance; }

 private:
  host::Xoshiro source_;
};

}  // namespace quoll::sim
