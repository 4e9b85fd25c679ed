#include "server/session.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "server/blocked_keys.h"
#include "server/dispatcher.h"
#include "server/group.h"
#include "server/log.h"
#include "server/server.h"

namespace quoll::server {

constexpr size_t kFlushBytesMax = 1 << 20;  // to one session in one turn, though it takes more
constexpr size_t kStrangerOutputBytesMax = 64 * 1024;  // unread by one who has not logged in
constexpr base::Nanos kDriveBudget = 1 * base::kNanosPerMilli;  // of one session in one turn

namespace {

size_t bytes_of(std::span<const base::Bytes> parts) {
  size_t bytes = 0;
  for (const base::Bytes part : parts) bytes += part.size();
  return bytes;
}

}  // namespace

Session::Session(Server& server, SessionId session_id, std::unique_ptr<host::Peer> peer)
    : id(session_id),
      created_ms(server.now()),
      last_command_ms(server.now()),
      user(&server.acl().default_user()),
      server_(server),
      peer_(std::move(peer)),
      reply_(out_),
      parser_(server.parser_limits()) {
  set_authenticated(server.acl().open());
}

Session::~Session() = default;

void Session::start() {
  peer_->set_keepalive(static_cast<int>(server_.settings().tcp_keepalive_seconds));
  peer_->start(*this);
}

void Session::set_authenticated(bool yes) {
  authenticated_ = yes;
  parser_.set_authenticated(yes || server_.acl().open());
}

void Session::reset_state() {
  name.clear();
  db = 0;
  set_reply_flags(reply_flags_ & kReplySkip);
  no_evict = no_touch = replica_reads = false;
  reply_.set_protocol(2);
  user = &server_.acl().default_user();
  server_.drop_monitor(*this);
  if (ReplicaGroup* group = server_.group()) group->consistency().forget(id);
  set_authenticated(server_.acl().open());
}

std::span<char> Session::receive_buffer() { return parser_.receive_buffer(server_.scratch()); }

void Session::received(size_t bytes) {
  server_.refresh_clock();
  last_command_ms = received_ms = server_.now();
  bytes_in += bytes;
  server_.stats().net_input_bytes += bytes;
  ++server_.stats().reads;
  parser_.received(bytes);
  drive();
}

// While a command of this session lets others in (a busy script), nothing of the session changes
// under it: it is closed, and its output sent, when the command is over.
void Session::closed(const std::string& reason) {
  if (!running_) return close_soon();
  server_.host().loop.post([&server = server_, session = id, reason] {
    if (Session* self = server.find_session(session)) self->closed(reason);
  });
}

// The client sends no more but may still read. What it sent is run and answered first.
bool Session::ended() {
  if (closing_) return false;
  if (drive_queued_) return ended_ = true;
  if (postponed_ != Postponed::no || out_.size() == 0) return false;
  close_after_reply();
  return true;
}

// The parser hands out commands until it has no complete one or an error; nothing is parsed while
// earlier commands wait.
bool Session::parse_ahead() {
  batch_.clear();
  next_ = 0;
  if (broken_) return false;
  auto status = parser_.parse(batch_, wire::kPrefetchBatch);
  if (status != wire::RespParser::Status::ok) {
    broken_ = true;
    if (status == wire::RespParser::Status::query_buffer_full) {
      log::warning("Closing client that reached max query buffer length: id={} addr={}", id,
                   peer_->remote_address());
      ++server_.stats().query_buffer_limit_disconnections;
    }
  }
  if (batch_.size() > 1) {
    server_.dispatcher().prefetch(*this, batch_);
  } else {
    server_.dispatcher().forget_ahead();
  }
  return batch_.size() > 0;
}

void Session::fail_protocol() {
  if (parser_.error_text().empty()) return close_soon();
  log::verbose("Protocol error ({}) from client: id={} addr={}", parser_.error_text(), id,
               peer_->remote_address());
  if (!(reply_flags_ & (kReplyOff | kReplySkip))) reply_.error(parser_.error_text());
  close_after_reply();
}

void Session::run_next() {
  if (!pending_.empty()) {
    OwnedArgs line = std::move(pending_.front());
    pending_.pop_front();
    server_.dispatcher().set_request_bytes(line.bytes());
    server_.dispatcher().execute(
        *this, line.args(),
        [](void* owner, size_t i) { return static_cast<OwnedArgs*>(owner)->blob(i); }, &line);
    return;
  }
  size_t current = next_++;
  struct Place {
    wire::CommandBatch* batch;
    size_t command;
  } place{&batch_, current};
  server_.dispatcher().set_request_bytes(batch_.wire_bytes(current));
  server_.dispatcher().execute(
      *this, batch_.args(current),
      [](void* owner, size_t i) {
        auto* at = static_cast<Place*>(owner);
        return at->batch->blob(at->command, i);
      },
      &place);
}

void Session::drive() {
  if (driving_ || closing_) return;
  driving_ = true;
  Dispatcher& dispatcher = server_.dispatcher();
  dispatcher.forget_ahead();
  base::Nanos start = server_.clock_stamp();
  base::Nanos turn = server_.host().loop.turn_start();
  if (turn != std::exchange(turn_, turn)) used_in_turn_ = 0;
  base::Nanos left = kDriveBudget - used_in_turn_;
  bool late = false;
  while (may_run()) {
    bool parsed = next_ < batch_.size() || !pending_.empty();
    late = dispatcher.last_end() - start > left && (parsed || parser_.has_unparsed());
    if (late || (!parsed && !parse_ahead())) break;
    run_next();
  }
  if (late || postponed_ != Postponed::no) keep_pending();
  if (broken_ && !late && may_run()) fail_protocol();
  batch_.clear();
  next_ = 0;
  parser_.release();
  if (out_.size() > 0) output_written();
  used_in_turn_ += std::max<base::Nanos>(dispatcher.last_end() - start, 0);
  driving_ = false;
  if (late) drive_later();
}

void Session::run_lines(std::vector<OwnedArgs> lines) {
  for (OwnedArgs& line : lines) pending_.push_back(std::move(line));
  drive();
}

// Goes on in a later turn: after a pause, and after having used up this turn's time.
void Session::drive_later() {
  if (drive_queued_) return;
  drive_queued_ = true;
  peer_->pause_reads(true);
  server_.host().loop.post([&server = server_, session = id] {
    if (Session* self = server.find_session(session)) self->drive_again();
  });
}

void Session::drive_again() {
  drive_queued_ = false;
  if (!may_run()) return;
  server_.refresh_clock();
  drive();
  if (closing_ || close_after_reply_ || drive_queued_) return;
  // One that waits for another reason than its turn waits in vain once the client is gone.
  if (ended_) return close_after_reply();
  if (postponed_ == Postponed::no) peer_->pause_reads(false);
}

void Session::keep_pending() {
  for (; next_ < batch_.size(); ++next_) {
    size_t current = next_;
    pending_.emplace_back(batch_.args(current), [&](size_t i) { return batch_.blob(current, i); });
  }
}

void Session::postpone(Postponed why) {
  postponed_ = why;
  peer_->pause_reads(true);
}

void Session::postpone_command(Args args, BlobOf blob_of, void* blob_owner) {
  pending_.emplace_front(
      args, [&](size_t i) -> base::Blob* { return blob_of ? blob_of(blob_owner, i) : nullptr; });
  postpone(Postponed::paused);
}

void Session::resume() {
  if (postponed_ == Postponed::no || closing_) return;
  postponed_ = Postponed::no;
  drive_later();
}

void Session::block(base::Millis timeout, GiveUp give_up) {
  // Beyond this a timeout is for ever: it would overflow the loop's nanoseconds.
  constexpr base::Millis kTimeoutMax = INT64_MAX / base::kNanosPerMilli;
  postpone(Postponed::blocked);
  give_up_ = give_up;
  if (timeout == 0 || timeout > kTimeoutMax) return;
  block_timeout_ = timeout;
  block_timer_ = server_.host().loop.after(timeout * base::kNanosPerMilli, [this] {
    block_timer_ = 0;
    server_.refresh_clock();
    unblock();
  });
}

bool Session::unblock(base::Bytes error) {
  if (postponed_ != Postponed::blocked || closing_) return false;
  end_wait();
  begin_command();
  if (error.empty()) {
    give_up_(*this);
  } else {
    reply_.error(error);
    server_.note_error(reply_.last_error_code());
    if (last_command) ++last_command->counters.failed;
  }
  end_command();
  output_written();
  drive_later();
  return true;
}

void Session::end_wait() {
  server_.host().loop.cancel(std::exchange(block_timer_, 0));
  postponed_ = Postponed::no;
  if (!parked_) return;
  server_.host().loop.cancel(parked_->again_timer);
  server_.blocked_keys().remove(parked_->places);
  parked_.reset();
}

void Session::park(const Call& call, const WaitFor& wait) {
  auto try_again = [this, after_ms = wait.try_again_ms] {
    host::Loop& loop = server_.host().loop;
    loop.cancel(std::exchange(parked_->again_timer, 0));
    if (after_ms == 0) return;
    parked_->again_timer = loop.after(after_ms * base::kNanosPerMilli, [this] {
      parked_->again_timer = 0;
      server_.refresh_clock();
      run_again();
    });
  };
  if (resumed_) {
    waits_on_ = true;  // in its old place and with its old deadline
    return try_again();
  }
  bool own = wait.line.empty();
  parked_.reset(new ParkedCommand{&call.command,
                                  OwnedArgs(own ? call.args : wait.line,
                                            [&](size_t i) -> base::Blob* {
                                              return own && call.blob_of
                                                         ? call.blob_of(call.blob_owner, i)
                                                         : nullptr;
                                            }),
                                  {}});
  parked_->places = server_.blocked_keys().add(*this, wait);
  try_again();
  block(wait.timeout_ms, wait.give_up);
}

void Session::run_again() {
  begin_command();
  resumed_ = true;
  waits_on_ = false;
  server_.dispatcher().execute_again(*this, *parked_->command, parked_->line.args());
  resumed_ = false;
  bool over = !waits_on_;
  if (over) end_wait();
  end_command();
  if (!over) return;
  output_written();
  drive_later();
}

void Session::begin_flagged() {
  update_mute();
  if (reply_flags_ & kReplyTracked) server_.tracking().command_begins(*this);
}

// Replies that the client does not want are written like others and dropped at the end: handlers
// need not know. Nothing follows in a reply after the command asked for the end of the session.
void Session::update_mute() {
  bool mute = (reply_flags_ & (kReplyOff | kReplySkip)) || (running_ && close_after_reply_);
  if (mute == muted_) return;
  if (mute) {
    muted_from_ = out_.end_offset();
  } else {
    out_.rewind(muted_from_);
  }
  muted_ = mute;
}

void Session::settle_reply() {
  if (reply_flags_ & kReplyIsLast) close_after_reply();
  if (muted_) out_.rewind(muted_from_);
  muted_ = false;
  if (aside_.size() > 0) {
    wire::OutQueue reply;
    if (!last_command || last_command->spec->name != "exec") out_.move_tail(reply_start_, reply);
    out_.splice(aside_);
    out_.splice(reply);
  }
  if (postponed_ != Postponed::blocked) {  // else it is not over yet
    reply_flags_ &= ~kReplySkip;
    if (reply_flags_ & kReplySkipNext) reply_flags_ ^= kReplySkipNext | kReplySkip;
  }
  if (reply_flags_ & kReplyTracked) {
    running_ = false;  // what Tracking has to say stands behind the reply
    server_.tracking().command_ended(*this);
  }
}

wire::OutQueue& Session::begin_message(const Ticket& ticket) {
  if (ticket.need != Need::nothing) hold(ticket, running_ ? reply_start_ : out_.end_offset());
  output_written();
  return running_ ? aside_ : out_;
}

void Session::output_written() {
  if (flush_queued_ || closing_) return;
  flush_queued_ = true;
  server_.queue_flush(*this);
}

void Session::hold(const Ticket& ticket, uint64_t from_offset, Held what) {
  if (server_.gate().open(ticket)) return;
  holds_.push_back({from_offset, out_.end_offset(), ticket, what});
  if (holds_.size() == 1) wait_at_gate();
}

// Whenever another one becomes the first that waits.
void Session::wait_at_gate() {
  ++gate_waits_;
  server_.gate().wait(*this, holds_.front().ticket);
}

// Where messages stand between the replies, or replies were left out, the places of what waits are
// not known: such a session ends.
void Session::fail_held(const Verdict& verdict) {
  const uint64_t sendable = sendable_offset();
  if (holds_.empty() || closing_) return;
  bool any = false;
  for (const Hold& hold : holds_) {
    if (verdict(hold.ticket, hold.what == Held::write).empty()) continue;
    any = true;
    if (hold.what == Held::message || subscribed() || tracking || reply_flags_ != 0)
      return close_soon();
  }
  if (!any) return;
  wire::OutQueue tail;
  out_.move_tail(sendable, tail);
  const std::string text = tail.text();
  base::Fifo<Hold> holds = std::move(holds_);
  holds_.clear();
  uint64_t at = sendable;
  auto copy_to = [&](uint64_t end) {
    out_.append(base::Bytes(text).substr(at - sendable, end - at));
    at = end;
  };
  for (size_t i = 0; i < holds.size();) {
    const uint64_t from = holds[i].from_offset;
    copy_to(from);
    const uint64_t start = out_.end_offset();
    std::string error;
    size_t next = i;
    for (; next < holds.size() && holds[next].from_offset == from; ++next)
      if (error.empty()) error = verdict(holds[next].ticket, holds[next].what == Held::write);
    if (error.empty()) {
      copy_to(holds[i].end_offset);
      for (; i < next; ++i) hold(holds[i].ticket, start, holds[i].what);
    } else {
      reply_.error(error);
      server_.note_error(reply_.last_error_code());
      at = holds[i].end_offset;
      i = next;
    }
  }
  copy_to(sendable + text.size());
  output_written();
}

uint64_t Session::sendable_offset() {
  const size_t held = holds_.size();
  while (!holds_.empty() && server_.gate().open(holds_.front().ticket)) holds_.pop_front();
  if (holds_.empty()) return out_.end_offset();
  if (holds_.size() < held) wait_at_gate();
  return holds_.front().from_offset;
}

void Session::flush() {
  if (closing_) return;
  if (over_hard_limit(out_.size())) return close_for_output();
  send_on(0);
}

std::span<const base::Bytes> Session::begin_flush(std::span<base::Bytes> room) {
  // Twice in one queue, it would send the same bytes twice.
  QUOLL_CHECK(std::exchange(flush_queued_, false));
  if (closing_ || send_blocked_ || over_hard_limit(out_.size())) return {};
  return room.first(gather(room.first(kGatherParts)));
}

void Session::end_flush(std::span<const base::Bytes> parts, size_t taken) {
  if (closing_) return;
  note_sent(bytes_of(parts), taken);
  send_on(taken);
}

// What a replica gets comes behind all replies.
size_t Session::gather(std::span<base::Bytes> parts) {
  const size_t count = out_.gather(parts, sendable_offset());
  from_source_ = count == 0 && source_ && out_.size() == 0;
  return from_source_ ? source_->gather(parts) : count;
}

void Session::note_sent(size_t offered, size_t taken) {
  if (from_source_)
    source_->consumed(taken);
  else
    out_.consume(taken);
  if (taken > 0) last_command_ms = server_.now();
  server_.stats().net_output_bytes += taken;
  server_.stats().writes += taken > 0;
  send_blocked_ = taken < offered;
}

// `sent`: bytes of this flush so far.
void Session::send_on(size_t sent) {
  while (!send_blocked_) {
    if (sent >= kFlushBytesMax) {
      flush_later();
      break;
    }
    base::Bytes parts[kGatherParts];
    const size_t count = gather(parts);
    if (count == 0) break;
    const size_t taken = peer_->send({parts, count});
    if (closing_) return;  // the transport found the connection broken
    note_sent(bytes_of({parts, count}), taken);
    sent += taken;
  }
  if (out_.size() == 0) {
    soft_limit_since_ms_ = 0;
    if (close_after_reply_) close_soon();
  } else {
    check_output_limits();
  }
}

void Session::flush_later() {
  if (flush_posted_) return;
  flush_posted_ = true;
  server_.host().loop.post([&server = server_, session = id] {
    Session* self = server.find_session(session);
    if (!self) return;
    self->flush_posted_ = false;
    self->output_written();
  });
}

void Session::writable() {
  send_blocked_ = false;
  running_ ? output_written() : flush();
}

// client-output-buffer-limit. What commands reply counts before any of it is sent, as in Redis.
bool Session::over_hard_limit(size_t held) const {
  const uint64_t limit = server_.settings().client_output_buffer_limit[subscribed() ? 2 : 0].hard;
  return __builtin_expect(limit != 0 && held > limit, 0) && id != 0 && !is_replica();
}

void Session::close_for_output() {
  ++server_.stats().output_buffer_limit_disconnections;
  log::warning(
      "Client id={} addr={} scheduled to be closed ASAP for overcoming of output buffer "
      "limits.",
      id, peer_->remote_address());
  close_soon();
}

// Hard at once, soft when exceeded without pause for its seconds.
void Session::check_output_limits() {
  if (is_replica()) return;  // see Replicas
  size_t held = out_.footprint();
  if (!authenticated_ && !server_.acl().open() && held > kStrangerOutputBytesMax) {
    log::warning(
        "Closing client that does not read its replies before it has logged in: id={} addr={}", id,
        peer_->remote_address());
    return close_soon();
  }
  const auto& limits = server_.settings().client_output_buffer_limit[subscribed() ? 2 : 0];
  bool soft = limits.soft != 0 && held > limits.soft;
  if (!soft) soft_limit_since_ms_ = 0;
  if (soft && soft_limit_since_ms_ == 0) soft_limit_since_ms_ = server_.now();
  bool soft_due = soft && server_.now() - soft_limit_since_ms_ > limits.soft_seconds * 1000;
  if (over_hard_limit(held) || soft_due) close_for_output();
}

void Session::close_after_reply() {
  if (closing_ || close_after_reply_) return;
  close_after_reply_ = true;
  if (running_) update_mute();
  peer_->pause_reads(true);
  output_written();
}

void Session::end() {
  if (!running_) return close_soon();
  reply_flags_ |= kReplyIsLast;
}

void Session::close_soon() {
  if (closing_) return;
  closing_ = true;
  if (gate_waits_ > 0) server_.gate().forget(*this);
  end_wait();
  peer_->close();
  server_.forget(*this);
}

size_t Session::footprint() const {
  size_t bytes = sizeof *this + parser_.own_bytes() + out_.footprint() + transaction.bytes +
                 transaction.watched_held.bytes() + subscriptions_held.bytes() +
                 name.capacity() + library_name.capacity() + library_version.capacity();
  for (const OwnedArgs& line : pending_) bytes += line.bytes();
  if (parked_) bytes += parked_->line.bytes();
  return bytes;
}

}  // namespace quoll::server
