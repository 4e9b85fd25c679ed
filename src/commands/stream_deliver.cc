// XREADGROUP: entries nobody of the group has read yet, those that others left unacknowledged
// (CLAIM), or again what the consumer itself has not acknowledged (an ID instead of ">").
#include <algorithm>
#include <vector>

#include "commands/stream_family.h"
#include "server/server.h"

namespace quoll::commands::streams {
namespace {

using Kind = wire::ReplyWriter::Kind;

// ">" is kept as the greatest ID, behind which nothing can be: Redis takes it for ">", too.
constexpr StreamId kNew = StreamId::greatest();

constexpr Bytes kDollar =
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of "
    "this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would "
    "just return an empty result set.";
constexpr Bytes kPlus =
    "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of "
    "this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would "
    "just return an empty result set.";

bool parse_after(Call& call, size_t argument, StreamId& after) {
  Bytes text = call.arg(argument);
  after = kNew;
  if (text == ">") return true;
  if (text == "$" || text == "+") {
    call.reply.error(text == "$" ? kDollar : kPlus);
    return false;
  }
  return parse_id(call, argument, IdForm::strict, after);
}

// The key holds a stream with the group. False: the error was replied.
bool check_stream(Call& call, const ReadOptions& options, size_t key) {
  const store::Entry* entry = call.find(key);
  if (call.resumed() && (!entry || !is_stream(entry))) {
    call.reply.error("UNBLOCKED the stream key no longer exists");
    return false;
  }
  if (wrong_type(call, entry)) return false;
  if (entry && entry->value<Stream>()->find_group(options.group)) return true;
  if (call.resumed()) {
    call.reply.error("NOGROUP the consumer group this client was blocked on no longer exists");
  } else {
    reply_no_group(call, call.arg(key), options.group, " in XREADGROUP with GROUP option");
  }
  return false;
}

// One stream of the command, open for delivery.
class Delivery {
 public:
  Delivery(Call& call, const ReadOptions& options, size_t key)
      : call_(call),
        options_(options),
        edit_(call.store.edit(call.db, call.key(key), call.now, false)),
        stream_(edit_.value<Stream>()),
        group_(*stream_.find_group(options.group)),
        consumer_(open_consumer(call, edit_, group_, options.consumer, call.now)) {}

  // Something to reply after `after`; always so when the history is asked for.
  bool ready(const StreamId& after) {
    if (after != kNew) return true;
    if (options_.claims()) find_idle();
    return !idle_.empty() || unread();
  }
  // How long until an entry that is pending now can be claimed; 0: there is none.
  base::Millis next_idle_ms() const { return next_idle_ms_; }
  void reply(const StreamId& after) {
    call_.reply.begin_deferred();
    if (after != kNew) {
      history(after);
    } else {
      claim();
      if (options_.count == 0 || replied_ < options_.count) read();
    }
    call_.reply.end_deferred(Kind::array, replied_);
  }

 private:
  Bytes key() const { return edit_.key().bytes; }
  bool unread() const { return stream_.size() > 0 && stream_.last_entry_id() > group_.last_id; }
  ClaimLines lines() const {
    return ClaimLines(call_, key(), group_.name(), consumer_.name(), call_.now);
  }
  void changed() {
    if (!std::exchange(changed_, true)) edit_.done_silently();
  }

  void find_idle();
  void claim();
  void read();
  void history(StreamId after);

