// What the files of the sorted-set family share: handlers (one per command, named like it), events,
// and the small steps between arguments, sorted sets and replies.
//
//   zset.cc          the rows
//   zset_add.cc      ZADD ZINCRBY ZREM
//   zset_read.cc     ZSCORE ZMSCORE ZCARD ZCOUNT ZLEXCOUNT ZRANK ZREVRANK ZRANDMEMBER ZSCAN
//   zset_range.cc    ZRANGE and its relatives, ZRANGESTORE, ZREMRANGEBY*
//   zset_pop.cc      ZPOPMIN ZPOPMAX ZMPOP and their blocking forms
//   zset_combine.cc  ZUNION ZINTER ZDIFF, their STORE forms, ZINTERCARD
#pragma once

#include "data/zset.h"
#include "server/call.h"

namespace quoll::commands::zsets {

using data::PackedItem;
using data::ZSet;
using server::Bytes;
using server::Call;

inline constexpr store::Event kEventZadd{"zadd", 'z'};
inline constexpr store::Event kEventZincr{"zincr", 'z'};
inline constexpr store::Event kEventZrem{"zrem", 'z'};
inline constexpr store::Event kEventZremByRank{"zremrangebyrank", 'z'};
inline constexpr store::Event kEventZremByScore{"zremrangebyscore", 'z'};
inline constexpr store::Event kEventZremByLex{"zremrangebylex", 'z'};
inline constexpr store::Event kEventZrangeStore{"zrangestore", 'z'};
inline constexpr store::Event kEventZunionStore{"zunionstore", 'z'};
inline constexpr store::Event kEventZinterStore{"zinterstore", 'z'};
inline constexpr store::Event kEventZdiffStore{"zdiffstore", 'z'};
inline constexpr store::Event kEventZpopMin{"zpopmin", 'z'};
inline constexpr store::Event kEventZpopMax{"zpopmax", 'z'};

inline constexpr Bytes kNotScore = "ERR min or max is not a float";
inline constexpr Bytes kNotLex = "ERR min or max not valid string range item";

void zadd(Call& call);
void zincrby(Call& call);
void zrem(Call& call);

void zscore(Call& call);
void zmscore(Call& call);
void zcard(Call& call);
void zcount(Call& call);
void zlexcount(Call& call);
void zrank(Call& call);
void zrevrank(Call& call);
void zrandmember(Call& call);
void zscan(Call& call);

void zrange(Call& call);
void zrevrange(Call& call);
void zrangebyscore(Call& call);
void zrevrangebyscore(Call& call);
void zrangebylex(Call& call);
void zrevrangebylex(Call& call);
void zrangestore(Call& call);
void zremrangebyrank(Call& call);
void zremrangebyscore(Call& call);
void zremrangebylex(Call& call);

void zpopmin(Call& call);
void zpopmax(Call& call);
void zmpop(Call& call);
void bzpopmin(Call& call);
void bzpopmax(Call& call);
void bzmpop(Call& call);

void zunion(Call& call);
void zinter(Call& call);
void zdiff(Call& call);
void zunionstore(Call& call);
void zinterstore(Call& call);
void zdiffstore(Call& call);
void zintercard(Call& call);

// True, with the error replied, when the key exists and is no sorted set. `entry` may be null.
inline bool refused(Call& call, const store::Entry* entry) {
  if (!entry || __builtin_expect(entry->type() == data::Type::zset, 1)) return false;
  call.wrong_type();
  return true;
}

inline void reply_member(Call& call, const PackedItem& member) {
  if (member.is_integer) return call.reply.bulk_integer(member.integer);
  call.reply.bulk(member.bytes);
}

// The head of a reply of `count` members with or without their scores: flat in RESP2, pairs in
// RESP3; and one element of it.
inline void reply_head(Call& call, uint64_t count, bool scores) {
  call.reply.array(scores && call.reply.protocol() == 2 ? 2 * count : count);
}
inline void reply_element(Call& call, const PackedItem& member, double score, bool scores) {
  if (scores && call.reply.protocol() > 2) call.reply.array(2);
  reply_member(call, member);
  if (scores) call.reply.real(score);
}

// Ranges as arguments state them: "(1.5" and "-inf", "[a" and "+".
bool parse_score_range(Bytes low, Bytes high, data::ScoreRange& range);
bool parse_lex_range(Bytes low, Bytes high, data::LexRange& range);

// Members from rank `first` on.
struct Ranks {
  uint64_t first = 0;
  uint64_t count = 0;
};
Ranks ranks_of(const ZSet& zset, const data::ScoreRange& range);
Ranks ranks_of(const ZSet& zset, const data::LexRange& range);
// Indexes as ZRANGE takes them, negative from the end.
Ranks ranks_of(const ZSet& zset, int64_t start, int64_t stop);

// The end of a command that stores its result: the key at argument `destination` becomes `result`,
// or goes when that is empty; replies the size.
void store_result(Call& call, size_t destination, ZSet result, const store::Event& event);

}  // namespace quoll::commands::zsets
