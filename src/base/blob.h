// Blob: one owned heap block of bytes with spare capacity. A bulk argument of 32 KiB or more is
// received straight into a Blob, and SET moves that Blob into the keyspace without a copy.
//
//   0  size      8 B   bytes in use
//   8  capacity  8 B   bytes available behind the header
//   16 bytes...
//
// Cost: 16 bytes per blob and 8 for the handle. Growth: doubled up to 1 MiB, then by 1 MiB steps.
#pragma once

#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

namespace quoll::base {

class Blob {
 public:
  Blob() = default;
  explicit Blob(size_t capacity) { header_ = make(capacity); }
  static Blob copy_of(Bytes bytes) {
    Blob blob(bytes.size());
    blob.append(bytes);
    return blob;
  }
  Blob(Blob&& other) noexcept : header_(std::exchange(other.header_, nullptr)) {}
  Blob& operator=(Blob&& other) noexcept {
    std::swap(header_, other.header_);
    return *this;
  }
  Blob(const Blob&) = delete;
  Blob& operator=(const Blob&) = delete;
  ~Blob() { destroy(header_); }

  explicit operator bool() const { return header_ != nullptr; }
  size_t size() const { return header_ ? header_->size : 0; }
  size_t capacity() const { return header_ ? header_->capacity : 0; }
  size_t footprint() const { return header_ ? footprint(header_) : 0; }  // allocator bytes
  char* data() { return header_ ? reinterpret_cast<char*>(header_ + 1) : nullptr; }
  const char* data() const {
    return header_ ? reinterpret_cast<const char*>(header_ + 1) : nullptr;
  }
  Bytes view() const { return {data(), size()}; }

  // Bytes between the old and the new size are not initialised when growing.
  void resize(size_t size) {
    reserve(size);
    if (header_) header_->size = size;
  }
  void append(Bytes bytes) {
    size_t old = size();
    grow_for(old + bytes.size());
    if (!bytes.empty()) std::memcpy(data() + old, bytes.data(), bytes.size());
    header_->size = old + bytes.size();
  }
  void reserve(size_t capacity);   // exact
  void grow_for(size_t capacity);  // amortised: may take more

  // Hands the block to a holder of raw pointers (an entry); adopt() takes it back.
  struct Header {
    size_t size;
    size_t capacity;
  };
  Header* detach() { return std::exchange(header_, nullptr); }
  static Blob adopt(Header* header) {
    Blob blob;
    blob.header_ = header;
    return blob;
  }
  static Bytes view_of(const Header* header) {
    return {reinterpret_cast<const char*>(header + 1), header->size};
  }
  // Bytes the allocator hands out for the block.
  static size_t footprint(const Header* header) {
    return usable_size(sizeof(Header) + header->capacity);
  }

 private:
  static Header* make(size_t capacity) {
    auto* header = static_cast<Header*>(allocate(sizeof(Header) + capacity));
    header->size = 0;
    header->capacity = capacity;
    return header;
  }
  static void destroy(Header* header) {
    if (header) release(header, sizeof(Header) + header->capacity);
  }

  Header* header_ = nullptr;
};

constexpr size_t kBlobDoublingMax = size_t{1} << 20;

inline void Blob::reserve(size_t capacity) {
  if (header_ && header_->capacity >= capacity) return;
  Header* grown = make(capacity);
  if (header_) {
    std::memcpy(grown + 1, header_ + 1, header_->size);
    grown->size = header_->size;
    destroy(header_);
  }
  header_ = grown;
}

inline void Blob::grow_for(size_t capacity) {
  if (header_ && header_->capacity >= capacity) return;
  reserve(capacity < kBlobDoublingMax ? capacity * 2 : capacity + kBlobDoublingMax);
}

}  // namespace quoll::base
