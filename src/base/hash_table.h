// HashTable: extendible hashing over 64-byte buckets. The one hash table of the house: a shard of
// the keyspace is one, and so is a large set, hash or sorted-set index.
//
//   directory (indexed by the hash bits after Traits::kSkipBits)
//     [ {buckets, header} | {buckets, header} | ... ]        2^depth slots, 16 B each
//   segment: 1, 4, 16 or 64 buckets (young segments refine in place) and a 64-byte header
//   bucket (64 bytes, one cache line):
//     0      meta       bit 0: slot 8 points to a child bucket of the chain
//     1..9   fingerprint of each slot, 0 = empty
//     10..63 nine 48-bit pointers
//
// Hash bits, top down: kSkipBits (chosen by the owner), directory, ..., bucket 6 bits (13..8),
// fingerprint 8 bits (7..0). Bucket and directory bits are disjoint: every item of bucket b of a
// half came from bucket b before the split. Scans, snapshots and merges rely on that.
//
// There is no displacement: an item lives in its home chain or nowhere. A full segment (90 %)
// splits in two; a split that would make the directory larger than the item count chains instead,
// which bounds the damage of colliding hashes.
//
// Cost: 12.5 bytes per item on average over a doubling. find: one SSE2 compare per bucket.
// Split: about 260 items move, 40-55 us.
#pragma once

#include <emmintrin.h>

#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

namespace quoll::base {

constexpr unsigned kBucketSlots = 9;
constexpr unsigned kSegmentBucketBits = 6;
constexpr unsigned kSegmentBuckets = 1u << kSegmentBucketBits;
constexpr unsigned kSegmentItemsMax = kSegmentBuckets * kBucketSlots * 9 / 10;  // 518: then split
constexpr unsigned kSegmentItemsMerge = kSegmentItemsMax / 4;  // both halves together below: merge

struct alignas(64) Bucket {
  uint8_t meta;
  uint8_t fingerprints[kBucketSlots];
  uint8_t pointers[6 * kBucketSlots];

  bool chained() const { return meta & 1; }
  unsigned slots() const { return kBucketSlots - (meta & 1); }
  // The two bytes before a pointer are part of the bucket, so one aligned-enough 8-byte read and a
  // shift load it.
  void* pointer(unsigned slot) const {
    uint64_t word;
    std::memcpy(&word, reinterpret_cast<const char*>(this) + 8 + 6 * slot, 8);
    return reinterpret_cast<void*>(word >> 16);
  }
  void set_pointer(unsigned slot, const void* value) {
    auto word = reinterpret_cast<uint64_t>(value);
    std::memcpy(pointers + 6 * slot, &word, 6);
  }
  Bucket* child() const { return static_cast<Bucket*>(pointer(kBucketSlots - 1)); }
  // Bit i set: slot i holds an item with this fingerprint.
  unsigned candidates(uint8_t fingerprint) const {
    __m128i line = _mm_load_si128(reinterpret_cast<const __m128i*>(this));
    __m128i equal = _mm_cmpeq_epi8(line, _mm_set1_epi8(static_cast<char>(fingerprint)));
    unsigned mask = static_cast<unsigned>(_mm_movemask_epi8(equal)) >> 1;
    return mask & (0x1FFu >> (meta & 1));
  }
  unsigned free_slots() const { return candidates(0); }
};
static_assert(sizeof(Bucket) == 64);

struct alignas(64) SegmentHeader {
  uint32_t count;     // items in the segment, chains included
  uint8_t depth;      // directory bits that select this segment
  uint32_t snapshot;  // number of the snapshot the mask below belongs to
  uint64_t saved;     // bit b: bucket b (of 64) is already in that snapshot
};
static_assert(sizeof(SegmentHeader) == 64);

// Where an item lies, for replacing its pointer without a second lookup. Valid until the table
// changes.
struct Position {
  Bucket* bucket = nullptr;
  unsigned slot = 0;
};

// A place in hash order. Stable across splits, refinements and merges: see HashTable::walk.
struct WalkCursor {
  uint64_t prefix = 0;  // directory bits, `depth` of them
  unsigned depth = 0;
  unsigned bucket = 0;  // 0..63: field value of the next bucket to visit
};

// Traits: using Item (an object type); static uint64_t hash(const Item*) ; kSkipBits.
template <class Traits>
class HashTable {
 public:
  using Item = typename Traits::Item;
  static constexpr unsigned kDepthMax = 64 - Traits::kSkipBits - 14;

