// The redis (and server) table of scripts.
#pragma once

#include "server/lua_vm.h"

namespace quoll::server {

// Makes the table a global of the VM. The VM's owner is the ScriptHost.
void add_redis_api(LuaVm& vm, LuaVm::Kind kind);
// Leaves at the top what code sees while its library loads: log and `register_function`.
void push_library_api(LuaVm& vm, lua_CFunction register_function);

}  // namespace quoll::server
