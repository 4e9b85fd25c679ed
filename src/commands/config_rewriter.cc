#include "commands/config_rewriter.h"

#include <fmt/format.h>

#include "commands/answer_later.h"
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
    const std::vector<std::string> users = server.acl().own_lines();
    auto content = server.config().rewritten(old, &users, force_all);
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
  rewrite(server, force_all, [answer = answer_later(call), failure](const base::Result<>& result) {
    if (result) {
      log::notice("CONFIG REWRITE executed with success.");
      return answer({});
    }
    log::warning("CONFIG REWRITE failed: {}", result.error());
    answer(base::Error{std::string(failure) + result.error()});
  });
}

}  // namespace quoll::commands
