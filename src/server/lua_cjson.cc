// The cjson library of scripts: the packaged one, with bounds. It counts bytes in an int and ends
// the process when that overflows; a small table that holds one text many times is enough. So
// what would be written is measured before.
#include <algorithm>
#include <cmath>

#include "base/bytes.h"
#include "server/lua_modules.h"
#include "server/lua_vm.h"

// The packaged header declares it for C only.
extern "C" int luaopen_cjson(lua_State* lua);

namespace quoll::server {
namespace {

// The library's buffer doubles from 1,023 bytes: one more step would overflow.
constexpr double kJsonBytesMax = 2'000'000'000;
constexpr double kEscapedBytes = 6;  // at most, of one byte of a text
constexpr double kScalarBytes = 32;  // at most, of a number and what stands around it
constexpr double kScalarBytesMin = 2;
constexpr double kNullBytes = 5;  // "null,"
constexpr int kSparseRatio = 2;   // defaults of the library: an array is no longer than so many
constexpr int kSparseSafe = 10;   // times its elements, or than this

struct JsonSize {
  double least = 0;  // bytes of the text, bounds
  double most = 0;
  double sparse = 0;  // bytes of nulls, if nothing bounds them
  double room;

  bool fits() const { return most <= kJsonBytesMax && least <= room; }
};

// Measures the value at the top. False as soon as it is too much.
bool measure(lua_State* lua, JsonSize& size) {
  int type = lua_type(lua, -1);
  if (type == LUA_TSTRING) {
    auto bytes = static_cast<double>(lua_objlen(lua, -1));
    size.least += bytes;
    size.most += kEscapedBytes * bytes;
  }
  size.least += kScalarBytesMin;
  size.most += kScalarBytes;
  // Nested deeper than the stack goes: the library refuses it.
  if (type != LUA_TTABLE || !lua_checkstack(lua, 3)) return size.fits();
  double last = 0;
  for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1)) {
    if (!measure(lua, size)) return false;
    size.most += kScalarBytes + kNullBytes * kSparseRatio;
    if (lua_type(lua, -2) == LUA_TSTRING)
      size.most += kEscapedBytes * static_cast<double>(lua_objlen(lua, -2));
    else if (lua_type(lua, -2) == LUA_TNUMBER)
      last = std::max(last, lua_tonumber(lua, -2));
  }
  size.most += kNullBytes * kSparseSafe;
  size.sparse += kNullBytes * last;
  return size.fits();
}

// Upvalues: the library's configuration, where the original looks for it; its encode_sparse_array.
lua_CFunction original_encode;

// A script has lifted the bound of sparse arrays.
bool sparse_is_free(lua_State* lua) {
  lua_pushvalue(lua, lua_upvalueindex(2));
  lua_call(lua, 0, 3);
  bool free = lua_tointeger(lua, -2) != kSparseRatio || lua_tointeger(lua, -1) != kSparseSafe;
  lua_pop(lua, 3);
  return free;
}

int encode(lua_State* lua) {
  luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
  if (lua_type(lua, 1) == LUA_TTABLE || lua_type(lua, 1) == LUA_TSTRING) {
    JsonSize size{.room = static_cast<double>(LuaVm::room(lua))};
    bool fits = measure(lua, size);
    if (fits && size.most + size.sparse > kJsonBytesMax) fits = !sparse_is_free(lua);
    lua_settop(lua, 1);
    if (!fits) {
      lua_pushliteral(lua, "not enough memory");
      return lua_error(lua);
    }
  }
  return original_encode(lua);
}

lua_CFunction original_new;

int make_new(lua_State* lua);

// Puts the bounded functions into the library's table at the top.
void bound(lua_State* lua) {
  lua_getfield(lua, -1, "encode");
  original_encode = lua_tocfunction(lua, -1);
  lua_getupvalue(lua, -1, 1);
  lua_remove(lua, -2);
  lua_getfield(lua, -2, "encode_sparse_array");
  lua_pushcclosure(lua, encode, 2);
  lua_setfield(lua, -2, "encode");
  lua_getfield(lua, -1, "new");
  original_new = lua_tocfunction(lua, -1);
  lua_pop(lua, 1);
  lua_pushcfunction(lua, make_new);
  lua_setfield(lua, -2, "new");
}

int make_new(lua_State* lua) {
  original_new(lua);
  bound(lua);
  return 1;
}

}  // namespace

int open_cjson(lua_State* lua) {
  luaopen_cjson(lua);
  bound(lua);
  return 1;
}

}  // namespace quoll::server
