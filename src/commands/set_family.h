// What the files of the set family share: handlers (one per command, named like it), events, and
// the small steps between arguments, sets and replies.
//
//   set.cc           the rows
//   set_read.cc      SISMEMBER SMISMEMBER SCARD SMEMBERS SSCAN
//   set_change.cc    SADD SREM SMOVE
//   set_random.cc    SPOP SRANDMEMBER
//   set_combine.cc   SINTER SUNION SDIFF, their STORE and CARD forms
#pragma once

#include "data/set.h"
#include "server/call.h"

namespace quoll::commands::sets {

using data::PackedItem;
using data::Set;
using server::Bytes;
using server::Call;

inline constexpr store::Event kEventSadd{"sadd", 's'};
inline constexpr store::Event kEventSrem{"srem", 's'};
inline constexpr store::Event kEventSpop{"spop", 's'};
inline constexpr store::Event kEventSinterStore{"sinterstore", 's'};
inline constexpr store::Event kEventSunionStore{"sunionstore", 's'};
inline constexpr store::Event kEventSdiffStore{"sdiffstore", 's'};

void sismember(Call& call);
void smismember(Call& call);
void scard(Call& call);
void smembers(Call& call);
void sscan(Call& call);

void sadd(Call& call);
void srem(Call& call);
void smove(Call& call);

void spop(Call& call);
void srandmember(Call& call);

void sinter(Call& call);
void sinterstore(Call& call);
void sintercard(Call& call);
void sunion(Call& call);
void sunionstore(Call& call);
void sunioncard(Call& call);
void sdiff(Call& call);
void sdiffstore(Call& call);
void sdiffcard(Call& call);

// True, with the error replied, when the key exists and is no set. `entry` may be null.
inline bool refused(Call& call, const store::Entry* entry) {
  if (!entry || __builtin_expect(entry->type() == data::Type::set, 1)) return false;
  call.wrong_type();
  return true;
}

inline void reply_member(Call& call, const PackedItem& member) {
  if (member.is_integer) return call.reply.bulk_integer(member.integer);
  call.reply.bulk(member.bytes);
}

}  // namespace quoll::commands::sets
