// ACL LOAD and SAVE: the users from the ACL file and back. The session waits for the file.
#include <fmt/format.h>

#include "commands/acl_family.h"
#include "commands/answer_later.h"
#include "host/whole_file.h"
#include "server/log.h"
#include "server/server.h"

namespace quoll::commands {

using namespace server;

namespace {

bool has_file(Call& call) {
  if (!call.server.settings().aclfile.empty()) return true;
  call.reply.error(
      "ERR This Redis instance is not configured to use an ACL file. You may want to specify users "
      "via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis "
      "configuration file set) in order to store users in the Redis configuration.");
  return false;
}

}  // namespace

void acl_load(Call& call) {
  if (!has_file(call)) return;
  call.server.reload_acl([answer = answer_later(call)](const base::Result<>& result) {
    if (result) return answer({});
    log::warning("ACL LOAD failed: {}", result.error());
    answer(base::Error{"ERR " + result.error()});
  });
}

void acl_save(Call& call) {
  if (!has_file(call)) return;
  host::Host& host = call.server.host();
  const std::string& path = call.server.settings().aclfile;
  const std::string temporary =
      fmt::format("{}.tmp-{}-{:016x}", path, host.process.pid(), host.random.draw());
  std::string content;
  for (const std::string& line : call.server.acl().own_lines()) content += line + '\n';
  host::replace_whole_file(
      host.disk, path, temporary, std::move(content),
      [answer = answer_later(call)](const base::Result<>& result) {
        if (result) return answer({});
        log::warning("Writing ACL file for ACL SAVE: {}", result.error());
        answer(
            base::Error{"ERR There was an error trying to save the ACLs. Please check the server "
                        "logs for more information"});
      });
}

}  // namespace quoll::commands
