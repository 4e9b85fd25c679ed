// ScriptHost: runs Lua for a client, whether it came by EVAL or as a function.
//
//   admit by flags -> Lua runs -> redis.call -> admission as in MULTI -> handler -> reply -> Lua
//                                                                     `-> effects of one commit
//   end: the commit is closed, the gate holds the reply
//
// Commands run in a session of the host's own (database and RESP version of the script), never
// block, and see one instant of time. A script that runs longer than busy-reply-threshold lets the
// loop hear clients between its instructions: they get -BUSY, and may kill it unless it has
// written. Nothing else of the server moves meanwhile: no command of others, no timer, no expiry.
//
// Cost: no allocation per redis.call besides Lua's own values; arguments are not copied.
#pragma once

#include <lua5.1/lua.hpp>
#include <memory>
#include <string>
#include <vector>

#include "server/call.h"
#include "server/lua_vm.h"
#include "server/script_flags.h"

namespace quoll::server {

class ScriptCache;
class ScriptLibraries;

// Lua instructions between two looks at the clock.
constexpr int kHookInstructions = 100'000;
// A busy script hears clients at most this often.
constexpr base::Nanos kHearInterval = 5 * base::kNanosPerMilli;

class ScriptHost {
 public:
  explicit ScriptHost(Server& server);
  ~ScriptHost();

  ScriptCache& cache() { return *cache_; }
  const ScriptCache& cache() const { return *cache_; }
  ScriptLibraries& libraries() { return *libraries_; }
  const ScriptLibraries& libraries() const { return *libraries_; }

  struct Start {
    LuaVm& vm;
    Bytes name;      // the script's SHA1 or the function's name, for errors and the log
    uint32_t flags;  // ScriptFlag
    bool read_only;  // called by a command that must not write
    bool function;   // FCALL
    int arguments;   // on the stack, above the function
  };
  // Whether the flags let the script run now; replies why not.
  bool admit(Call& call, uint32_t flags, bool read_only);
  // Runs the function on the VM's stack and writes the reply.
  void run(Call& call, const Start& start);

  bool running() const { return run_.vm != nullptr; }
  // Whether the line, of a command that may replicate, can write: a script that says it does not
  // cannot.
  bool may_write(const Command& command, Args line) const;
  // A script runs for too long: commands that are not allowed get this reply. Empty: none does.
  Bytes busy_reply() const;
  // SCRIPT KILL, FUNCTION KILL. The error reply, or empty when the script will end.
  Bytes kill(bool function);
  // SHUTDOWN NOSAVE while a script is busy: it ends and its effects are dropped.
  void abandon();
  struct Running {
    Bytes name;
    Args command;
    base::Millis duration_ms;
  };
  // The function that runs now, for FUNCTION STATS; false when none does.
  bool running_function(Running& running) const;
  // The session on whose behalf the script runs; nullptr when none does.
  Session* caller() const { return run_.caller; }

  // Unix time in microseconds; one instant for all of a script.
  int64_t wall_micros();

  // --- what redis.* is made of; see lua_redis_api.cc ---

  // Runs the command whose words are the C function's arguments. Leaves the reply at the top, or an
  // error table and returns false.
  bool call_command(lua_State* lua);
  bool set_protocol(int version);
  void set_targets(uint8_t targets);
  // Whether the caller may run the command line on the stack; false and an error table when the
  // command is unknown.
  bool check_permission(lua_State* lua, bool& allowed);
  // Puts the count hook on a VM that will run or load code.
  static void watch(lua_State* lua);
  // While a library is loaded: an instant after which loading fails. 0: none is.
  void set_load_deadline(base::Nanos deadline) { load_deadline_ = deadline; }

  Server& server() { return server_; }
  ScriptChance& chance() { return chance_; }

 private:
  // The script that runs now.
  struct Run {
    LuaVm* vm = nullptr;
    Session* caller = nullptr;
    Args line;
    std::string name;
    uint32_t flags = 0;
    bool read_only = false;
    bool function = false;
    bool began_commit = false;
    bool wrote = false;
    bool slow = false;
    bool killed = false;
    bool abandoned = false;
    uint8_t targets = 0;
    int64_t wall_micros = 0;    // once it was asked for
    int slot = SlotUse::kNone;  // of the keys it has used or declared
    base::Nanos start = 0;
    base::Nanos heard = 0;  // when clients were last heard
  };

  static void on_instructions(lua_State* lua, lua_Debug*);
  void look_at_clock(lua_State* lua);
  void become_slow();
  void hear_clients();
  bool take_arguments(lua_State* lua);
  Command* find_command() const;
  // Why the command may not run now; empty: it may.
  Bytes refusal(Command& command) const;
  Bytes slot_refusal(const Command& command);
  void execute(Command& command);
  bool push_reply(lua_State* lua);
  void reply(Call& call, bool ok);
  void finish(Call& call, uint64_t reply_start);

  Server& server_;
  ScriptChance chance_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<ScriptCache> cache_;
  std::unique_ptr<ScriptLibraries> libraries_;
  Run run_;
  base::Nanos load_deadline_ = 0;
  // Kept between calls, so that nothing is lost when Lua leaves by an error.
  std::vector<Bytes> args_;
  std::string numbers_;  // texts of number arguments
  std::string joined_;   // a reply of several chunks
  std::string refusal_;
};

}  // namespace quoll::server
