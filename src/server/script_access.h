// The one place where scripts ask whether their caller may do something.
#pragma once

#include "server/session.h"

namespace quoll::server {

struct Command;

// Why the caller of a script may not run the command line from it; empty: it may. The text is a
// whole error ("NOPERM ...").
inline base::Bytes script_access_refusal(const Session&, const Command&, base::Args) { return {}; }

}  // namespace quoll::server
