#include "commands/config_rewriter.h"

#include <fmt/format.h>

#include "host/whole_file.h"
#include "server/log.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr Bytes kNoSuchFile = "No such file or directory";

void rewrite(Server& server, bool force_all, host::OnDone done) {
  host::Disk& disk = server.host().disk;
  const std::string path = server.config().file_path();
  host::read_whole_file(disk, path, [&server, path, force_all, done](auto old_content) {
    // A file that vanished is written anew, as Redis does.
    if (!old_content && old_content.error() != kNoSuchFile)
      return done(base::Error{old_content.error()});
    const std::string old = old_content ? old_content.value() : std::string();
    auto content = server.config().rewritten(old, nullptr, force_all);
    if (!content) return done(base::Error{content.error()});
    const std::string temporary = fmt::format(
        "{}-{}-{:016x}.tmp", path, server.host().process.pid(), server.host().random.draw());
    host::replace_whole_file(server.host().disk, path, temporary, std::move(content.value()), done);
  });
}

}  // namespace

void rewrite_config_file(Call& call, bool force_all, Bytes failure) {
  Server& server = call.server;
  if (server.config().file_path().empty())
    return call.reply.error("ERR The server is running without a config file");
  const bool waits = !call.session.in_exec;
  const SessionId id = call.session.id;
  // The session may have been unblocked early and wait for something else by the time of the end.
  const uint64_t turn = call.session.commands_run + 1;
  rewrite(server, force_all, [&server, id, waits, turn, failure](base::Result<> result) {
    if (result) {
      log::notice("CONFIG REWRITE executed with success.");
    } else {
      log::warning("CONFIG REWRITE failed: {}", result.error());
    }
    Session* session = waits ? server.find_session(id) : nullptr;
    if (!session || session->commands_run != turn) return;
    server.refresh_clock();
    session->unblock(result ? std::string() : std::string(failure) + result.error());
  });
  if (!waits) return call.reply.ok();
  call.session.block(0, [](Session& session) { session.reply().ok(); });
}

}  // namespace quoll::commands
