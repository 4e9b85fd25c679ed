// RankedTree: the members of a large sorted set in order: a B+ tree that counts. It holds pointers
// to ScoredMember blocks, which belong to its owner.
//
//   leaf, 256 bytes                          inner node, 512 bytes
//     0   base    8 B  least hinted score      0    count   1 B
//     8   shift   1 B                          8    scores  21 x 8 B  least score below the child
//     9   count   1 B                          176  sizes   21 x 4 B  members below the child
//     16  hints   30 x 2 B                     260  nodes   21 x 6 B  the child
//     76  members 30 x 6 B                     386  firsts  21 x 6 B  its least member
//
// A hint is the member's score as (bits - base) >> shift, bits being the score's bits in an order
// that integers have too. Base and shift are the leaf's own and follow its scores, so that nearly
// always one SIMD comparison of 16-bit hints finds the place in a leaf and one member is touched,
// whatever the scores look like (2 to the 16th levels over at most eight times the leaf's range).
// Inner nodes hold whole scores and touch members only to decide between equal ones.
//
// Growth: a full leaf first shares with a sibling that has room, then splits in the middle; at the
// two ends of the order it splits at the end instead, so that ascending (or descending) input fills
// nodes completely. Shrinking: a node that has fallen below a third is merged with a sibling when
// both fill at most three quarters; empty nodes go at once. A root with one child goes too.
//
// Cost: O(log n) for insert, erase, rank and by-rank, about log16(n / 24) inner nodes deep; 8.5 to
// 12 bytes per member. Members: at most 2^32 - 1.
#pragma once

#include <emmintrin.h>

#include <bit>

#include "base/bytes.h"
#include "base/check.h"
#include "base/compaction.h"
#include "data/score_range.h"
#include "data/scored_member.h"

namespace quoll::data {

// The bits of a score, ordered like the scores; -0 is 0.
inline uint64_t ordered_bits(double score) {
  auto bits = std::bit_cast<uint64_t>(score + 0.0);
  return bits >> 63 ? ~bits : bits | uint64_t{1} << 63;
}

class RankedTree {
 public:
  RankedTree() = default;
  RankedTree(const RankedTree&) = delete;
  RankedTree& operator=(const RankedTree&) = delete;
  ~RankedTree();

  uint64_t size() const { return size_; }
  size_t footprint() const { return leaves_ * kLeafBytes + inners_ * kInnerBytes; }

  // No equal (score, member) may be present.
  void insert(ScoredMember* member);
  // `member` must be present.
  void erase(const ScoredMember* member);
  // Gives a present member another score; the cheap way when its place stays.
  void rescore(ScoredMember* member, double score);

  // A present member lies at `by` now; the old block is still readable.
  void replace(const ScoredMember* member, ScoredMember* by);
  // Moves the nodes around a rank if they lie badly, and goes on to the next leaf's; false at the
  // end.
  bool relocate(base::Compaction& blocks, uint64_t& rank);

  // How many members stand before the boundary.
  template <class Boundary>
  uint64_t rank(const Boundary& boundary) const {
    return seek(boundary, nullptr);
  }
  uint64_t rank_of(const ScoredMember* member) const {
    return rank(MemberBoundary{member->score(), member->member()});
  }

  // Calls visit(ScoredMember*) for `count` members from `rank` on (reverse: downwards); the range
  // must lie inside.
  template <class Visit>
  void visit(uint64_t rank, uint64_t count, bool reverse, Visit&& visit) const;
  ScoredMember* at(uint64_t rank) const;

  // Removes `count` members from `rank` on, telling each to take(ScoredMember*) first. `take` may
  // free it. A leaf at a time.
  template <class Take>
  void take(uint64_t rank, uint64_t count, Take&& take);

  // Frees the last leaf, handing its members to `take`; false when nothing is left. Once begun,
  // only drain() may be called until it returns false.
  template <class Take>
  bool drain(Take&& take);

  // Walks every invariant of the header; for tests.
  void check() const;

 private:
  static constexpr unsigned kLeafSlots = 30;
  static constexpr unsigned kInnerSlots = 21;
  static constexpr unsigned kLeafSmall = kLeafSlots / 3;       // at most this: try to merge
  static constexpr unsigned kLeafMerged = kLeafSlots * 3 / 4;  // and not beyond this
  static constexpr unsigned kInnerSmall = kInnerSlots / 3;
  static constexpr unsigned kInnerMerged = kInnerSlots * 3 / 4;
  static constexpr unsigned kShareMin = 4;  // free slots that make sharing with a sibling worth it
  static constexpr unsigned kHintsPoor = 64;  // leaf's hints span fewer levels: choose a new scale
  static constexpr unsigned kHeightMax = 20;  // inner levels; pairs of siblings keep > 15 children
  static constexpr size_t kLeafBytes = 256;
  static constexpr size_t kInnerBytes = 512;

