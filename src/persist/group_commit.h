// GroupCommit: when the next fsync of `appendfsync always` begins.
//
//   fsync ends -> its clients are answered -> they write again -> fsync ...
//                 '- hold: until most of them are back, kHoldMax at most
//
// Clients that wait for each reply come back within a fraction of an fsync. Begun at once, the next
// one would leave without them, and everybody would wait for two of them per write. Where they do
// not come back (kMissesMax holds in vain), there is nothing to wait for: for kRestSyncs fsyncs the
// log then streams, the next fsync beginning where the last one ends.
//
// 32 bytes, no clock of its own.
#pragma once

#include <cstddef>

#include "base/bytes.h"

namespace quoll::persist {

class GroupCommit {
 public:
  static constexpr base::Nanos kHoldMax = 1 * base::kNanosPerMilli;
  static constexpr unsigned kMissesMax = 4;
  static constexpr unsigned kRestSyncs = 256;

  // An fsync that made `synced` commits durable has ended; `waiting` came meanwhile.
  void ended(size_t synced, size_t waiting, base::Nanos now) {
    if (rest_ > 0) --rest_;
    expected_ = rest_ > 0 ? 0 : (synced + waiting) * 3 / 4;
    until_ = now + kHoldMax;
  }

  // Whether `waiting` commits wait for more.
  bool holds(size_t waiting, base::Nanos now) {
    if (expected_ == 0) return false;
    const bool back = waiting >= expected_;
    if (!back && now < until_) return true;
    expected_ = 0;
    misses_ = back ? 0 : misses_ + 1;
    if (misses_ < kMissesMax) return false;
    misses_ = 0;
    rest_ = kRestSyncs;
    return false;
  }

  bool streaming() const { return rest_ > 0; }

 private:
  size_t expected_ = 0;  // commits; 0: nothing to wait for
  base::Nanos until_ = 0;
  unsigned misses_ = 0;
  unsigned rest_ = 0;  // fsyncs until the next try
};

}  // namespace quoll::persist
