// xoshiro256**: 256 bits of state, 64 uniform bits per draw, about 1 ns. Not for secrets.
// Source: Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators" (2018); seeding
// from one word by splitmix64, as the authors advise. The production host seeds it from the
// kernel, the simulator from the run's seed, so both draw from the same distribution.
#pragma once

#include <array>
#include <cstdint>

#include "host/host.h"

namespace quoll::host {

class Xoshiro final : public Random {
 public:
  explicit Xoshiro(uint64_t seed) {
    for (uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15ULL;
      uint64_t mixed = seed;
      mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
      mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
      word = mixed ^ (mixed >> 31);
    }
  }
  explicit Xoshiro(const std::array<uint64_t, 4>& state) : state_(state) {
    if ((state_[0] | state_[1] | state_[2] | state_[3]) == 0) state_[0] = 1;  // the only dead state
  }

  uint64_t draw() override {
    uint64_t result = rotate(state_[1] * 5, 7) * 9;
    uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }

 private:
  static uint64_t rotate(uint64_t value, int bits) {
    return (value << bits) | (value >> (64 - bits));
  }
  std::array<uint64_t, 4> state_;
};

}  // namespace quoll::host
