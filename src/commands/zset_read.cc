// Commands that look at one sorted set by member.
#include <algorithm>
#include <set>
#include <vector>

#include "base/glob.h"
#include "base/numbers.h"
#include "commands/scan_arguments.h"
#include "commands/zset_family.h"
#include "server/server.h"

namespace quoll::commands::zsets {
namespace {

void reply_score(Call& call, const std::optional<double>& score) {
  score ? call.reply.real(*score) : call.reply.null();
}

void rank_generic(Call& call, bool reverse) {
  if (call.argc() > 4) {
    return call.reply.error("ERR wrong number of arguments for '" +
                            std::string(call.command.spec->name) + "' command");
  }
  bool with_score = call.argc() == 4;
  if (with_score && !base::equals_ignoring_case(call.arg(3), "withscore"))
    return call.syntax_error();
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  std::optional<data::RankAndScore> found;
  uint64_t size = 0;
  if (entry) {
    auto zset = entry->value<ZSet>();
    found = zset->rank_of(call.arg(2));
    size = zset->size();
  }
  if (!found) return with_score ? call.reply.null_array() : call.reply.null();
  if (with_score) call.reply.array(2);
  call.reply.integer(static_cast<int64_t>(reverse ? size - 1 - found->rank : found->rank));
  if (with_score) call.reply.real(found->score);
}

template <class Range>
void count_generic(Call& call, const store::Entry* entry, const Range& range) {
  if (refused(call, entry)) return;
  uint64_t count = entry ? ranks_of(*entry->value<ZSet>(), range).count : 0;
  call.reply.integer(static_cast<int64_t>(count));
}

// One member by its rank, told to `visit`.
template <class Visit>
void visit_rank(const ZSet& zset, uint64_t rank, Visit&& visit) {
  zset.visit(rank, 1, false, visit);
}

// ZRANDMEMBER with a negative count: drawn one by one, so members may repeat.
void random_repeated(Call& call, const ZSet& zset, uint64_t count, bool scores) {
  host::Random& random = call.server.host().random;
  reply_head(call, count, scores);
  for (uint64_t i = 0; i < count; ++i) {
    visit_rank(zset, random.draw() % zset.size(), [&](const PackedItem& member, double score) {
      reply_element(call, member, score, scores);
    });
    if (i % server::kRepliesBetweenLooks == 0 && call.session.reply_in_vain()) return;
  }
}

// The ranks drawn so far: a bit for each member, or only those drawn when these are few.
class DrawnRanks {
 public:
  DrawnRanks(uint64_t size, uint64_t count) {
    constexpr uint64_t kSparse = 64;
    if (count > size / kSparse) bits_.resize(size);
  }
  // False: it had been drawn.
  bool insert(uint64_t rank) {
    if (bits_.empty()) return few_.insert(rank).second;
    bool fresh = !bits_[rank];
    bits_[rank] = true;
    return fresh;
  }

 private:
  std::vector<bool> bits_;
  std::set<uint64_t> few_;
};

// With a positive count: distinct ranks, drawn by Floyd's method (Bentley, Floyd 1987), then
// shuffled.
void random_distinct(Call& call, const ZSet& zset, uint64_t count, bool scores) {
  uint64_t size = zset.size();
  reply_head(call, std::min(count, size), scores);
  auto reply = [&](const PackedItem& member, double score) {
    reply_element(call, member, score, scores);
  };
  if (count >= size) return zset.visit(size - 1, size, true, reply);
  host::Random& random = call.server.host().random;
  DrawnRanks drawn(size, count);
  std::vector<uint64_t> ranks;
  for (uint64_t top = size - count; top < size; ++top) {
    uint64_t rank = random.draw() % (top + 1);
    if (!drawn.insert(rank)) drawn.insert(rank = top);
    ranks.push_back(rank);
    std::swap(ranks.back(), ranks[random.draw() % ranks.size()]);
  }
  for (uint64_t rank : ranks) visit_rank(zset, rank, reply);
}

void random_count(Call& call, int64_t count, bool scores) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  if (!entry || count == 0) return call.reply.array(0);
  auto zset = entry->value<ZSet>();
  if (count < 0) return random_repeated(call, *zset, static_cast<uint64_t>(-count), scores);
  random_distinct(call, *zset, static_cast<uint64_t>(count), scores);
}

}  // namespace

