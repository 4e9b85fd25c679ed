#include "server/lua_vm.h"

#include <doctest/doctest.h>

#include <string>

#include "base/memory.h"

namespace quoll::server {
namespace {

constexpr size_t kNoLimit = SIZE_MAX;

// What a script returns as text, or "!" and its error.
std::string run(LuaVm& vm, base::Bytes code, size_t bytes_max = kNoLimit) {
  lua_State* lua = vm.state();
  std::string result;
  if (!vm.compile(code, "@test")) {
    result = "!" + std::string(lua_tostring(lua, -1));
  } else if (vm.call(0, bytes_max)) {
    size_t size = 0;
    const char* text = lua_tolstring(lua, -1, &size);
    result = text ? std::string(text, size) : luaL_typename(lua, -1);
  } else {
    if (lua_istable(lua, -1)) lua_getfield(lua, -1, "err");
    result = "!" + std::string(lua_tostring(lua, -1));
  }
  lua_settop(lua, 0);
  return result;
}

TEST_CASE("a VM gives back all its memory and counts what it holds") {
  size_t before = base::memory_used();
  {
    ScriptChance chance;
    LuaVm vm(LuaVm::Kind::scripts, nullptr, chance);
    size_t empty = vm.bytes();
    CHECK(empty > 20'000);
    CHECK(base::memory_used() - before >= empty);
    CHECK(run(vm, "local t = {} for i = 1, 10000 do t[i] = 'x' .. i end return #t") == "10000");
    CHECK(vm.bytes() > empty);
  }
  CHECK(base::memory_used() == before);
}

TEST_CASE("what needs more memory than allowed fails, and the VM goes on") {
  ScriptChance chance;
  LuaVm vm(LuaVm::Kind::scripts, nullptr, chance);
  size_t limit = vm.bytes() + (1 << 20);
  CHECK(run(vm, "local s = 'x' while true do s = s .. s end", limit) == "!not enough memory");
  CHECK(run(vm, "local t = {} for i = 1, 1e9 do t[i] = {} end", limit) == "!not enough memory");
  CHECK(run(vm, "return pcall(string.rep, 'x', 1e8) and 'made' or 'refused'", limit) == "refused");
  CHECK(run(vm, "return 'fine'", limit) == "fine");
  // Outside of a call nothing is refused: nobody could catch it.
  lua_pushlstring(vm.state(), std::string(4 << 20, 'x').data(), 4 << 20);
  lua_settop(vm.state(), 0);
}

TEST_CASE("garbage of a big script does not stay") {
  ScriptChance chance;
  LuaVm vm(LuaVm::Kind::scripts, nullptr, chance);
  lua_gc(vm.state(), LUA_GCSTOP, 0);
  run(vm, "for i = 1, 100 do local s = string.rep('x', 1000000) .. i end");
  lua_gc(vm.state(), LUA_GCRESTART, 0);
  REQUIRE(vm.bytes() > kTidyBytes);
  vm.tidy();
  CHECK(vm.bytes() < 1 << 20);
}

TEST_CASE("holes of the packaged libraries are closed") {
  ScriptChance chance;
  LuaVm vm(LuaVm::Kind::scripts, nullptr, chance);
  const std::string refused = "!too many results to unpack";
  auto tail = [](const std::string& text) { return "!" + text.substr(text.rfind(": ") + 2); };
  CHECK(tail(run(vm, "return unpack({1}, 0, 2^31 - 1)")) == refused);
  CHECK(tail(run(vm, "return unpack({1}, -2^31, 2^31 - 1)")) == refused);
  CHECK(tail(run(vm, "return unpack({1}, -2^31, 0)")) == refused);
  CHECK(run(vm, "return select('#', unpack({}, 2^31 - 2, 2^31 - 1))") == "2");
  CHECK(run(vm, "return table.concat({unpack({'a', 'b', 'c'}, 2)})") == "bc");
  CHECK(run(vm, "return bit.tohex(-1, -2^31)") == "FFFFFFFF");
  CHECK(run(vm, "return bit.tohex(-1, '2147483648')") == "FFFFFFFF");
  CHECK(run(vm, "return bit.tohex(-1, -3)") == "FFF");
  CHECK(run(vm, "return select(2, pcall(table.insert, {}, -2^31, 1))")
            .find("position out of bounds") != std::string::npos);
  CHECK(run(vm, "local t = {1, 2} table.insert(t, -3, 9) return t[-3] .. t[2] .. t[3]") == "912");
  CHECK(run(vm, "return #string.rep('', 2^31 - 1) .. string.rep('ab', 2) .. string.rep('a', -1)") ==
        "0abab");
  for (const char* name : {"find", "match", "gmatch", "gsub"}) {
    std::string call = "string." + std::string(name) + "('a', string.rep('a?', 1e6), 'x')";
    CHECK(tail(run(vm, "return " + call)) == "!pattern too complex");
  }
  CHECK(run(vm, "return string.find(string.rep('a', 1e6), string.rep('a', 1e5))") == "1");
  CHECK(run(vm, "return string.find(string.rep('.', 1e6), string.rep('.', 1e5), 1, true)") == "1");
  // The name of a chunk is garbage for all that the compiler knows.
  CHECK(run(vm, R"(
    local pieces = {'local a = 1 ', 'return ', 'a'}
    local function piece() collectgarbage() return table.remove(pieces, 1) end
    return load(piece, '=' .. string.rep('n', 100))())") == "1");
}

TEST_CASE("libraries that write texts keep to the memory of the script") {
  ScriptChance chance;
  LuaVm vm(LuaVm::Kind::scripts, nullptr, chance);
  size_t limit = size_t{64} << 20;
  const std::string refused = "!ERR not enough memory";
  const std::string many =
      "local s = string.rep('x', 2^20) local t = {} for i = 1, 100 do t[i] = s end ";
  CHECK(run(vm, many + "return #cjson.encode(t)", limit) == refused);
  CHECK(run(vm, many + "return #cjson.new().encode(t)", limit) == refused);
  CHECK(run(vm, many + "return #cjson.encode({[s] = t})", limit) == refused);
  CHECK(run(vm, many + "return #cmsgpack.pack(t)", limit) == refused);
  CHECK(run(vm, many + "return #cmsgpack.pack(unpack(t))", limit) == refused);
  const std::string doubled = "local t = {1} for i = 1, 60 do t = {t, t} end ";
  CHECK(run(vm, doubled + "return cjson.encode(t)", 1 << 20) == refused);
  const std::string sparse = "cjson.encode_sparse_array(false, 0, 0) ";
  CHECK(run(vm, sparse + "return cjson.encode({[2^30] = 1})", limit) == refused);
  CHECK(run(vm, "cjson.encode_sparse_array(false, 2, 10) return 'back'", limit) == "back");
  CHECK(run(vm, "cjson.encode_sparse_array(true) return cjson.encode({[2^30] = 1})", limit) ==
        R"({"1073741824":1})");
  CHECK(run(vm, "return #cjson.encode(string.rep('x', 2^20))", limit) == "1048578");
  CHECK(run(vm, "return cjson.encode({1, 'a', {b = {}}})", limit) == R"([1,"a",{"b":{}}])");
}

TEST_CASE("shared tables are read-only, whatever the way") {
  ScriptChance chance;
  LuaVm vm(LuaVm::Kind::scripts, nullptr, chance);
  for (const char* code :
       {"x = 1", "_G.x = 1", "string.rep = 1", "string.x = 1", "rawset(_G, 'x', 1)",
        "rawset(string, 'rep', nil)", "setmetatable(_G, {})", "setmetatable(string, nil)",
        "table.insert(_G, 1)", "table.insert(math, 1, 1)", "getmetatable('').__index = {}",
        "getmetatable('').__index.rep = 1", "getmetatable(_G).__index = nil",
        "local _, t = pairs(string) t.rep = 1", "for _, t in pairs({string}) do t.rep = 1 end",
        "rawget(_G, '_G').x = 1", "rawget(_G, 'string').rep = 1", "_G._G.x = 1",
        "next({_G}); select(2, next({_G})).x = 1"}) {
    CAPTURE(code);
    CHECK(run(vm, code).find("Attempt to modify a readonly table") != std::string::npos);
  }
  CHECK(run(vm, "return type(getmetatable(string))") == "nil");
  CHECK(run(vm, "return ('ab'):rep(2)") == "abab");
  CHECK(run(vm, "return rawget(string, 'rep') == string.rep and 'same' or 'other'") == "same");
  CHECK(run(vm, "return x").find("nonexistent global variable 'x'") != std::string::npos);
}

TEST_CASE("bytecode is text to every way of loading") {
  ScriptChance chance;
  LuaVm vm(LuaVm::Kind::scripts, nullptr, chance);
  CHECK(run(vm, "\033Lua").find("unexpected symbol") != std::string::npos);
  CHECK(run(vm, "local f, e = loadstring(string.dump(function() end)) return e")
            .find("unexpected symbol") != std::string::npos);
  CHECK(
      run(vm,
          "local code, sent = string.dump(function() end), false "
          "local f, e = load(function() if not sent then sent = true return code end end) return e")
          .find("unexpected symbol") != std::string::npos);
  CHECK(run(vm, "return loadstring('return 1 + 1')()") == "2");
  CHECK(run(vm, std::string("return #'a\0b'", 13)) == "3");
}

TEST_CASE("an interrupted call catches nothing any more") {
  ScriptChance chance;
  LuaVm vm(LuaVm::Kind::scripts, &vm, chance);
  auto hook = [](lua_State* lua, lua_Debug*) {
    LuaVm::owner_of<LuaVm>(lua).interrupt();
    luaL_error(lua, "stop");
  };
  for (const char* code :
       {"while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() end) end",
        "while true do local c = coroutine.create(function() while true do end end) "
        "coroutine.resume(c) end",
        "while true do pcall(coroutine.wrap(function() pcall(function() while true do "
        "end end) end)) end"}) {
    CAPTURE(code);
    lua_sethook(vm.state(), hook, LUA_MASKCOUNT, 1000);
    CHECK(run(vm, code)[0] == '!');
    lua_sethook(vm.state(), nullptr, 0, 0);
    CHECK(run(vm, "return pcall(error, 'x') and 1 or 'caught'") == "caught");
  }
}

TEST_CASE("libraries see their own globals while they load") {
  ScriptChance chance;
  LuaVm vm(LuaVm::Kind::functions, nullptr, chance);
  lua_createtable(vm.state(), 0, 1);
  lua_pushliteral(vm.state(), "value");
  lua_setfield(vm.state(), -2, "only");
  vm.begin_library_view();
  CHECK(run(vm, "return only") == "value");
  CHECK(run(vm, "return string == nil and 'hidden'") == "hidden");
  vm.end_library_view();
  CHECK(run(vm, "return type(string)") == "table");
}

}  // namespace
}  // namespace quoll::server
