#include "server/lua_sandbox.h"

#include <climits>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "base/check.h"
#include "server/lua_modules.h"
#include "server/lua_vm.h"

// The packaged header declares it for C only.
extern "C" int luaopen_bit(lua_State* lua);

namespace quoll::server::lua_sandbox {

// From inside a C function: the error does not say where.
static int refuse_raw_change(lua_State* lua) {
  lua_pushliteral(lua, "Attempt to modify a readonly table");
  return lua_error(lua);
}

namespace {

// Its address marks the metatables of views; scripts cannot make a light userdata.
char view_mark;

// If the value at `index` is a view, pushes the table behind it.
bool push_unveiled(lua_State* lua, int index) {
  if (!lua_getmetatable(lua, index)) return false;
  lua_pushlightuserdata(lua, &view_mark);
  lua_rawget(lua, -2);
  lua_remove(lua, -2);
  if (lua_istable(lua, -1)) return true;
  lua_pop(lua, 1);
  return false;
}

bool is_view(lua_State* lua, int index) {
  if (!push_unveiled(lua, index)) return false;
  lua_pop(lua, 1);
  return true;
}

// --- functions that look past metatables ---

int next(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_settop(lua, 2);
  unveil(lua, 1);
  if (lua_next(lua, 1)) return 2;
  lua_pushnil(lua);
  return 1;
}

int pairs(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_pushvalue(lua, 1);
  lua_pushnil(lua);
  return 3;
}

int rawget(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_checkany(lua, 2);
  lua_settop(lua, 2);
  unveil(lua, 1);
  lua_rawget(lua, 1);
  return 1;
}

int rawset(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_checkany(lua, 2);
  luaL_checkany(lua, 3);
  lua_settop(lua, 3);
  if (is_view(lua, 1)) return refuse_raw_change(lua);
  lua_rawset(lua, 1);
  return 1;
}

int setmetatable(lua_State* lua) {
  int type = lua_type(lua, 2);
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_argcheck(lua, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table expected");
  if (is_view(lua, 1)) return refuse_raw_change(lua);
  if (luaL_getmetafield(lua, 1, "__metatable"))
    return luaL_error(lua, "cannot change a protected metatable");
  lua_settop(lua, 2);
  lua_setmetatable(lua, 1);
  return 1;
}

int getmetatable(lua_State* lua) {
  luaL_checkany(lua, 1);
  if (!lua_getmetatable(lua, 1)) {
    lua_pushnil(lua);
    return 1;
  }
  if (!luaL_getmetafield(lua, 1, "__metatable") && is_view(lua, 1)) lua_pushnil(lua);
  return 1;
}

// table.insert writes without asking metatables. The original, which needs no upvalues, runs in
// place. (Of an empty table, which a view is, the others take nothing.)
// It moves what lies between the end and the position, were it nothing: a position far below zero
// took seconds that no limit of a script interrupts.
constexpr int kInsertPositionMin = -100'000;

lua_CFunction original_insert;

int insert(lua_State* lua) {
  if (is_view(lua, 1)) return refuse_raw_change(lua);
  if (lua_gettop(lua) == 3 && lua_isnumber(lua, 2) && luaL_checkint(lua, 2) < kInsertPositionMin)
    return luaL_argerror(lua, 2, "position out of bounds");
  return original_insert(lua);
}

// --- functions of the packaged libraries that write past their memory or time ---

// The original counts the results in an int, which may overflow (CVE-2025-46817).
int unpack_table(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  auto first = static_cast<int>(luaL_optinteger(lua, 2, 1));
  auto last =
      static_cast<int>(lua_isnoneornil(lua, 3) ? static_cast<lua_Integer>(lua_objlen(lua, 1))
                                               : luaL_checkinteger(lua, 3));
  if (first > last) return 0;
  unsigned count = static_cast<unsigned>(last) - static_cast<unsigned>(first);
  if (count >= INT_MAX || !lua_checkstack(lua, static_cast<int>(++count)))
    return luaL_error(lua, "too many results to unpack");
  for (int64_t at = first; at <= last; ++at) lua_rawgeti(lua, 1, static_cast<int>(at));
  return static_cast<int>(count);
}

lua_CFunction original_tohex;

// The original negates the number of digits, which the smallest number has no room for
// (CVE-2024-31449).
int tohex(lua_State* lua) {
  if (lua_isnumber(lua, 2)) {
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_pushvalue(lua, 2);
    lua_call(lua, 1, 1);  // to 32 bits, as the original reads it
    if (lua_tointeger(lua, -1) == INT32_MIN) {
      lua_pushinteger(lua, -INT32_MAX);
      lua_replace(lua, 2);
    }
    lua_pop(lua, 1);
  }
  return original_tohex(lua);
}

lua_CFunction original_rep;

// The original counts to the number wanted even where that many times nothing is nothing: seconds
// that no limit of a script interrupts.
int repeat(lua_State* lua) {
  size_t size;
  luaL_checklstring(lua, 1, &size);
  luaL_checknumber(lua, 2);
  if (size > 0) return original_rep(lua);
  lua_pushliteral(lua, "");
  return 1;
}

// The matcher calls itself for every part of a pattern: a longer one would overflow the C stack.
constexpr size_t kPatternBytesMax = 16 * 1024;

lua_CFunction original_find, original_match, original_gmatch, original_gsub;

template <lua_CFunction& original>
int matching(lua_State* lua) {
  bool plain = original == original_find && lua_toboolean(lua, 4);
  if (lua_isstring(lua, 2) && lua_objlen(lua, 2) > kPatternBytesMax && !plain) {
    constexpr char kSpecials[] = "^$*+?.([%-";  // without them a pattern is a plain text
    size_t size;
    const char* pattern = lua_tolstring(lua, 2, &size);
    if (base::Bytes(pattern, size).find_first_of(kSpecials) != base::Bytes::npos)
      return luaL_error(lua, "pattern too complex");
  }
  return original(lua);
}

// --- code ---

constexpr char kBytecode = LUA_SIGNATURE[0];

struct Source {
  const char* text;
  size_t size;
  bool begun;
};

// A blank in front of what would be taken for bytecode lets the text compiler refuse it.
const char* read_source(lua_State*, void* from, size_t* size) {
  auto* source = static_cast<Source*>(from);
  if (!source->begun && source->size > 0 && source->text[0] == kBytecode) {
    source->begun = true;
    *size = 1;
    return " ";
  }
  source->begun = true;
  *size = source->size;
  source->size = 0;
  return *size ? source->text : nullptr;
}

int give_compiled(lua_State* lua, int status) {
  if (status == 0) return 1;
  lua_pushnil(lua);
  lua_insert(lua, -2);
  return 2;
}

int loadstring(lua_State* lua) {
  size_t size;
  const char* text = luaL_checklstring(lua, 1, &size);
  const char* name = luaL_optstring(lua, 2, text);
  Source source{text, size, false};
  lua_pushstring(lua, name);  // the compiler does not keep its name alive (CVE-2025-49844)
  return give_compiled(lua, lua_load(lua, read_source, &source, name));
}

// The pieces come from a function; each is kept at index 3 while it is read.
const char* read_pieces(lua_State* lua, void* from, size_t* size) {
  auto* held = static_cast<Source*>(from);
  if (held->size > 0) {  // the piece behind the blank
    *size = held->size;
    held->size = 0;
    return held->text;
  }
  luaL_checkstack(lua, 2, "too many nested functions");
  lua_pushvalue(lua, 1);
  lua_call(lua, 0, 1);
  if (lua_isnil(lua, -1)) {
    *size = 0;
    return nullptr;
  }
  if (!lua_isstring(lua, -1)) luaL_error(lua, "reader function must return a string");
  lua_replace(lua, 3);
  const char* text = lua_tolstring(lua, 3, size);
  bool first = !held->begun && *size > 0;
  held->begun |= first;
  if (!first || text[0] != kBytecode) return text;
  held->text = text;
  held->size = *size;
  *size = 1;
  return " ";
}

int load(lua_State* lua) {
  const char* name = luaL_optstring(lua, 2, "=(load)");
  luaL_checktype(lua, 1, LUA_TFUNCTION);
  lua_settop(lua, 3);
  lua_pushstring(lua, name);  // as above
  Source held{nullptr, 0, false};
  return give_compiled(lua, lua_load(lua, read_pieces, &held, name));
}

// --- catching errors: none is caught of a script that is to end ---

// Does what the original did, which needs no upvalues.
template <lua_CFunction& original>
int catching(lua_State* lua) {
  int results = original(lua);
  return LuaVm::interrupted(lua) ? lua_error(lua) : results;
}

lua_CFunction original_xpcall;
lua_CFunction original_resume;

// A handler of errors runs without the hook that ends scripts: of one that is to end none runs.
int handle(lua_State* lua) {
  if (LuaVm::interrupted(lua)) return 1;
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
  return lua_gettop(lua);
}

int xpcall(lua_State* lua) {
  luaL_checkany(lua, 2);
  lua_settop(lua, 2);
  if (lua_tocfunction(lua, 2) != LuaVm::error_handler) lua_pushcclosure(lua, handle, 1);
  return catching<original_xpcall>(lua);
}

// An error of the reply kind is a table; scripts that catch it expect its text.
int pcall(lua_State* lua) {
  int arguments = lua_gettop(lua) - 1;
  if (arguments < 0) {  // Redis calls the result it has put there
    lua_pushboolean(lua, 0);
    lua_pushliteral(lua, "attempt to call a boolean value");
    return 2;
  }
  lua_pushboolean(lua, 1);
  lua_insert(lua, 1);
  if (lua_pcall(lua, arguments, LUA_MULTRET, 0) == 0) return lua_gettop(lua);
  if (LuaVm::interrupted(lua)) return lua_error(lua);
  lua_remove(lua, 1);
  if (lua_istable(lua, -1)) {
    lua_getfield(lua, -1, "err");
    if (lua_isstring(lua, -1))
      lua_replace(lua, -2);
    else
      lua_pop(lua, 1);
  }
  lua_pushboolean(lua, 0);
  lua_insert(lua, 1);
  return lua_gettop(lua);
}

// --- chance: the generator of drand48 (IEEE 1003.1), started alike in every process, as in Redis

ScriptChance& chance_of(lua_State* lua) {
  return *static_cast<ScriptChance*>(lua_touserdata(lua, lua_upvalueindex(1)));
}

int math_random(lua_State* lua) {
  constexpr uint64_t kFactor = 0x5deece66d, kAddend = 0xb, kMask = (uint64_t{1} << 48) - 1;
  ScriptChance& chance = chance_of(lua);
  chance.state = (chance.state * kFactor + kAddend) & kMask;
  constexpr int64_t kSteps = INT32_MAX;
  double fraction = static_cast<double>(static_cast<int64_t>(chance.state >> 17) % kSteps) /
                    static_cast<double>(kSteps);
  switch (lua_gettop(lua)) {
    case 0:
      lua_pushnumber(lua, fraction);
      return 1;
    case 1: {
      int upper = luaL_checkint(lua, 1);
      luaL_argcheck(lua, 1 <= upper, 1, "interval is empty");
      lua_pushnumber(lua, __builtin_floor(fraction * upper) + 1);
      return 1;
    }
    case 2: {
      int lower = luaL_checkint(lua, 1);
      int upper = luaL_checkint(lua, 2);
      luaL_argcheck(lua, lower <= upper, 2, "interval is empty");
      auto width = static_cast<uint32_t>(upper) - static_cast<uint32_t>(lower) + 1;
      lua_pushnumber(lua, __builtin_floor(fraction * static_cast<int32_t>(width)) + lower);
      return 1;
    }
    default:
      return luaL_error(lua, "wrong number of arguments");
  }
}

int math_randomseed(lua_State* lua) {
  auto seed = static_cast<uint32_t>(luaL_checkint(lua, 1));
  chance_of(lua).state = uint64_t{seed} << 16 | 0x330e;
  return 0;
}

// --- putting it together ---

void open(lua_State* lua, const char* name, lua_CFunction opener) {
  lua_pushcfunction(lua, opener);
  lua_pushstring(lua, name);
  lua_call(lua, 1, 0);
}

void replace(lua_State* lua, int table, const char* name, lua_CFunction function) {
  lua_pushcfunction(lua, function);
  lua_setfield(lua, table, name);
}

lua_CFunction original(lua_State* lua, int table, const char* name) {
  lua_getfield(lua, table, name);
  lua_CFunction function = lua_tocfunction(lua, -1);
  lua_pop(lua, 1);
  return function;
}

void replace_base(lua_State* lua, int globals) {
  replace(lua, globals, "next", next);
  lua_getfield(lua, globals, "next");
  lua_pushcclosure(lua, pairs, 1);
  lua_setfield(lua, globals, "pairs");
  replace(lua, globals, "rawget", rawget);
  replace(lua, globals, "rawset", rawset);
  replace(lua, globals, "setmetatable", setmetatable);
  replace(lua, globals, "getmetatable", getmetatable);
  replace(lua, globals, "unpack", unpack_table);
  replace(lua, globals, "loadstring", loadstring);
  replace(lua, globals, "load", load);
  replace(lua, globals, "pcall", pcall);
  original_xpcall = original(lua, globals, "xpcall");
  replace(lua, globals, "xpcall", xpcall);
  lua_getfield(lua, globals, "coroutine");
  original_resume = original(lua, lua_gettop(lua), "resume");
  replace(lua, lua_gettop(lua), "resume", catching<original_resume>);
  lua_pop(lua, 1);
  for (const char* name : {"dofile", "loadfile", "print", "getfenv", "setfenv", "newproxy"}) {
    lua_pushnil(lua);
    lua_setfield(lua, globals, name);
  }
}

void replace_bit(lua_State* lua, int globals) {
  lua_getfield(lua, globals, "bit");
  original_tohex = original(lua, lua_gettop(lua), "tohex");
  lua_getfield(lua, -1, "tobit");
  lua_pushcclosure(lua, tohex, 1);
  lua_setfield(lua, -2, "tohex");
  lua_pop(lua, 1);
}

template <lua_CFunction& original_function>
void replace_matcher(lua_State* lua, const char* name) {
  original_function = original(lua, lua_gettop(lua), name);
  replace(lua, lua_gettop(lua), name, matching<original_function>);
}

void replace_string(lua_State* lua, int globals) {
  lua_getfield(lua, globals, "string");
  replace_matcher<original_find>(lua, "find");
  replace_matcher<original_match>(lua, "match");
  replace_matcher<original_gmatch>(lua, "gmatch");
  replace_matcher<original_gmatch>(lua, "gfind");
  replace_matcher<original_gsub>(lua, "gsub");
  original_rep = original(lua, lua_gettop(lua), "rep");
  replace(lua, lua_gettop(lua), "rep", repeat);
  lua_pop(lua, 1);
}

void replace_table(lua_State* lua, int globals) {
  lua_getfield(lua, globals, "table");
  original_insert = original(lua, lua_gettop(lua), "insert");
  replace(lua, lua_gettop(lua), "insert", insert);
  lua_pop(lua, 1);
}

void replace_math(lua_State* lua, int globals, ScriptChance& chance) {
  lua_getfield(lua, globals, "math");
  lua_pushlightuserdata(lua, &chance);
  lua_pushvalue(lua, -1);
  lua_pushcclosure(lua, math_random, 1);
  lua_setfield(lua, -3, "random");
  lua_pushcclosure(lua, math_randomseed, 1);
  lua_setfield(lua, -2, "randomseed");
  lua_pop(lua, 1);
}

// Of os only the processor time is harmless.
void replace_os(lua_State* lua, int globals) {
  lua_getfield(lua, globals, "os");
  lua_createtable(lua, 0, 1);
  lua_getfield(lua, -2, "clock");
  lua_setfield(lua, -2, "clock");
  lua_setfield(lua, globals, "os");
  lua_pop(lua, 1);
}

// What getmetatable("") shows cannot be changed; strings themselves use the real table.
void protect_strings(lua_State* lua, int globals) {
  lua_pushliteral(lua, "");
  lua_getmetatable(lua, -1);
  lua_createtable(lua, 0, 1);
  lua_getfield(lua, globals, "string");
  lua_setfield(lua, -2, "__index");
  protect(lua, false);
  lua_setfield(lua, -2, "__metatable");
  lua_pop(lua, 2);
}

}  // namespace

bool unveil(lua_State* lua, int index) {
  if (!push_unveiled(lua, index)) return false;
  lua_replace(lua, index);
  return true;
}

int refuse_change(lua_State* lua) { return luaL_error(lua, "Attempt to modify a readonly table"); }

int missing_field(lua_State* lua) {
  const char* name = lua_tostring(lua, 2);
  return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'",
                    name ? name : luaL_typename(lua, 2));
}

void protect(lua_State* lua, bool strict) {
  lua_newtable(lua);
  lua_createtable(lua, 1, 4);
  lua_pushvalue(lua, -3);
  lua_setfield(lua, -2, "__index");
  lua_pushcfunction(lua, refuse_change);
  lua_setfield(lua, -2, "__newindex");
  lua_pushlightuserdata(lua, &view_mark);
  lua_pushvalue(lua, -4);
  lua_rawset(lua, -3);
  if (strict) {
    lua_createtable(lua, 0, 1);
    lua_pushcfunction(lua, missing_field);
    lua_setfield(lua, -2, "__index");
    protect(lua, false);
    lua_setfield(lua, -2, "__metatable");
  }
  lua_setmetatable(lua, -2);
  lua_replace(lua, -2);
}

void open_libraries(lua_State* lua, ScriptChance& chance) {
  open(lua, "", luaopen_base);
  open(lua, LUA_TABLIBNAME, luaopen_table);
  open(lua, LUA_STRLIBNAME, luaopen_string);
  open(lua, LUA_MATHLIBNAME, luaopen_math);
  open(lua, LUA_OSLIBNAME, luaopen_os);
  open(lua, "bit", luaopen_bit);
  lua_pushvalue(lua, LUA_GLOBALSINDEX);
  int globals = lua_gettop(lua);
  lua_pushcfunction(lua, open_cjson);
  lua_call(lua, 0, 1);
  lua_setfield(lua, globals, "cjson");
  lua_pushcfunction(lua, open_struct);
  lua_call(lua, 0, 1);
  lua_setfield(lua, globals, "struct");
  lua_pushcfunction(lua, open_cmsgpack);
  lua_call(lua, 0, 1);
  lua_setfield(lua, globals, "cmsgpack");
  replace_base(lua, globals);
  replace_bit(lua, globals);
  replace_string(lua, globals);
  replace_table(lua, globals);
  replace_math(lua, globals, chance);
  replace_os(lua, globals);
  for (const char* name :
       {"table", "string", "math", "os", "bit", "cjson", "struct", "cmsgpack", "coroutine"}) {
    lua_getfield(lua, globals, name);
    protect(lua, false);
    lua_setfield(lua, globals, name);
  }
  protect_strings(lua, globals);
}

}  // namespace quoll::server::lua_sandbox
