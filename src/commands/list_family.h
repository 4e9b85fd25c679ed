// What the files of the list family share: handlers (one per command, named like it), events, and
// the small steps between arguments, lists and replies.
//
//   list.cc         the rows
//   list_read.cc    LLEN LRANGE LINDEX LPOS
//   list_change.cc  LPUSH RPUSH LPUSHX RPUSHX LINSERT LSET LREM LTRIM
//   list_pop.cc     LPOP RPOP LMPOP BLPOP BRPOP BLMPOP
//   list_move.cc    LMOVE RPOPLPUSH BLMOVE BRPOPLPUSH
#pragma once

#include "data/list.h"
#include "server/call.h"
#include "server/server.h"
#include "wire/resp_parser.h"

namespace quoll::commands::lists {

using data::List;
using data::ListEnd;
using server::Bytes;
using server::Call;

void lpush(Call& call);
void rpush(Call& call);
void lpushx(Call& call);
void rpushx(Call& call);
void linsert(Call& call);
void lset(Call& call);
void lrem(Call& call);
void ltrim(Call& call);

void llen(Call& call);
void lrange(Call& call);
void lindex(Call& call);
void lpos(Call& call);

void lpop(Call& call);
void rpop(Call& call);
void lmpop(Call& call);
void blpop(Call& call);
void brpop(Call& call);
void blmpop(Call& call);

void lmove(Call& call);
void rpoplpush(Call& call);
void blmove(Call& call);
void brpoplpush(Call& call);

inline store::Event push_event(ListEnd end) {
  return {end == ListEnd::head ? "lpush" : "rpush", 'l'};
}
inline store::Event pop_event(ListEnd end) { return {end == ListEnd::head ? "lpop" : "rpop", 'l'}; }
inline Bytes pop_name(ListEnd end) { return end == ListEnd::head ? "LPOP" : "RPOP"; }

inline bool is_list(const store::Entry* entry) { return entry->type() == data::Type::list; }

// The bytes of a large argument, to be moved into a list; nullptr for any other.
inline base::Blob* large(Call& call, size_t argument) {
  if (__builtin_expect(call.arg(argument).size() < wire::kBlobThreshold, 1)) return nullptr;
  base::Blob* blob = call.blob(argument);
  return blob && *blob ? blob : nullptr;
}

inline void reply_item(Call& call, const data::PackedItem& item) {
  if (item.is_integer) return call.reply.bulk_integer(item.integer);
  call.reply.bulk(item.bytes);
}

// LEFT or RIGHT; replies the error and returns false when it is neither.
bool parse_end(Call& call, size_t argument, ListEnd& end);

// Closes an edit whose list lost elements: without any it is no key.
inline void finish_removal(Call& call, store::Edit& edit, const store::Event& event) {
  List& list = edit.value<List>();
  list.settle(call.server.packing());
  const bool emptied = list.size() == 0;
  edit.done(event);
  if (emptied) edit.erase_if_empty();
}

// The same where all elements go: a big list is then freed in steps.
inline void finish_emptied(store::Edit& edit, const store::Event& event) {
  edit.value<List>();
  edit.done(event);
  edit.erase();
  edit.done(store::kEventDel);
}

// Elements [start, start + count) of a list, or their number 0, for the bounds LRANGE and LTRIM
// take.
struct Range {
  uint64_t start;
  uint64_t count;
  static Range of(int64_t start, int64_t stop, uint64_t size);
};

}  // namespace quoll::commands::lists
