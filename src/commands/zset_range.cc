// Commands about ranges: by rank, by score, by the members' bytes.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/numbers.h"
#include "base/text.h"
#include "commands/zset_family.h"
#include "data/zset_builder.h"
#include "server/server.h"

namespace quoll::commands::zsets {
namespace {

using data::LexLimit;
using data::LexRange;
using data::ScoreLimit;
using data::ScoreRange;

// What strtod makes of the text up to its first NUL; nothing at all is 0, as Redis has it.
bool parse_loose_double(Bytes text, double& value) {
  if (base::parse_double(text, value)) return true;
  std::string copy(text);
  char* end = nullptr;
  value = std::strtod(copy.c_str(), &end);
  return *end == '\0' && !std::isnan(value);
}

bool parse_score_limit(Bytes text, ScoreLimit& limit) {
  limit.exclusive = !text.empty() && text[0] == '(';
  if (limit.exclusive) text.remove_prefix(1);
  return parse_loose_double(text, limit.score);
}

bool parse_lex_limit(Bytes text, LexLimit& limit) {
  if (text.empty()) return false;
  Bytes rest = text.substr(1);
  switch (text[0]) {
    case '-':
    case '+':
      // Both ends are open: "-" to "-" holds nothing.
      limit = {text[0] == '-' ? LexLimit::Kind::least : LexLimit::Kind::greatest, {}, true};
      return rest.empty() || rest[0] == '\0';
    case '[':
    case '(':
      limit = {LexLimit::Kind::member, rest, text[0] == '('};
      return true;
    default:
      return false;
  }
}

enum class By : uint8_t { any, rank, score, lex };
enum class Direction : uint8_t { any, forward, reverse };

// The arguments of one range command, resolved step by step as Redis resolves them.
struct RangeQuery {
  By by;
  Direction direction;
  bool stores = false;
  bool with_scores = false;
  int64_t offset = 0;
  int64_t limit = -1;
  int64_t start = 0, stop = 0;
  ScoreRange scores = {};
  LexRange lex = {};

  bool reverse() const { return direction == Direction::reverse; }

