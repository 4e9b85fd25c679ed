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

Replay::Replay(Server& server)
    : server_(server),
      session_(std::make_unique<Session>(server, 0, std::make_unique<NobodyPeer>())) {
  server_.store().access().set_earliest(server_.host().clock.wall());
}

Replay::~Replay() { server_.store().access().set_earliest(0); }

bool Replay::known(Args args) const { return find_command(server_.commands(), args) != nullptr; }

base::Result<> Replay::run(store::DbIndex db, Args args) {
  constexpr base::Millis kBeforeAllDeadlines = 0;
  Command* command = find_command(server_.commands(), args);
  if (!command) return base::Error{"Unknown command '" + std::string(args[0]) + "'"};
  const CommandSpec& spec = *command->spec;
  int count = static_cast<int>(args.size());
  if (db >= server_.store().databases() ||
      (spec.arity > 0 ? count != spec.arity : count < -spec.arity))
    return base::Error{"Wrong arguments of '" + std::string(spec.name) + "'"};
  session_->db = db;
  uint64_t errors = session_->reply().errors();
  store::CommitBuilder& commits = server_.store().commits();
  Call call{
      args, server_, *session_, *command, session_->reply(), server_.store(), kBeforeAllDeadlines,
      db};
  commits.begin(store::Origin::load, kBeforeAllDeadlines);
  spec.run(call);
  commits.close();
  ++commands_;
  session_->out().clear();
  if (session_->reply().errors() == errors) return {};
  return base::Error{std::string(session_->reply().last_error_code())};
}

}  // namespace quoll::server
