// Session: one client connection, from received bytes to sent replies.
//
//   received -> RespParser -> up to 16 commands -> prefetch -> Dispatcher, one by one
//            -> OutQueue -> (turn end) one gathered write, up to the first closed gate
//
// A session that is postponed (CLIENT PAUSE, a blocking command) keeps the commands it had parsed
// ahead, with bytes of their own, and stops reading. One whose commands took longer than
// kDriveBudget goes on in a later turn, so that no pipeline holds up the others.
//
// Messages that reach a session while it runs a command (its own PUBLISH, events of its own writes)
// are kept aside and put in front of that command's reply, but behind the reply of an EXEC: never
// inside a reply.
// Cost of an idle session: about 700 bytes; buffers are held only while something is in them.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/fifo.h"
#include "host/host.h"
#include "server/acl_user.h"
#include "server/output_gate.h"
#include "server/transaction.h"
#include "wire/reply_writer.h"
#include "wire/resp_parser.h"

namespace quoll::server {

class Call;
class Server;
struct Command;
struct ParkedCommand;
struct WaitFor;

using SessionId = uint64_t;

using BlobOf = base::Blob* (*)(void* owner, size_t argument);

// CLIENT REPLY, as bits.
enum ReplyFlag : uint8_t {
  kReplyOff = 1,
  kReplySkip = 2,      // the command that runs now is not answered
  kReplySkipNext = 4,  // the next one will not be
  kReplyIsLast = 8,    // the session ends behind the command that runs now
  kReplyTracked = 16,  // the session is in tracking mode: Tracking is told of its commands
};
// Further bytes for a client, sent behind its replies from where they are kept: a replica's data.
class OutSource {
 public:
  virtual ~OutSource() = default;
  // Fills `parts` with the next bytes; returns how many parts were used. They stay where they are
  // until consumed() says how many bytes of them were sent.
  virtual size_t gather(std::span<base::Bytes> parts) = 0;
  virtual void consumed(size_t bytes) = 0;
};

// Why a session does not run commands now.
enum class Postponed : uint8_t { no, paused, blocked };

constexpr uint64_t kRepliesBetweenLooks = 1024;  // elements: whether they are in vain
constexpr size_t kGatherParts = 16;              // chunks per gathered write: 256 KiB

class Session final : public host::PeerEvents {
 public:
  Session(Server& server, SessionId id, std::unique_ptr<host::Peer> peer);
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // host::PeerEvents
  std::span<char> receive_buffer() override;
  void received(size_t bytes) override;
  void writable() override;
  bool ended() override;
  bool heard_nested() const override { return true; }
  void closed(const std::string& reason) override;

  void start();
  // Sends what the gate lets out.
  void flush();
  // The same at the end of a turn for all sessions with output: what is to be sent first, its parts
  // in `room`, and then how much of it was taken. Where that is nothing, flush() does the rest.
  std::span<const base::Bytes> begin_flush(std::span<base::Bytes> room);
  void end_flush(std::span<const base::Bytes> parts, size_t taken);
  // The client is a replica from now on; null: no longer. It must outlive the session or be unset.
  void set_source(OutSource* source) { source_ = source; }
  bool is_replica() const { return source_ != nullptr; }
  // Its last commit, and where that ends in the replication stream, or in a group which entry of
  // the log it became: what WAIT waits for.
  void note_write(store::Seq seq, uint64_t offset) {
    write_seq_ = seq;
    write_offset_ = offset;
  }
  store::Seq write_seq() const { return write_seq_; }
  uint64_t write_offset() const { return write_offset_; }
  // Output from there on waits for the ticket. `reply`: what is there so far is a reply, of a
  // command that wrote or did not.
  enum class Held : uint8_t { message, read, write };
  void hold(const Ticket& ticket, uint64_t from_offset, Held what = Held::message);
  // Replies that wait and that `verdict` has an error for are replaced by it; messages that wait
  // end the session.
  using Verdict = std::function<std::string(const Ticket&, bool wrote)>;
  void fail_held(const Verdict& verdict);
  // A ticket that this session waited for is open.
  void gate_opened() {
    --gate_waits_;
    output_written();
  }
  // Tells the server that there is output; direct writers (publish) call it.
  void output_written();

