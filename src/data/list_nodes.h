// ListNodes: the nodes of a big list as a ring, so that both ends grow in O(1), and finding an
// index is one pass over 16 bytes per node (some hundred elements) without touching the nodes
// themselves.
//
//   node   word 8 B    a RoomyPack's block; bit 0: the Blob of one large element; bit 1: a
//                      CompressedPack
//          count 4 B   elements
//          room 4 B    of the RoomyPack, in which lists grow at the head
//
// Cost: 16 B per node, up to 64 B while it grows. Insertion in the middle moves the shorter side.
// The ring does not own what its nodes point to: quicklist.cc creates and frees it.
#pragma once

#include <cstdint>
#include <string>

#include "base/blob.h"
#include "base/check.h"
#include "base/compaction.h"
#include "base/memory.h"
#include "data/roomy_pack.h"

namespace quoll::data {

// A listpack's bytes under LZF.
struct CompressedPack {
  uint32_t raw_bytes;
  uint32_t bytes;  // of what follows

  const char* text() const { return reinterpret_cast<const char*>(this + 1); }
  size_t block_bytes() const { return sizeof *this + bytes; }
};

struct ListNode {
  uintptr_t word = 0;
  uint32_t count = 0;
  uint32_t room = 0;

  bool plain() const { return word & 1; }
  bool compressed() const { return word & 2; }
  base::Blob::Header* blob() const {
    return reinterpret_cast<base::Blob::Header*>(word & ~uintptr_t{1});
  }
  CompressedPack* compressed_pack() const {
    return reinterpret_cast<CompressedPack*>(word & ~uintptr_t{2});
  }
  RoomyPack pack() const {
    QUOLL_DCHECK(!plain() && !compressed());
    return {reinterpret_cast<char*>(word), room};
  }
  void set_pack(const RoomyPack& pack) {
    word = reinterpret_cast<uintptr_t>(pack.block);
    room = pack.room;
  }
  // The listpack; `scratch` holds it when the node is compressed.
  ListpackView view(std::string& scratch) const {
    return compressed() ? decompress(scratch) : ListpackView(pack().bytes());
  }
  // Bytes of the listpack, or of the one element.
  size_t bytes() const {
    if (compressed()) return compressed_pack()->raw_bytes;
    return plain() ? base::Blob::view_of(blob()).size() : pack().bytes().size();
  }

 private:
  ListpackView decompress(std::string& scratch) const;
};

class ListNodes {
 public:
  ListNodes() = default;
  ListNodes(const ListNodes&) = delete;
  ListNodes& operator=(const ListNodes&) = delete;
  ~ListNodes() {
    if (nodes_) base::release(nodes_, capacity_ * sizeof(ListNode));
  }

  size_t size() const { return size_; }
  ListNode& operator[](size_t i) { return nodes_[(first_ + i) & (capacity_ - 1)]; }
  const ListNode& operator[](size_t i) const { return nodes_[(first_ + i) & (capacity_ - 1)]; }
  size_t footprint() const { return nodes_ ? base::usable_size(capacity_ * sizeof(ListNode)) : 0; }

  // The ring's own block.
  void relocate(base::Compaction& blocks) {
    if (nodes_) blocks.move(nodes_, capacity_ * sizeof(ListNode));
  }

  void insert(size_t at, const ListNode& node) {
    QUOLL_DCHECK(at <= size_);
    if (size_ == capacity_) resize(capacity_ ? capacity_ * 2 : kCapacityMin);
    ++size_;
    if (at < size_ / 2) {
      first_ = (first_ - 1) & (capacity_ - 1);
      for (size_t i = 0; i < at; ++i) (*this)[i] = (*this)[i + 1];
    } else {
      for (size_t i = size_ - 1; i > at; --i) (*this)[i] = (*this)[i - 1];
    }
    (*this)[at] = node;
  }

  void erase(size_t at, size_t count = 1) {
    QUOLL_DCHECK(at + count <= size_);
    size_t behind = size_ - at - count;
    if (at < behind) {
      for (size_t i = at; i > 0; --i) (*this)[i + count - 1] = (*this)[i - 1];
      first_ = (first_ + count) & (capacity_ - 1);
    } else {
      for (size_t i = at; i < at + behind; ++i) (*this)[i] = (*this)[i + count];
    }
    size_ -= count;
    if (capacity_ > kCapacityMin && size_ < capacity_ / 4) resize(capacity_ / 2);
  }

 private:
  static constexpr size_t kCapacityMin = 4;

  void resize(size_t capacity) {
    auto* nodes = static_cast<ListNode*>(base::allocate(capacity * sizeof(ListNode)));
    for (size_t i = 0; i < size_; ++i) nodes[i] = (*this)[i];
    if (nodes_) base::release(nodes_, capacity_ * sizeof(ListNode));
    nodes_ = nodes;
    capacity_ = capacity;
    first_ = 0;
  }

  ListNode* nodes_ = nullptr;
  size_t capacity_ = 0;  // a power of two
  size_t first_ = 0;
  size_t size_ = 0;
};

}  // namespace quoll::data
