// Values between RESP and Lua, by Redis's rules.
//
//   reply -> Lua                                Lua -> reply
//   :1          number                          number      integer, the fraction cut off
//   $ bulk      string                          string      bulk
//   +OK         {ok = "OK"}                     {ok = s}    status       {err = s}  error
//   -ERR x      {err = "ERR x"}                 true        1 (RESP3 if set by setresp: #t)
//   nulls       false; nil with setresp(3)      false, nil  null
//   * array     table                           table       array up to the first nil
//   % map       {map = {...}}                   {map = t}, {set = t}, {double = n},
//   ~ set       {set = {x = true}}              {big_number = s},
//   , ( =       {double = n}, {big_number = s}, {verbatim_string = {string = s, format = f}}
//               {verbatim_string = {string = s, format = f}}
//
// Cost: one pass over the reply's bytes; no tree between.
#pragma once

#include <lua5.1/lua.hpp>

#include "wire/reply_writer.h"

namespace quoll::server::script_values {

// Pushes the reply that starts at `at`, which is whole and well formed, and returns its end. Raises
// a Lua error when the stack is full.
const char* push_reply(lua_State* lua, const char* at);
// An error as scripts see it: {err = text}. `text` starts with its code.
void push_error(lua_State* lua, base::Bytes text);

// Pops the value and writes it as a reply. `script_protocol` is what the script chose by setresp.
// `counted` becomes true if it was an error of a command, which is in the statistics already.
void write_value(lua_State* lua, wire::ReplyWriter& reply, int script_protocol, bool& counted);

}  // namespace quoll::server::script_values