  // Around every command, told by the dispatcher. A command that was postponed did not run.
  void begin_command() {
    reply_start_ = out_.end_offset();
    running_ = true;
    if (__builtin_expect(reply_flags_ != 0, 0)) begin_flagged();
  }
  void end_command() {
    if (__builtin_expect(muted_ || reply_flags_ != 0 || aside_.size() > 0, 0)) settle_reply();
    running_ = false;
  }
  void cancel_command() { running_ = muted_ = false; }
  bool running() const { return running_; }
  // Where messages nobody asked for are written to, and from where they wait for the ticket.
  wire::OutQueue& begin_message(const Ticket& ticket);
  // A reply that a client gets though it wants none: confirmations of subscriptions.
  void begin_push() {
    if (muted_) out_.rewind(muted_from_);
  }
  void end_push() {
    if (muted_) muted_from_ = out_.end_offset();
  }
  uint8_t reply_flags() const { return reply_flags_; }
  void set_reply_flags(uint8_t flags) {
    reply_flags_ = flags;
    update_mute();
  }

  // Ends the session: at once, or when its output has been sent.
  void close_soon();
  void close_after_reply();
  // At once, or behind the whole reply of the command that runs.
  void end();
  // Nobody reads what a command goes on to reply: the client is gone, or gets more than it may.
  bool reply_in_vain() const { return closing_ || over_hard_limit(out_.size()); }
  bool closing() const { return closing_; }
  // Memory of the large arguments in the commands being run.
  size_t request_bytes() const { return batch_.held_bytes(); }
  bool close_requested() const { return close_after_reply_; }

  // Commands that nobody sent: they run as if received, and those that do not fit in this turn
  // later.
  void run_lines(std::vector<OwnedArgs> lines);

  // Stops running commands; pending ones are kept. resume() lets them go on in a later turn.
  void postpone(Postponed why);
  void resume();
  // The command must wait for the end of a pause: it and what follows is kept.
  void postpone_command(Args args, BlobOf blob_of, void* blob_owner);
  Postponed postponed() const { return postponed_; }
  bool waits_with_timeout() const { return block_timer_ != 0; }
  // Of the wait that goes on; 0: none.
  base::Millis block_timeout() const { return block_timer_ != 0 ? block_timeout_ : 0; }
  // A blocking command waits: nothing more runs until unblock(), which comes by itself after
  // `timeout` ms (0: never) and then lets `give_up` write the command's reply.
  using GiveUp = void (*)(Session&);
  void block(base::Millis timeout, GiveUp give_up);
  // Ends the wait as the timeout would, or with `error` as the reply. False when not blocked.
  bool unblock(base::Bytes error = {});
  // The command waits for keys, keeping its arguments; see blocked_keys.h.
  void park(const Call& call, const WaitFor& wait);
  // Runs the parked command again. Unless it replies, its wait goes on.
  void run_again();
  // The command that runs now was parked before.
  bool resumed() const { return resumed_; }
  // The command that waits for keys; nullptr when none does.
  const ParkedCommand* parked() const { return parked_.get(); }
  // The command that ran last has not replied yet.
  bool waiting() const { return postponed_ == Postponed::blocked && (!resumed_ || waits_on_); }

  Server& server() { return server_; }
  const Server& server() const { return server_; }
  wire::ReplyWriter& reply() { return reply_; }
  int protocol() const { return reply_.protocol(); }
  wire::OutQueue& out() { return out_; }
  const wire::OutQueue& out() const { return out_; }
  const wire::RespParser& parser() const { return parser_; }
  host::Peer& peer() { return *peer_; }
  const host::Peer& peer() const { return *peer_; }
  bool subscribed() const { return subscriptions > 0; }
  void set_authenticated(bool yes);
  bool authenticated() const { return authenticated_; }
  // Whether a login is needed has changed.
  void update_login() { set_authenticated(authenticated_); }
  // Logged in as one who may do everything, in no transaction, not subscribed: the state in which
  // any command may run.
  bool ordinary() const {
    return authenticated_ && !transaction.open && subscriptions == 0 && user->unrestricted();
  }
  // RESET's and a new connection's state, but for the connection itself.
  void reset_state();
  bool waits_to_send() const { return send_blocked_; }
  size_t footprint() const;  // bytes of memory it takes, for CLIENT LIST

