// Dispatcher: runs one command of one session. An ordered list of admission checks, then the
// handler, then the commit's close.
//
//   look up -> arity -> authentication -> context (subscribed, loading, paused) -> queue in MULTI
//   -> open commit -> handler -> journal -> close commit -> gate -> statistics
//
// Cost: one hash of the command name, two clock reads per batch plus one per command.
#pragma once

#include <algorithm>

#include "server/call.h"
#include "server/command_table.h"
#include "wire/resp_parser.h"

namespace quoll::server {

class Server;

class Dispatcher {
 public:
  Dispatcher(Server& server, std::span<const std::span<const CommandSpec>> families)
      : server_(server), table_(families) {}

  CommandTable& table() { return table_; }

  // Touches the memory that the batch's keys will need: buckets first, then candidate entries.
  void prefetch(Session& session, const wire::CommandBatch& batch);
  // The batch that was looked at is over: its bytes may move.
  void forget_ahead() { ahead_count_ = ahead_next_ = 0; }
  // Of the request whose commands follow, at least: large ones are told of.
  void set_request_bytes(size_t bytes) { request_bytes_ = bytes; }
  // Runs the command or replies why not.
  void execute(Session& session, Args args, BlobOf blob_of, void* blob_owner);
  // Runs a command once more that waited; see blocked_keys.h.
  void execute_again(Session& session, Command& command, Args args);
  // Runs the queued commands of a transaction as one commit (EXEC).
  void execute_queue(Session& session);
  // Runs a command of a script: its reply stays in `session`, its changes join the open commit.
  void run_in_script(Session& session, Command& command, Args args);
  // The error that the running command replies is in the statistics already, as one of a command
  // that a script called.
  void error_was_counted() { error_counted_ = true; }
  // The reply since `reply_start` waits until the commit is settled; in a group, one of a command
  // that wrote nothing itself until it is confirmed that we lead, too.
  void hold_reply(Session& session, store::Seq seq, uint64_t reply_start, bool wrote);
  // The same for a reply that shows whatever the databases hold, of a command that does not say so.
  void hold_view(Session& session, uint64_t reply_start);
  // The argument is a secret: the slow log shows "(redacted)" for it.
  void redact(size_t argument) { redacted_.push_back(argument); }
  bool is_redacted(size_t argument) const {
    return std::ranges::find(redacted_, argument) != redacted_.end();
  }
  // The command whose handler runs, the innermost of a transaction or script; for crash reports.
  const Call* running() const { return running_; }
  base::Nanos last_end() const { return stamp_; }  // steady time at the end of the last command

 private:
  // What prefetch found out about a command of the batch.
  struct Ahead {
    const char* name;  // its first argument's place identifies the command line
    Command* command;
    uint64_t hash;  // of the first key
    bool hashed;
  };

  Command* look_up(Args args);
  bool admit(Session& session, Command& command, Args args);
  bool may_be_refused(const Command& command, const Session& session);
  bool admit_special(Session& session, Command& command, Args args);
  bool admit_slots(Session& session, Command& command, Args args);
  bool reject(Session& session, Command* command, Bytes error);
  bool refuse(Session& session, Bytes error);
  bool postpone_for_snapshot(Session& session, const Command& command, Args args, BlobOf blob_of,
                             void* blob_owner);
  void queue(Session& session, Command& command, Args args, BlobOf blob_of, void* blob_owner);
  void run(Session& session, Command& command, Args args, BlobOf blob_of, void* blob_owner);
  void call_handler(Call& call);
  bool still_allowed(Session& session, QueuedCommand& queued);
  void account(Session& session, Command& command, Args args, uint64_t errors_before,
               base::Nanos start, uint64_t reply_start);
  void count(Session& session, Command& command, uint64_t errors_before, base::Nanos elapsed);
  void unknown_command(Session& session, Args args);

  store::Seq unsettled_seq(const Call& call);
  store::Seq unsettled_seq(store::DbIndex db, const store::KeyRef& key);
  store::Seq remove_expired(store::DbIndex db, const store::KeyRef& key);
  void note_slow(Session& session, Command& command, Args args, base::Nanos elapsed,
                 uint64_t reply_start);
  void note_keys(Session& session, Command& command, Args args, base::Nanos elapsed,
                 uint64_t reply_start);
  void note_slot(Session& session, Command& command, Args args, base::Nanos elapsed,
                 uint64_t reply_start);
  void note_sizes(Session& session, Command& command, Args args, size_t reply_bytes);

  Server& server_;
  CommandTable table_;
  base::Nanos stamp_ = 0;
  std::vector<KeyArg> found_keys_;
  std::vector<size_t> redacted_;  // arguments of the command that runs
  // In the order in which the commands will run.
  Ahead ahead_[wire::kPrefetchBatch];
  const Ahead* current_ = nullptr;  // of the command being executed, if it was looked at ahead
  size_t ahead_count_ = 0;
  size_t ahead_next_ = 0;
  bool error_counted_ = false;
  const Call* running_ = nullptr;
  size_t request_bytes_ = 0;
};

}  // namespace quoll::server
