// Handlers of FUNCTION that function.cc's table names: those that change libraries.
#pragma once

#include "server/call.h"

namespace quoll::commands {

// function_change.cc
void function_load(server::Call& call);
void function_delete(server::Call& call);
void function_flush(server::Call& call);
void function_restore(server::Call& call);

}  // namespace quoll::commands
