// What the files of the stream family share: handlers (one per command, named like it), events, IDs
// among the arguments, entries in replies, and the lines of effects that name many IDs.
//
//   stream.cc           the rows
//   stream_ids.cc       IDs, pairs of them, and their errors
//   stream_add.cc       XADD XTRIM XSETID
//   stream_delete.cc    XDEL XDELEX XACKDEL
//   stream_read.cc      XLEN XRANGE XREVRANGE XREAD
//   stream_deliver.cc   XREADGROUP
//   stream_group.cc     XGROUP XACK XPENDING
//   stream_claim.cc     XCLAIM XAUTOCLAIM
//   stream_info.cc      XINFO
//
// What a group hands out becomes effects that replay without a clock, as in Redis: XCLAIM with the
// time and count of the delivery, XGROUP SETID, XGROUP CREATECONSUMER, XACK.
#pragma once

#include "base/text.h"
#include "data/stream.h"
#include "server/call.h"

namespace quoll::commands::streams {

using base::equals_ignoring_case;
using data::Stream;
using data::StreamConsumer;
using data::StreamEntry;
using data::StreamGroup;
using data::StreamId;
using data::StreamIdText;
using data::StreamNodeView;
using server::Bytes;
using server::Call;

inline constexpr store::Event kEventXadd{"xadd", 't'};
inline constexpr store::Event kEventXtrim{"xtrim", 't'};
inline constexpr store::Event kEventXdel{"xdel", 't'};
inline constexpr store::Event kEventXsetid{"xsetid", 't'};
inline constexpr store::Event kEventGroupCreate{"xgroup-create", 't'};
inline constexpr store::Event kEventGroupSetid{"xgroup-setid", 't'};
inline constexpr store::Event kEventGroupDestroy{"xgroup-destroy", 't'};
inline constexpr store::Event kEventCreateConsumer{"xgroup-createconsumer", 't'};
inline constexpr store::Event kEventDelConsumer{"xgroup-delconsumer", 't'};

void xadd(Call& call);
void xtrim(Call& call);
void xsetid(Call& call);
void xdel(Call& call);
void xdelex(Call& call);
void xackdel(Call& call);
void xlen(Call& call);
void xrange(Call& call);
void xrevrange(Call& call);
void xread(Call& call);
void xreadgroup(Call& call);
void xgroup_create(Call& call);
void xgroup_setid(Call& call);
void xgroup_destroy(Call& call);
void xgroup_createconsumer(Call& call);
void xgroup_delconsumer(Call& call);
void xgroup_help(Call& call);
void xack(Call& call);
void xpending(Call& call);
void xclaim(Call& call);
void xautoclaim(Call& call);
void xinfo_stream(Call& call);
void xinfo_groups(Call& call);
void xinfo_consumers(Call& call);
void xinfo_help(Call& call);

// XREAD and XREADGROUP: what stands in front of the keys, and where these are.
struct ReadOptions {
  uint64_t count = 0;  // 0: all
  bool block = false;
  base::Millis timeout_ms = 0;
  bool no_ack = false;
  Bytes group;  // XREADGROUP
  Bytes consumer;
  base::Millis claim_idle_ms = -1;  // -1: no CLAIM
  size_t first_key = 0;             // arguments; as many IDs follow the keys
  size_t streams = 0;