  Call& call_;
  const ReadOptions& options_;
  store::Edit edit_;
  Stream& stream_;
  StreamGroup& group_;
  StreamConsumer& consumer_;
  struct Idle {
    base::Millis delivered_ms;
    StreamId id;
    auto operator<=>(const Idle&) const = default;
  };
  std::vector<Idle> idle_;  // those that waited longest first, at most `count`
  base::Millis next_idle_ms_ = 0;
  uint64_t replied_ = 0;
  bool changed_ = false;
};

// Pending entries are ordered by ID, so all are looked at: 32 bytes each, one after another. Those
// that were deleted from the stream are left alone.
void Delivery::find_idle() {
  group_.pending().for_each([&](const data::StreamPending& pending) {
    base::Millis left = options_.claim_idle_ms - pending.idle_ms(call_.now);
    if (left > 0) {
      bool sooner = next_idle_ms_ == 0 || left < next_idle_ms_;
      if (sooner && stream_.contains(pending.id)) next_idle_ms_ = left;
      return;
    }
    Idle found{pending.delivered_ms(), pending.id};
    bool full = options_.count > 0 && idle_.size() == options_.count;
    if (full && !(found < idle_.front())) return;
    if (!stream_.contains(pending.id)) return;
    if (full) {
      std::pop_heap(idle_.begin(), idle_.end());
      idle_.pop_back();
    }
    idle_.push_back(found);
    if (options_.count > 0) std::push_heap(idle_.begin(), idle_.end());
  });
  std::sort(idle_.begin(), idle_.end());
}

void Delivery::claim() {
  if (idle_.empty()) return;
  changed();
  consumer_.active_ms = call_.now;
  ClaimLines claimed = lines();
  for (const Idle& idle : idle_) {
    data::StreamPending& pending = *group_.find_pending(idle.id);
    data::StreamWalk walk(stream_, idle.id, idle.id);
    bool found = walk.next();
    QUOLL_CHECK(found);
    call_.reply.array(4);
    reply_id(call_, idle.id);
    reply_pairs(call_, walk.node(), walk.entry());
    call_.reply.integer(pending.idle_ms(call_.now));
    call_.reply.integer(static_cast<int64_t>(pending.deliveries()));
    group_.give(pending, consumer_);
    pending.set_delivered_ms(call_.now);
    pending.count_delivery();
    claimed.add(idle.id, pending.deliveries());
    ++replied_;
  }
}

void Delivery::read() {
  if (!unread()) return;
  changed();
  StreamId from = group_.last_id;
  from.increment();
  data::StreamWalk walk(stream_, from, StreamId::greatest());
  {
    ClaimLines delivered = lines();
    for (; (options_.count == 0 || replied_ < options_.count) && walk.next(); ++replied_) {
      const StreamId& id = walk.entry().id;
      stream_.advance(group_, id);
      call_.reply.array(options_.claims() ? 4 : 2);
      reply_id(call_, id);
      reply_pairs(call_, walk.node(), walk.entry());
      if (options_.claims()) {
        call_.reply.integer(0);
        call_.reply.integer(0);
      }
      if (options_.no_ack) continue;
      consumer_.active_ms = call_.now;
      group_.deliver(id, consumer_, call_.now, 1);
      delivered.add(id, 1);
    }
  }
  effect_group_position(call_, key(), group_);
}

void Delivery::history(StreamId after) {
  if (!after.increment()) return;
  const auto& own = consumer_.pending();
  ClaimLines again = lines();
  for (auto at = own.seek(after); own.at(at); at = own.next(at)) {
    if (options_.count > 0 && replied_ == options_.count) break;
    const StreamId& id = own.at(at)->id;
    ++replied_;
    if (!reply_entry_of(call_, stream_, id)) {
      // Deleted meanwhile: its ID says so to the consumer, who may acknowledge it.
      call_.reply.array(2);
      reply_id(call_, id);
      call_.reply.null_array();
      continue;
    }
    changed();
    data::StreamPending& pending = *group_.find_pending(id);
    pending.set_delivered_ms(call_.now);
    pending.count_delivery();
    again.add(id, pending.deliveries());
  }
}

}  // namespace

void xreadgroup(Call& call) {
  ReadOptions options;
  if (!parse_read_options(call, true, options)) return;
  std::vector<StreamId> after(options.streams);
  for (size_t i = 0; i < options.streams; ++i) {
    if (!check_stream(call, options, options.first_key + i)) return;
    if (!parse_after(call, options.first_key + options.streams + i, after[i])) return;
  }
  size_t replied = 0;
  base::Millis next_idle_ms = 0;
  for (size_t i = 0; i < options.streams; ++i) {
    Delivery delivery(call, options, options.first_key + i);
    if (!delivery.ready(after[i])) {
      base::Millis next = delivery.next_idle_ms();
      if (next > 0 && (next_idle_ms == 0 || next < next_idle_ms)) next_idle_ms = next;
      continue;
    }
    if (replied++ == 0) call.reply.begin_deferred();
    reply_stream_name(call, call.arg(options.first_key + i));
    delivery.reply(after[i]);
  }
  if (replied > 0)
    return call.reply.end_deferred(call.reply.protocol() == 2 ? Kind::array : Kind::map, replied);
  if (!options.block || !call.may_block()) return call.reply.null_array();
  call.block({.keys = call.args.subspan(options.first_key, options.streams),
              .type = Stream::kType,
              .timeout_ms = options.timeout_ms,
              .give_up = [](server::Session& session) { session.reply().null_array(); },
              .any_change = true,
              .try_again_ms = next_idle_ms});
}

}  // namespace quoll::commands::streams