  HashTable() = default;
  HashTable(const HashTable&) = delete;
  HashTable& operator=(const HashTable&) = delete;
  ~HashTable() { clear(); }

  uint64_t size() const { return count_; }
  unsigned depth() const { return depth_; }

  // A batched lookup: this for every hash, prefetch(bucket) for every bucket, prefetch_items() for
  // every hash, then find(). Each step in a loop of its own, so that the misses of all overlap. The
  // bucket is valid until the table changes; nullptr when the table is empty.
  const Bucket* bucket_of(uint64_t hash) const { return directory_ ? home(hash) : nullptr; }
  // Prefetches the items whose fingerprint matches.
  static void prefetch_items(const Bucket* bucket, uint64_t hash) {
    for (unsigned mask = bucket->candidates(fingerprint(hash)); mask; mask &= mask - 1)
      base::prefetch(bucket->pointer(static_cast<unsigned>(__builtin_ctz(mask))));
  }

  template <class Match>
  Item* find(uint64_t hash, Match&& match, Position* at = nullptr) const {
    if (!directory_) return nullptr;
    uint8_t print = fingerprint(hash);
    for (Bucket* bucket = home(hash);; bucket = bucket->child()) {
      for (unsigned mask = bucket->candidates(print); mask; mask &= mask - 1) {
        auto slot = static_cast<unsigned>(__builtin_ctz(mask));
        auto* item = static_cast<Item*>(bucket->pointer(slot));
        if (match(item)) {
          if (at) *at = {bucket, slot};
          return item;
        }
      }
      if (!bucket->chained()) return nullptr;
    }
  }

  // The caller made sure that no equal item exists.
  Position insert(uint64_t hash, Item* item) {
    make_room(hash);
    Slot& slot = slot_of(hash);
    ++slot.header->count;
    ++count_;
    return put(slot.bucket(hash), fingerprint(hash), item);
  }
  static void replace(const Position& at, Item* item) { at.bucket->set_pointer(at.slot, item); }
  // Removes the pointer `item`, which must be present. Frees nothing but table memory.
  void erase(uint64_t hash, const Item* item);
  // Frees the table's own memory, not the items.
  void clear();
  // Hands the items of one bucket to `take`, and frees a segment with its last bucket; false when
  // nothing is left. Once begun, only drain() may be called until it returns false.
  // A bucket is as far as freeing can be cut: the first item that is given back of each of the
  // allocator's slabs costs about 2 us, so a whole segment may take longer than a turn has.
  template <class Take>
  bool drain(Take&& take);

  // Visits the items of the next bucket in hash order (the same bucket of every segment that now
  // lies under the cursor's prefix) and moves the cursor on. False when the walk has ended.
  // An item present during the whole walk is visited at least once, whatever splits or merges
  // happen between steps.
  template <class Visit>
  bool walk(WalkCursor& cursor, Visit&& visit) const;

  // Visits the items whose hash begins with `prefix`, `bits` of it behind kSkipBits, in hash order
  // by segments; where `visit` returns false the walk ends with the segment. Cost: the segments of
  // that range; a segment that reaches beyond it is looked at whole.
  template <class Visit>
  void visit_range(uint64_t prefix, unsigned bits, Visit&& visit) const;
  // Offers the items of the next bucket in hash order, and with the first bucket of a segment the
  // table's own memory there, to be moved: move_item(Item*) and move_block(void*, bytes) return
  // where it lies now. Moves the cursor on, as walk(); saved marks and positions in hash order
  // stay.
  template <class MoveItem, class MoveBlock>
  bool relocate(WalkCursor& cursor, MoveItem&& move_item, MoveBlock&& move_block);

