// What the files of the hash family share: handlers (one per command, named like it), events, and
// the small steps between arguments, hashes and replies.
//
//   hash.cc          the rows
//   hash_read.cc     HGET HMGET HGETALL HKEYS HVALS HLEN HSTRLEN HEXISTS
//   hash_random.cc   HRANDFIELD
//   hash_scan.cc     HSCAN
//   hash_change.cc   HSET HMSET HSETNX HINCRBY HINCRBYFLOAT HDEL
//   hash_expire.cc   HEXPIRE HPEXPIRE HEXPIREAT HPEXPIREAT HPERSIST HTTL HPTTL HEXPIRETIME
//                    HPEXPIRETIME
//   hash_timed.cc    HSETEX HGETEX HGETDEL
//
// A field past its deadline is absent for every command at once, though it may be in the hash for a
// moment. A write that depends on its absence removes it first (drop_expired), so that the journal
// says so.
#pragma once

#include <vector>

#include "data/hash.h"
#include "server/call.h"

namespace quoll::commands::hashes {

using data::Hash;
using data::HashItem;
using data::PackedItem;
using server::Bytes;
using server::Call;

inline constexpr store::Event kEventHset{"hset", 'h'};
inline constexpr store::Event kEventHdel{"hdel", 'h'};
inline constexpr store::Event kEventHincrBy{"hincrby", 'h'};
inline constexpr store::Event kEventHincrByFloat{"hincrbyfloat", 'h'};
inline constexpr store::Event kEventHexpire{"hexpire", 'h'};
inline constexpr store::Event kEventHpersist{"hpersist", 'h'};
inline constexpr store::Event kEventHexpired{"hexpired", 'h'};

void hget(Call& call);
void hmget(Call& call);
void hgetall(Call& call);
void hkeys(Call& call);
void hvals(Call& call);
void hlen(Call& call);
void hstrlen(Call& call);
void hexists(Call& call);

void hrandfield(Call& call);
void hscan(Call& call);

void hset(Call& call);
void hmset(Call& call);
void hsetnx(Call& call);
void hincrby(Call& call);
void hincrbyfloat(Call& call);
void hdel(Call& call);

void hexpire(Call& call);
void hpexpire(Call& call);
void hexpireat(Call& call);
void hpexpireat(Call& call);
void hpersist(Call& call);
void httl(Call& call);
void hpttl(Call& call);
void hexpiretime(Call& call);
void hpexpiretime(Call& call);

void hsetex(Call& call);
void hgetex(Call& call);
void hgetdel(Call& call);

// True, with the error replied, when the key exists and is no hash. `entry` may be null.
inline bool refused(Call& call, const store::Entry* entry) {
  if (!entry || __builtin_expect(entry->type() == data::Type::hash, 1)) return false;
  call.wrong_type();
  return true;
}

inline void reply_item(Call& call, const PackedItem& item) {
  if (item.is_integer) return call.reply.bulk_integer(item.integer);
  call.reply.bulk(item.bytes);
}

// The instant by which fields of an edited hash are past their deadline. What is replayed was
// decided when it was journaled: then no deadline counts as past.
inline base::Millis edit_clock(const Call& call) {
  return call.store.commits().origin() == store::Origin::client ? call.now : INT64_MIN;
}

void reply_wrong_arity(Call& call);

// Where the fields stand that "FIELDS numfields field..." names.
struct FieldRange {
  size_t first = 0;
  size_t count = 0;
};
// Reads them from the keyword, which must be argument `at`, up to the last argument. False: the
// error was replied, `count_error` when the number is none or not positive.
bool parse_fields(Call& call, size_t at, Bytes count_error, FieldRange& fields);
inline constexpr Bytes kFieldCountError = "ERR Number of fields must be a positive integer";

enum class Unit : uint8_t { seconds, milliseconds };
// The deadline that an argument names, counted from `from` (0: it is absolute). False: the error
// was replied.
bool parse_deadline(Call& call, size_t argument, Unit unit, base::Millis from,
                    base::Millis& deadline);

// Removes the given fields if they are past their deadline, and says so to the journal and to
// whoever listens. The hash may be empty afterwards; the caller sees to that. True if any went.
bool drop_expired(Call& call, store::Edit& edit, Hash& hash, base::Args fields);

// "HDEL key field..." and the like: a line of the journal that is put together.
class EffectLine {
 public:
  EffectLine(Call& call, Bytes command) : call_(call), words_{command, call.arg(1)} {}
  void add(Bytes word) { words_.push_back(word); }
  void add_number(int64_t number);  // at most two
  size_t size() const { return words_.size(); }
  void state() { call_.effect(server::Args(words_)); }

 private:
  Call& call_;
  std::vector<Bytes> words_;
  char numbers_[2][base::kIntTextMax];
  size_t numbers_used_ = 0;
};

}  // namespace quoll::commands::hashes
