#include "server/lua_redis_api.h"

#include <openssl/evp.h>

#include <climits>

#include "base/text.h"
#include "server/log.h"
#include "server/lua_sandbox.h"
#include "server/script_cache.h"
#include "server/script_host.h"
#include "server/script_values.h"
#include "server/version.h"

namespace quoll::server {
namespace {

ScriptHost& host_of(lua_State* lua) { return LuaVm::owner_of<ScriptHost>(lua); }

int fail(lua_State* lua, Bytes text) {
  script_values::push_error(lua, text);
  return lua_error(lua);
}

int call(lua_State* lua) { return host_of(lua).call_command(lua) ? 1 : lua_error(lua); }

int protected_call(lua_State* lua) {
  host_of(lua).call_command(lua);
  return 1;
}

int sha1hex(lua_State* lua) {
  if (lua_gettop(lua) != 1) return fail(lua, "ERR wrong number of arguments");
  size_t size;
  const char* text = lua_tolstring(lua, 1, &size);
  char hex[kSha1HexBytes];
  sha1_hex(text ? Bytes(text, size) : Bytes(), hex);
  lua_pushlstring(lua, hex, kSha1HexBytes);
  return 1;
}

// What is out of range becomes what is no valid choice either.
int int_of_first(lua_State* lua) {
  lua_Number value = lua_tonumber(lua, 1);
  return value > INT_MIN && value < INT_MAX ? static_cast<int>(value) : INT_MIN;
}

// The text of the only argument, or an error table that is returned to the script.
bool single_text(lua_State* lua, Bytes& text) {
  if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
    script_values::push_error(lua, "ERR wrong number or type of arguments");
    return false;
  }
  text = lua_tostring(lua, 1);
  return true;
}

// Texts get the code ERR unless they bring their own, marked by a dash.
int error_reply(lua_State* lua) {
  Bytes text;
  if (!single_text(lua, text)) return 1;
  if (text.starts_with('-')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == '\r' || text.back() == '\n')) text.remove_suffix(1);
  lua_createtable(lua, 0, 1);
  if (text.find(' ') == Bytes::npos) lua_pushliteral(lua, "ERR ");
  lua_pushlstring(lua, text.data(), text.size());
  if (text.find(' ') == Bytes::npos) lua_concat(lua, 2);
  lua_setfield(lua, -2, "err");
  return 1;
}

int status_reply(lua_State* lua) {
  Bytes text;
  if (!single_text(lua, text)) return 1;
  lua_createtable(lua, 0, 1);
  lua_pushvalue(lua, 1);
  lua_setfield(lua, -2, "ok");
  return 1;
}

int log_line(lua_State* lua) {
  constexpr LogLevel kLevels[] = {LogLevel::debug, LogLevel::verbose, LogLevel::notice,
                                  LogLevel::warning};
  int count = lua_gettop(lua);
  if (count < 2) return fail(lua, "ERR redis.log() requires two arguments or more.");
  if (!lua_isnumber(lua, 1)) return fail(lua, "ERR First argument must be a number (log level).");
  auto level = int_of_first(lua);
  if (level < 0 || level > 3) return fail(lua, "ERR Invalid debug level.");
  if (!log::enabled(kLevels[level])) return 0;
  lua_pushliteral(lua, " ");
  luaL_Buffer line;
  luaL_buffinit(lua, &line);
  for (int i = 2; i <= count; ++i) {
    if (i > 2) luaL_addchar(&line, ' ');
    size_t size;
    const char* text = lua_tolstring(lua, i, &size);
    if (text) luaL_addlstring(&line, text, size);
  }
  luaL_pushresult(&line);
  log::write(kLevels[level], lua_tostring(lua, -1));
  return 0;
}

int setresp(lua_State* lua) {
  if (lua_gettop(lua) != 1) return fail(lua, "ERR redis.setresp() requires one argument.");
  auto version = int_of_first(lua);
  if (!host_of(lua).set_protocol(version)) return fail(lua, "ERR RESP version must be 2 or 3.");
  return 0;
}

int set_repl(lua_State* lua) {
  if (lua_gettop(lua) != 1) return fail(lua, "ERR redis.set_repl() requires two arguments.");
  auto targets = int_of_first(lua);
  if (targets & ~int{store::kToAll})
    return fail(lua,
                "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or "
                "REPL_NONE.");
  host_of(lua).set_targets(static_cast<uint8_t>(targets));
  return 0;
}

