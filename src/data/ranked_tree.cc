#include "data/ranked_tree.h"

#include <algorithm>

#include "base/memory.h"

namespace quoll::data {

namespace {

template <class T>
void slide(T* array, unsigned from, unsigned to, unsigned slots) {
  std::memmove(static_cast<void*>(array + to), array + from, slots * sizeof(T));
}

}  // namespace

// ------------------------------------------------------------------------------------------ leaf

void RankedTree::Leaf::open(unsigned slot, unsigned slots) {
  slide(hints, slot, slot + slots, count - slot);
  slide(members, slot, slot + slots, count - slot);
  count = static_cast<uint8_t>(count + slots);
}

void RankedTree::Leaf::close(unsigned slot, unsigned slots) {
  slide(hints, slot + slots, slot, count - slot - slots);
  slide(members, slot + slots, slot, count - slot - slots);
  count = static_cast<uint8_t>(count - slots);
}

void RankedTree::Leaf::insert(unsigned slot, ScoredMember* member) {
  open(slot, 1);
  set(slot, member);
  if (!covers(ordered_bits(member->score()))) rescale();
}

void RankedTree::Leaf::copy_from(const Leaf& other, unsigned from, unsigned slots, unsigned slot) {
  for (unsigned i = 0; i < slots; ++i) base::prefetch(other.member(from + i));
  open(slot, slots);
  bool covered = true;
  for (unsigned i = 0; i < slots; ++i) {
    ScoredMember* member = other.member(from + i);
    set(slot + i, member);
    covered &= covers(ordered_bits(member->score()));
  }
  if (!covered) rescale();
}

// A scale with room for eight times the present range, half of it on either side.
void RankedTree::Leaf::rescale() {
  constexpr unsigned kHintBits = 16;
  constexpr unsigned kRoomBits = 3;
  constexpr unsigned kShiftMax = 64 - kHintBits;  // hints then cover every score
  for (unsigned i = 0; i < count; ++i) base::prefetch(member(i));
  uint64_t least = ordered_bits(member(0)->score());
  uint64_t span = ordered_bits(member(count - 1u)->score()) - least;
  unsigned wanted = static_cast<unsigned>(std::bit_width(span)) + kRoomBits;
  shift = static_cast<uint8_t>(std::min(wanted > kHintBits ? wanted - kHintBits : 0, kShiftMax));
  if (shift == kShiftMax) {
    base = 0;
  } else {
    uint64_t room = ((uint64_t{1} << (kHintBits + shift)) - span) / 2;
    base = least > room ? least - room : 0;
  }
  for (unsigned i = 0; i < count; ++i) hints[i] = hint_of(ordered_bits(member(i)->score()));
}

// After members have left: the hints may have become too alike.
void RankedTree::Leaf::sharpen() {
  if (count > 1 && shift > 0 && hints[count - 1] - hints[0] < static_cast<int>(kHintsPoor))
    rescale();
}

// ----------------------------------------------------------------------------------------- inner

// Copies `slots` children from `from_slot` of `from` (which may be this node) to `slot`.
void RankedTree::Inner::move_slots(const Inner& from, unsigned from_slot, unsigned slots,
                                   unsigned slot) {
  std::memmove(scores + slot, from.scores + from_slot, slots * sizeof scores[0]);
  std::memmove(sizes + slot, from.sizes + from_slot, slots * sizeof sizes[0]);
  std::memmove(nodes + slot, from.nodes + from_slot, slots * sizeof nodes[0]);
  std::memmove(firsts + slot, from.firsts + from_slot, slots * sizeof firsts[0]);
}

void RankedTree::Inner::insert(unsigned slot, const Child& child) {
  move_slots(*this, slot, count - slot, slot + 1);
  ++count;
  set(slot, child);
}

void RankedTree::Inner::remove(unsigned slot) {
  move_slots(*this, slot + 1, count - slot - 1, slot);
  --count;
}

uint32_t RankedTree::Inner::total() const {
  uint32_t total = 0;
  for (unsigned i = 0; i < count; ++i) total += sizes[i];
  return total;
}

// ---------------------------------------------------------------------------------------- memory

auto RankedTree::make_leaf() -> Leaf* {
  auto* leaf = static_cast<Leaf*>(base::allocate(kLeafBytes));
  *leaf = Leaf{};
  ++leaves_;
  return leaf;
}

auto RankedTree::make_inner() -> Inner* {
  auto* inner = static_cast<Inner*>(base::allocate(kInnerBytes));
  inner->count = 0;
  ++inners_;
  return inner;
}

void RankedTree::free_leaf(Leaf* leaf) {
  base::release(leaf, kLeafBytes);
  --leaves_;
}

void RankedTree::free_inner(Inner* inner) {
  base::release(inner, kInnerBytes);
  --inners_;
}

void RankedTree::free_below(void* node, unsigned height) {
  if (height == 0) return free_leaf(static_cast<Leaf*>(node));
  auto* inner = static_cast<Inner*>(node);
  for (unsigned i = 0; i < inner->count; ++i) free_below(inner->node(i), height - 1);
  free_inner(inner);
}

RankedTree::~RankedTree() {
  if (root_) free_below(root_, height_);
}

// ----------------------------------------------------------------------------------------- paths

void RankedTree::seek_rank(uint64_t rank, Path& path) const {
  void* node = root_;
  for (unsigned level = 0; level < height_; ++level) {
    auto* inner = static_cast<Inner*>(node);
    unsigned slot = 0;
    while (rank >= inner->sizes[slot]) rank -= inner->sizes[slot++];
    path.inners[level] = inner;
    path.slots[level] = static_cast<uint8_t>(slot);
    node = inner->node(slot);
  }
  path.leaf = static_cast<Leaf*>(node);
  path.slot = static_cast<unsigned>(rank);
}

// `member` must be present.
void RankedTree::seek_member(const ScoredMember* member, Path& path) const {
  seek(MemberBoundary{member->score(), member->member()}, &path);
  if (path.slot == path.leaf->count) {
    QUOLL_CHECK(next_leaf(path));
    path.slot = 0;
  }
  QUOLL_CHECK(path.leaf->member(path.slot) == member);
}

bool RankedTree::next_leaf(Path& path) const {
  unsigned level = height_;
  while (level > 0 && path.slots[level - 1] + 1u == path.inners[level - 1]->count) --level;
  if (level == 0) return false;
  ++path.slots[level - 1];
  for (; level < height_; ++level) {
    path.inners[level] = static_cast<Inner*>(path.inners[level - 1]->node(path.slots[level - 1]));
    path.slots[level] = 0;
  }
  path.leaf = static_cast<Leaf*>(path.inners[level - 1]->node(path.slots[level - 1]));
  return true;
}

bool RankedTree::previous_leaf(Path& path) const {
  unsigned level = height_;
  while (level > 0 && path.slots[level - 1] == 0) --level;
  if (level == 0) return false;
  --path.slots[level - 1];
  for (; level < height_; ++level) {
    path.inners[level] = static_cast<Inner*>(path.inners[level - 1]->node(path.slots[level - 1]));
    path.slots[level] = static_cast<uint8_t>(path.inners[level]->count - 1);
  }
  path.leaf = static_cast<Leaf*>(path.inners[level - 1]->node(path.slots[level - 1]));
  return true;
}

bool RankedTree::at_right_edge(const Path& path, unsigned levels) const {
  for (unsigned i = 0; i < levels; ++i)
    if (path.slots[i] + 1u != path.inners[i]->count) return false;
  return true;
}

bool RankedTree::at_left_edge(const Path& path, unsigned levels) const {
  for (unsigned i = 0; i < levels; ++i)
    if (path.slots[i] != 0) return false;
  return true;
}

ScoredMember* RankedTree::at(uint64_t rank) const {
  QUOLL_CHECK(rank < size_);
  Path path;
  seek_rank(rank, path);
  return path.leaf->member(path.slot);
}

// ------------------------------------------------------------------------------------- insertion

void RankedTree::insert(ScoredMember* member) {
  QUOLL_CHECK(size_ < UINT32_MAX);
  if (!root_) {
    Leaf* leaf = make_leaf();
    leaf->insert(0, member);
    root_ = leaf;
    size_ = 1;
    return;
  }
  Path path;
  seek(MemberBoundary{member->score(), member->member()}, &path);
  insert_at(path, member);
}

void RankedTree::insert_at(Path& path, ScoredMember* member) {
  ++size_;
  if (path.leaf->count == kLeafSlots) {
    if (!share(path, member)) split(path, member);
    return;
  }
  path.leaf->insert(path.slot, member);
  bool first = path.slot == 0;
  for (unsigned level = height_; level-- > 0;) {
    Inner* inner = path.inners[level];
    unsigned slot = path.slots[level];
    ++inner->sizes[slot];
    if (first) inner->set_first(slot, member);
    first = first && slot == 0;
  }
}

// Makes the entries of the path's upper `levels` agree with what lies below them, bottom up.
void RankedTree::refresh(const Path& path, unsigned levels) {
  for (unsigned level = levels; level-- > 0;) {
    auto* below = static_cast<const Inner*>(path.inners[level]->node(path.slots[level]));
    path.inners[level]->sizes[path.slots[level]] = below->total();
    path.inners[level]->set_first(path.slots[level], below->first(0));
  }
}

// Evens the full leaf out with a neighbour under the same parent, the new member included.
bool RankedTree::share(Path& path, ScoredMember* member) {
  if (height_ == 0) return false;
  bool end = path.slot == kLeafSlots && at_right_edge(path, height_);
  bool start = path.slot == 0 && at_left_edge(path, height_);
  if (end || start) return false;  // splitting at the end keeps the full leaf full
  Inner* parent = path.inners[height_ - 1];
  unsigned slot = path.slots[height_ - 1];
  auto roomy = [&](unsigned of) { return kLeafSlots - parent->sizes[of] >= kShareMin; };
  if (slot > 0 && roomy(slot - 1)) {
    share_with(path, slot - 1, member);
  } else if (slot + 1 < parent->count && roomy(slot + 1)) {
    share_with(path, slot, member);
  } else {
    return false;
  }
  refresh(path, height_ - 1);
  return true;
}

// The leaves at `left_slot` and behind it share their members and the new one, which belongs to the
// path's leaf.
void RankedTree::share_with(Path& path, unsigned left_slot, ScoredMember* member) {
  Inner* parent = path.inners[height_ - 1];
  auto* left = static_cast<Leaf*>(parent->node(left_slot));
  auto* right = static_cast<Leaf*>(parent->node(left_slot + 1));
  unsigned place = path.slot + (path.leaf == right ? left->count : 0);  // within both together
  unsigned keep = (left->count + right->count + 1u) / 2;                // then in the left one
  bool into_left = place < keep;
  unsigned left_keep = into_left ? keep - 1 : keep;
  if (left->count < left_keep) {
    unsigned moved = left_keep - left->count;
    left->copy_from(*right, 0, moved, left->count);
    right->close(0, moved);
  } else {
    unsigned moved = left->count - left_keep;
    right->copy_from(*left, left_keep, moved, 0);
    left->close(left_keep, moved);
  }
  if (into_left) {
    left->insert(place, member);
  } else {
    right->insert(place - left->count, member);
  }
  left->sharpen();
  right->sharpen();
  parent->sizes[left_slot] = left->count;
  parent->sizes[left_slot + 1] = right->count;
  parent->set_first(left_slot, left->member(0));
  parent->set_first(left_slot + 1, right->member(0));
}

void RankedTree::split(Path& path, ScoredMember* member) {
  Leaf* left = path.leaf;
  Leaf* right = make_leaf();
  unsigned keep = kLeafSlots / 2;
  if (path.slot == kLeafSlots && at_right_edge(path, height_)) keep = kLeafSlots;
  if (path.slot == 0 && at_left_edge(path, height_)) keep = 0;
  // The new leaf begins with the scale of the old one: the hints are copied with the members.
  *right = *left;
  right->close(0, keep);
  left->close(keep, kLeafSlots - keep);
  if (path.slot <= keep && keep < kLeafSlots) {
    left->insert(path.slot, member);
  } else {
    right->insert(path.slot - keep, member);
  }
  left->sharpen();
  right->sharpen();
  link(path, height_, {left, left->count, left->member(0)},
       {right, right->count, right->member(0)});
}

// The node at the end of the path's upper `levels` has become two: `left`, where it was, and
// `right`.
void RankedTree::link(Path& path, unsigned levels, const Child& left, const Child& right) {
  if (levels == 0) {
    QUOLL_CHECK(height_ < kHeightMax);
    Inner* root = make_inner();
    root->insert(0, left);
    root->insert(1, right);
    root_ = root;
    ++height_;
    return;
  }
  Inner* node = path.inners[levels - 1];
  unsigned slot = path.slots[levels - 1];
  node->set(slot, left);
  if (node->count < kInnerSlots) {
    node->insert(slot + 1, right);
    return refresh(path, levels - 1);
  }
  unsigned keep = kInnerSlots / 2;
  if (slot + 1 == kInnerSlots && at_right_edge(path, levels - 1)) keep = kInnerSlots;
  if (slot == 0 && at_left_edge(path, levels - 1)) keep = 1;
  Inner* next = make_inner();
  next->move_slots(*node, keep, kInnerSlots - keep, 0);
  next->count = static_cast<uint8_t>(kInnerSlots - keep);
  node->count = static_cast<uint8_t>(keep);
  if (slot + 1 >= keep) {
    next->insert(slot + 1 - keep, right);
  } else {
    node->insert(slot + 1, right);
  }
  link(path, levels - 1, {node, node->total(), node->first(0)},
       {next, next->total(), next->first(0)});
}

// --------------------------------------------------------------------------------------- removal

void RankedTree::erase(const ScoredMember* member) {
  Path path;
  seek_member(member, path);
  remove_slots(path, 1);
}

void RankedTree::replace(const ScoredMember* member, ScoredMember* by) {
  Path path;
  seek_member(member, path);
  store(path.leaf->members[path.slot], by);
  bool least = path.slot == 0;
  for (unsigned level = height_; level-- > 0 && least;) {
    store(path.inners[level]->firsts[path.slots[level]], by);
    least = path.slots[level] == 0;
  }
}

bool RankedTree::relocate(base::Compaction& blocks, uint64_t& rank) {
  if (rank >= size_) return false;
  Path path;
  seek_rank(rank, path);
  rank += path.leaf->count - path.slot;
  // From the root down: `parent` is where the parent, if it moved, lies now.
  Inner* parent = nullptr;
  for (unsigned level = 0; level <= height_; ++level) {
    void* node = level < height_ ? static_cast<void*>(path.inners[level]) : path.leaf;
    if (blocks.move(node, level < height_ ? kInnerBytes : kLeafBytes)) {
      if (parent)
        store(parent->nodes[path.slots[level - 1]], node);
      else
        root_ = node;
    }
    parent = static_cast<Inner*>(node);
  }
  return rank < size_;
}

void RankedTree::rescore(ScoredMember* member, double score) {
  Path path;
  seek_member(member, path);
  Leaf* leaf = path.leaf;
  unsigned slot = path.slot;
  auto stands = [&](unsigned at, bool before) {
    const ScoredMember* other = leaf->member(at);
    return before == stands_before(other->score(), other->member(), score, member->member());
  };
  bool after_left = slot > 0 ? stands(slot - 1, true) : at_left_edge(path, height_);
  bool before_right =
      slot + 1u < leaf->count ? stands(slot + 1, false) : at_right_edge(path, height_);
  if (!after_left || !before_right) {
    remove_slots(path, 1);
    member->set_score(score);
    insert(member);
    return;
  }
  member->set_score(score);
  leaf->set(slot, member);
  if (!leaf->covers(ordered_bits(score))) leaf->rescale();
  if (slot > 0) return;
  for (unsigned level = height_; level-- > 0;) {
    path.inners[level]->set_first(path.slots[level], member);
    if (path.slots[level] != 0) break;
  }
}

// Removes `slots` members at the end of the path and puts the nodes above right.
void RankedTree::remove_slots(Path& path, unsigned slots) {
  Leaf* leaf = path.leaf;
  QUOLL_CHECK(path.slot + slots <= leaf->count);
  leaf->close(path.slot, slots);
  size_ -= slots;
  for (unsigned level = 0; level < height_; ++level)
    path.inners[level]->sizes[path.slots[level]] -= slots;
  bool fresh_first = path.slot == 0;       // the least member below the node has changed
  bool small = leaf->count <= kLeafSmall;  // the node below has lost members or children
  for (unsigned level = height_; level-- > 0 && (fresh_first || small);) {
    Inner* inner = path.inners[level];
    unsigned slot = path.slots[level];
    bool leaves = level + 1 == height_;
    auto* below = leaves ? nullptr : path.inners[level + 1];
    unsigned before = inner->count;
    if (leaves ? leaf->count == 0 : below->count == 0) {
      leaves ? free_leaf(leaf) : free_inner(below);
      inner->remove(slot);
    } else {
      if (fresh_first) inner->set_first(slot, leaves ? leaf->member(0) : below->first(0));
      if (small) leaves ? settle_leaf(inner, slot) : settle_inner(inner, slot);
    }
    small = inner->count < before && inner->count <= kInnerSmall;
    fresh_first = fresh_first && slot == 0;
  }
  lower_root();
}

// Merges the leaf with a neighbour when both together leave room.
void RankedTree::settle_leaf(Inner* parent, unsigned slot) {
  auto fits = [&](unsigned left) {
    return parent->sizes[left] + parent->sizes[left + 1] <= kLeafMerged;
  };
  if (slot + 1 < parent->count && fits(slot)) {
  } else if (slot > 0 && fits(slot - 1)) {
    --slot;
  } else {
    return;
  }
  auto* left = static_cast<Leaf*>(parent->node(slot));
  auto* right = static_cast<Leaf*>(parent->node(slot + 1));
  if (left->count < right->count) {
    right->copy_from(*left, 0, left->count, 0);
    std::swap(*left, *right);
  } else {
    left->copy_from(*right, 0, right->count, left->count);
  }
  free_leaf(right);
  parent->set(slot, {left, left->count, left->member(0)});
  parent->remove(slot + 1);
}

void RankedTree::settle_inner(Inner* parent, unsigned slot) {
  auto node = [&](unsigned at) { return static_cast<Inner*>(parent->node(at)); };
  auto fits = [&](unsigned left) {
    return unsigned{node(left)->count} + node(left + 1)->count <= kInnerMerged;
  };
  if (slot + 1 < parent->count && fits(slot)) {
  } else if (slot > 0 && fits(slot - 1)) {
    --slot;
  } else {
    return;
  }
  Inner* left = node(slot);
  Inner* right = node(slot + 1);
  left->move_slots(*right, 0, right->count, left->count);
  left->count = static_cast<uint8_t>(left->count + right->count);
  free_inner(right);
  parent->set(slot, {left, left->total(), left->first(0)});
  parent->remove(slot + 1);
}

void RankedTree::lower_root() {
  while (height_ > 0) {
    auto* inner = static_cast<Inner*>(root_);
    if (inner->count > 1) return;
    root_ = inner->count == 1 ? inner->node(0) : nullptr;
    free_inner(inner);
    --height_;
    if (!root_) height_ = 0;
  }
  if (root_ && size_ == 0) {
    free_leaf(static_cast<Leaf*>(root_));
    root_ = nullptr;
  }
}

// --------------------------------------------------------------------------------------- checking

namespace {

bool in_order(const ScoredMember* left, const ScoredMember* right) {
  return stands_before(left->score(), left->member(), right->score(), right->member());
}

}  // namespace

void RankedTree::check() const {
  struct Walk {
    const RankedTree& tree;
    const ScoredMember* last = nullptr;
    uint64_t leaves = 0;
    uint64_t inners = 0;
    uint64_t members = 0;

    void leaf(const Leaf& leaf) {
      ++leaves;
      members += leaf.count;
      QUOLL_CHECK(leaf.count > 0 && leaf.count <= kLeafSlots);
      for (unsigned i = 0; i < leaf.count; ++i) {
        const ScoredMember* member = leaf.member(i);
        uint64_t bits = ordered_bits(member->score());
        QUOLL_CHECK(leaf.covers(bits) && leaf.hints[i] == leaf.hint_of(bits));
        if (last) QUOLL_CHECK(in_order(last, member));
        last = member;
      }
    }
    void inner(const Inner& inner, unsigned height) {
      ++inners;
      QUOLL_CHECK(inner.count > 0 && inner.count <= kInnerSlots);
      for (unsigned i = 0; i < inner.count; ++i) {
        uint64_t before = members;
        const ScoredMember* first = tree.first_below(inner.node(i), height - 1);
        QUOLL_CHECK(inner.first(i) == first && inner.scores[i] == first->score());
        below(inner.node(i), height - 1);
        QUOLL_CHECK(inner.sizes[i] == members - before);
      }
    }
    void below(const void* node, unsigned height) {
      if (height == 0) return leaf(*static_cast<const Leaf*>(node));
      inner(*static_cast<const Inner*>(node), height);
    }
  };
  Walk walk{*this};
  if (root_) walk.below(root_, height_);
  if (height_ > 0) QUOLL_CHECK(static_cast<const Inner*>(root_)->count > 1);
  QUOLL_CHECK(walk.members == size_ && walk.leaves == leaves_ && walk.inners == inners_);
  QUOLL_CHECK((root_ == nullptr) == (size_ == 0));
}

const ScoredMember* RankedTree::first_below(const void* node, unsigned height) {
  for (; height > 0; --height) node = static_cast<const Inner*>(node)->node(0);
  return static_cast<const Leaf*>(node)->member(0);
}

}  // namespace quoll::data