  // Items of the cell a uniformly drawn hash point falls into (possibly none). A cell is one bucket
  // of one directory slot: a segment that several directory slots share is seen through one of them
  // at a time, so every cell, and with it every item, is equally likely.
  template <class Visit>
  void sample(uint64_t point, Visit&& visit) const {
    if (!directory_) return;
    const Slot& slot = slot_of(point);
    bool shared = slot.header->depth < depth_;
    visit_chain(slot.bucket(point), [&](Item* item) {
      if (!shared || prefix_of(Traits::hash(item), depth_) == prefix_of(point, depth_)) visit(item);
    });
  }
  // An item drawn uniformly, nullptr when there is none. `draw` yields 64 uniform bits.
  // Cost: about five draws; a walk over the segment headers when luck fails.
  template <class Draw>
  Item* random(Draw&& draw) const;

  // Snapshots (store/snapshot.h). A bucket is saved in at most one call per snapshot number: its
  // items are visited and it is marked, and so are the buckets that later grow out of it. Numbers
  // grow, and 0 is none.
  //
  // Begins or ends: between the two no segment is joined with another or freed.
  void hold_segments(bool held) {
    merges_paused_ = held;
    if (!held && count_ == 0) clear();
  }
  // Saves the bucket of `hash`. An empty table gets a marked segment: what is inserted later is not
  // part of the snapshot.
  template <class Visit>
  void save_bucket(uint64_t hash, uint32_t snapshot, Visit&& visit) {
    if (!directory_) {
      make_room(hash);
      directory_[0].header->snapshot = snapshot;
      directory_[0].header->saved = ~uint64_t{0};
      return;
    }
    save(slot_of(hash), bucket_field(hash), snapshot, visit);
  }
  // Saves the next bucket in hash order and moves the cursor on; false when the walk has ended.
  template <class Visit>
  bool save_next(WalkCursor& cursor, uint32_t snapshot, Visit&& visit) {
    return walk_buckets(
        cursor, [&](const Slot& slot, unsigned field) { save(slot, field, snapshot, visit); });
  }

 private:
  // The bucket bits ride in the low bits of the bucket block's address (64-byte aligned), so a
  // lookup does not touch the header's cache line.
  struct Slot {
    uintptr_t tagged;
    SegmentHeader* header;
    Bucket* buckets() const { return reinterpret_cast<Bucket*>(tagged & ~uintptr_t{63}); }
    unsigned bits() const { return static_cast<unsigned>(tagged & 63); }
    Bucket* bucket(uint64_t hash) const { return buckets() + bucket_index(hash, bits()); }
  };

  static uint8_t fingerprint(uint64_t hash) {
    auto print = static_cast<uint8_t>(hash);
    return print ? print : 1;
  }
  static unsigned bucket_field(uint64_t hash) { return (hash >> 8) & (kSegmentBuckets - 1); }
  static unsigned bucket_index(uint64_t hash, unsigned bits) {
    return bucket_field(hash) >> (kSegmentBucketBits - bits);
  }
  static uint64_t prefix_of(uint64_t hash, unsigned depth) {
    return (hash << Traits::kSkipBits) >> 1 >> (63 - depth);  // two shifts: depth may be 0
  }
  Slot& slot_of(uint64_t hash) const { return directory_[prefix_of(hash, depth_)]; }
  Bucket* home(uint64_t hash) const { return slot_of(hash).bucket(hash); }
  static size_t bucket_bytes(unsigned bits) { return sizeof(Bucket) << bits; }
  static Slot make_segment(unsigned bits, unsigned depth);
  static void free_segment(const Slot& slot);
  static void free_chain(Bucket* bucket);
  static Position put(Bucket* bucket, uint8_t print, const void* item);

