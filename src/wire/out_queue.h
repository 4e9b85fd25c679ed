// OutQueue: the reply bytes of one connection that wait to be sent, as a chain of chunks.
//
//   head_ -> [....sent|unsent........] -> [unsent....] -> [unsent..free] <- tail_
//
// Offsets count bytes since the connection began, so the output gate can name "everything up to
// here" without pointing into a chunk. Chunks come from a shared pool: a connection without output
// holds none. Cost per connection without output: 40 bytes.
//
// Invariants: head_ == nullptr exactly when tail_ == nullptr; the unsent bytes of all chunks sum to
// size(). A chunk in the middle may be empty (a reservation that was not used). Single-threaded.
#pragma once

#include <cstring>
#include <string>

#include "base/bytes.h"

namespace quoll::wire {

constexpr size_t kChunkBytes = 16 * 1024;      // a pooled chunk, its header included
constexpr size_t kPoolChunksMax = 256;         // free chunks kept: 4 MiB
constexpr size_t kSmallChunkBytes = 2 * 1024;  // a pooled chunk for a message to many
constexpr size_t kPoolSmallChunksMax = 1024;   // free ones kept: 2 MiB
constexpr size_t kSpliceCopyMax = 2 * 1024;    // a shorter queue is copied, not chained, by splice
constexpr size_t kOwnChunkMax = size_t{1} << 30;  // bytes of one chunk made for a large value

struct Chunk {
  Chunk* next;
  uint32_t capacity;  // bytes behind this header
  uint32_t begin;     // first unsent byte
  uint32_t end;       // one past the last written byte
  char* bytes() { return reinterpret_cast<char*>(this + 1); }
};

class OutQueue {
 public:
  OutQueue() = default;
  OutQueue(OutQueue&& other) noexcept;
  OutQueue& operator=(OutQueue&& other) noexcept;
  ~OutQueue() { clear(); }

  // Room for `n` contiguous bytes; commit() says how many were written. n <= kChunkBytes / 2.
  char* reserve(size_t n) {
    if (__builtin_expect(tail_ == nullptr || tail_->capacity - tail_->end < n, 0)) add_chunk(n);
    return tail_->bytes() + tail_->end;
  }
  void commit(size_t n) {
    tail_->end += static_cast<uint32_t>(n);
    end_offset_ += n;
  }
  void append(base::Bytes bytes) {
    if (__builtin_expect(tail_ == nullptr || tail_->capacity - tail_->end < bytes.size(), 0)) {
      append_across(bytes);
      return;
    }
    if (bytes.empty()) return;
    std::memcpy(tail_->bytes() + tail_->end, bytes.data(), bytes.size());
    commit(bytes.size());
  }
  // Room for `n` bytes that will be all there is, likely: a message to one of many receivers. An
  // empty queue takes a small chunk for it.
  void expect_message(size_t n) {
    if (tail_ == nullptr && n <= kSmallChunkBytes / 2) add_small_chunk();
  }
  // Moves all unsent bytes of `other` behind ours; only a short tail is copied.
  void splice(OutQueue& other);

  uint64_t end_offset() const { return end_offset_; }  // bytes ever written
  uint64_t sent_offset() const { return sent_offset_; }
  size_t size() const { return static_cast<size_t>(end_offset_ - sent_offset_); }
  size_t footprint() const { return footprint_; }  // bytes of memory held by chunks

  // Fills `parts` with unsent bytes up to `limit` (an offset); returns how many parts were used.
  size_t gather(std::span<base::Bytes> parts, uint64_t limit) const;
  void consume(size_t bytes);
  // Drops everything written after `offset` (>= sent_offset): CLIENT REPLY OFF, aborted replies.
  void rewind(uint64_t offset);
  // Moves the bytes behind `offset` (>= sent_offset) to the end of `to`, by copying.
  void move_tail(uint64_t offset, OutQueue& to);
  std::string text() const;  // all unsent bytes
  // Writes all unsent bytes to the end of `to` as well.
  void copy_to(OutQueue& to) const;
  // Drops all unsent bytes; they count as sent.
  void clear();

 private:
  void add_chunk(size_t n);
  void add_small_chunk();
  void link(Chunk* chunk);
  void append_across(base::Bytes bytes);
  void drop(Chunk* chunk);  // one chunk that has left the chain

  Chunk* head_ = nullptr;
  Chunk* tail_ = nullptr;
  uint64_t sent_offset_ = 0;
  uint64_t end_offset_ = 0;
  size_t footprint_ = 0;
};

}  // namespace quoll::wire