  // A pointer in six bytes; arrays of them stand behind at least two bytes of the same node.
  struct Packed {
    uint16_t words[3];
  };
  template <class T>
  static T* load(const Packed& packed) {
    uint64_t word;
    std::memcpy(&word, reinterpret_cast<const char*>(&packed) - 2, 8);
    return reinterpret_cast<T*>(word >> 16);
  }
  static void store(Packed& packed, const void* pointer) {
    auto word = reinterpret_cast<uint64_t>(pointer);
    std::memcpy(&packed, &word, 6);
  }

  struct Leaf {
    uint64_t base;
    uint8_t shift;
    uint8_t count;
    uint8_t spare[6];
    int16_t hints[kLeafSlots];  // less 0x8000: SSE2 compares signed numbers
    Packed members[kLeafSlots];

    ScoredMember* member(unsigned slot) const { return load<ScoredMember>(members[slot]); }
    int16_t hint_of(uint64_t bits) const {
      if (bits < base) return INT16_MIN;
      uint64_t level = (bits - base) >> shift;
      return static_cast<int16_t>(static_cast<int64_t>(level > UINT16_MAX ? UINT16_MAX : level) +
                                  INT16_MIN);
    }
    bool covers(uint64_t bits) const {
      return bits >= base && (bits - base) >> shift <= UINT16_MAX;
    }
    void set(unsigned slot, ScoredMember* member) {
      hints[slot] = hint_of(ordered_bits(member->score()));
      store(members[slot], member);
    }
    void open(unsigned slot, unsigned slots);
    void close(unsigned slot, unsigned slots);
    void insert(unsigned slot, ScoredMember* member);
    // Moves `slots` members from `from` of the other leaf, which stay there too, to `slot` here.
    void copy_from(const Leaf& other, unsigned from, unsigned slots, unsigned slot);
    void rescale();
    void sharpen();
    template <class Boundary>
    unsigned slot_of(const Boundary& boundary) const;
  };
  static_assert(sizeof(Leaf) == kLeafBytes);

  struct Child {
    void* node;
    uint32_t size;
    ScoredMember* first;
  };
  struct Inner {
    uint8_t count;
    uint8_t spare[7];
    double scores[kInnerSlots];
    uint32_t sizes[kInnerSlots];
    Packed nodes[kInnerSlots];
    Packed firsts[kInnerSlots];

    void* node(unsigned slot) const { return load<void>(nodes[slot]); }
    ScoredMember* first(unsigned slot) const { return load<ScoredMember>(firsts[slot]); }
    void set_first(unsigned slot, ScoredMember* first) {
      scores[slot] = first->score();
      store(firsts[slot], first);
    }
    void set(unsigned slot, const Child& child) {
      set_first(slot, child.first);
      sizes[slot] = child.size;
      store(nodes[slot], child.node);
    }
    void move_slots(const Inner& from, unsigned from_slot, unsigned slots, unsigned slot);
    void insert(unsigned slot, const Child& child);
    void remove(unsigned slot);
    uint32_t total() const;
    template <class Boundary>
    unsigned slot_of(const Boundary& boundary) const;
  };
  static_assert(sizeof(Inner) == kInnerBytes);

  // From the root down to a slot of a leaf (which may be the slot behind its last).
  struct Path {
    Inner* inners[kHeightMax];
    uint8_t slots[kHeightMax];
    Leaf* leaf;
    unsigned slot;
  };

  template <class Boundary>
  uint64_t seek(const Boundary& boundary, Path* path) const;
  void seek_rank(uint64_t rank, Path& path) const;
  void seek_member(const ScoredMember* member, Path& path) const;
  bool next_leaf(Path& path) const;
  bool previous_leaf(Path& path) const;
  bool at_right_edge(const Path& path, unsigned levels) const;
  bool at_left_edge(const Path& path, unsigned levels) const;

  Leaf* make_leaf();
  Inner* make_inner();
  void free_leaf(Leaf* leaf);
  void free_inner(Inner* inner);
  void free_below(void* node, unsigned height);
  static const ScoredMember* first_below(const void* node, unsigned height);

  void insert_at(Path& path, ScoredMember* member);
  void refresh(const Path& path, unsigned levels);
  bool share(Path& path, ScoredMember* member);
  void share_with(Path& path, unsigned left_slot, ScoredMember* member);
  void split(Path& path, ScoredMember* member);
  void link(Path& path, unsigned levels, const Child& left, const Child& right);
  void remove_slots(Path& path, unsigned slots);
  void settle_leaf(Inner* parent, unsigned slot);
  void settle_inner(Inner* parent, unsigned slot);
  void lower_root();