  // `key` is the argument of the source key. False with the error replied.
  bool parse(Call& call, size_t key) {
    for (size_t i = key + 3; i < call.argc(); ++i)
      if (!take_option(call, i)) return false;
    if (direction == Direction::any) direction = Direction::forward;
    if (by == By::any) by = By::rank;
    if (limit != -1 && by == By::rank)
      return fail(call,
                  "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or "
                  "BYLEX");
    if (with_scores && by == By::lex)
      return fail(call, "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
    size_t low = key + 1;
    size_t high = key + 2;
    if (reverse() && by != By::rank) std::swap(low, high);
    switch (by) {
      case By::score:
        return parse_score_range(call.arg(low), call.arg(high), scores) || fail(call, kNotScore);
      case By::lex:
        return parse_lex_range(call.arg(low), call.arg(high), lex) || fail(call, kNotLex);
      default:
        return call.integer(low, start) && call.integer(high, stop);
    }
  }

  // Counted in the direction of the query: `first` is the first member to be told.
  Ranks ranks(const ZSet& zset) const {
    uint64_t size = zset.size();
    if (by == By::rank) {
      Ranks found = ranks_of(zset, start, stop);
      if (reverse() && found.count > 0) found.first = size - 1 - found.first;
      return found;
    }
    Ranks found = by == By::score ? ranks_of(zset, scores) : ranks_of(zset, lex);
    if (offset < 0 || static_cast<uint64_t>(offset) >= found.count) return {};
    auto skipped = static_cast<uint64_t>(offset);
    uint64_t first = reverse() ? found.first + found.count - 1 - skipped : found.first + skipped;
    uint64_t count = found.count - skipped;
    if (limit >= 0) count = std::min(count, static_cast<uint64_t>(limit));
    return {first, count};
  }

 private:
  bool take_option(Call& call, size_t& i) {
    auto is = [&](Bytes name) { return base::equals_ignoring_case(call.arg(i), name); };
    if (!stores && is("withscores")) return with_scores = true;
    if (is("limit") && call.argc() - i > 2) {
      i += 2;
      return call.integer(i - 1, offset) && call.integer(i, limit);
    }
    if (direction == Direction::any && is("rev")) {
      direction = Direction::reverse;
    } else if (by == By::any && is("bylex")) {
      by = By::lex;
    } else if (by == By::any && is("byscore")) {
      by = By::score;
    } else {
      return fail(call, server::errors::kSyntax);
    }
    return true;
  }
  static bool fail(Call& call, Bytes error) {
    call.reply.error(error);
    return false;
  }
};

void range_generic(Call& call, By by, Direction direction) {
  RangeQuery query{.by = by, .direction = direction};
  if (!query.parse(call, 1)) return;
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  if (!entry) return call.reply.array(0);
  auto zset = entry->value<ZSet>();
  Ranks found = query.ranks(*zset);
  bool scores = query.with_scores;
  reply_head(call, found.count, scores);
  zset->visit(
      found.first, found.count, query.reverse(),
      [&](const PackedItem& member, double score) { reply_element(call, member, score, scores); });
}

// ZREMRANGEBY* behind its arguments. `range` is what ranks_of() takes.
template <class... Range>
void remove_range(Call& call, const store::Event& event, const Range&... range) {
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  if (!edit.found()) return call.reply.integer(0);
  ZSet& zset = edit.value<ZSet>();
  Ranks found = ranks_of(zset, range...);
  if (found.count > 0) {
    zset.take(found.first, found.count, [](const PackedItem&, double) {});
    edit.done(event);
    edit.erase_if_empty();
  }
  call.reply.integer(static_cast<int64_t>(found.count));
}

}  // namespace

bool parse_score_range(Bytes low, Bytes high, ScoreRange& range) {
  return parse_score_limit(low, range.low) && parse_score_limit(high, range.high);
}

bool parse_lex_range(Bytes low, Bytes high, LexRange& range) {
  return parse_lex_limit(low, range.low) && parse_lex_limit(high, range.high);
}

Ranks ranks_of(const ZSet& zset, const ScoreRange& range) {
  if (range.empty()) return {};
  uint64_t first = zset.rank(data::ScoreBoundary::low(range.low));
  uint64_t last = zset.rank(data::ScoreBoundary::high(range.high));
  return {first, last - first};
}

Ranks ranks_of(const ZSet& zset, const LexRange& range) {
  if (range.empty()) return {};
  uint64_t first = zset.rank(data::LexBoundary::low(range.low));
  uint64_t last = zset.rank(data::LexBoundary::high(range.high));
  return {first,
          last > first ? last - first : 0};  // members of several scores follow no order here
}

Ranks ranks_of(const ZSet& zset, int64_t start, int64_t stop) {
  auto size = static_cast<int64_t>(zset.size());
  if (start < 0) start = std::max<int64_t>(start + size, 0);
  if (stop < 0) stop += size;
  if (start > stop || start >= size) return {};
  stop = std::min(stop, size - 1);
  return {static_cast<uint64_t>(start), static_cast<uint64_t>(stop - start + 1)};
}

void store_result(Call& call, size_t destination, ZSet result, const store::Event& event) {
  uint64_t size = result.size();
  store::Edit edit = call.edit(destination);
  if (size > 0) {
    edit.put(data::Value::of_collection(data::Collection(std::move(result))), store::Ttl::drop());
    edit.done(event);
  } else if (edit.found()) {
    edit.erase();
    edit.done(store::kEventDel);
  }
  call.reply.integer(static_cast<int64_t>(size));
}

void zrange(Call& call) { range_generic(call, By::any, Direction::any); }
void zrevrange(Call& call) { range_generic(call, By::rank, Direction::reverse); }
void zrangebyscore(Call& call) { range_generic(call, By::score, Direction::forward); }
void zrevrangebyscore(Call& call) { range_generic(call, By::score, Direction::reverse); }
void zrangebylex(Call& call) { range_generic(call, By::lex, Direction::forward); }
void zrevrangebylex(Call& call) { range_generic(call, By::lex, Direction::reverse); }

void zrangestore(Call& call) {
  RangeQuery query{.by = By::any, .direction = Direction::any, .stores = true};
  if (!query.parse(call, 2)) return;
  const store::Entry* entry = call.find(2);
  if (refused(call, entry)) return;
  ZSet result;
  if (entry) {
    auto zset = entry->value<ZSet>();
    Ranks found = query.ranks(*zset);
    const data::Packing& packing = call.server.packing();
    zset->visit(found.first, found.count, query.reverse(),
                [&](const PackedItem& member, double score) {
                  char text[base::kIntTextMax];
                  Bytes bytes = member.text(text);
                  if (result.size() == 0) result.expect(bytes, found.count, packing);
                  result.put(bytes, score, {}, packing);
                });
  }
  store_result(call, 1, std::move(result), kEventZrangeStore);
}

void zremrangebyrank(Call& call) {
  int64_t start;
  int64_t stop;
  if (!call.integer(2, start) || !call.integer(3, stop)) return;
  remove_range(call, kEventZremByRank, start, stop);
}

void zremrangebyscore(Call& call) {
  ScoreRange range;
  if (!parse_score_range(call.arg(2), call.arg(3), range)) return call.reply.error(kNotScore);
  remove_range(call, kEventZremByScore, range);
}

void zremrangebylex(Call& call) {
  LexRange range;
  if (!parse_lex_range(call.arg(2), call.arg(3), range)) return call.reply.error(kNotLex);
  remove_range(call, kEventZremByLex, range);
}

}  // namespace quoll::commands::zsets
