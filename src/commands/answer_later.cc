#include "commands/answer_later.h"

#include "server/server.h"

namespace quoll::commands {

using namespace server;

host::OnDone answer_later(Call& call) {
  if (call.session.in_exec) {
    call.reply.ok();
    return [](const base::Result<>&) {};
  }
  // The session may have been unblocked early and wait for something else by the time of the end.
  const uint64_t turn = call.session.commands_run + 1;
  call.session.block(0, [](Session& session) { session.reply().ok(); });
  return [&server = call.server, id = call.session.id, turn](const base::Result<>& result) {
    Session* session = server.find_session(id);
    if (!session || session->commands_run != turn) return;
    server.refresh_clock();
    session->unblock(result ? base::Bytes() : base::Bytes(result.error()));
  };
}

}  // namespace quoll::commands
