// Backlog: the last bytes of the replication stream, kept once for all replicas. Replicas read it
// by offset, each at its own pace; nothing is copied per replica.
//
//   stream bytes:  1 ........ first()+1 ............................ end()
//                             |block 64K|block 64K|block 64K ....|
//   An offset says how many bytes of the stream lie before a place: a replica that has `offset`
//   bytes reads on from there.
//
// Pure. Cost: one copy of every byte; memory is what trim() leaves, in whole blocks.
// Invariant: end() - first() bytes are held, contiguously; an offset in [first(), end()] is
// readable.
#pragma once

#include <deque>
#include <memory>
#include <span>

#include "base/bytes.h"

namespace quoll::cluster {

constexpr size_t kBacklogBlockBytes = 64 * 1024;

class Backlog {
 public:
  // Empty, at this offset of the stream.
  void restart(uint64_t offset);
  void append(base::Bytes bytes);
  // Drops whole blocks that lie before the last `keep_bytes` and before `needed_from`.
  void trim(uint64_t keep_bytes, uint64_t needed_from);
  // Fills `parts` with the bytes behind `offset`; returns how many parts were used.
  size_t gather(uint64_t offset, std::span<base::Bytes> parts) const;

  uint64_t first() const { return first_; }
  uint64_t end() const { return end_; }
  bool holds(uint64_t offset) const { return offset >= first_ && offset <= end_; }
  size_t footprint() const { return blocks_.size() * kBacklogBlockBytes; }

 private:
  struct Block {
    uint64_t start;  // offset of its first byte
    size_t used;
    std::unique_ptr<char[]> bytes;
  };
  std::deque<Block> blocks_;
  uint64_t first_ = 0;
  uint64_t end_ = 0;
};

}  // namespace quoll::cluster
