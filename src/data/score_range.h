// Where ranges of a sorted set begin and end: by score (ZRANGEBYSCORE's "(1.5", "-inf") or, among
// members of one score, by the member's bytes (ZRANGEBYLEX's "[a", "(b", "-", "+"). Pure.
//
// A Boundary lies between two neighbours: before() tells for an element whether it stands before
// it.
#pragma once

#include "base/bytes.h"
#include "data/scored_member.h"

namespace quoll::data {

struct ScoreLimit {
  double score = 0;
  bool exclusive = false;
};

struct ScoreRange {
  ScoreLimit low, high;
  bool empty() const {
    return low.score > high.score || (low.score == high.score && (low.exclusive || high.exclusive));
  }
};

struct LexLimit {
  enum class Kind : uint8_t { least, member, greatest } kind = Kind::member;
  base::Bytes member;
  bool exclusive = false;

  // Negative, 0, positive: this limit's place beside the other's, exclusion aside.
  int compare(const LexLimit& other) const {
    if (kind != other.kind) return kind < other.kind ? -1 : 1;
    return kind == Kind::member ? member.compare(other.member) : 0;
  }
};

struct LexRange {
  LexLimit low, high;
  bool empty() const {
    int order = low.compare(high);
    return order > 0 || (order == 0 && (low.exclusive || high.exclusive));
  }
};

// Between the scores below `score` and the others; with `after_equal` behind the equal ones.
struct ScoreBoundary {
  static constexpr bool kByScore = true;
  double score;
  bool after_equal;
  template <class Member>  // a function that yields the member: scores decide mostly
  bool before(double other, Member&&) const {
    return after_equal ? other <= score : other < score;
  }
  static ScoreBoundary low(const ScoreLimit& limit) { return {limit.score, limit.exclusive}; }
  static ScoreBoundary high(const ScoreLimit& limit) { return {limit.score, !limit.exclusive}; }
};

// Right before the place of (score, member).
struct MemberBoundary {
  static constexpr bool kByScore = true;
  double score;
  base::Bytes bytes;
  template <class Member>
  bool before(double other, Member&& member) const {
    if (other != score) return other < score;
    return member() < bytes;
  }
};

struct LexBoundary {
  static constexpr bool kByScore = false;
  LexLimit limit;
  bool after_equal;
  template <class Member>
  bool before(double, Member&& member) const {
    if (limit.kind != LexLimit::Kind::member) return limit.kind == LexLimit::Kind::greatest;
    int order = base::Bytes(member()).compare(limit.member);
    return order < 0 || (order == 0 && after_equal);
  }
  static LexBoundary low(const LexLimit& limit) { return {limit, limit.exclusive}; }
  static LexBoundary high(const LexLimit& limit) { return {limit, !limit.exclusive}; }
};

}  // namespace quoll::data