int replicate_commands(lua_State* lua) {
  lua_pushboolean(lua, 1);
  return 1;
}

int acl_check_cmd(lua_State* lua) {
  bool allowed = false;
  if (!host_of(lua).check_permission(lua, allowed)) return lua_error(lua);
  lua_pushboolean(lua, allowed);
  return 1;
}

// A script that waits for a debugger shall not go on as if one had looked.
int breakpoint(lua_State* lua) {
  return luaL_error(lua, "redis.breakpoint is not available: there is no Lua debugger");
}
// What it does when no debugger is attached.
int debug(lua_State*) { return 0; }

void add(lua_State* lua, const char* name, lua_CFunction function) {
  lua_pushcfunction(lua, function);
  lua_setfield(lua, -2, name);
}

void add(lua_State* lua, const char* name, int number) {
  lua_pushinteger(lua, number);
  lua_setfield(lua, -2, name);
}

void add_log_and_version(lua_State* lua) {
  add(lua, "log", log_line);
  add(lua, "LOG_DEBUG", 0);
  add(lua, "LOG_VERBOSE", 1);
  add(lua, "LOG_NOTICE", 2);
  add(lua, "LOG_WARNING", 3);
  lua_pushstring(lua, kRedisVersion);
  lua_setfield(lua, -2, "REDIS_VERSION");
  int number = 0, part = 0;
  for (const char* at = kRedisVersion;; ++at) {
    if (*at >= '0' && *at <= '9') {
      part = part * 10 + (*at - '0');
      continue;
    }
    number = number << 8 | part;
    part = 0;
    if (*at == '\0') break;
  }
  add(lua, "REDIS_VERSION_NUM", number);
}

}  // namespace

void sha1_hex(Bytes text, char (&hex)[kSha1HexBytes]) {
  static const EVP_MD* const kSha1 = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  QUOLL_CHECK(EVP_Digest(text.data(), text.size(), digest, &size, kSha1, nullptr) == 1);
  constexpr char kDigits[] = "0123456789abcdef";
  for (unsigned i = 0; i < size; ++i) {
    hex[2 * i] = kDigits[digest[i] >> 4];
    hex[2 * i + 1] = kDigits[digest[i] & 15];
  }
}

void add_redis_api(LuaVm& vm, LuaVm::Kind kind) {
  lua_State* lua = vm.state();
  lua_createtable(lua, 0, 32);
  add_log_and_version(lua);
  add(lua, "call", call);
  add(lua, "pcall", protected_call);
  add(lua, "sha1hex", sha1hex);
  add(lua, "error_reply", error_reply);
  add(lua, "status_reply", status_reply);
  add(lua, "setresp", setresp);
  add(lua, "set_repl", set_repl);
  add(lua, "REPL_NONE", 0);
  add(lua, "REPL_AOF", store::kToLog);
  add(lua, "REPL_SLAVE", store::kToReplicas);
  add(lua, "REPL_REPLICA", store::kToReplicas);
  add(lua, "REPL_ALL", store::kToAll);
  add(lua, "acl_check_cmd", acl_check_cmd);
  if (kind == LuaVm::Kind::scripts) {
    add(lua, "replicate_commands", replicate_commands);
    add(lua, "breakpoint", breakpoint);
    add(lua, "debug", debug);
  }
  vm.protect();
  lua_pushvalue(lua, -1);
  vm.set_global("redis");
  vm.set_global("server");
}

void push_library_api(LuaVm& vm, lua_CFunction register_function) {
  lua_State* lua = vm.state();
  auto make_strict = [lua] {
    lua_createtable(lua, 0, 1);
    lua_pushcfunction(lua, lua_sandbox::missing_field);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
  };
  lua_createtable(lua, 0, 2);
  lua_createtable(lua, 0, 8);
  add_log_and_version(lua);
  add(lua, "register_function", register_function);
  make_strict();
  vm.protect();
  lua_pushvalue(lua, -1);
  lua_setfield(lua, -3, "redis");
  lua_setfield(lua, -2, "server");
  make_strict();
}

}  // namespace quoll::server
