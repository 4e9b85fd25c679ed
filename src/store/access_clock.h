// AccessClock: what the 28 access bits of an entry mean, by eviction policy.
//
//   recency    sixteenths (4 bits) and seconds (24) of the last access, modulo 194 days
//   frequency  minutes of the last decay (16 bits) | logarithmic counter (8 bits)
//
// The counter is a Morris counter as Redis documents it for its LFU policies: a new key starts at
// kFresh; an access raises it with probability 1 / ((counter - kFresh) * log_factor + 1); every
// decay_minutes without access take one off.
//
// Redis has the seconds only. A cache that replaces its keys within seconds needs the sixteenths:
// among keys of the same second the victim is left to chance.
//
// Switching policies reinterprets the bits; they settle as keys are accessed.
// Cost: one compare per access by recency; a draw and a division by frequency.
#pragma once

#include <algorithm>

#include "base/bytes.h"

namespace quoll::store {

using base::Millis;

constexpr uint32_t kAccessClockMask = 0xFFFFFF;   // of the seconds, and of all bits by frequency
constexpr unsigned kAccessClockFractionBits = 4;  // above them

class AccessClock {
 public:
  struct Rules {
    bool by_frequency = false;
    int64_t log_factor = 10;
    int64_t decay_minutes = 1;  // 0: never
  };
  static constexpr uint32_t kFresh = 5;

  void set_rules(const Rules& rules) { rules_ = rules; }
  // While a log is replayed, at a time before all deadlines, keys still count as accessed now.
  void set_earliest(Millis earliest) { earliest_ = earliest; }
  Millis not_before(Millis now) const { return std::max(now, earliest_); }
  void set_seed(uint64_t seed) { state_ = seed | 1; }
  bool by_frequency() const { return rules_.by_frequency; }

  // The bits of a key made now.
  uint32_t fresh(Millis now) const {
    now = std::max(now, earliest_);
    return rules_.by_frequency ? minutes(now) << 8 | kFresh : instant(now);
  }
  // The bits after an access.
  uint32_t accessed(uint32_t bits, Millis now) {
    now = std::max(now, earliest_);
    if (__builtin_expect(!rules_.by_frequency, 1)) return instant(now);
    uint32_t counter = frequency(bits, now);
    uint32_t above = counter > kFresh ? counter - kFresh : 0;
    uint64_t steps = above * static_cast<uint64_t>(rules_.log_factor) + 1;
    if (counter < 255 && draw() % steps == 0) ++counter;
    return minutes(now) << 8 | counter;
  }
  // The bits of a key that was last accessed so long ago, or that has this counter; the present
  // bits where the rules keep the other kind (RESTORE and RDB files carry both).
  uint32_t idle_for(int64_t seconds_ago, Millis now) const {
    if (rules_.by_frequency) return fresh(now);
    return (seconds(now) -
            static_cast<uint32_t>(std::min<int64_t>(seconds_ago, kAccessClockMask))) &
           kAccessClockMask;
  }
  uint32_t used_so_often(uint32_t counter, Millis now) const {
    return rules_.by_frequency ? minutes(now) << 8 | (counter & 0xFF) : fresh(now);
  }
  static int64_t idle_seconds(uint32_t bits, Millis now) {
    return (seconds(now) - bits) & kAccessClockMask;
  }
  static uint32_t idle_sixteenths(uint32_t bits, Millis now) {
    uint32_t past = (bits & kAccessClockMask) << kAccessClockFractionBits | bits >> 24;
    return (static_cast<uint32_t>(sixteenths(now)) - past) & 0xFFFFFFF;
  }
  // The counter with the decay due by now.
  uint32_t frequency(uint32_t bits, Millis now) const {
    uint32_t counter = bits & 0xFF;
    if (rules_.decay_minutes == 0) return counter;
    uint32_t elapsed = (minutes(now) - (bits >> 8)) & 0xFFFF;
    int64_t periods = elapsed / rules_.decay_minutes;
    return periods > counter ? 0 : counter - static_cast<uint32_t>(periods);
  }

 private:
  static uint32_t seconds(Millis now) {
    return static_cast<uint32_t>(now / 1000) & kAccessClockMask;
  }
  static uint64_t sixteenths(Millis now) { return static_cast<uint64_t>(now) * 2 / 125; }
  static uint32_t instant(Millis now) {
    uint64_t steps = sixteenths(now);
    return static_cast<uint32_t>(steps >> kAccessClockFractionBits & kAccessClockMask) |
           static_cast<uint32_t>(steps & 0xF) << 24;
  }
  static uint32_t minutes(Millis now) { return static_cast<uint32_t>(now / 60000) & 0xFFFF; }
  // xorshift64* (Vigna 2016): chance for the counter, replayable from the seed.
  uint64_t draw() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return (state_ * 0x2545F4914F6CDD1D) >> 16;
  }

  Rules rules_;
  Millis earliest_ = 0;
  uint64_t state_ = 1;
};

}  // namespace quoll::store
