#include "wire/out_queue.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/client_memory.h"
#include "base/memory.h"

namespace quoll::wire {
namespace {

constexpr size_t kPooledCapacity = kChunkBytes - sizeof(Chunk);
constexpr size_t kSmallCapacity = kSmallChunkBytes - sizeof(Chunk);

// Free chunks of one size, last returned first taken: the warmest memory is reused. Reached only
// from the loop thread.
struct ChunkPool {
  const size_t capacity;  // of its chunks
  const size_t count_max;
  Chunk* first = nullptr;
  size_t count = 0;
};
constinit ChunkPool pool{kPooledCapacity, kPoolChunksMax};
constinit ChunkPool small_pool{kSmallCapacity, kPoolSmallChunksMax};

size_t block_bytes(const Chunk* chunk) { return sizeof(Chunk) + chunk->capacity; }

Chunk* new_chunk(size_t capacity) {
  auto* chunk = static_cast<Chunk*>(base::allocate(sizeof(Chunk) + capacity));
  chunk->capacity = static_cast<uint32_t>(capacity);
  base::ClientMemory::add(base::usable_size(block_bytes(chunk)));
  chunk->next = nullptr;
  chunk->begin = chunk->end = 0;
  return chunk;
}

Chunk* take_chunk(ChunkPool& from) {
  if (from.first == nullptr) return new_chunk(from.capacity);
  Chunk* chunk = std::exchange(from.first, from.first->next);
  --from.count;
  chunk->next = nullptr;
  chunk->begin = chunk->end = 0;
  return chunk;
}

void give_chunk(Chunk* chunk) {
  ChunkPool& to = chunk->capacity == kSmallCapacity ? small_pool : pool;
  if (chunk->capacity == to.capacity && to.count < to.count_max) {
    chunk->next = to.first;
    to.first = chunk;
    ++to.count;
    return;
  }
  base::ClientMemory::subtract(base::usable_size(block_bytes(chunk)));
  base::release(chunk, block_bytes(chunk));
}

}  // namespace

OutQueue::OutQueue(OutQueue&& other) noexcept
    : head_(std::exchange(other.head_, nullptr)),
      tail_(std::exchange(other.tail_, nullptr)),
      sent_offset_(other.sent_offset_),
      end_offset_(other.end_offset_),
      footprint_(std::exchange(other.footprint_, 0)) {
  other.sent_offset_ = other.end_offset_;
}

OutQueue& OutQueue::operator=(OutQueue&& other) noexcept {
  if (this == &other) return *this;
  clear();
  head_ = std::exchange(other.head_, nullptr);
  tail_ = std::exchange(other.tail_, nullptr);
  sent_offset_ = other.sent_offset_;
  end_offset_ = other.end_offset_;
  footprint_ = std::exchange(other.footprint_, 0);
  other.sent_offset_ = other.end_offset_;
  return *this;
}

void OutQueue::add_chunk(size_t n) { link(n <= kPooledCapacity ? take_chunk(pool) : new_chunk(n)); }

void OutQueue::add_small_chunk() { link(take_chunk(small_pool)); }

void OutQueue::link(Chunk* chunk) {
  footprint_ += block_bytes(chunk);
  if (tail_ != nullptr) {
    tail_->next = chunk;
  } else {
    head_ = chunk;
  }
  tail_ = chunk;
}

void OutQueue::append_across(base::Bytes bytes) {
  while (!bytes.empty()) {
    if (tail_ == nullptr || tail_->end == tail_->capacity) {
      add_chunk(std::min(bytes.size(), kOwnChunkMax));
    }
    size_t n = std::min<size_t>(bytes.size(), tail_->capacity - tail_->end);
    std::memcpy(tail_->bytes() + tail_->end, bytes.data(), n);
    commit(n);
    bytes.remove_prefix(n);
  }
}

void OutQueue::splice(OutQueue& other) {
  QUOLL_CHECK(this != &other);
  size_t moved = other.size();
  if (moved == 0) {
    other.clear();
    return;
  }
  if (moved <= kSpliceCopyMax && other.head_ == other.tail_) {
    append({other.head_->bytes() + other.head_->begin, moved});
    other.clear();
    return;
  }
  if (tail_ != nullptr) {
    tail_->next = other.head_;
  } else {
    head_ = other.head_;
  }
  tail_ = other.tail_;
  end_offset_ += moved;
  footprint_ += other.footprint_;
  other.head_ = other.tail_ = nullptr;
  other.footprint_ = 0;
  other.sent_offset_ = other.end_offset_;
}

size_t OutQueue::gather(std::span<base::Bytes> parts, uint64_t limit) const {
  limit = std::min(limit, end_offset_);
  uint64_t at = sent_offset_;
  size_t used = 0;
  for (Chunk* chunk = head_; chunk != nullptr && at < limit && used < parts.size();
       chunk = chunk->next) {
    size_t n = std::min<uint64_t>(chunk->end - chunk->begin, limit - at);
    if (n == 0) continue;
    parts[used++] = {chunk->bytes() + chunk->begin, n};
    at += n;
  }
  return used;
}

void OutQueue::consume(size_t bytes) {
  QUOLL_CHECK(bytes <= size());
  sent_offset_ += bytes;
  while (head_ != nullptr) {
    size_t n = std::min<size_t>(bytes, head_->end - head_->begin);
    head_->begin += static_cast<uint32_t>(n);
    bytes -= n;
    if (head_->begin < head_->end) break;
    // The last chunk stays only while bytes are unsent, and then it is not empty.
    Chunk* spent = head_;
    head_ = spent->next;
    if (head_ == nullptr) tail_ = nullptr;
    drop(spent);
  }
  QUOLL_CHECK(bytes == 0);
}

void OutQueue::rewind(uint64_t offset) {
  QUOLL_CHECK(offset >= sent_offset_ && offset <= end_offset_);
  uint64_t surplus = end_offset_ - offset;
  if (surplus == 0) return;
  if (offset == sent_offset_) {
    clear();
    end_offset_ = sent_offset_ = offset;
    return;
  }
  end_offset_ = offset;
  if (tail_->end - tail_->begin >= surplus) {
    tail_->end -= static_cast<uint32_t>(surplus);
    return;
  }
  uint64_t keep = offset - sent_offset_;
  Chunk* last = head_;
  while (last->end - last->begin < keep) {
    keep -= last->end - last->begin;
    last = last->next;
  }
  last->end = last->begin + static_cast<uint32_t>(keep);
  Chunk* chunk = std::exchange(last->next, nullptr);
  tail_ = last;
  while (chunk != nullptr) drop(std::exchange(chunk, chunk->next));
}

void OutQueue::move_tail(uint64_t offset, OutQueue& to) {
  QUOLL_CHECK(this != &to && offset >= sent_offset_ && offset <= end_offset_);
  uint64_t skip = offset - sent_offset_;
  for (Chunk* chunk = head_; chunk != nullptr; chunk = chunk->next) {
    uint64_t n = chunk->end - chunk->begin;
    uint64_t skipped = std::min(skip, n);
    to.append({chunk->bytes() + chunk->begin + skipped, n - skipped});
    skip -= skipped;
  }
  rewind(offset);
}

std::string OutQueue::text() const {
  std::string text;
  for (Chunk* chunk = head_; chunk; chunk = chunk->next)
    text.append(chunk->bytes() + chunk->begin, chunk->end - chunk->begin);
  return text;
}

void OutQueue::copy_to(OutQueue& to) const {
  QUOLL_CHECK(this != &to);
  for (const Chunk* chunk = head_; chunk != nullptr; chunk = chunk->next)
    to.append({reinterpret_cast<const char*>(chunk + 1) + chunk->begin, chunk->end - chunk->begin});
}

void OutQueue::clear() {
  while (head_ != nullptr) drop(std::exchange(head_, head_->next));
  tail_ = nullptr;
  sent_offset_ = end_offset_;
}

void OutQueue::drop(Chunk* chunk) {
  footprint_ -= block_bytes(chunk);
  give_chunk(chunk);
}

}  // namespace quoll::wire