  template <class Visit>
  static void visit_chain(const Bucket* bucket, Visit&& visit) {
    for (;; bucket = bucket->child()) {
      for (unsigned i = 0; i < bucket->slots(); ++i)
        if (bucket->fingerprints[i]) visit(static_cast<Item*>(bucket->pointer(i)));
      if (!bucket->chained()) return;
    }
  }
  // Items are far apart: those of the bucket after next are on their way while one is visited.
  static constexpr unsigned kAhead = 2;
  static void prefetch_items_of(const Bucket& bucket) {
    for (unsigned i = 0; i < bucket.slots(); ++i)
      if (bucket.fingerprints[i]) base::prefetch(bucket.pointer(i));
  }
  template <class Visit>
  static void visit_segment(const Slot& slot, Visit&& visit) {
    unsigned buckets = 1u << slot.bits();
    for (unsigned b = 0; b < buckets; ++b) {
      if (b + kAhead < buckets) prefetch_items_of(slot.buckets()[b + kAhead]);
      visit_chain(slot.buckets() + b, visit);
    }
  }

  template <class Visit>
  static void save(const Slot& slot, unsigned field, uint32_t snapshot, Visit&& visit) {
    SegmentHeader& header = *slot.header;
    if (header.snapshot != snapshot) {
      header.snapshot = snapshot;
      header.saved = 0;
    }
    // A coarse bucket of a young segment owns the bits of all its fields.
    unsigned shift = kSegmentBucketBits - slot.bits();
    unsigned index = field >> shift;
    uint64_t mask = (~uint64_t{0} >> (64 - (1u << shift))) << (index << shift);
    if (header.saved & mask) return;
    header.saved |= mask;
    visit_chain(slot.buckets() + index, visit);
  }
  template <class Visit>
  bool walk_buckets(WalkCursor& cursor, Visit&& visit) const;
  template <class MoveBlock>
  void relocate_segment(size_t first, MoveBlock&& move_block);
  template <class MoveItem, class MoveBlock>
  static void relocate_chain(Bucket* bucket, MoveItem&& move_item, MoveBlock&& move_block);

  void make_room(uint64_t hash);
  void refine(Slot& slot);
  bool split(uint64_t hash);
  void double_directory();
  bool merge_around(uint64_t hash);
  void halve_directory();
  Item* ranked(uint64_t rank) const;

