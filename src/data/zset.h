// ZSet: members with scores, ordered by score, then by the member's bytes. Two forms, told apart by
// the low bit of the word:
//
//   0 or block | 0   listpack   member, score, member, score, ... in order (listpack.h)
//   index | 1        skiplist   ScoredIndex: a hash table by member and a ranked tree by order over
//                               the same ScoredMember blocks. Named as clients know it.
//
// Scores in the listpack are what Redis writes there: integers where they are whole and within
// +-(2^63-1)/2, else "%.17g" text.
// Conversion points are those of Redis 7.4; a sorted set never goes back by itself (see pack()).
//
// Ranges, whatever they are stated by, are ranges of ranks: rank(boundary) of both ends, then
// visit() or take().
//
// Cost: listpack O(n), n being bounded by Packing. Skiplist O(1) by member, O(log n) by order;
// about 73 bytes per 24-byte member: 48 for its block, 12.5 in the table, 12 in the tree.
#pragma once

#include <optional>

#include "base/hash_table.h"
#include "data/listpack.h"
#include "data/owned_word.h"
#include "data/packing.h"
#include "data/ranked_tree.h"
#include "data/type.h"

namespace quoll::data {

struct ScoredMemberTraits {
  using Item = ScoredMember;
  static constexpr unsigned kSkipBits = 0;
  static uint64_t hash(const ScoredMember* member) { return base::hash_key(member->member()); }
};

// The large form.
struct ScoredIndex {
  using Table = base::HashTable<ScoredMemberTraits>;
  Table table;
  RankedTree tree;
  size_t members_bytes = 0;  // allocator bytes of all ScoredMember blocks

  ScoredMember* find(uint64_t hash, base::Bytes member) const {
    return table.find(hash, [&](const ScoredMember* candidate) {
      return base::equal_short(candidate->member(), member);
    });
  }
};

// When a score is written, and how: the options of ZADD.
struct ScoreRule {
  bool only_new = false;      // NX
  bool only_old = false;      // XX
  bool only_greater = false;  // GT: an old score only grows
  bool only_less = false;     // LT
  bool increase = false;      // INCR: adds to the old score, if any
};

enum class ScoreOutcome : uint8_t { added, updated, same, refused, not_a_number };

struct ScoreResult {
  ScoreOutcome outcome;
  double score;  // the member's score afterwards; meaningless when refused or not a number
};

struct RankAndScore {
  uint64_t rank;
  double score;
};

class ZSet : public OwnedWord<ZSet> {
 public:
  static constexpr Type kType = Type::zset;

  ZSet() = default;
  ZSet(ZSet&&) noexcept = default;
  ZSet& operator=(ZSet&&) noexcept = default;
  ~ZSet() {
    if (word_) destroy();
  }
  // A valid listpack of pairs in order, without duplicates.
  static ZSet of_listpack(Listpack pairs);

  uint64_t size() const { return large_form() ? index().tree.size() : packed().count() / 2; }
  base::Bytes encoding_name() const { return large_form() ? "skiplist" : "listpack"; }
  size_t footprint(size_t samples) const;
  ZSet copy() const;
  bool large() const;
  bool drain(size_t items);
  bool relocate(base::Compaction& blocks, RelocationCursor& at);

  bool large_form() const { return word_ & kLargeTag; }
  ListpackView packed() const { return ListpackView(Listpack::bytes_of(block())); }
  const ScoredIndex& index() const { return *index_of(word_); }

  std::optional<double> score(base::Bytes member) const;
  std::optional<RankAndScore> rank_of(base::Bytes member) const;
  // How many members stand before the boundary.
  uint64_t rank(const ScoreBoundary& boundary) const;
  uint64_t rank(const LexBoundary& boundary) const;

  // Calls visit(const PackedItem&, double) for `count` members from `rank` on (reverse: downwards).
  // The range must lie inside.
  template <class Visit>
  void visit(uint64_t rank, uint64_t count, bool reverse, Visit&& visit) const;
  template <class Visit>
  void for_each(Visit&& visit) const {
    this->visit(0, size(), false, visit);
  }
  // A step of an iteration in hash order; returns the next cursor, 0 at the end. Any number is a
  // valid cursor. The listpack form is visited whole.
  template <class Visit>
  uint64_t scan(uint64_t cursor, uint64_t count, Visit&& visit) const;

