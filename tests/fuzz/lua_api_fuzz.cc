// libFuzzer target for what scripts can call that is written in C: the libraries of Lua as far as
// scripts have them, and those that Redis adds. An input is a list of calls; arguments are numbers
// at the ends of ranges, texts, tables in tables, and the result of the call before.
//
// Checked: a call returns or raises an error, never more memory than allowed is held, and the VM
// gives everything back; plus whatever the sanitizers see. Patterns are left out: a short one may
// take years.
#include <cstdint>
#include <cstring>
#include <string>

#include "base/check.h"
#include "server/lua_vm.h"
#include "tests/fuzz/choices.h"

using namespace quoll;
using fuzz::Choices;
using server::LuaVm;

namespace {

constexpr size_t kVmBytesMax = size_t{4} << 20;
constexpr size_t kCallsMax = 64;
constexpr unsigned kNestingMax = 6;
constexpr size_t kTextBytesMax = 64;

constexpr const char* kFunctions[] = {
    "cjson.encode",
    "cjson.decode",
    "cjson.encode_sparse_array",
    "cjson.encode",
    "cjson.decode",
    "cjson.encode_max_depth",
    "cjson.new",
    "cmsgpack.pack",
    "cmsgpack.unpack",
    "cmsgpack.pack",
    "cmsgpack.unpack",
    "cmsgpack.unpack_one",
    "cmsgpack.unpack",
    "struct.pack",
    "cmsgpack.unpack_limit",
    "struct.pack",
    "struct.unpack",
    "struct.unpack",
    "struct.size",
    "bit.tohex",
    "bit.band",
    "bit.lshift",
    "bit.arshift",
    "bit.rol",
    "bit.bswap",
    "unpack",
    "select",
    "tonumber",
    "tostring",
    "loadstring",
    "string.rep",
    "string.sub",
    "string.byte",
    "string.char",
    "string.format",
    "string.reverse",
    "table.concat",
    "table.insert",
    "table.remove",
    "table.maxn",
    "math.random",
    "math.fmod",
    "math.ldexp",
    "rawset",
    "rawget",
    "next",
    "pcall",
    "setmetatable",
    "getmetatable",
    "ipairs",
};
constexpr size_t kFunctionCount = sizeof kFunctions / sizeof *kFunctions;
constexpr double kNumbers[] = {0,
                               1,
                               -1,
                               2,
                               8,
                               0.5,
                               127,
                               255,
                               256,
                               65535,
                               1e15,
                               -2147483648.0,
                               2147483647,
                               2147483648.0,
                               4294967296.0,
                               9007199254740992.0,
                               9223372036854775808.0,
                               1e300,
                               -1e300,
                               __builtin_inf()};
constexpr size_t kNumberCount = sizeof kNumbers / sizeof *kNumbers;

void push_value(lua_State* lua, Choices& choices, unsigned depth) {
  uint8_t kind = choices.byte();
  switch (kind % 8) {
    case 0:
    case 1:
      return lua_pushnumber(lua, kNumbers[choices.byte() % kNumberCount]);
    case 2:
      return lua_pushnumber(lua, static_cast<int8_t>(choices.byte()));
    case 3:
    case 4: {
      std::string text(choices.byte() % kTextBytesMax, '\0');
      for (char& c : text) c = static_cast<char>(choices.byte());
      lua_pushlstring(lua, text.data(), text.size());
      return;
    }
    case 5:
      return lua_pushvalue(lua, 1);
    case 6:
      return kind & 8 ? lua_pushnil(lua) : lua_pushboolean(lua, kind & 16);
    default:
      lua_newtable(lua);
      if (depth == kNestingMax) return;
      for (unsigned i = 1; i <= kind / 8u % 5; ++i) {
        push_value(lua, choices, depth + 1);
        lua_rawseti(lua, -2, static_cast<int>(i));
      }
      if (kind & 64) {
        lua_pushlstring(lua, "field", kind / 64);
        push_value(lua, choices, depth + 1);
        lua_rawset(lua, -3);
      }
  }
}

void push_function(lua_State* lua, const char* name) {
  const char* dot = std::strchr(name, '.');
  if (!dot) return lua_getglobal(lua, name);
  lua_getglobal(lua, std::string(name, dot).c_str());
  lua_getfield(lua, -1, dot + 1);
  lua_remove(lua, -2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices choices(data, size);
  server::ScriptChance chance;
  LuaVm vm(LuaVm::Kind::scripts, nullptr, chance);
  lua_State* lua = vm.state();
  lua_pushnil(lua);  // the result of the call before the first
  for (size_t calls = 0; calls < kCallsMax && choices.left() > 0; ++calls) {
    luaL_checkstack(lua, LUA_MINSTACK * 4, nullptr);
    push_function(lua, kFunctions[choices.byte() % kFunctionCount]);
    int arguments = choices.byte() % 5;
    for (int i = 0; i < arguments; ++i) push_value(lua, choices, 0);
    vm.call(arguments, kVmBytesMax);
    lua_replace(lua, 1);
    lua_settop(lua, 1);
  }
  QUOLL_CHECK(vm.bytes() <= 2 * kVmBytesMax);
  return 0;
}