  Slot* directory_ = nullptr;
  uint64_t count_ = 0;
  size_t drained_ = 0;    // directory slots drain() has freed, counted from the end
  uint32_t deepest_ = 0;  // segments whose depth equals the directory's
  uint8_t depth_ = 0;
  uint8_t drained_buckets_ = 0;  // of the segment before those, counted from its beginning
  bool merges_paused_ = false;
};

template <class Traits>
auto HashTable<Traits>::make_segment(unsigned bits, unsigned depth) -> Slot {
  auto* buckets = static_cast<Bucket*>(allocate_aligned(bucket_bytes(bits), 64));
  std::memset(static_cast<void*>(buckets), 0, bucket_bytes(bits));
  auto* header = static_cast<SegmentHeader*>(allocate_aligned(sizeof(SegmentHeader), 64));
  *header = SegmentHeader{0, static_cast<uint8_t>(depth), 0, 0};
  return {reinterpret_cast<uintptr_t>(buckets) | bits, header};
}

template <class Traits>
void HashTable<Traits>::free_chain(Bucket* bucket) {
  if (!bucket->chained()) return;
  for (Bucket* child = bucket->child(); child;) {
    Bucket* next = child->chained() ? child->child() : nullptr;
    release(child, sizeof(Bucket));
    child = next;
  }
}

template <class Traits>
void HashTable<Traits>::free_segment(const Slot& slot) {
  for (unsigned b = 0; b < (1u << slot.bits()); ++b) free_chain(slot.buckets() + b);
  release(slot.buckets(), bucket_bytes(slot.bits()));
  release(slot.header, sizeof(SegmentHeader));
}

template <class Traits>
Position HashTable<Traits>::put(Bucket* bucket, uint8_t print, const void* item) {
  for (;; bucket = bucket->child()) {
    if (unsigned free = bucket->free_slots()) {
      auto slot = static_cast<unsigned>(__builtin_ctz(free));
      bucket->fingerprints[slot] = print;
      bucket->set_pointer(slot, item);
      return {bucket, slot};
    }
    if (bucket->chained()) continue;
    auto* child = static_cast<Bucket*>(allocate_aligned(sizeof(Bucket), 64));
    std::memset(static_cast<void*>(child), 0, sizeof(Bucket));
    constexpr unsigned kLast = kBucketSlots - 1;
    child->fingerprints[0] = bucket->fingerprints[kLast];
    child->set_pointer(0, bucket->pointer(kLast));
    bucket->fingerprints[kLast] = 0;
    bucket->set_pointer(kLast, child);
    bucket->meta |= 1;
  }
}

template <class Traits>
void HashTable<Traits>::make_room(uint64_t hash) {
  if (__builtin_expect(!directory_, 0)) {
    directory_ = static_cast<Slot*>(allocate(sizeof(Slot)));
    directory_[0] = make_segment(0, 0);
    depth_ = 0;
    deepest_ = 1;
    return;
  }
  for (;;) {
    Slot& slot = slot_of(hash);
    unsigned bits = slot.bits();
    if (__builtin_expect(slot.header->count < ((kBucketSlots * 9) << bits) / 10, 1)) return;
    if (bits < kSegmentBucketBits) {
      refine(slot);
      return;
    }
    if (!split(hash)) return;
  }
}

template <class Traits>
void HashTable<Traits>::refine(Slot& slot) {
  // A young segment has depth 0: it is the only one and the directory has one slot.
  Slot grown = make_segment(slot.bits() + 2, slot.header->depth);
  visit_segment(slot, [&](Item* item) {
    uint64_t hash = Traits::hash(item);
    put(grown.bucket(hash), fingerprint(hash), item);
  });
  grown.header->count = slot.header->count;
  grown.header->snapshot = slot.header->snapshot;
  // Each old bucket's saved bit stands at its first field value; its children inherit it. The mask
  // is kept per field value, so a coarse bucket owns all the bits of its range.
  grown.header->saved = slot.header->saved;
  free_segment(slot);
  slot = grown;
}

template <class Traits>
bool HashTable<Traits>::split(uint64_t hash) {
  Slot old = slot_of(hash);
  unsigned depth = old.header->depth;
  if (depth == depth_) {
    if (depth_ >= kDepthMax || (uint64_t{2} << depth_) > count_) return false;
    double_directory();
  }
  uint64_t prefix = prefix_of(hash, depth);
  Slot half[2] = {make_segment(kSegmentBucketBits, depth + 1),
                  make_segment(kSegmentBucketBits, depth + 1)};
  visit_segment(old, [&](Item* item) {
    uint64_t item_hash = Traits::hash(item);
    Slot& to = half[prefix_of(item_hash, depth + 1) & 1];
    put(to.bucket(item_hash), fingerprint(item_hash), item);
    ++to.header->count;
  });
  for (Slot& to : half) {
    to.header->snapshot = old.header->snapshot;
    to.header->saved = old.header->saved;
  }
  free_segment(old);
  uint64_t span = uint64_t{1} << (depth_ - depth - 1);
  uint64_t first = prefix << (depth_ - depth);
  for (uint64_t i = 0; i < span; ++i) directory_[first + i] = half[0];
  for (uint64_t i = 0; i < span; ++i) directory_[first + span + i] = half[1];
  if (depth + 1 == depth_) deepest_ += 2;
  return true;
}

template <class Traits>
void HashTable<Traits>::double_directory() {
  size_t slots = size_t{1} << depth_;
  auto* grown = static_cast<Slot*>(allocate(2 * slots * sizeof(Slot)));
  for (size_t i = 0; i < slots; ++i) grown[2 * i] = grown[2 * i + 1] = directory_[i];
  release(directory_, slots * sizeof(Slot));
  directory_ = grown;
  ++depth_;
  deepest_ = 0;
}

template <class Traits>
void HashTable<Traits>::erase(uint64_t hash, const Item* item) {
  Slot& slot = slot_of(hash);
  Bucket* bucket = slot.bucket(hash);
  uint8_t print = fingerprint(hash);
  Bucket* hole = nullptr;
  unsigned hole_slot = 0;
  Bucket* parent = nullptr;
  for (;; parent = bucket, bucket = bucket->child()) {
    for (unsigned mask = hole ? 0 : bucket->candidates(print); mask; mask &= mask - 1) {
      auto at = static_cast<unsigned>(__builtin_ctz(mask));
      if (bucket->pointer(at) == item) {
        hole = bucket;
        hole_slot = at;
        break;
      }
    }
    if (!bucket->chained()) break;
  }
  QUOLL_CHECK(hole);
  // `bucket` is the end of the chain: its last item fills the hole, so only the end has gaps.
  if (parent) {
    unsigned used = static_cast<unsigned>(~bucket->free_slots()) & 0x1FF;
    auto last = 31u - static_cast<unsigned>(__builtin_clz(used));
    if (bucket != hole || last != hole_slot) {
      hole->fingerprints[hole_slot] = bucket->fingerprints[last];
      hole->set_pointer(hole_slot, bucket->pointer(last));
    }
    bucket->fingerprints[last] = 0;
    if ((used & ~(1u << last)) == 0) {
      release(bucket, sizeof(Bucket));
      parent->meta &= static_cast<uint8_t>(~1u);
      parent->fingerprints[kBucketSlots - 1] = 0;
    }
  } else {
    hole->fingerprints[hole_slot] = 0;
  }
  --slot.header->count;
  if (--count_ == 0) {
    if (!merges_paused_) clear();
  } else if (slot.header->count < kSegmentItemsMerge / 4 && depth_ > 0 && !merges_paused_) {
    while (merge_around(hash)) {
    }
  }
}

// Joins the segment of `hash` with its sibling when both are nearly empty, and halves the
// directory when no segment needs its last bit. False when there was nothing to join.
template <class Traits>
bool HashTable<Traits>::merge_around(uint64_t hash) {
  Slot low = slot_of(hash);
  unsigned depth = low.header->depth;
  if (depth == 0) return false;
  uint64_t prefix = prefix_of(hash, depth);
  Slot high = directory_[(prefix ^ 1) << (depth_ - depth)];
  if (high.header->depth != depth) return false;
  if (low.header->count + high.header->count > kSegmentItemsMerge) return false;
  visit_segment(high, [&](Item* item) {
    uint64_t item_hash = Traits::hash(item);
    put(low.bucket(item_hash), fingerprint(item_hash), item);
  });
  low.header->count += high.header->count;
  low.header->depth = static_cast<uint8_t>(depth - 1);
  free_segment(high);
  uint64_t first = (prefix >> 1) << (depth_ - depth + 1);
  uint64_t span = uint64_t{2} << (depth_ - depth);
  for (uint64_t i = 0; i < span; ++i) directory_[first + i] = low;
  if (depth == depth_) deepest_ -= 2;
  while (deepest_ == 0) halve_directory();
  return true;
}

template <class Traits>
void HashTable<Traits>::halve_directory() {
  size_t slots = size_t{1} << (depth_ - 1);
  auto* halved = static_cast<Slot*>(allocate(slots * sizeof(Slot)));
  for (size_t i = 0; i < slots; ++i) halved[i] = directory_[2 * i];
  release(directory_, 2 * slots * sizeof(Slot));
  directory_ = halved;
  --depth_;
  for (size_t i = 0; i < slots; ++i) deepest_ += directory_[i].header->depth == depth_;
}

template <class Traits>
void HashTable<Traits>::clear() {
  if (!directory_) return;
  size_t slots = size_t{1} << depth_;
  for (size_t i = 0; i < slots - drained_;) {
    Slot slot = directory_[i];
    i += size_t{1} << (depth_ - slot.header->depth);
    free_segment(slot);
  }
  release(directory_, slots * sizeof(Slot));
  directory_ = nullptr;
  count_ = 0;
  drained_ = 0;
  drained_buckets_ = 0;
  depth_ = 0;
  deepest_ = 0;
}

template <class Traits>
template <class Take>
bool HashTable<Traits>::drain(Take&& take) {
  if (!directory_) return false;
  // From the end, so that the slots of drained segments form a tail.
  size_t slots = size_t{1} << depth_;
  size_t end = slots - drained_;
  Slot slot = directory_[end - 1];
  Bucket* bucket = slot.buckets() + drained_buckets_;
  const unsigned buckets = 1u << slot.bits();
  if (drained_buckets_ + kAhead < buckets) prefetch_items_of(bucket[kAhead]);
  visit_chain(bucket, [&](Item* item) {
    --count_;
    take(item);
  });
  free_chain(bucket);
  bucket->meta = 0;  // the chain is gone, should the table die before the segment
  if (++drained_buckets_ < buckets) return true;
  drained_buckets_ = 0;
  drained_ += size_t{1} << (depth_ - slot.header->depth);
  free_segment(slot);
  if (drained_ < slots) return true;
  release(directory_, slots * sizeof(Slot));
  directory_ = nullptr;
  drained_ = 0;
  depth_ = 0;
  deepest_ = 0;
  return false;
}

template <class Traits>
template <class Draw>
auto HashTable<Traits>::random(Draw&& draw) const -> Item* {
  constexpr int kTries = 64;       // not even half of the slots drawn are taken; then the exact way
  constexpr unsigned kSeen = 64;   // items of a cell that take part; longer chains collided
  constexpr unsigned kSlots = 18;  // hardly a chain is longer: all its items are equally likely
  if (count_ == 0) return nullptr;
  for (int i = 0; i < kTries && depth_ > 0; ++i) {
    Item* found[kSeen];
    unsigned seen = 0;
    sample(draw(), [&](Item* item) {
      if (seen < kSeen) found[seen++] = item;
    });
    if (seen == 0) continue;
    // A slot is drawn, not an item: items of sparse cells are not favoured.
    uint64_t slot = draw() % (seen > kSlots ? seen : kSlots);
    if (slot < seen) return found[slot];
  }
  return ranked(draw() % count_);
}

// The item of this rank in hash order.
template <class Traits>
auto HashTable<Traits>::ranked(uint64_t rank) const -> Item* {
  for (size_t i = 0;; i += size_t{1} << (depth_ - directory_[i].header->depth)) {
    QUOLL_CHECK(i < size_t{1} << depth_);
    const Slot& slot = directory_[i];
    if (rank >= slot.header->count) {
      rank -= slot.header->count;
      continue;
    }
    Item* found = nullptr;
    visit_segment(slot, [&](Item* item) {
      if (rank-- == 0) found = item;
    });
    return found;
  }
}

template <class Traits>
template <class Visit>
bool HashTable<Traits>::walk(WalkCursor& cursor, Visit&& visit) const {
  return walk_buckets(cursor, [&](const Slot& slot, unsigned field) {
    visit_chain(slot.buckets() + (field >> (kSegmentBucketBits - slot.bits())), visit);
  });
}

template <class Traits>
template <class Visit>
void HashTable<Traits>::visit_range(uint64_t prefix, unsigned bits, Visit&& visit) const {
  if (!directory_) return;
  uint64_t at = bits <= depth_ ? prefix << (depth_ - bits) : prefix >> (bits - depth_);
  const uint64_t end = bits <= depth_ ? (prefix + 1) << (depth_ - bits) : at + 1;
  for (bool more = true; more && at < end;) {
    const Slot& slot = directory_[at];
    const bool shared = slot.header->depth < bits;
    visit_segment(slot, [&](Item* item) {
      if (!shared || prefix_of(Traits::hash(item), bits) == prefix) more &= visit(item);
    });
    at += uint64_t{1} << (depth_ - slot.header->depth);
  }
}

template <class Traits>
template <class MoveItem, class MoveBlock>
bool HashTable<Traits>::relocate(WalkCursor& cursor, MoveItem&& move_item, MoveBlock&& move_block) {
  if (directory_ && cursor.prefix == 0 && cursor.bucket == 0)
    directory_ = static_cast<Slot*>(move_block(directory_, sizeof(Slot) << depth_));
  return walk_buckets(cursor, [&](const Slot& slot, unsigned field) {
    if (field == 0) relocate_segment(static_cast<size_t>(&slot - directory_), move_block);
    relocate_chain(slot.buckets() + (field >> (kSegmentBucketBits - slot.bits())), move_item,
                   move_block);
  });
}

// `first`: of the directory slots that name the segment.
template <class Traits>
template <class MoveBlock>
void HashTable<Traits>::relocate_segment(size_t first, MoveBlock&& move_block) {
  Slot slot = directory_[first];
  unsigned bits = slot.bits();
  slot.tagged = reinterpret_cast<uintptr_t>(move_block(slot.buckets(), bucket_bytes(bits))) | bits;
  slot.header = static_cast<SegmentHeader*>(move_block(slot.header, sizeof(SegmentHeader)));
  size_t span = size_t{1} << (depth_ - slot.header->depth);
  for (size_t i = 0; i < span; ++i) directory_[first + i] = slot;
}

template <class Traits>
template <class MoveItem, class MoveBlock>
void HashTable<Traits>::relocate_chain(Bucket* bucket, MoveItem&& move_item,
                                       MoveBlock&& move_block) {
  for (;;) {
    for (unsigned i = 0; i < bucket->slots(); ++i)
      if (bucket->fingerprints[i]) base::prefetch(bucket->pointer(i));
    for (unsigned i = 0; i < bucket->slots(); ++i) {
      if (!bucket->fingerprints[i]) continue;
      auto* item = static_cast<Item*>(bucket->pointer(i));
      if (Item* moved = move_item(item); moved != item) bucket->set_pointer(i, moved);
    }
    if (!bucket->chained()) return;
    auto* child = static_cast<Bucket*>(move_block(bucket->child(), sizeof(Bucket)));
    bucket->set_pointer(kBucketSlots - 1, child);
    bucket = child;
  }
}

// Visits (slot, bucket field) for every segment under the cursor's prefix.
template <class Traits>
template <class Visit>
bool HashTable<Traits>::walk_buckets(WalkCursor& cursor, Visit&& visit) const {
  if (!directory_) return false;
  QUOLL_CHECK(cursor.depth <= kDepthMax && cursor.bucket < kSegmentBuckets);
  // Take over the depth of the segment at the cursor: at bucket 0 always (a fresh segment), and
  // when the directory has become shallower than the cursor.
  uint64_t first = cursor.depth <= depth_ ? cursor.prefix << (depth_ - cursor.depth)
                                          : cursor.prefix >> (cursor.depth - depth_);
  if (first >= (uint64_t{1} << depth_)) return false;
  unsigned segment_depth = directory_[first].header->depth;
  if (cursor.bucket == 0 || segment_depth < cursor.depth) {
    uint64_t all = first >> (depth_ - segment_depth);
    // A merged segment restarts: its other half may not have been visited up to this bucket.
    if (segment_depth < cursor.depth) cursor.bucket = 0;
    cursor.prefix = all;
    cursor.depth = segment_depth;
    first = all << (depth_ - segment_depth);
  }
  uint64_t end = first + (uint64_t{1} << (depth_ - cursor.depth));
  unsigned next = kSegmentBuckets;
  for (uint64_t i = first; i < end;) {
    const Slot& slot = directory_[i];
    unsigned shift = kSegmentBucketBits - slot.bits();
    visit(slot, cursor.bucket);
    next = ((cursor.bucket >> shift) + 1) << shift;
    i += uint64_t{1} << (depth_ - slot.header->depth);
  }
  cursor.bucket = next;
  if (cursor.bucket < kSegmentBuckets) return true;
  cursor.bucket = 0;
  ++cursor.prefix;
  return cursor.prefix < (uint64_t{1} << cursor.depth);
}

}  // namespace quoll::base
