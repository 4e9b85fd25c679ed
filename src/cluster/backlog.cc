#include "cluster/backlog.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace quoll::cluster {

void Backlog::restart(uint64_t offset) {
  blocks_.clear();
  first_ = end_ = offset;
}

void Backlog::append(base::Bytes bytes) {
  while (!bytes.empty()) {
    if (blocks_.empty() || blocks_.back().used == kBacklogBlockBytes)
      blocks_.push_back({end_, 0, std::make_unique_for_overwrite<char[]>(kBacklogBlockBytes)});
    Block& block = blocks_.back();
    size_t size = std::min(bytes.size(), kBacklogBlockBytes - block.used);
    std::memcpy(block.bytes.get() + block.used, bytes.data(), size);
    block.used += size;
    end_ += size;
    bytes.remove_prefix(size);
  }
}

void Backlog::trim(uint64_t keep_bytes, uint64_t needed_from) {
  while (!blocks_.empty()) {
    const Block& block = blocks_.front();
    uint64_t block_end = block.start + block.used;
    if (block.used < kBacklogBlockBytes || end_ - block_end < keep_bytes || block_end > needed_from)
      return;
    blocks_.pop_front();
    first_ = block_end;
  }
}

size_t Backlog::gather(uint64_t offset, std::span<base::Bytes> parts) const {
  QUOLL_CHECK(holds(offset));
  if (offset == end_) return 0;
  // All blocks but the last are full, and they follow each other.
  uint64_t behind = offset - blocks_.front().start;
  auto block = blocks_.begin() + static_cast<ptrdiff_t>(behind / kBacklogBlockBytes);
  size_t from = behind % kBacklogBlockBytes;
  size_t count = 0;
  for (; block != blocks_.end() && count < parts.size(); ++block, from = 0)
    if (block->used > from) parts[count++] = {block->bytes.get() + from, block->used - from};
  return count;
}

}  // namespace quoll::cluster
