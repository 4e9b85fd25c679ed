#include "server/replay.h"

#include "server/call.h"
#include "server/nobody_peer.h"
#include "server/server.h"

namespace quoll::server {
namespace {

Command* find_command(const CommandTable& table, Args args) {
  if (args.empty()) return nullptr;
  Command* command = table.find(args[0]);
  if (!command || command->subcommands.empty()) return command;
  return args.size() > 1 ? table.find_sub(*command, args[1]) : nullptr;
}

}  // namespace

constexpr base::Millis kBeforeAllDeadlines = 0;

Replay::Replay(Server& server)
    : server_(server),
      session_(std::make_unique<Session>(server, 0, std::make_unique<NobodyPeer>())) {
  session_->in_exec = true;  // nothing may wait
  set_time(server_.host().clock.wall());
}

Replay::~Replay() { set_time(0); }

void Replay::set_time(base::Millis wall) { server_.store().access().set_earliest(wall); }

bool Replay::known(Args args) const { return command(args) != nullptr; }

const Command* Replay::command(Args args) const { return find_command(server_.commands(), args); }

void Replay::look_ahead(store::DbIndex db, Args args) {
  const store::Store& store = server_.store();
  if (!base::equal_short(args[0], ahead_name_)) {
    ahead_name_ = args[0];
    const Command* next = server_.commands().find(args[0]);
    ahead_command_ = next && next->first_key > 0 ? next : nullptr;
  }
  if (!ahead_command_ || args.size() <= static_cast<size_t>(ahead_command_->first_key) ||
      db >= store.databases() || ahead_count_ == kLookAhead)
    return;
  const uint64_t hash = store.ref(args[ahead_command_->first_key]).hash;
  const base::Bucket* bucket = store.bucket_of(db, hash);
  store::Store::prefetch(bucket);
  ahead_[ahead_count_++] = {bucket, hash};
}

void Replay::look_ahead(const persist::AofReader& reader) {
  if (commands_ < ahead_until_) return;
  ahead_until_ = commands_;
  reader.look_ahead(kLookAhead, [&](Args words) {
    ++ahead_until_;
    look_ahead(reader.database(), words);
  });
  fetch_ahead();
}

void Replay::fetch_ahead() {
  for (const Ahead& one : std::span(ahead_).first(ahead_count_))
    store::Store::prefetch_entries(one.bucket, one.hash);
  ahead_count_ = 0;
}

Command* Replay::admitted(store::DbIndex db, Args args, std::string& error) const {
  Command* command = find_command(server_.commands(), args);
  if (!command) {
    error = "Unknown command '" + std::string(args[0]) + "'";
    return nullptr;
  }
  const CommandSpec& spec = *command->spec;
  int count = static_cast<int>(args.size());
  if (db < server_.store().databases() &&
      (spec.arity > 0 ? count == spec.arity : count >= -spec.arity))
    return command;
  error = "Wrong arguments of '" + std::string(spec.name) + "'";
  return nullptr;
}

base::Result<> Replay::outcome(uint64_t errors_before) {
  ++commands_;
  session_->out().clear();
  if (session_->reply().errors() == errors_before) return {};
  return base::Error{std::string(session_->reply().last_error_code())};
}

base::Result<> Replay::run(store::DbIndex db, Args args) {
  std::string error;
  Command* command = admitted(db, args, error);
  if (!command) return base::Error{error};
  session_->db = db;
  uint64_t errors = session_->reply().errors();
  store::CommitBuilder& commits = server_.store().commits();
  Call call{
      args, server_, *session_, *command, session_->reply(), server_.store(), kBeforeAllDeadlines,
      db};
  commits.begin(store::Origin::load, kBeforeAllDeadlines);
  command->spec->run(call);
  commits.close();
  return outcome(errors);
}

base::Result<> Replay::run_in_commit(store::DbIndex db, Args args) {
  std::string error;
  Command* command = admitted(db, args, error);
  if (!command) return base::Error{error};
  session_->db = db;
  uint64_t errors = session_->reply().errors();
  Call call{
      args, server_, *session_, *command, session_->reply(), server_.store(), kBeforeAllDeadlines,
      db};
  const base::Nanos start = server_.host().clock.steady();
  call.run();
  command->counters.nanos += static_cast<uint64_t>(server_.host().clock.steady() - start);
  ++command->counters.calls;
  ++server_.stats().commands;
  return outcome(errors);
}

}  // namespace quoll::server
