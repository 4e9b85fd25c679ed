// The libraries of Redis's scripts that Debian does not package, struct and cmsgpack, and the one
// whose package needs bounds, cjson. Each opener leaves the module's table at the top of the stack.
#pragma once

#include <lua5.1/lua.hpp>

namespace quoll::server {

// pack, unpack and size of C structures, in the format letters of Roberto Ierusalimschy's struct.
int open_struct(lua_State* lua);
// MessagePack over libmsgpack, in the encoding that Redis's cmsgpack chooses.
int open_cmsgpack(lua_State* lua);

// JSON by the packaged lua-cjson.
int open_cjson(lua_State* lua);

}  // namespace quoll::server