  const SessionId id;
  const base::Millis created_ms;
  base::Millis last_command_ms;  // also when it took something
  base::Millis received_ms = 0;  // it last sent something
  std::string name;
  std::string library_name;
  std::string library_version;
  const AclUser* user;  // never null; see acl.h
  store::DbIndex db = 0;
  bool no_evict = false;
  bool no_touch = false;
  bool in_exec = false;
  bool for_node = false;       // of another node, which runs a client's command here
  bool replica_reads = false;  // READONLY: a member that does not lead may answer its reads
  Transaction transaction;
  uint8_t tracking = 0;                    // TrackingFlag bits; Tracking keeps the rest
  uint32_t subscriptions = 0;              // channels and patterns; PubSub keeps the lists
  base::HeldForClient subscriptions_held;  // and prefixes that are tracked
  Command* last_command = nullptr;
  uint64_t bytes_in = 0;
  uint64_t commands_run = 0;

 private:
  struct Hold {
    uint64_t from_offset;
    uint64_t end_offset;  // of a reply
    Ticket ticket;
    Held what;
  };

  void drive();
  void drive_later();
  void drive_again();
  bool may_run() const { return !closing_ && !close_after_reply_ && postponed_ == Postponed::no; }
  bool parse_ahead();
  void run_next();
  void keep_pending();
  void fail_protocol();
  void end_wait();
  void begin_flagged();
  void update_mute();
  void settle_reply();
  uint64_t sendable_offset();
  void wait_at_gate();
  size_t gather(std::span<base::Bytes> parts);
  void note_sent(size_t offered, size_t taken);
  void send_on(size_t sent);
  void flush_later();
  void check_output_limits();
  bool over_hard_limit(size_t held) const;
  void close_for_output();

  Server& server_;
  std::unique_ptr<host::Peer> peer_;
  wire::OutQueue out_;
  wire::ReplyWriter reply_;
  wire::RespParser parser_;
  wire::CommandBatch batch_;
  size_t next_ = 0;  // command of the batch to run next
  std::deque<OwnedArgs> pending_;
  base::Fifo<Hold> holds_;
  wire::OutQueue aside_;  // messages that arrived while a command runs
  uint64_t reply_start_ = 0;
  uint64_t muted_from_ = 0;  // while muted_: what is written behind is dropped
  base::Millis soft_limit_since_ms_ = 0;
  base::Nanos turn_ = 0;  // in which used_in_turn_ was spent on commands
  base::Nanos used_in_turn_ = 0;
  GiveUp give_up_ = nullptr;
  std::unique_ptr<ParkedCommand> parked_;
  host::TimerId block_timer_ = 0;
  base::Millis block_timeout_ = 0;
  Postponed postponed_ = Postponed::no;
  uint8_t reply_flags_ = 0;
  bool running_ = false;
  bool resumed_ = false;
  bool waits_on_ = false;  // the resumed command found nothing again
  bool muted_ = false;
  bool authenticated_ = true;
  bool driving_ = false;
  bool drive_queued_ = false;
  bool ended_ = false;   // the client sends no more; it still gets its replies
  bool broken_ = false;  // a protocol error was seen: nothing more is parsed
  bool closing_ = false;
  bool close_after_reply_ = false;
  bool flush_queued_ = false;  // with the server, once: whoever flushes otherwise leaves it there
  bool from_source_ = false;   // what was gathered last
  bool flush_posted_ = false;
  bool send_blocked_ = false;
  uint32_t gate_waits_ = 0;  // tickets of which the gate will tell
  OutSource* source_ = nullptr;
  store::Seq write_seq_ = 0;
  uint64_t write_offset_ = 0;
};

}  // namespace quoll::server
