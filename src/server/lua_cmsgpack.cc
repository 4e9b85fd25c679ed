// The cmsgpack library of scripts over libmsgpack. The encoding is the one that Redis's scripts
// see: numbers without a fraction as the shortest integer, others as float when that is exact; a
// table whose keys are 1 ... n is an array, any other a map; beyond kNestingMax tables are nil.
//
// Reading uses libmsgpack's streaming parser with callbacks that build Lua values at once: memory
// follows the bytes that are there, not the lengths they declare.
#include <climits>
#include <cmath>
#include <cstdint>
#include <string>

#define MSGPACK_EMBED_STACK_SIZE 1024  // nested containers that can be read
#include <msgpack/pack.h>
#include <msgpack/unpack.h>
#include <msgpack/unpack_define.h>

#include "base/bytes.h"
#include "server/lua_modules.h"
#include "server/lua_vm.h"

namespace quoll::server {
namespace {

constexpr int kNestingMax = 16;               // tables in tables that are written
constexpr size_t kKeptBufferMax = 64 * 1024;  // bytes kept between calls

// Kept between calls so that an error raised in Lua leaves nothing behind.
std::string packed;

int append(void* state, const char* bytes, size_t size) {
  auto* lua = static_cast<lua_State*>(state);
  if (packed.size() + size > LuaVm::room(lua)) {
    std::string().swap(packed);
    lua_pushliteral(lua, "not enough memory");
    lua_error(lua);
  }
  packed.append(bytes, size);
  return 0;
}

bool is_integer(lua_Number number) {
  constexpr lua_Number kBound = 9223372036854775808.0;
  return number >= -kBound && number < kBound && std::floor(number) == number;
}

// Whether the keys of the table at the top are 1 ... n; `count` is the number of its fields.
bool is_array(lua_State* lua, size_t& count) {
  lua_Number highest = 0;
  bool positive = true;
  count = 0;
  for (lua_pushnil(lua); lua_next(lua, -2); ++count) {
    lua_pop(lua, 1);
    if (lua_type(lua, -1) != LUA_TNUMBER) {
      positive = false;
      continue;
    }
    lua_Number key = lua_tonumber(lua, -1);
    positive &= key > 0 && is_integer(key);
    if (key > highest) highest = key;
  }
  return positive && highest == static_cast<lua_Number>(count);
}

void pack_value(lua_State* lua, msgpack_packer* to, int depth);

void pack_number(lua_Number number, msgpack_packer* to) {
  if (is_integer(number)) {
    msgpack_pack_int64(to, static_cast<int64_t>(number));
  } else if (number == static_cast<lua_Number>(static_cast<float>(number))) {
    msgpack_pack_float(to, static_cast<float>(number));
  } else {
    msgpack_pack_double(to, number);
  }
}

void pack_table(lua_State* lua, msgpack_packer* to, int depth) {
  size_t count;
  luaL_checkstack(lua, 4, "too many nested tables");
  if (is_array(lua, count)) {
    msgpack_pack_array(to, count);
    for (size_t i = 1; i <= count; ++i) {
      lua_rawgeti(lua, -1, static_cast<int>(i));
      pack_value(lua, to, depth + 1);
    }
    return;
  }
  msgpack_pack_map(to, count);
  for (lua_pushnil(lua); lua_next(lua, -2);) {
    lua_pushvalue(lua, -2);
    pack_value(lua, to, depth + 1);
    pack_value(lua, to, depth + 1);
  }
}

// Pops the value.
void pack_value(lua_State* lua, msgpack_packer* to, int depth) {
  switch (lua_type(lua, -1)) {
    case LUA_TSTRING: {
      size_t size;
      const char* text = lua_tolstring(lua, -1, &size);
      msgpack_pack_str(to, size);
      msgpack_pack_str_body(to, text, size);
      break;
    }
    case LUA_TBOOLEAN:
      lua_toboolean(lua, -1) ? msgpack_pack_true(to) : msgpack_pack_false(to);
      break;
    case LUA_TNUMBER:
      pack_number(lua_tonumber(lua, -1), to);
      break;
    case LUA_TTABLE:
      if (depth == kNestingMax)
        msgpack_pack_nil(to);
      else
        pack_table(lua, to, depth);
      break;
    default:
      msgpack_pack_nil(to);
  }
  lua_pop(lua, 1);
}

int pack(lua_State* lua) {
  int arguments = lua_gettop(lua);
  if (arguments == 0) return luaL_argerror(lua, 0, "MessagePack pack needs input.");
  packed.clear();
  msgpack_packer packer;
  msgpack_packer_init(&packer, lua, append);
  luaL_checkstack(lua, 1, "too many arguments");
  for (int i = 1; i <= arguments; ++i) {
    lua_pushvalue(lua, i);
    pack_value(lua, &packer, 0);
  }
  lua_pushlstring(lua, packed.data(), packed.size());
  if (packed.capacity() > kKeptBufferMax) std::string().swap(packed);
  return 1;
}

// --- reading ---

// What the parser keeps of a value: values themselves are on Lua's stack, a container below its
// elements.
struct Parsed {
  int elements = 0;  // read so far of an array
};

int push_number(lua_State* lua, lua_Number number) {
  lua_pushnumber(lua, number);
  return 0;
}
int begin_container(lua_State* lua, Parsed* made) {
  // A container, a key and a value may stand above it before any of them is taken off.
  luaL_checkstack(lua, 4, "too many nested values");
  lua_newtable(lua);
  *made = {};
  return 0;
}

#define msgpack_unpack_struct(name) struct parser##name
#define msgpack_unpack_func(result, name) [[maybe_unused]] static result parser##name
#define msgpack_unpack_callback(name) take##name
#define msgpack_unpack_object Parsed
#define msgpack_unpack_user lua_State*

Parsed take_root(lua_State**) { return {}; }
int take_uint8(lua_State** lua, uint8_t value, Parsed*) { return push_number(*lua, value); }
int take_uint16(lua_State** lua, uint16_t value, Parsed*) { return push_number(*lua, value); }
int take_uint32(lua_State** lua, uint32_t value, Parsed*) { return push_number(*lua, value); }
// As Redis reads them: what is beyond int64 comes out negative.
int take_uint64(lua_State** lua, uint64_t value, Parsed*) {
  return push_number(*lua, static_cast<lua_Number>(static_cast<int64_t>(value)));
}
int take_int8(lua_State** lua, int8_t value, Parsed*) { return push_number(*lua, value); }
int take_int16(lua_State** lua, int16_t value, Parsed*) { return push_number(*lua, value); }
int take_int32(lua_State** lua, int32_t value, Parsed*) { return push_number(*lua, value); }
int take_int64(lua_State** lua, int64_t value, Parsed*) {
  return push_number(*lua, static_cast<lua_Number>(value));
}
int take_float(lua_State** lua, float value, Parsed*) {
  return push_number(*lua, static_cast<lua_Number>(value));
}
int take_double(lua_State** lua, double value, Parsed*) { return push_number(*lua, value); }
int take_nil(lua_State** lua, Parsed*) {
  lua_pushnil(*lua);
  return 0;
}
int take_true(lua_State** lua, Parsed*) {
  lua_pushboolean(*lua, 1);
  return 0;
}
int take_false(lua_State** lua, Parsed*) {
  lua_pushboolean(*lua, 0);
  return 0;
}
int take_str(lua_State** lua, const char*, const char* text, unsigned size, Parsed*) {
  lua_pushlstring(*lua, text, size);
  return 0;
}
// Redis's scripts know neither of these.
int take_bin(lua_State**, const char*, const char*, unsigned, Parsed*) { return -1; }
int take_ext(lua_State**, const char*, const char*, unsigned, Parsed*) { return -1; }
int take_array(lua_State** lua, unsigned, Parsed* made) { return begin_container(*lua, made); }
int take_array_item(lua_State** lua, Parsed* container, Parsed) {
  lua_rawseti(*lua, -2, ++container->elements);
  return 0;
}
int take_map(lua_State** lua, unsigned, Parsed* made) { return begin_container(*lua, made); }
int take_map_item(lua_State** lua, Parsed*, Parsed, Parsed) {
  lua_settable(*lua, -3);
  return 0;
}

#include <msgpack/unpack_template.h>

// The input ended inside something that is refused for its kind, complete or not.
bool ended_in_unknown(const parser_context& parser) {
  unsigned state = parser.cs;
  return (state >= MSGPACK_CS_BIN_8 && state <= MSGPACK_CS_EXT_32) ||
         (state >= MSGPACK_CS_FIXEXT_1 && state <= MSGPACK_CS_FIXEXT_16) ||
         state == MSGPACK_ACS_BIN_VALUE || state == MSGPACK_ACS_EXT_VALUE;
}

int unpack_values(lua_State* lua, int limit, int64_t offset) {
  size_t size;
  const char* data = luaL_checklstring(lua, 1, &size);
  bool all = limit == 0 && offset == 0;
  if (offset < 0 || limit < 0)
    return luaL_error(lua, "Invalid request to unpack with offset of %d and limit of %d.",
                      static_cast<int>(offset), static_cast<int>(size));
  if (static_cast<size_t>(offset) > size)
    return luaL_error(lua, "Start offset %d greater than input length %d.",
                      static_cast<int>(offset), static_cast<int>(size));
  if (all) limit = INT_MAX;
  auto at = static_cast<size_t>(offset);
  int count = 0;
  parser_context parser;
  for (; at < size && count < limit; ++count) {
    luaL_checkstack(lua, 2, "too many values");
    parser.user = lua;
    parser_init(&parser);
    int outcome = parser_execute(&parser, data, size, &at);
    if (outcome == 0 && !ended_in_unknown(parser))
      return luaL_error(lua, "Missing bytes in input.");
    if (outcome <= 0) return luaL_error(lua, "Bad data format in input.");
  }
  if (all) return count;
  luaL_checkstack(lua, 1, "too many values");
  lua_pushnumber(lua, at == size ? -1 : static_cast<lua_Number>(at));
  lua_insert(lua, 2);
  return count + 1;
}

int unpack(lua_State* lua) { return unpack_values(lua, 0, 0); }

int unpack_one(lua_State* lua) {
  auto offset = luaL_optinteger(lua, 2, 0);
  lua_settop(lua, 1);
  return unpack_values(lua, 1, offset);
}

int unpack_limit(lua_State* lua) {
  auto limit = static_cast<int>(luaL_checkinteger(lua, 2));
  auto offset = luaL_optinteger(lua, 3, 0);
  lua_settop(lua, 1);
  return unpack_values(lua, limit, offset);
}

}  // namespace

int open_cmsgpack(lua_State* lua) {
  constexpr luaL_Reg kFunctions[] = {{"pack", pack},
                                     {"unpack", unpack},
                                     {"unpack_one", unpack_one},
                                     {"unpack_limit", unpack_limit}};
  lua_newtable(lua);
  for (const luaL_Reg& function : kFunctions) {
    lua_pushcfunction(lua, function.func);
    lua_setfield(lua, -2, function.name);
  }
  lua_pushliteral(lua, "cmsgpack");
  lua_setfield(lua, -2, "_NAME");
  lua_pushliteral(lua, "lua-cmsgpack 0.4.0");
  lua_setfield(lua, -2, "_VERSION");
  lua_pushliteral(lua, "MessagePack for scripts, over libmsgpack");
  lua_setfield(lua, -2, "_DESCRIPTION");
  return 1;
}

}  // namespace quoll::server
