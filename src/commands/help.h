// HELP of a container command, in the form that Redis gives it.
#pragma once

#include <span>

#include "server/call.h"

namespace quoll::commands {

// A title with the container's name, `lines`, and the two lines about HELP itself.
void reply_help(server::Call& call, std::span<const base::Bytes> lines);

// The reply of commands that look at their subcommand themselves.
void reply_unknown_subcommand(server::Call& call);

}  // namespace quoll::commands