  // Chooses the form for `members` more of them, the first being `first`, as ZADD does before it
  // adds any.
  void expect(base::Bytes first, size_t members, const Packing& packing);
  // `member` must not point into this sorted set; `score` is not NaN.
  ScoreResult put(base::Bytes member, double score, const ScoreRule& rule, const Packing& packing);
  bool erase(base::Bytes member);  // false: was not there
  // Removes `count` members from `rank` on, each of which `told` is given before it goes.
  template <class Told>
  void take(uint64_t rank, uint64_t count, Told&& told);
  // The listpack form if `packing` allows it: for results that were collected in the large form.
  void pack(const Packing& packing);
  void make_large();
  // For ZSetBuilder: the large form, in which table and tree may differ for a while.
  ScoredIndex& open_index() { return *index_of(word_); }

 private:
  static constexpr uintptr_t kLargeTag = 1;

  char* block() const { return reinterpret_cast<char*>(word_); }
  static ScoredIndex* index_of(uintptr_t word) {
    return reinterpret_cast<ScoredIndex*>(word & ~kLargeTag);
  }
  Listpack take_pairs() {
    return Listpack::adopt(reinterpret_cast<char*>(std::exchange(word_, 0)));
  }
  void hold(Listpack pairs) { word_ = reinterpret_cast<uintptr_t>(pairs.detach()); }

  struct Place {
    ListpackView::Position member = ListpackView::kNone;
    ListpackView::Position score = ListpackView::kNone;
    uint64_t rank = 0;
  };
  Place find_packed(base::Bytes member) const;
  static double score_at(const ListpackView& pairs, ListpackView::Position position);
  template <class Boundary>
  uint64_t rank_packed(const Boundary& boundary) const;

  void destroy();
  void insert_packed(base::Bytes member, double score);
  ScoreResult put_packed(base::Bytes member, double score, const ScoreRule& rule,
                         const Packing& packing);
  ScoreResult put_large(base::Bytes member, double score, const ScoreRule& rule);
  static void add(ScoredIndex& index, uint64_t hash, base::Bytes member, double score);
};

template <class Visit>
void ZSet::visit(uint64_t rank, uint64_t count, bool reverse, Visit&& visit) const {
  if (count == 0) return;
  if (large_form()) {
    index().tree.visit(rank, count, reverse, [&](const ScoredMember* member) {
      visit(PackedItem::of_bytes(member->member()), member->score());
    });
    return;
  }
  ListpackView pairs = packed();
  auto at = pairs.at(static_cast<int64_t>(2 * rank));
  for (;; --count) {
    QUOLL_CHECK(at != ListpackView::kNone);
    auto score = pairs.next(at);
    visit(pairs.item(at), score_at(pairs, score));
    if (count == 1) return;
    at = reverse ? pairs.previous(pairs.previous(at)) : pairs.next(score);
  }
}

template <class Told>
void ZSet::take(uint64_t rank, uint64_t count, Told&& told) {
  if (count == 0) return;
  if (!large_form()) {
    visit(rank, count, false, told);
    Listpack pairs = take_pairs();
    pairs.erase_range(static_cast<int64_t>(2 * rank), 2 * count);
    return hold(std::move(pairs));
  }
  ScoredIndex& index = *index_of(word_);
  index.tree.take(rank, count, [&](ScoredMember* member) {
    told(PackedItem::of_bytes(member->member()), member->score());
    index.table.erase(ScoredMemberTraits::hash(member), member);
    index.members_bytes -= member->footprint();
    ScoredMember::destroy(member);
  });
}

// The place of a walk through the table in one number: prefix | depth 5 bits | bucket 6 bits.
uint64_t pack_cursor(const base::WalkCursor& cursor);
base::WalkCursor unpack_cursor(uint64_t packed);

template <class Visit>
uint64_t ZSet::scan(uint64_t cursor, uint64_t count, Visit&& visit) const {
  if (!large_form()) {
    for_each(visit);
    return 0;
  }
  base::WalkCursor at = unpack_cursor(cursor);
  uint64_t seen = 0;
  do {
    bool more = index().table.walk(at, [&](const ScoredMember* member) {
      ++seen;
      visit(PackedItem::of_bytes(member->member()), member->score());
    });
    if (!more) return 0;
  } while (seen < count);
  return pack_cursor(at);
}

}  // namespace quoll::data
