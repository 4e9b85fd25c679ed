// XCLAIM and XAUTOCLAIM: pending entries change their consumer.
#include <algorithm>
#include <vector>

#include "commands/stream_family.h"
#include "server/errors.h"

namespace quoll::commands::streams {
namespace {

using Kind = wire::ReplyWriter::Kind;
using PendingPlace = data::StreamIndex<data::StreamPending>::Place;

struct ClaimOptions {
  int64_t min_idle_ms = 0;
  int64_t delivered_ms = -1;  // -1: now
  int64_t deliveries = -1;    // -1: one more, with JUSTID as many
  bool force = false;
  bool just_id = false;
  StreamId last_id;
};

// Options of XCLAIM behind its IDs. False: the error was replied.
bool parse_claim_options(Call& call, size_t i, ClaimOptions& options) {
  for (; i < call.argc(); ++i) {
    Bytes word = call.arg(i);
    bool more = i + 1 < call.argc();
    if (equals_ignoring_case(word, "force")) {
      options.force = true;
    } else if (equals_ignoring_case(word, "justid")) {
      options.just_id = true;
    } else if (more && equals_ignoring_case(word, "idle")) {
      if (!call.integer(++i, options.delivered_ms, "ERR Invalid IDLE option argument for XCLAIM"))
        return false;
      options.delivered_ms = static_cast<int64_t>(static_cast<uint64_t>(call.now) -
                                                  static_cast<uint64_t>(options.delivered_ms));
    } else if (more && equals_ignoring_case(word, "time")) {
      if (!call.integer(++i, options.delivered_ms, "ERR Invalid TIME option argument for XCLAIM"))
        return false;
    } else if (more && equals_ignoring_case(word, "retrycount")) {
      if (!call.integer(++i, options.deliveries,
                        "ERR Invalid RETRYCOUNT option argument for XCLAIM"))
        return false;
    } else if (more && equals_ignoring_case(word, "lastid")) {
      if (!parse_id(call, ++i, IdForm::strict, options.last_id)) return false;
    } else {
      std::string text = "ERR Unrecognized XCLAIM option '";
      text += server::errors::shown(word);
      text += '\'';
      call.reply.error(text);
      return false;
    }
  }
  // What a client computed by its own clock may be off: such times become now.
  bool bogus = options.delivered_ms < 0 || (options.delivered_ms > call.now && !replayed(call));
  if (bogus) options.delivered_ms = call.now;
  return true;
}

// The group at argument 2 of the stream at argument 1; false: the error was replied.
bool check_group(Call& call) {
  const store::Entry* entry = call.find(1);
  if (wrong_type(call, entry)) return false;
  if (entry && entry->value<Stream>()->find_group(call.arg(2))) return true;
  reply_no_group(call, call.arg(1), call.arg(2));
  return false;
}

// The stream, group and consumer (arguments 1 to 3) that entries are claimed for.
class Claim {
 public:
  Claim(Call& call, const ClaimOptions& options)
      : call_(call),
        options_(options),
        edit_(call.store.edit(call.db, call.key(1), call.now, false)),
        stream_(edit_.value<Stream>()),
        group_(*stream_.find_group(call.arg(2))),
        // Replaying knows no time but that of the claim.
        seen_ms_(replayed(call) ? options.delivered_ms : call.now),
        consumer_(open_consumer(call, edit_, group_, call.arg(3), seen_ms_)),
        claimed_(call, call.arg(1), call.arg(2), call.arg(3), options.delivered_ms),
        dropped_(call, {"XACK", call.arg(1), call.arg(2)}) {}

  StreamGroup& group() { return group_; }
  bool exists(const StreamId& id) const { return stream_.contains(id); }

  bool idle_enough(const data::StreamPending& pending) const {
    return options_.min_idle_ms <= 0 || pending.idle_ms(call_.now) >= options_.min_idle_ms;
  }
  // An entry that was deleted from the stream is no longer pending.
  bool drop(const StreamId& id) {
    if (!group_.acknowledge(id)) return false;
    changed();
    dropped_.add(id);
    return true;
  }
  void take(data::StreamPending& pending) {
    group_.give(pending, consumer_);
    pending.set_delivered_ms(options_.delivered_ms);
    if (options_.deliveries >= 0) {
      pending.set_deliveries(static_cast<uint64_t>(options_.deliveries));
    } else if (!options_.just_id) {
      pending.count_delivery();
    }
    changed();
    consumer_.active_ms = seen_ms_;
    claimed_.add(pending.id, pending.deliveries());
  }
  void reply(const StreamId& id) {
    if (options_.just_id) {
      reply_id(call_, id);
    } else {
      reply_entry_of(call_, stream_, id);
    }
  }
  // FORCE: an entry that was not pending counts as delivered once before.
  void force(const StreamId& id) {
    group_.deliver(id, consumer_, call_.now, 1);
    take(*group_.find_pending(id));
  }
  // The group has read up to LASTID. False: it had already.
  bool move_on() {
    if (options_.last_id <= group_.last_id) return false;
    group_.last_id = options_.last_id;
    changed();
    return true;
  }

