// CLIENT KILL, in its old form (an address) and its new one (filters).
#pragma once

#include "server/call.h"

namespace quoll::commands {

void client_kill(server::Call& call);
// The error for a TYPE that does not exist, given at `argument`.
void unknown_client_type(server::Call& call, size_t argument);

}  // namespace quoll::commands
