// LuaVm: one Lua 5.1 state inside the sandbox that Redis gives to scripts.
//
//   globals seen by scripts = proxy {}            reads -> the real table, then an error
//                                                 writes -> an error
//
// Debian's Lua has no read-only tables, so every table that all scripts share (the globals, the
// libraries, redis) is an empty proxy whose metatable leads reads to the real table; the base
// functions that look past metatables (next, rawget, rawset, setmetatable, table.insert, ...) know
// proxies. Bytecode is never loaded.
//
// Lua reports errors by longjmp: no frame that calls into Lua holds an object with a destructor.
//
// Cost: about 90 KiB per state; a global read costs one table access more than in plain Lua.
#pragma once

#include <cstddef>
#include <cstdint>
#include <lua5.1/lua.hpp>

#include "base/bytes.h"

namespace quoll::server {

// Garbage that may stay between scripts, beside as much as is in use.
constexpr size_t kTidyBytes = size_t{16} << 20;

// What math.random() draws from. One for all VMs of a server: SCRIPT FLUSH does not start it again.
struct ScriptChance {
  uint64_t state = 0x1234abcd330e;
};

class LuaVm {
 public:
  // What a VM is for: EVAL scripts see KEYS, ARGV and the debugger's entry points; functions do
  // not.
  enum class Kind { scripts, functions };

  // `owner` is what owner_of() gives to C functions.
  LuaVm(Kind kind, void* owner, ScriptChance& chance);
  ~LuaVm();
  LuaVm(const LuaVm&) = delete;
  LuaVm& operator=(const LuaVm&) = delete;

  lua_State* state() { return lua_; }
  size_t bytes() const { return bytes_; }
  // Collects garbage if much of it may have come since the last time. Lua's own collector runs only
  // while scripts do, so what a big one left behind would stay.
  void tidy();
  template <class Owner>
  static Owner& owner_of(lua_State* lua) {
    void* vm;
    lua_getallocf(lua, &vm);
    return *static_cast<Owner*>(static_cast<LuaVm*>(vm)->owner_);
  }

  // Takes the table or value at the top as a field of the globals or of the redis API.
  void set_global(const char* name);
  // Makes a read-only view of the table at the top and puts it in its place.
  void protect();
  // Compiles text (never bytecode) to a function, or leaves the error text. True when compiled.
  bool compile(base::Bytes code, const char* chunk_name);
  // Calls the function below its `arguments` with the error handler. One result or the error, which
  // is a table {err, source, line}. True when it went well. If the VM would hold more than
  // `bytes_max`, the call fails with "not enough memory".
  bool call(int arguments, size_t bytes_max);
  // The call under way shall end: from now on no pcall() or coroutine of it catches an error.
  void interrupt() { interrupted_ = true; }
  static bool interrupted(lua_State* lua);
  // Makes of an error the table that callers get: its text, and where it was raised.
  static int error_handler(lua_State* lua);
  // Bytes that may still be allocated.
  static size_t room(lua_State* lua);
  // While a library loads, its code sees only the table at the top (popped), until the end.
  void begin_library_view();
  void end_library_view();
  // A reference to the function at the top (popped), for push().
  int keep() { return luaL_ref(lua_, LUA_REGISTRYINDEX); }
  void push(int reference) { lua_rawgeti(lua_, LUA_REGISTRYINDEX, reference); }
  void drop(int reference) { luaL_unref(lua_, LUA_REGISTRYINDEX, reference); }

 private:
  static void* resize(void* vm, void* block, size_t old_size, size_t size);
  static int build(lua_State* lua);

  Kind kind_;
  void* owner_;
  ScriptChance& chance_;
  size_t bytes_ = 0;
  size_t tidy_at_ = kTidyBytes;
  size_t bytes_max_ = SIZE_MAX;  // while an error of memory can be caught
  bool interrupted_ = false;
  lua_State* lua_ = nullptr;
  int globals_ = 0;       // the real table
  int globals_meta_ = 0;  // the metatable of the proxy
  int handler_ = 0;
};

}  // namespace quoll::server
