// Changes that the nodes of a cluster agree on: a command begins one and waits; when the outcome is
// there it is run again.
//
//   ClusterNode* node = ...;
//   if (node && concluded(call, *node, [&] { call.reply.ok(); })) return;
//   ... look at the arguments, reply errors ...
//   begin_change(call, *node, step);
#pragma once

#include "server/call.h"
#include "server/cluster_node.h"

namespace quoll::commands {

// In transactions and scripts, where nothing can wait, an error. `line`: what is run again, if not
// the command's own arguments.
void begin_change(server::Call& call, server::ClusterNode& node, server::ClusterNode::Step step,
                  base::Args line = {});

// Of the second run: the outcome; nothing: it is not there yet, and the command waits on.
std::optional<base::Result<>> outcome_or_wait(server::Call& call, server::ClusterNode& node);

// True: this is the second run of the command, and it was answered (`done`: it has come about) or
// waits on.
template <class Done>
bool concluded(server::Call& call, server::ClusterNode& node, Done&& done) {
  if (!call.resumed()) return false;
  const auto outcome = outcome_or_wait(call, node);
  if (outcome && outcome->ok()) done();
  if (outcome && !outcome->ok()) call.reply.error(outcome->error());
  return true;
}

}  // namespace quoll::commands
