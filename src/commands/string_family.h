// What the files of the string family share: handlers (one per command, named like it), events,
// and the small steps between arguments, values and replies.
//
//   string.cc          the rows
//   string_read.cc     GET MGET STRLEN GETRANGE SUBSTR DIGEST
//   string_set.cc      SET and its relatives, GETSET GETDEL GETEX
//   string_many.cc     MSET MSETNX MSETEX
//   string_change.cc   APPEND SETRANGE DELEX DELIFEQ
//   string_counter.cc  INCR ... INCRBYFLOAT
//   string_increx.cc   INCREX
//   string_lcs.cc      LCS
#pragma once

#include "data/value.h"
#include "server/call.h"

namespace quoll::commands::strings {

using server::Bytes;
using server::Call;

inline constexpr store::Event kEventSet{"set", '$'};
inline constexpr store::Event kEventAppend{"append", '$'};
inline constexpr store::Event kEventSetRange{"setrange", '$'};
inline constexpr store::Event kEventIncrBy{"incrby", '$'};
inline constexpr store::Event kEventIncrByFloat{"incrbyfloat", '$'};
inline constexpr store::Event kEventExpire{"expire", 'g'};
inline constexpr store::Event kEventPersist{"persist", 'g'};

// Room for the text of an integer value (Entry::text).
constexpr size_t kTextScratch = 24;

void get(Call& call);
void mget(Call& call);
void strlen(Call& call);
void getrange(Call& call);
void substr(Call& call);
void digest(Call& call);

void set(Call& call);
void setnx(Call& call);
void setex(Call& call);
void psetex(Call& call);
void getset(Call& call);
void getdel(Call& call);
void getex(Call& call);

void mset(Call& call);
void msetnx(Call& call);
void msetex(Call& call);

void append(Call& call);
void setrange(Call& call);
void delex(Call& call);
void delifeq(Call& call);

void incr(Call& call);
void decr(Call& call);
void incrby(Call& call);
void decrby(Call& call);
void incrbyfloat(Call& call);
void increx(Call& call);

void lcs(Call& call);

inline bool is_string(const store::Entry* entry) { return entry->type() == data::Type::string; }

// The value of a string entry as a bulk reply.
inline void reply_text(Call& call, const store::Entry* entry) {
  if (entry->form() == data::Form::integer) return call.reply.bulk_integer(entry->integer());
  call.reply.bulk(entry->text(nullptr));
}

// The bytes of a large argument, to be moved into a value; nullptr for any other.
inline base::Blob* large(Call& call, size_t argument) {
  if (__builtin_expect(call.arg(argument).size() < wire::kBlobThreshold, 1)) return nullptr;
  base::Blob* blob = call.blob(argument);
  return blob && *blob ? blob : nullptr;
}

// The argument as SET stores it. A large one is moved into the value; the argument's bytes stay
// readable as long as the value is in the keyspace.
inline data::Value value_of(Call& call, size_t argument) {
  if (base::Blob* blob = large(call, argument)) return data::Value::of_blob(std::move(*blob));
  return data::Value::of_text(call.arg(argument));
}

// Replies the value of the key at argument 1, null when there is none, as GET does. False: it is
// no string, and the error was replied.
bool reply_old(Call& call, const store::Entry* entry);

// Removes the key of the edit, as DEL does.
void remove(Call& call, store::Edit& edit);

// True, with the error replied, when a string of size + extra bytes would exceed
// proto-max-bulk-len. Only clients are limited: what was journaled was once accepted.
bool too_long(Call& call, size_t size, size_t extra);

}  // namespace quoll::commands::strings
