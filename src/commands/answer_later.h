// Replies of commands whose work ends in a later turn (files).
#pragma once

#include "server/call.h"

namespace quoll::commands {

// The session waits until the returned function is told the outcome: its reply is then OK, or the
// error's text, which is a whole error reply without the '-'. Inside EXEC nothing can wait: the
// reply is OK at once, and whoever does the work logs a failure.
host::OnDone answer_later(server::Call& call);

}  // namespace quoll::commands
