// CLIENT CONSISTENCY: more than the group's quorums for one connection; see
// server/group_consistency.h.
#pragma once

#include "server/call.h"

namespace quoll::commands {

void client_consistency(server::Call& call);

}  // namespace quoll::commands