  void* root_ = nullptr;
  uint64_t size_ = 0;
  uint64_t leaves_ = 0;
  uint32_t inners_ = 0;
  uint8_t height_ = 0;  // inner levels above the leaves
};

// The first slot that does not stand before the boundary, by hints where the boundary is a score.
template <class Boundary>
unsigned RankedTree::Leaf::slot_of(const Boundary& boundary) const {
  unsigned low = 0;
  unsigned high = count;
  if constexpr (Boundary::kByScore) {
    __m128i wanted = _mm_set1_epi16(hint_of(ordered_bits(boundary.score)));
    uint32_t below = 0;
    uint32_t above = 0;
    for (unsigned half = 0; half < 2; ++half) {
      // Four loads of eight hints: the last reads two slots into `members`, which the mask drops.
      auto* at = reinterpret_cast<const __m128i*>(hints + 16 * half);
      __m128i first = _mm_loadu_si128(at);
      __m128i second = _mm_loadu_si128(at + 1);
      auto bits = [](__m128i a, __m128i b) {
        return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(a, b)));
      };
      below |= bits(_mm_cmplt_epi16(first, wanted), _mm_cmplt_epi16(second, wanted)) << 16 * half;
      above |= bits(_mm_cmpgt_epi16(first, wanted), _mm_cmpgt_epi16(second, wanted)) << 16 * half;
    }
    uint32_t used = (uint32_t{1} << count) - 1;
    low = static_cast<unsigned>(std::popcount(below & used));
    high = count - static_cast<unsigned>(std::popcount(above & used));
  }
  while (low < high) {
    unsigned middle = (low + high) / 2;
    const ScoredMember* at = member(middle);
    if (boundary.before(at->score(), [&] { return at->member(); })) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The last child that begins before the boundary, else the first child.
template <class Boundary>
unsigned RankedTree::Inner::slot_of(const Boundary& boundary) const {
  unsigned low = 1;
  unsigned high = count;
  while (low < high) {
    unsigned middle = (low + high) / 2;
    if (boundary.before(scores[middle], [&] { return first(middle)->member(); })) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - 1;
}

template <class Boundary>
uint64_t RankedTree::seek(const Boundary& boundary, Path* path) const {
  if (!root_) return 0;
  uint64_t rank = 0;
  void* node = root_;
  for (unsigned level = 0; level < height_; ++level) {
    auto* inner = static_cast<Inner*>(node);
    unsigned slot = inner->slot_of(boundary);
    for (unsigned i = 0; i < slot; ++i) rank += inner->sizes[i];
    if (path) {
      path->inners[level] = inner;
      path->slots[level] = static_cast<uint8_t>(slot);
    }
    node = inner->node(slot);
  }
  auto* leaf = static_cast<Leaf*>(node);
  unsigned slot = leaf->slot_of(boundary);
  if (path) {
    path->leaf = leaf;
    path->slot = slot;
  }
  return rank + slot;
}

template <class Visit>
void RankedTree::visit(uint64_t rank, uint64_t count, bool reverse, Visit&& visit) const {
  if (count == 0) return;
  QUOLL_CHECK(rank < size_);
  Path path;
  seek_rank(rank, path);
  for (;;) {
    const Leaf* leaf = path.leaf;
    unsigned there = reverse ? path.slot + 1 : leaf->count - path.slot;
    auto slots = static_cast<unsigned>(there < count ? there : count);
    // Members lie anywhere in memory: fetched all at once, they cost one miss together.
    unsigned first = reverse ? path.slot + 1 - slots : path.slot;
    for (unsigned i = 0; i < slots; ++i) base::prefetch(leaf->member(first + i));
    for (unsigned i = 0; i < slots; ++i)
      visit(leaf->member(reverse ? path.slot - i : path.slot + i));
    count -= slots;
    if (count == 0) return;
    QUOLL_CHECK(reverse ? previous_leaf(path) : next_leaf(path));
    path.slot = reverse ? path.leaf->count - 1u : 0;
  }
}

template <class Take>
void RankedTree::take(uint64_t rank, uint64_t count, Take&& take) {
  while (count > 0) {
    QUOLL_CHECK(rank < size_);
    Path path;
    seek_rank(rank, path);
    unsigned there = path.leaf->count - path.slot;
    auto slots = static_cast<unsigned>(there < count ? there : count);
    ScoredMember* taken[kLeafSlots];
    for (unsigned i = 0; i < slots; ++i) {
      taken[i] = path.leaf->member(path.slot + i);
      base::prefetch(taken[i]);
    }
    remove_slots(path, slots);
    for (unsigned i = 0; i < slots; ++i) take(taken[i]);
    count -= slots;
  }
}

template <class Take>
bool RankedTree::drain(Take&& take) {
  if (!root_) return false;
  Inner* parents[kHeightMax];
  void* node = root_;
  for (unsigned level = 0; level < height_; ++level) {
    parents[level] = static_cast<Inner*>(node);
    node = parents[level]->node(parents[level]->count - 1u);
  }
  auto* leaf = static_cast<Leaf*>(node);
  for (unsigned i = 0; i < leaf->count; ++i) take(leaf->member(i));
  size_ -= leaf->count;
  free_leaf(leaf);
  unsigned level = height_;
  for (; level > 0; --level) {
    Inner* parent = parents[level - 1];
    if (--parent->count > 0) break;
    free_inner(parent);
  }
  if (level > 0) return true;
  root_ = nullptr;
  height_ = 0;
  return false;
}

}  // namespace quoll::data
