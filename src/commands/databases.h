// Reading a database number from a command line, as COPY, MOVE and SWAPDB do.
#pragma once

#include "server/call.h"

namespace quoll::commands {

// Reads argument i as a 32-bit number; replies `error`, or what Redis says for each way of not
// being one, and returns false.
bool int32_argument(server::Call& call, size_t i, int32_t& value, server::Bytes error = {});
// The same, and the database must exist.
bool database_argument(server::Call& call, size_t i, store::DbIndex& db);

}  // namespace quoll::commands
