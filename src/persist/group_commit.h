// GroupCommit: when the next fsync of `appendfsync always` begins.
//
//   fsync ends -> its clients are answered -> they write again -> fsync ...
//                 '- hold: until all that come back are back, kHoldMax at most
//
// Clients that wait for each reply come back within a fraction of an fsync. Begun at once, the next
// one would leave without them, and everybody would wait for two of them per write: with S for an
// fsync and B for the way back, a write takes S + B behind a hold and up to 2 S without.
//
// So where B is longer than S, or where they do not come back (kMissesMax holds in vain), the log
// streams for kRestSyncs fsyncs: the next one begins where the last one ends, and clients are
// served meanwhile. How many of them come back in time is learned: a hold that time ended aims at
// as many as it had, one that was filled at one more.
//
// 48 bytes, no clock of its own.
#pragma once

#include <algorithm>
#include <cstddef>

#include "base/bytes.h"

namespace quoll::persist {

class GroupCommit {
 public:
  static constexpr base::Nanos kHoldMax = 1 * base::kNanosPerMilli;
  static constexpr unsigned kMissesMax = 4;
  static constexpr unsigned kRestSyncs = 256;
  static constexpr size_t kWhole = 64;   // what is aimed at, in parts of those that may come back
  static constexpr size_t kAimMin = 48;  // fewer came in vain

  void began(base::Nanos now) { began_ = now; }

  // The fsync, which made `synced` commits durable, has ended; `waiting` came meanwhile.
  void ended(size_t synced, size_t waiting, base::Nanos now) {
    if (rest_ > 0) --rest_;
    all_ = rest_ > 0 ? 0 : synced + waiting;
    expected_ = all_ * aim_ / kWhole;
    ended_ = now;
  }

  // Whether `waiting` commits wait for more.
  bool holds(size_t waiting, base::Nanos now) {
    if (expected_ == 0) return false;
    const bool filled = waiting >= expected_;
    if (!filled && now - ended_ < kHoldMax) return true;
    expected_ = 0;
    const bool vain = waiting < all_ * kAimMin / kWhole;
    const bool slow = now - ended_ > ended_ - began_;
    aim_ = filled ? std::min(aim_ + 1, kWhole) : std::max(waiting * kWhole / all_, kAimMin);
    misses_ = vain || slow ? misses_ + 1 : 0;
    if (misses_ < kMissesMax) return false;
    misses_ = 0;
    rest_ = kRestSyncs;
    return false;
  }

  bool streaming() const { return rest_ > 0; }

 private:
  size_t all_ = 0;       // commits whose clients may come back
  size_t expected_ = 0;  // of them; 0: nothing to wait for
  size_t aim_ = kWhole;
  base::Nanos began_ = 0;  // the last fsync
  base::Nanos ended_ = 0;
  unsigned misses_ = 0;
  unsigned rest_ = 0;  // fsyncs until the next try
};

}  // namespace quoll::persist
