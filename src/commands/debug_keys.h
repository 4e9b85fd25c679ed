// The subcommands of DEBUG that concern keys. Each replies for itself.
#pragma once

#include "server/call.h"

namespace quoll::commands {

void debug_object(server::Call& call);        // OBJECT key
void debug_digest(server::Call& call);        // DIGEST
void debug_digest_value(server::Call& call);  // DIGEST-VALUE key...
void debug_populate(server::Call& call);      // POPULATE count [prefix] [size]
void debug_htstats(server::Call& call);       // HTSTATS db
void debug_htstats_key(server::Call& call);   // HTSTATS-KEY key

}  // namespace quoll::commands