 private:
  void changed() {
    if (!std::exchange(changed_, true)) edit_.done_silently();
  }

  Call& call_;
  const ClaimOptions& options_;
  store::Edit edit_;
  Stream& stream_;
  StreamGroup& group_;
  base::Millis seen_ms_;
  StreamConsumer& consumer_;
  ClaimLines claimed_;
  IdLines dropped_;
  bool changed_ = false;
};

bool parse_autoclaim_options(Call& call, ClaimOptions& options, StreamId& start, int64_t& count) {
  // Redis's bound: memory for so many IDs, and ten attempts for each, can still be counted.
  constexpr int64_t kCountMax = INT64_MAX / 16;
  if (!call.integer(4, options.min_idle_ms, "ERR Invalid min-idle-time argument for XAUTOCLAIM"))
    return false;
  if (!parse_start(call, 5, start)) return false;
  for (size_t i = 6; i < call.argc(); ++i) {
    if (equals_ignoring_case(call.arg(i), "count") && i + 1 < call.argc()) {
      Bytes text = call.arg(++i);
      if (!base::parse_int(text, count) || count < 1 || count > kCountMax) {
        call.reply.error("ERR COUNT must be > 0");
        return false;
      }
    } else if (equals_ignoring_case(call.arg(i), "justid")) {
      options.just_id = true;
    } else {
      call.syntax_error();
      return false;
    }
  }
  options.delivered_ms = call.now;
  return true;
}

}  // namespace

void xclaim(Call& call) {
  if (!check_group(call)) return;
  ClaimOptions options;
  if (!call.integer(4, options.min_idle_ms, "ERR Invalid min-idle-time argument for XCLAIM"))
    return;
  size_t end = 5;
  ParsedId parsed;
  while (end < call.argc() && parse_id(call.arg(end), IdForm::strict, 0, parsed)) ++end;
  if (!parse_claim_options(call, end, options)) return;

  Claim claim(call, options);
  bool moved = claim.move_on();
  call.reply.begin_deferred();
  size_t claimed = 0;
  for (size_t i = 5; i < end; ++i) {
    StreamId id = id_at(call, i);
    if (!claim.exists(id)) {
      claim.drop(id);
      continue;
    }
    data::StreamPending* pending = claim.group().find_pending(id);
    if (pending ? !claim.idle_enough(*pending) : !options.force) continue;
    if (pending) {
      claim.take(*pending);
    } else {
      claim.force(id);
    }
    claim.reply(id);
    ++claimed;
  }
  call.reply.end_deferred(Kind::array, claimed);
  if (moved) effect_group_position(call, call.arg(1), claim.group());
}

void xautoclaim(Call& call) {
  constexpr int64_t kAttemptsPerEntry = 10;
  ClaimOptions options;
  StreamId start;
  int64_t count = 100;
  if (!parse_autoclaim_options(call, options, start, count) || !check_group(call)) return;

  Claim claim(call, options);
  std::vector<StreamId> claimed, dropped;
  const auto& pending = claim.group().pending();
  PendingPlace at = pending.seek(start);
  for (int64_t attempts = count * kAttemptsPerEntry; attempts > 0 && count > 0; --attempts) {
    if (!pending.at(at)) break;
    StreamId id = pending.at(at)->id;
    if (!claim.exists(id)) {
      claim.drop(id);
      dropped.push_back(id);
      at = pending.seek(id);
      --count;
      continue;
    }
    if (claim.idle_enough(*pending.at(at))) {
      claim.take(*claim.group().pending_at(at));
      claimed.push_back(id);
      --count;
    }
    at = pending.next(at);
  }
  const data::StreamPending* next = pending.at(at);
  call.reply.array(3);
  reply_id(call, next ? next->id : StreamId());
  call.reply.array(claimed.size());
  for (const StreamId& id : claimed) claim.reply(id);
  call.reply.array(dropped.size());
  for (const StreamId& id : dropped) reply_id(call, id);
}

}  // namespace quoll::commands::streams
