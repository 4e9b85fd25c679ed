#include "data/zset.h"

#include <cmath>
#include <new>

#include "base/numbers.h"
#include "data/relocation.h"

namespace quoll::data {

namespace {

// The text of a score in a listpack; whole numbers there become integers by themselves. Whole means
// to Redis: within half the range of 64 bits. -0 loses its sign so, as it does there.
size_t format_score(double score, char* out) {
  constexpr auto kWholeMax = static_cast<double>(INT64_MAX / 2);
  if (score >= -kWholeMax && score <= kWholeMax) {
    auto whole = static_cast<int64_t>(score);
    if (static_cast<double>(whole) == score) return base::format_int(whole, out);
  }
  return base::format_double(score, out);
}

// What a rule makes of an old score and the given one.
ScoreResult judge(double old, double score, const ScoreRule& rule) {
  if (rule.only_new) return {ScoreOutcome::refused, old};
  if (rule.increase) score += old;
  if (std::isnan(score)) return {ScoreOutcome::not_a_number, old};
  if ((rule.only_less && score >= old) || (rule.only_greater && score <= old))
    return {ScoreOutcome::refused, old};
  return {score == old ? ScoreOutcome::same : ScoreOutcome::updated, score};
}

}  // namespace

uint64_t pack_cursor(const base::WalkCursor& cursor) {
  return cursor.bucket | uint64_t{cursor.depth} << 6 | cursor.prefix << 11;
}

base::WalkCursor unpack_cursor(uint64_t packed) {
  base::WalkCursor cursor;
  cursor.bucket = packed & 63;
  cursor.depth = packed >> 6 & 31;
  cursor.prefix = packed >> 11 & ((uint64_t{1} << cursor.depth) - 1);
  return cursor;
}

ZSet ZSet::of_listpack(Listpack pairs) {
  ZSet zset;
  zset.hold(std::move(pairs));
  return zset;
}

void ZSet::destroy() {
  if (!large_form()) {
    take_pairs();
    return;
  }
  while (drain(UINT64_MAX)) {
  }
}

bool ZSet::large() const { return large_form() && index().tree.size() > kFreedAtOnceMax; }

// The members go with the tree; what is left is the table's own memory.
bool ZSet::drain(size_t items) {
  if (!large_form()) {
    take_pairs();
    return false;
  }
  ScoredIndex* index = index_of(word_);
  size_t freed = 0;
  auto free_member = [&](ScoredMember* member) {
    ++freed;
    ScoredMember::destroy(member);
  };
  while (freed < items && index->tree.drain(free_member)) {
  }
  if (index->tree.size() > 0) return true;
  while (freed < items && index->table.drain([&](ScoredMember*) { ++freed; })) {
  }
  if (freed >= items) return true;
  index->~ScoredIndex();
  base::release(index, sizeof(ScoredIndex));
  word_ = 0;
  return false;
}

// First table and members, then the tree, which learns where its members went.
bool ZSet::relocate(base::Compaction& blocks, RelocationCursor& at) {
  if (!large_form()) {
    char* pairs = block();
    if (pairs && move_packed(blocks, pairs, Listpack::bytes_of(pairs)))
      word_ = reinterpret_cast<uintptr_t>(pairs);
    return false;
  }
  ScoredIndex* index = index_of(word_);
  if (at.table_done) return index->tree.relocate(blocks, at.index);
  if (at.at_table_start() && blocks.move(index, sizeof(ScoredIndex)))
    word_ = reinterpret_cast<uintptr_t>(index) | kLargeTag;
  auto move_member = [&](ScoredMember* member) {
    void* copy = blocks.copy_if_sparse(member, member->block_bytes());
    if (!copy) return member;
    auto* there = static_cast<ScoredMember*>(copy);
    index->tree.replace(member, there);
    blocks.drop(member, member->block_bytes());
    return there;
  };
  auto move_block = [&](void* block, size_t bytes) {
    blocks.move(block, bytes);
    return block;
  };
  at.table_done = !index->table.relocate(at.table, move_member, move_block);
  return true;
}

size_t ZSet::footprint(size_t) const {
  if (!word_) return 0;
  if (!large_form()) return base::usable_size(packed().size_bytes());
  // The table grows by whole segments: 12.5 bytes per member over a doubling.
  const ScoredIndex& all = index();
  return base::usable_size(sizeof(ScoredIndex)) + all.members_bytes + all.tree.footprint() +
         all.tree.size() * 25 / 2;
}

ZSet ZSet::copy() const {
  ZSet copy;
  if (!large_form()) {
    if (word_) copy.hold(Listpack::copy_of(packed().bytes()));
    return copy;
  }
  copy.make_large();
  ScoredIndex& to = *index_of(copy.word_);
  index().tree.visit(0, size(), false, [&](const ScoredMember* member) {
    add(to, ScoredMemberTraits::hash(member), member->member(), member->score());
  });
  return copy;
}

// --------------------------------------------------------------------------------------- reading

double ZSet::score_at(const ListpackView& pairs, ListpackView::Position position) {
  PackedItem item = pairs.item(position);
  if (item.is_integer) return static_cast<double>(item.integer);
  double score = 0;
  QUOLL_CHECK(base::parse_double(item.bytes, score));
  return score;
}

auto ZSet::find_packed(base::Bytes member) const -> Place {
  ListpackView pairs = packed();
  Place place;
  place.member = pairs.find(pairs.first(), member, 1);
  if (place.member != ListpackView::kNone) place.score = pairs.next(place.member);
  return place;
}

std::optional<double> ZSet::score(base::Bytes member) const {
  if (large_form()) {
    const ScoredMember* found = index().find(base::hash_key(member), member);
    return found ? std::optional(found->score()) : std::nullopt;
  }
  Place place = find_packed(member);
  if (place.member == ListpackView::kNone) return std::nullopt;
  return score_at(packed(), place.score);
}

std::optional<RankAndScore> ZSet::rank_of(base::Bytes member) const {
  if (large_form()) {
    const ScoredMember* found = index().find(base::hash_key(member), member);
    if (!found) return std::nullopt;
    return RankAndScore{index().tree.rank_of(found), found->score()};
  }
  ListpackView pairs = packed();
  uint64_t rank = 0;
  for (auto at = pairs.first(); at != ListpackView::kNone; ++rank) {
    auto score = pairs.next(at);
    if (pairs.equals(at, member)) return RankAndScore{rank, score_at(pairs, score)};
    at = pairs.next(score);
  }
  return std::nullopt;
}

template <class Boundary>
uint64_t ZSet::rank_packed(const Boundary& boundary) const {
  ListpackView pairs = packed();
  uint64_t rank = 0;
  for (auto at = pairs.first(); at != ListpackView::kNone; ++rank) {
    auto score = pairs.next(at);
    char buffer[base::kIntTextMax];
    if (!boundary.before(Boundary::kByScore ? score_at(pairs, score) : 0,
                         [&] { return pairs.item(at).text(buffer); }))
      break;
    at = pairs.next(score);
  }
  return rank;
}

uint64_t ZSet::rank(const ScoreBoundary& boundary) const {
  return large_form() ? index().tree.rank(boundary) : rank_packed(boundary);
}

uint64_t ZSet::rank(const LexBoundary& boundary) const {
  return large_form() ? index().tree.rank(boundary) : rank_packed(boundary);
}

// --------------------------------------------------------------------------------------- changing

void ZSet::expect(base::Bytes first, size_t members, const Packing& packing) {
  if (large_form()) return;
  if (members > packing.zset_entries || (word_ == 0 && first.size() > packing.zset_value_bytes))
    make_large();
}

ScoreResult ZSet::put(base::Bytes member, double score, const ScoreRule& rule,
                      const Packing& packing) {
  return large_form() ? put_large(member, score, rule) : put_packed(member, score, rule, packing);
}

void ZSet::add(ScoredIndex& index, uint64_t hash, base::Bytes member, double score) {
  ScoredMember* made = ScoredMember::make(member, score);
  index.table.insert(hash, made);
  index.tree.insert(made);
  index.members_bytes += made->footprint();
}

ScoreResult ZSet::put_large(base::Bytes member, double score, const ScoreRule& rule) {
  ScoredIndex& index = *index_of(word_);
  uint64_t hash = base::hash_key(member);
  ScoredMember* found = index.find(hash, member);
  if (found) {
    ScoreResult result = judge(found->score(), score, rule);
    if (result.outcome == ScoreOutcome::updated) index.tree.rescore(found, result.score);
    return result;
  }
  if (rule.only_old) return {ScoreOutcome::refused, 0};
  add(index, hash, member, score);
  return {ScoreOutcome::added, score};
}

ScoreResult ZSet::put_packed(base::Bytes member, double score, const ScoreRule& rule,
                             const Packing& packing) {
  Place place = find_packed(member);
  if (place.member != ListpackView::kNone) {
    ScoreResult result = judge(score_at(packed(), place.score), score, rule);
    if (result.outcome != ScoreOutcome::updated) return result;
    Listpack pairs = take_pairs();
    pairs.erase(place.member, 2);
    hold(std::move(pairs));
    insert_packed(member, result.score);
    return result;
  }
  if (rule.only_old) return {ScoreOutcome::refused, 0};
  Listpack pairs = take_pairs();
  bool fits = pairs.count() / 2 < packing.zset_entries &&
              member.size() <= packing.zset_value_bytes &&
              pairs.fits(member.size() + base::kDoubleTextMax, 2);
  hold(std::move(pairs));
  if (!fits) {
    make_large();
    add(*index_of(word_), base::hash_key(member), member, score);
  } else {
    insert_packed(member, score);
  }
  return {ScoreOutcome::added, score};
}

// The room for it was made sure of.
void ZSet::insert_packed(base::Bytes member, double score) {
  char text[base::kDoubleTextMax];
  base::Bytes pair[] = {member, {text, format_score(score, text)}};
  Listpack pairs = take_pairs();
  ListpackView view = pairs.view();
  ListpackView::Position at = view.first();
  for (; at != ListpackView::kNone;) {
    auto score_place = view.next(at);
    double other = score_at(view, score_place);
    char buffer[base::kIntTextMax];
    if (other > score || (other == score && member < view.item(at).text(buffer))) break;
    at = view.next(score_place);
  }
  bool done = at == ListpackView::kNone ? pairs.append(pair)
                                        : pairs.insert_before(at, pair) != Listpack::kNone;
  QUOLL_CHECK(done);
  hold(std::move(pairs));
}

bool ZSet::erase(base::Bytes member) {
  if (!large_form()) {
    Place place = find_packed(member);
    if (place.member == ListpackView::kNone) return false;
    Listpack pairs = take_pairs();
    pairs.erase(place.member, 2);
    hold(std::move(pairs));
    return true;
  }
  ScoredIndex& index = *index_of(word_);
  uint64_t hash = base::hash_key(member);
  ScoredMember* found = index.find(hash, member);
  if (!found) return false;
  index.tree.erase(found);
  index.table.erase(hash, found);
  index.members_bytes -= found->footprint();
  ScoredMember::destroy(found);
  return true;
}

void ZSet::make_large() {
  if (large_form()) return;
  Listpack pairs = take_pairs();
  auto* index = new (base::allocate(sizeof(ScoredIndex))) ScoredIndex();
  word_ = reinterpret_cast<uintptr_t>(index) | kLargeTag;
  ListpackView view = pairs.view();
  for (auto at = view.first(); at != ListpackView::kNone;) {
    auto score = view.next(at);
    char buffer[base::kIntTextMax];
    base::Bytes member = view.item(at).text(buffer);
    add(*index, base::hash_key(member), member, score_at(view, score));
    at = view.next(score);
  }
}

void ZSet::pack(const Packing& packing) {
  if (!large_form() || size() > packing.zset_entries) return;
  bool fits = true;
  size_t bytes = 0;
  for_each([&](const PackedItem& member, double) {
    fits &= member.bytes.size() <= packing.zset_value_bytes;
    bytes += member.bytes.size();
  });
  Listpack pairs;
  if (!fits || !pairs.fits(bytes + size() * base::kDoubleTextMax, 2 * size())) return;
  for_each([&](const PackedItem& member, double score) {
    char text[base::kDoubleTextMax];
    base::Bytes pair[] = {member.bytes, {text, format_score(score, text)}};
    QUOLL_CHECK(pairs.append(pair));
  });
  destroy();
  hold(std::move(pairs));
}

}  // namespace quoll::data
