#include "server/dispatcher.h"

#include <algorithm>

#include "base/crc16.h"
#include "base/numbers.h"
#include "base/text.h"
#include "server/cluster_node.h"
#include "server/forwarding.h"
#include "server/group.h"
#include "server/hot_keys.h"
#include "server/log.h"
#include "server/memory_limits.h"
#include "server/replication.h"
#include "server/script_host.h"
#include "server/server.h"
#include "server/slot_stats.h"
#include "store/placement.h"

namespace quoll::server {
namespace {

constexpr size_t kErrorNameBytes = 128;       // of an unknown command's name shown in the reply
constexpr size_t kErrorArgumentsBytes = 128;  // of its arguments

}  // namespace

void Dispatcher::prefetch(Session& session, const wire::CommandBatch& batch) {
  const store::Store& store = server_.store();
  ahead_next_ = 0;
  ahead_count_ = batch.size() < wire::kPrefetchBatch ? batch.size() : wire::kPrefetchBatch;
  const base::Bucket* buckets[wire::kPrefetchBatch] = {};
  // Pipelines repeat themselves: the command before is often the same, and so is its key.
  Bytes previous, previous_key;
  Command* again = nullptr;  // what `previous` names, when no more words are needed to tell
  uint64_t previous_hash = 0;
  bool hashed = false;
  for (size_t i = 0; i < ahead_count_; ++i) {
    Args args = batch.args(i);
    Command* command = again;
    if (!again || !base::equal_short(args[0], previous)) {
      command = look_up(args);
      again = command && command->subcommands.empty() && !command->parent ? command : nullptr;
      previous = args[0];
    }
    Ahead& ahead = ahead_[i];
    ahead = {args[0].data(), command, 0, false};
    if (!command || command->first_key == 0 ||
        args.size() <= static_cast<size_t>(command->first_key))
      continue;
    const Bytes key = args[command->first_key];
    ahead.hashed = true;
    if (hashed && base::equal_short(key, previous_key)) {
      ahead.hash = previous_hash;  // and its bucket is on the way
      continue;
    }
    hashed = true;
    previous_key = key;
    ahead.hash = previous_hash = store.ref(key).hash;
    buckets[i] = store.bucket_of(session.db, ahead.hash);
  }
  for (size_t i = 0; i < ahead_count_; ++i) store::Store::prefetch(buckets[i]);
  for (size_t i = 0; i < ahead_count_; ++i)
    store::Store::prefetch_entries(buckets[i], ahead_[i].hash);
}

// The row of the command, or of its subcommand; a container's row when the subcommand is unknown.
Command* Dispatcher::look_up(Args args) {
  Command* command = table_.find(args[0]);
  if (!command || command->subcommands.empty() || args.size() < 2) return command;
  Command* sub = table_.find_sub(*command, args[1]);
  return sub ? sub : command;
}

void Dispatcher::unknown_command(Session& session, Args args) {
  std::string name(errors::shown(args[0].substr(0, kErrorNameBytes)));
  std::string rest;
  for (size_t i = 1; i < args.size() && rest.size() < kErrorArgumentsBytes; ++i) {
    size_t room = kErrorArgumentsBytes - rest.size();
    rest += '\'';
    rest += errors::shown(args[i].substr(0, room));
    rest += "' ";
  }
  reject(session, nullptr, "ERR unknown command '" + name + "', with args beginning with: " + rest);
}

bool Dispatcher::reject(Session& session, Command* command, Bytes error) {
  if (session.transaction.open) session.transaction.aborted = true;
  if (command) ++command->counters.rejected;
  bool exec = command && command->spec->name == "exec";
  if (exec) {
    // The transaction is discarded, and the reply says why.
    server_.watches().unwatch(session);
    session.transaction.reset();
    Bytes reason = error;
    if (reason.starts_with("ERR ")) reason.remove_prefix(4);
    std::string text = "EXECABORT Transaction discarded because of: ";
    text += reason;
    return refuse(session, text);
  }
  return refuse(session, error);
}

bool Dispatcher::refuse(Session& session, Bytes error) {
  session.reply().error(error);
  server_.note_error(session.reply().last_error_code());
  session.output_written();
  return false;
}

namespace {

std::string refusal_text(const Command& command, const AclVerdict& verdict) {
  constexpr Bytes kKey = "one of the keys used as arguments";
  constexpr Bytes kChannel = "one of the channels used as arguments";
  std::string text = "NOPERM this user has no permissions to ";
  if (verdict.denied == Denied::command)
    return text + "run the '" + std::string(command.spec->name) + "' command";
  return (text += "access ") += verdict.denied == Denied::key ? kKey : kChannel;
}

// Users may change between queueing and EXEC.
std::string late_refusal_text(const AclVerdict& verdict) {
  constexpr Bytes kCommand = "no permission to execute the command or subcommand";
  constexpr Bytes kKey = "no permission to touch the specified keys";
  constexpr Bytes kChannel =
      "no permission to access one of the channels used as arguments to the command";
  std::string text =
      "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC "
      "call. This command is no longer allowed for the following reason: ";
  return text += verdict.denied == Denied::command ? kCommand
                 : verdict.denied == Denied::key   ? kKey
                                                   : kChannel;
}

bool is_one_of(const Command& command, std::initializer_list<Bytes> names) {
  for (Bytes name : names)
    if (command.spec->name == name) return true;
  return false;
}

// What the rules of its keys ask for the command; of EXEC those of all that it runs.
void note_keyspace_rules(GroupConsistency& consistency, const Session& session,
                         const Command& command, Args args, bool exec) {
  Consistency by_rules;
  std::vector<KeyArg> keys;
  const auto add = [&](const Command& one, Args line) {
    keys.clear();
    if (!find_keys(*one.spec, line, keys)) return;
    for (const KeyArg& key : keys) by_rules = consistency.of_key(line[key.index], by_rules);
  };
  add(command, args);
  if (exec)
    for (const QueuedCommand& one : session.transaction.queue) add(*one.command, one.line.args());
  consistency.command_begins(session.id, by_rules);
}

bool may_run_subscribed(const Command& command) {
  return is_one_of(command, {"ping", "subscribe", "ssubscribe", "unsubscribe", "sunsubscribe",
                             "psubscribe", "punsubscribe", "reset", "quit"});
}

bool never_queued(const Command& command) {
  return is_one_of(command, {"exec", "discard", "multi", "watch", "quit", "reset"});
}

}  // namespace

// The order of the checks is Redis's: the first that fails gives the reply.
//
// What every command passes is one function to the compiler, here and below: the calls between its
// parts would cost as much as the parts.
[[gnu::always_inline]] inline bool Dispatcher::admit(Session& session, Command& command,
                                                     Args args) {
  const CommandSpec& spec = *command.spec;
  auto argc = static_cast<int>(args.size());
  if (!command.subcommands.empty() && argc >= 2) {
    std::string name(errors::shown(args[1].substr(0, kErrorNameBytes)));
    return reject(
        session, &command,
        "ERR unknown subcommand '" + name + "'. Try " + base::to_upper(command.name) + " HELP.");
  }
  if (spec.arity > 0 ? argc != spec.arity : argc < -spec.arity)
    return reject(session, &command,
                  "ERR wrong number of arguments for '" + std::string(spec.name) + "' command");
  if (!session.ordinary() && !admit_special(session, command, args)) return false;
  if (__builtin_expect(server_.cluster() != nullptr, 0) && !admit_slots(session, command, args))
    return false;
  if (__builtin_expect(server_.scripts().running(), 0) && !(spec.flags & kAllowBusy))
    return reject(session, &command, server_.scripts().busy_reply());
  if (__builtin_expect(server_.settings().maxmemory != 0, 0) && !server_.scripts().running() &&
      !server_.memory_limits().admit(session, command))
    return reject(session, &command, errors::kOutOfMemory);
  if (__builtin_expect(may_be_refused(command, session), 0))
    if (Bytes refusal = server_.refusal_of(command, session); !refusal.empty())
      return reject(session, &command, refusal);
  return true;
}

// Whether Server::refusal_of() finds anything to look at, which it rarely does.
[[gnu::always_inline]] inline bool Dispatcher::may_be_refused(const Command& command,
                                                              const Session& session) {
  return server_.persistence().hampered() || (command.spec->flags & kNeedsPermission) ||
         server_.replication().following() || server_.settings().min_replicas_to_write > 0 ||
         server_.monitors().any() || session.is_replica();
}

// Checks that only sessions in a special state need.
bool Dispatcher::admit_special(Session& session, Command& command, Args args) {
  const CommandSpec& spec = *command.spec;
  if (!session.authenticated() && !(spec.flags & kNoAuth) && !server_.acl().open())
    return reject(session, &command, errors::kNoAuth);
  if (session.transaction.open && (spec.flags & kNoMulti))
    return reject(session, &command, "ERR Command not allowed inside a transaction");
  AclContext context = session.transaction.open ? AclContext::multi : AclContext::toplevel;
  if (AclVerdict verdict = server_.acl().admit(session, command, args, context); !verdict)
    return reject(session, &command, refusal_text(command, verdict));
  if (session.subscribed() && session.reply().protocol() == 2 && !may_run_subscribed(command))
    return reject(session, &command,
                  "ERR Can't execute '" + std::string(spec.name) +
                      "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed "
                      "in this context");
  return true;
}

// A command may use one slot, and only where its keys are. What a transaction uses is known at
// EXEC.
bool Dispatcher::admit_slots(Session& session, Command& command, Args args) {
  const SlotRoutes& routes = server_.routes();
  const bool may_run = command.spec->access != Access::write || server_.cluster()->may_commit();
  const bool asked = server_.group() && !server_.group()->consistency().idle();
  const uint64_t* hash = current_ && current_->hashed ? &current_->hash : nullptr;
  if (!session.transaction.open && command.one_key && may_run && !asked && routes.serves()) {
    if (server_.cluster()->has_all_slots()) return true;
    if (hash && routes.serves(store::slot_of(*hash))) return true;
  }
  const bool exec = session.transaction.open && command.spec->name == "exec";
  if (asked && server_.group()->consistency().has_rules())
    note_keyspace_rules(server_.group()->consistency(), session, command, args, exec);
  const SlotUse use = exec ? session.transaction.slots : routes.use_of(command, args, hash);
  const Route route = routes.find(session, command, use);
  const bool too_few = route == Route::here && asked && use.writes && routes.serves() &&
                       (exec || !session.transaction.open) && !server_.group()->may_commit(session);
  if (route == Route::here && !too_few) {
    if (session.transaction.open && !never_queued(command)) session.transaction.slots.add(use);
    return true;
  }
  if (ClusterNode* node = server_.node(); node && route != Route::here) {
    const auto admission = node->forwarding().admit(session, command, args, route, use);
    if (admission != Forwarding::Admission::none) return admission == Forwarding::Admission::run;
  }
  const std::string error = too_few ? routes.no_quorum(use, server_.group()->quorum(session))
                                    : routes.error(session, route, use);
  if (too_few) server_.group()->consistency().command_is_over(session.id);
  if (!exec) return reject(session, &command, error);
  server_.watches().unwatch(session);
  session.transaction.reset();
  ++command.counters.rejected;
  return refuse(session, error);
}

void Dispatcher::queue(Session& session, Command& command, Args args, BlobOf blob_of,
                       void* blob_owner) {
  session.transaction.queue.push_back({&command, OwnedArgs(args, [&](size_t i) -> base::Blob* {
                                         return blob_of ? blob_of(blob_owner, i) : nullptr;
                                       })});
  session.transaction.bytes += session.transaction.queue.back().line.bytes();
  session.reply().simple("QUEUED");
}

// A command that would change a value of which the snapshot has much to write is run again when the
// walk is past it. What cannot wait, transactions, scripts and the server's own edits, has it
// written at once.
bool Dispatcher::postpone_for_snapshot(Session& session, const Command& command, Args args,
                                       BlobOf blob_of, void* blob_owner) {
  if (command.spec->access != Access::write) return false;
  found_keys_.clear();
  if (!find_keys(*command.spec, args, found_keys_)) return false;
  for (const KeyArg& key : found_keys_) {
    if (key.flags & kKeyRo) continue;
    if (!server_.persistence().waits_for_snapshot(session.id, session.db, args[key.index]))
      continue;
    session.postpone_command(args, blob_of, blob_owner);
    return true;
  }
  return false;
}

// A replica's link has no place for replies: who causes one there does not know what he is doing.
static void drop_talking_replica(Session& session) {
  log::warning("Replica generated a reply to command '{}', disconnecting it: id={} addr={}",
               session.last_command ? session.last_command->name : "<unknown>", session.id,
               session.peer().remote_address());
  session.end();
}

void Dispatcher::execute(Session& session, Args args, BlobOf blob_of, void* blob_owner) {
  const bool is_replica = session.is_replica();
  const uint64_t replies_before = session.out().end_offset();
  session.begin_command();
  current_ = nullptr;
  if (ahead_next_ < ahead_count_ && ahead_[ahead_next_].name == args[0].data())
    current_ = &ahead_[ahead_next_++];
  Command* command = current_ ? current_->command : look_up(args);
  session.last_command = command;
  if (!command) {
    if (base::equals_ignoring_case(args[0], "post") || base::equals_ignoring_case(args[0], "host:"))
      return server_.refuse_cross_protocol(session);
    unknown_command(session, args);
  } else if (admit(session, *command, args)) {
    if (__builtin_expect(server_.paused() != PauseKind::none, 0) &&
        server_.postpone_if_paused(session, *command, args, blob_of, blob_owner))
      return session.cancel_command();
    bool queued = session.transaction.open && !never_queued(*command);
    if (__builtin_expect(server_.store().snapshot() != nullptr, 0) && !queued &&
        postpone_for_snapshot(session, *command, args, blob_of, blob_owner))
      return session.cancel_command();
    if (queued) {
      queue(session, *command, args, blob_of, blob_owner);
    } else {
      run(session, *command, args, blob_of, blob_owner);
    }
  }
  if (__builtin_expect(is_replica, 0) && session.out().end_offset() != replies_before)
    drop_talking_replica(session);
  session.end_command();
  if (__builtin_expect(server_.blocked_keys().ready(), 0) && !server_.scripts().running())
    server_.blocked_keys().serve(server_.now());
}

// Which command runs is what a crash report tells.
void Dispatcher::call_handler(Call& call) {
  const Call* outer = std::exchange(running_, &call);
  call.run();
  running_ = outer;
}

// Part of its callers: what it is handed would be stored and read back for each command.
[[gnu::always_inline]] inline void Dispatcher::run(Session& session, Command& command, Args args,
                                                   BlobOf blob_of, void* blob_owner) {
  store::Store& store = server_.store();
  store::CommitBuilder& commits = store.commits();
  uint64_t errors_before = session.reply().errors();
  const uint64_t run_before = session.commands_run;
  uint64_t reply_start = session.out().end_offset();
  // A command begins where the one before it in the batch ended.
  base::Nanos start = std::max(stamp_, server_.clock_stamp());
  Call call{args, server_, session, command, session.reply(), store, server_.now(), session.db};
  call.blob_of = blob_of;
  call.blob_owner = blob_owner;
  if (current_ && current_->hashed && !session.in_exec) {
    call.first_hash = current_->hash;
    call.has_hash = true;
  }
  if (command.spec->access == Access::write && !commits.open()) {
    commits.begin(store::Origin::client, call.now);
    call_handler(call);
    store::Seq seq = commits.close();
    if (__builtin_expect(server_.gate().demanding(), 0))
      hold_reply(session, seq ? seq : unsettled_seq(call), reply_start, seq != 0);
    server_.after_commit(session, seq);
  } else {
    call_handler(call);
    if (__builtin_expect(session.tracking != 0, 0)) server_.tracking().remember(session, call);
    if (__builtin_expect(server_.gate().demanding(), 0) && !session.in_exec &&
        command.spec->access != Access::none)
      hold_reply(session, unsettled_seq(call), reply_start, false);
  }
  // Errors of what EXEC ran are those commands' and were counted.
  if (session.commands_run != run_before) errors_before = session.reply().errors();
  // What a transaction queued came with other requests.
  const size_t reply_bytes = session.out().end_offset() - reply_start;
  const bool large = std::max(request_bytes_, reply_bytes) >= server_.large_bytes();
  if (__builtin_expect(large || session.in_exec, 0))
    note_sizes(session, command, args, reply_bytes);
  account(session, command, args, errors_before, start, reply_start);
}

// What INFO tells of a command that ran.
[[gnu::always_inline]] inline void Dispatcher::count(Session& session, Command& command,
                                                     uint64_t errors_before, base::Nanos elapsed) {
  CommandCounters& counters = command.counters;
  counters.nanos += static_cast<uint64_t>(elapsed);
  if (__builtin_expect(!session.resumed(), 1)) {  // else counted when it began to wait
    ++counters.calls;
    ++session.commands_run;
    ++server_.stats().commands;
  }
  if (session.reply().errors() != errors_before) {
    ++counters.failed;
    if (!std::exchange(error_counted_, false))
      server_.note_error(session.reply().last_error_code());
  }
  if (server_.settings().latency_tracking && !session.waiting()) {
    if (!counters.latency) counters.latency = std::make_unique<base::Histogram>();
    counters.latency->record(elapsed);
  }
}

[[gnu::always_inline]] inline void Dispatcher::account(Session& session, Command& command,
                                                       Args args, uint64_t errors_before,
                                                       base::Nanos start, uint64_t reply_start) {
  base::Nanos end = server_.host().clock.steady();
  base::Nanos elapsed = end - start;
  stamp_ = end;
  count(session, command, errors_before, elapsed);
  if (__builtin_expect(elapsed >= server_.slow_threshold(), 0))
    note_slow(session, command, args, elapsed, reply_start);
  redacted_.clear();
}

void Dispatcher::run_in_script(Session& session, Command& command, Args args) {
  uint64_t errors_before = session.reply().errors();
  base::Nanos start = server_.host().clock.steady();
  Call call{args,          server_,   session, command, session.reply(), server_.store(),
            server_.now(), session.db};
  call_handler(call);
  if (Session* caller = server_.scripts().caller(); caller && caller->tracking)
    server_.tracking().remember(*caller, call);
  count(session, command, errors_before, server_.host().clock.steady() - start);
  redacted_.clear();
}

void Dispatcher::note_keys(Session& session, Command& command, Args args, base::Nanos elapsed,
                           uint64_t reply_start) {
  HotKeys& hot_keys = server_.hot_keys();
  if (hot_keys.end_due(server_.now(), server_.host().process)) return server_.hot_keys_changed();
  found_keys_.clear();
  if (!session.waiting() && find_keys(*command.spec, args, found_keys_))
    hot_keys.record(args, found_keys_, elapsed, session.out().end_offset() - reply_start);
}

// Of what the keys are in; commands in a script are the script's.
void Dispatcher::note_slot(Session& session, Command& command, Args args, base::Nanos elapsed,
                           uint64_t reply_start) {
  found_keys_.clear();
  if (session.waiting() || !find_keys(*command.spec, args, found_keys_) || found_keys_.empty())
    return;
  server_.slot_stats().record(base::key_slot(args[found_keys_[0].index]), elapsed, args,
                              session.out().end_offset() - reply_start);
}

void Dispatcher::note_slow(Session& session, Command& command, Args args, base::Nanos elapsed,
                           uint64_t reply_start) {
  if (server_.hot_keys().active()) note_keys(session, command, args, elapsed, reply_start);
  if (server_.slot_stats().active()) note_slot(session, command, args, elapsed, reply_start);
  if (redacted_.empty()) return server_.note_slow(session, command, args, elapsed);
  std::vector<Bytes> shown(args.begin(), args.end());
  for (size_t argument : redacted_) shown[argument] = "(redacted)";
  server_.note_slow(session, command, shown, elapsed);
}

// What its user may do may have changed while it waited.
void Dispatcher::execute_again(Session& session, Command& command, Args args) {
  current_ = nullptr;
  // What the command waited for may have taken away its right to be run; it has been run.
  const bool over = server_.node() && server_.node()->has_outcome(session.id);
  if (!over && !session.user->unrestricted()) {
    AclVerdict verdict = server_.acl().admit(session, command, args, AclContext::toplevel);
    if (!verdict) {
      reject(session, &command, refusal_text(command, verdict));
      return;
    }
  }
  run(session, command, args, nullptr, nullptr);
}

// For the logs of large requests and replies.
void Dispatcher::note_sizes(Session& session, Command& command, Args args, size_t reply_bytes) {
  size_t request_bytes = 0;
  for (Bytes argument : args) request_bytes += argument.size();
  if (__builtin_expect(std::max(request_bytes, reply_bytes) < server_.large_bytes(), 1)) return;
  std::vector<Bytes> shown(args.begin(), args.end());
  for (size_t argument : redacted_) shown[argument] = "(redacted)";
  server_.note_large(session, command, shown, request_bytes, reply_bytes);
}

bool Dispatcher::still_allowed(Session& session, QueuedCommand& queued) {
  AclVerdict verdict =
      server_.acl().admit(session, *queued.command, queued.line.args(), AclContext::multi);
  if (verdict) return true;
  session.reply().error(late_refusal_text(verdict));
  server_.note_error(session.reply().last_error_code());
  return false;
}

void Dispatcher::execute_queue(Session& session) {
  store::CommitBuilder& commits = server_.store().commits();
  uint64_t reply_start = session.out().end_offset();
  session.in_exec = true;
  session.reply().array(session.transaction.queue.size());
  commits.begin(store::Origin::client, server_.now(), true);
  server_.notifier().unit_begins();
  for (QueuedCommand& queued : session.transaction.queue) {
    if (!session.user->unrestricted() && !still_allowed(session, queued)) continue;
    run(
        session, *queued.command, queued.line.args(),
        [](void* owner, size_t i) { return static_cast<OwnedArgs*>(owner)->blob(i); },
        &queued.line);
  }
  store::Seq seq = commits.close();
  session.in_exec = false;
  if (server_.gate().demanding()) {
    const store::Seq shown = seq ? seq : server_.persistence().unsettled().latest();
    server_.notifier().unit_over(server_.gate().ticket(shown));
    hold_reply(session, shown, reply_start, seq != 0);
  }
  server_.after_commit(session, seq);
}

void Dispatcher::hold_reply(Session& session, store::Seq seq, uint64_t reply_start, bool wrote) {
  const auto what = wrote ? Session::Held::write : Session::Held::read;
  Ticket ticket = server_.gate().ticket(seq);
  if (ticket.need != Need::nothing) session.hold(ticket, reply_start, what);
  ReplicaGroup* group = server_.group();
  if (!group) return;
  Ticket leadership;
  if (!wrote) session.hold(leadership = group->confirmation(), reply_start, what);
  if (!group->consistency().idle())
    group->hold_as_asked(session, reply_start, wrote, ticket, leadership);
}

void Dispatcher::hold_view(Session& session, uint64_t reply_start) {
  if (server_.gate().demanding() && !session.in_exec)
    hold_reply(session, server_.persistence().unsettled().latest(), reply_start, false);
}

// In a group a key that is seen as expired must stay so under every later leader.
store::Seq Dispatcher::remove_expired(store::DbIndex db, const store::KeyRef& key) {
  store::Store& store = server_.store();
  if (!server_.group() || store.expires(db) == 0 || !store.holds_expired(db, key, server_.now()))
    return 0;
  store.commits().begin(store::Origin::expiry, server_.now());
  { store::Edit removal = store.edit(db, key, server_.now()); }
  return store.commits().close();
}

store::Seq Dispatcher::unsettled_seq(store::DbIndex db, const store::KeyRef& key) {
  const store::Seq removed = remove_expired(db, key);
  return std::max(removed, server_.persistence().unsettled().of(db, key.bytes));
}

// The commit that must be settled before the reply of a command that changed nothing may be seen.
store::Seq Dispatcher::unsettled_seq(const Call& call) {
  const UnsettledKeys& unsettled = server_.persistence().unsettled();
  if (call.command.spec->access == Access::none || (!unsettled.any() && !server_.group())) return 0;
  if (const auto first = static_cast<size_t>(call.command.first_key);
      call.command.one_key && first < call.argc())
    return unsettled_seq(call.db, call.key(first));
  found_keys_.clear();
  if (!find_keys(*call.command.spec, call.args, found_keys_) || found_keys_.empty())
    return unsettled.latest();
  store::Seq seq = 0;
  for (const KeyArg& key : found_keys_)
    seq = std::max(seq, unsettled_seq(call.db, server_.store().ref(call.arg(key.index))));
  return seq;
}

}  // namespace quoll::server
