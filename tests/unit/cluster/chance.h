// Draws that are the same with every compiler.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quoll::cluster {

class Chance {
 public:
  explicit Chance(uint64_t seed) : state_(seed) {}
  uint64_t draw() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  size_t below(size_t bound) { return draw() % bound; }
  unsigned between(unsigned low, unsigned high) {
    return low + static_cast<unsigned>(draw() % (high - low + 1));
  }
  bool one_in(unsigned n) { return between(1, n) == 1; }

 private:
  uint64_t state_;
};

}  // namespace quoll::cluster
