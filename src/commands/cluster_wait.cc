#include "commands/cluster_wait.h"

#include "server/blocked_keys.h"
#include "server/server.h"

namespace quoll::commands {

using namespace server;

namespace {

constexpr Bytes kChangeTooLate = "ERR The cluster could not be changed in time";

}  // namespace

void begin_change(Call& call, ClusterNode& node, ClusterNode::Step step, base::Args line) {
  if (!call.may_block())
    return call.reply.error("ERR The cluster is not changed in transactions and scripts");
  const WaitFor wait{.keys = {},
                     .give_up =
                         [](Session& session) {
                           session.server().node()->cancel(session.id);
                           session.reply().error(kChangeTooLate);
                         },
                     .line = line};
  node.begin(call.session, std::move(step));
  call.block(wait);
}

std::optional<base::Result<>> outcome_or_wait(Call& call, ClusterNode& node) {
  auto outcome = node.take(call.session.id);
  if (!outcome)
    call.block(
        {.keys = {}, .give_up = [](Session& session) { session.reply().error(kChangeTooLate); }});
  return outcome;
}

}  // namespace quoll::commands