void zscore(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  if (!entry) return call.reply.null();
  reply_score(call, entry->value<ZSet>()->score(call.arg(2)));
}

void zmscore(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  call.reply.array(call.argc() - 2);
  for (size_t i = 2; i < call.argc(); ++i) {
    if (!entry) {
      call.reply.null();
    } else {
      reply_score(call, entry->value<ZSet>()->score(call.arg(i)));
    }
  }
}

void zcard(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  call.reply.integer(entry ? static_cast<int64_t>(entry->value<ZSet>()->size()) : 0);
}

void zcount(Call& call) {
  data::ScoreRange range;
  if (!parse_score_range(call.arg(2), call.arg(3), range)) return call.reply.error(kNotScore);
  count_generic(call, call.find(1), range);
}

void zlexcount(Call& call) {
  data::LexRange range;
  if (!parse_lex_range(call.arg(2), call.arg(3), range)) return call.reply.error(kNotLex);
  count_generic(call, call.find(1), range);
}

void zrank(Call& call) { rank_generic(call, false); }
void zrevrank(Call& call) { rank_generic(call, true); }

void zrandmember(Call& call) {
  if (call.argc() > 2) {
    int64_t count;
    if (!call.integer(2, count)) return;
    if (count == INT64_MIN) {
      return call.reply.error(
          "ERR value is out of range, value must between -9223372036854775807 and "
          "9223372036854775807");
    }
    bool scores = call.argc() == 4 && base::equals_ignoring_case(call.arg(3), "withscores");
    if (call.argc() > 3 && !scores) return call.syntax_error();
    constexpr int64_t kPairsMax = INT64_MAX / 2;
    if (scores && (count < -kPairsMax || count > kPairsMax))
      return call.reply.error("ERR value is out of range");
    return random_count(call, count, scores);
  }
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  if (!entry) return call.reply.null();
  auto zset = entry->value<ZSet>();
  visit_rank(*zset, call.server.host().random.draw() % zset->size(),
             [&](const PackedItem& member, double) { reply_member(call, member); });
}

// Packed sorted sets come whole in one step, as in Redis; scores there are the packed texts.
void zscan(Call& call) {
  uint64_t cursor;
  if (!parse_scan_cursor(call.arg(2), cursor)) return call.reply.error("ERR invalid cursor");
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  ScanArguments options;
  if (entry && !options.parse(call, 3)) return;
  if (!entry) {
    reply_scan_cursor(call, 0);
    return call.reply.array(0);
  }
  bool all = options.pattern == "*";
  auto wanted = [&](const PackedItem& member) {
    char text[base::kIntTextMax];
    return all || base::glob_match(options.pattern, member.text(text));
  };
  auto zset = entry->value<ZSet>();
  std::vector<PackedItem> found;
  std::vector<double> scores;
  uint64_t next = 0;
  if (zset->large_form()) {
    next = zset->scan(cursor, static_cast<uint64_t>(options.count),
                      [&](const PackedItem& member, double score) {
                        if (!wanted(member)) return;
                        found.push_back(member);
                        scores.push_back(score);
                      });
  } else {
    data::ListpackView pairs = zset->packed();
    for (auto at = pairs.first(); at != data::ListpackView::kNone;) {
      PackedItem member = pairs.item(at);
      at = pairs.next(at);
      if (wanted(member)) found.insert(found.end(), {member, pairs.item(at)});
      at = pairs.next(at);
    }
  }
  reply_scan_cursor(call, next);
  call.reply.array(found.size() + scores.size());
  for (size_t i = 0; i < found.size(); ++i) {
    reply_member(call, found[i]);
    if (scores.empty()) continue;
    char text[base::kDoubleTextMax];
    call.reply.bulk({text, base::format_double(scores[i], text)});
  }
}

}  // namespace quoll::commands::zsets