  bool claims() const { return claim_idle_ms >= 0; }
};
// False: the error was replied.
bool parse_read_options(Call& call, bool grouped, ReadOptions& options);
// In front of what a stream has to say, within the map (RESP2: array of pairs) of all.
void reply_stream_name(Call& call, Bytes key);

// --- IDs among the arguments ---

inline constexpr Bytes kInvalidId = "ERR Invalid stream ID specified as stream command argument";

enum class IdForm : uint8_t {
  strict,    // "<ms>-<seq>" or "<ms>"
  bounds,    // also "-" and "+"
  sequence,  // strict, or "<ms>-*" for a sequence to be chosen
};
struct ParsedId {
  StreamId id;
  bool sequence_given = true;
};
// `missing_seq` stands in for a sequence that is not there.
bool parse_id(Bytes text, IdForm form, uint64_t missing_seq, ParsedId& parsed);
// As above, with the error replied.
bool parse_id(Call& call, size_t argument, IdForm form, StreamId& id);
// The IDs at arguments [first, end), strict. False: one is none, and the error was replied.
bool check_ids(Call& call, size_t first, size_t end);
// After check_ids.
StreamId id_at(const Call& call, size_t argument);

// Bounds of an interval: "-", "+", an ID, "(" and an ID to leave it out.
bool parse_start(Call& call, size_t argument, StreamId& start);
bool parse_end(Call& call, size_t argument, StreamId& end);

// --- keys and groups ---

inline bool is_stream(const store::Entry* entry) { return entry->type() == Stream::kType; }
// True when there is a key that is no stream; the error was replied then.
inline bool wrong_type(Call& call, const store::Entry* entry) {
  if (!entry || is_stream(entry)) return false;
  call.wrong_type();
  return true;
}
void reply_no_group(Call& call, Bytes key, Bytes group, Bytes suffix = {});

// The commands that replay effects are obeyed as they stand: their times are not compared with now.
inline bool replayed(const Call& call) {
  return call.store.commits().origin() != store::Origin::client;
}

// --- replies ---

inline void reply_id(Call& call, const StreamId& id) { call.reply.bulk(StreamIdText(id).bytes()); }
// The names and values of an entry as one array.
void reply_pairs(Call& call, const StreamNodeView& node, const StreamEntry& entry);
// ID and pairs.
void reply_entry(Call& call, const StreamNodeView& node, const StreamEntry& entry);
// The entry of this ID; false, and nothing replied, when there is none.
bool reply_entry_of(Call& call, const Stream& stream, const StreamId& id);
// Up to `count` (0: all) entries of a range as an array.
void reply_range(Call& call, const Stream& stream, const StreamId& from, const StreamId& to,
                 bool reverse, uint64_t count);

// --- effects ---

// One or more effects of the form: head, IDs, tail. Lines are closed after so many IDs that a long
// list needs no memory of its own.
class IdLines {
 public:
  static constexpr size_t kIdsMax = 64;
  static constexpr size_t kWordsMax = 8;  // of head, and of tail

  IdLines(Call& call, std::initializer_list<Bytes> head) : call_(call) {
    for (Bytes word : head) words_[head_++] = word;
  }
  IdLines(const IdLines&) = delete;
  IdLines& operator=(const IdLines&) = delete;
  ~IdLines() { close(); }

  // Of the line that is open; the words must live until it is closed.
  void set_tail(std::initializer_list<Bytes> tail) {
    tail_ = 0;
    for (Bytes word : tail) tail_words_[tail_++] = word;
  }
  void add(const StreamId& id) {
    if (ids_ == kIdsMax) close();
    size_t size = id.format(texts_[ids_]);
    words_[head_ + ids_] = {texts_[ids_], size};
    ++ids_;
  }
  void close();

 private:
  Call& call_;
  size_t head_ = 0;
  size_t tail_ = 0;
  size_t ids_ = 0;
  Bytes words_[kWordsMax + kIdsMax + kWordsMax];
  Bytes tail_words_[kWordsMax];
  char texts_[kIdsMax][data::kStreamIdTextMax];
};

// Pending entries that went to a consumer at one time, as XCLAIM lines.
class ClaimLines {
 public:
  ClaimLines(Call& call, Bytes key, Bytes group, Bytes consumer, base::Millis at);
  void add(const StreamId& id, uint64_t deliveries);

 private:
  IdLines lines_;
  uint64_t deliveries_ = 0;
  char at_[base::kIntTextMax];
  Bytes at_text_;
  char count_[base::kIntTextMax];
};

using References = data::StreamReferences;

// KEEPREF, DELREF or ACKED. False: another word.
bool parse_references(Bytes word, References& references);

// Shortens the stream as XTRIM with DELREF or ACKED, with event and effects; returns how many
// entries went.
uint64_t trim_minding_references(Call& call, store::Edit& edit, const data::StreamTrim& trim);

// XGROUP SETID: how far the group has read.
void effect_group_position(Call& call, Bytes key, const StreamGroup& group);

// The consumer, made (with event and effect) when there is none. Counts as seen.
StreamConsumer& open_consumer(Call& call, store::Edit& edit, StreamGroup& group, Bytes name,
                              base::Millis seen_ms);

}  // namespace quoll::commands::streams
