#include "server/script_values.h"

#include <doctest/doctest.h>

#include <string>

#include "server/lua_vm.h"

namespace quoll::server {
namespace {

// A reply through Lua and out again.
std::string through(LuaVm& vm, const std::string& reply, int client = 3, int script = 3) {
  lua_State* lua = vm.state();
  const char* end = script_values::push_reply(lua, reply.data());
  CHECK(end == reply.data() + reply.size());
  wire::OutQueue out;
  wire::ReplyWriter writer(out);
  writer.set_protocol(client);
  bool counted = false;
  script_values::write_value(lua, writer, script, counted);
  CHECK(lua_gettop(lua) == 0);
  CHECK(counted == (reply[0] == '-'));
  std::string text;
  base::Bytes parts[16];
  size_t count = out.gather(parts, out.end_offset());
  for (size_t i = 0; i < count; ++i) text += parts[i];
  return text;
}

TEST_CASE("replies that mean the same on both sides come back unchanged") {
  ScriptChance chance;
  LuaVm vm(LuaVm::Kind::scripts, nullptr, chance);
  for (const char* reply : {":0\r\n",
                            ":-5\r\n",
                            ":9007199254740992\r\n",
                            "$5\r\nhello\r\n",
                            "$0\r\n\r\n",
                            "+OK\r\n",
                            "-ERR wrong\r\n",
                            "*0\r\n",
                            "*2\r\n:1\r\n$1\r\nx\r\n",
                            "*1\r\n*1\r\n*1\r\n:7\r\n",
                            "_\r\n",
                            "#t\r\n",
                            "#f\r\n",
                            ",1.5\r\n",
                            ",inf\r\n",
                            "(123456789012345678901234567890\r\n",
                            "=7\r\ntxt:abc\r\n",
                            "%1\r\n$1\r\na\r\n:1\r\n",
                            "~1\r\n$1\r\na\r\n",
                            "%1\r\n$1\r\na\r\n*2\r\n~0\r\n%0\r\n"}) {
    CAPTURE(reply);
    CHECK(through(vm, reply) == reply);
  }
}

TEST_CASE("nulls, and what an older client or script gets") {
  ScriptChance chance;
  LuaVm vm(LuaVm::Kind::scripts, nullptr, chance);
  CHECK(through(vm, "$-1\r\n", 2, 2) == "$-1\r\n");
  CHECK(through(vm, "*-1\r\n", 2, 2) == "$-1\r\n");
  CHECK(through(vm, "$-1\r\n", 3, 2) == "_\r\n");
  CHECK(through(vm, "*3\r\n:1\r\n_\r\n:3\r\n", 2, 3) == "*1\r\n:1\r\n");
  CHECK(through(vm, "*3\r\n:1\r\n$-1\r\n:3\r\n", 2, 2) == "*3\r\n:1\r\n$-1\r\n:3\r\n");
  CHECK(through(vm, "#t\r\n", 2, 2) == ":1\r\n");
  CHECK(through(vm, "%1\r\n$1\r\na\r\n:1\r\n", 2, 3) == "*2\r\n$1\r\na\r\n:1\r\n");
  CHECK(through(vm, ",0.5\r\n", 2, 3) == "$3\r\n0.5\r\n");
  CHECK(through(vm, "|1\r\n+k\r\n:9\r\n:5\r\n") == ":5\r\n");
}

}  // namespace
}  // namespace quoll::server
