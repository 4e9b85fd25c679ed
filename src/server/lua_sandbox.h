// The standard functions as scripts get them: those that would see behind a read-only proxy, load
// bytecode or reach the system are replaced or missing. See lua_vm.h.
#pragma once

#include <lua5.1/lua.hpp>

namespace quoll::server {
struct ScriptChance;
}

namespace quoll::server::lua_sandbox {

// Opens Lua's libraries and the ones that Redis adds, and leaves the table of globals at the top.
// Nothing is protected yet.
void open_libraries(lua_State* lua, ScriptChance& chance);

// Replaces the table at the top by its read-only view. Reads of missing fields fail if `strict`.
void protect(lua_State* lua, bool strict);
// If the value at `index` is a view, puts the table behind it in its place and returns true.
bool unveil(lua_State* lua, int index);
// "Script attempted to access nonexistent global variable 'x'", as the __index of a table.
int missing_field(lua_State* lua);
int refuse_change(lua_State* lua);

}  // namespace quoll::server::lua_sandbox
