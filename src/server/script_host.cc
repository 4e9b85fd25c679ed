#include "server/script_host.h"

#include <algorithm>
#include <cmath>

#include "base/numbers.h"
#include "server/debug_switches.h"
#include "server/log.h"
#include "server/lua_vm.h"
#include "server/memory_limits.h"
#include "server/nobody_peer.h"
#include "server/replication.h"
#include "server/script_cache.h"
#include "server/script_libraries.h"
#include "server/script_values.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr size_t kKeptBytesMax = 64 * 1024;  // of a joined reply, between calls
constexpr size_t kSharedGatherParts = 64;
constexpr Bytes kScriptBusy =
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
constexpr Bytes kFunctionBusy =
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
constexpr Bytes kUnkillable =
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can "
    "either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE "
    "command.";

// MONITOR shows the commands of scripts as coming from here.
struct ScriptPeer final : NobodyPeer {
  std::string remote_address() const override { return "lua"; }
};

}  // namespace

ScriptHost::ScriptHost(Server& server)
    : server_(server),
      session_(std::make_unique<Session>(server, 0, std::make_unique<ScriptPeer>())),
      cache_(std::make_unique<ScriptCache>(*this)),
      libraries_(std::make_unique<ScriptLibraries>(*this)) {
  session_->in_exec = true;  // never blocks, holds no reply back
}

ScriptHost::~ScriptHost() = default;

// --- running -----------------------------------------------------------------------------------

// The primary's stream (a Redis 6 sends scripts, not what they did) or the log: what ran there must
// run here. No client has this id.
static bool must_obey(const Session& caller) { return caller.id == 0; }

bool ScriptHost::admit(Call& call, uint32_t flags, bool read_only) {
  if (must_obey(call.session)) return true;
  if (server_.cluster() && (flags & kScriptNoCluster)) {
    call.reply.error("ERR Can not run script on cluster, 'no-cluster' flag is set.");
    return false;
  }
  if (__builtin_expect(server_.replication().restricts(), 0)) {
    if (Bytes refusal = server_.replication().refusal_of_script(flags); !refusal.empty()) {
      call.reply.error(refusal);
      return false;
    }
  }
  if ((flags & (kScriptCompatible | kScriptNoWrites)) == 0) {
    if (Bytes refusal = server_.persistence().write_refusal(); !refusal.empty()) {
      call.reply.error(refusal);
      return false;
    }
    if (read_only) {
      call.reply.error("ERR Can not execute a script with write flag using *_ro command.");
      return false;
    }
    if (server_.memory_limits().out_of_memory() && !(flags & kScriptAllowOom)) {
      call.reply.error(errors::kOutOfMemory);
      return false;
    }
  }
  return true;
}

bool ScriptHost::may_write(const Command& command, Args line) const {
  Bytes name = command.spec->name;
  if (name == "eval") return !(cache_->flags_of_text(line[1]) & kScriptNoWrites);
  if (name == "evalsha") return !(cache_->flags_of_sha(line[1]) & kScriptNoWrites);
  if (name == "fcall") return !(libraries_->flags_of(line[1]) & kScriptNoWrites);
  return true;
}

void ScriptHost::run(Call& call, const Start& start) {
  QUOLL_CHECK(!running());
  uint64_t reply_start = call.session.out().end_offset();
  server_.tell_monitors(call.session, call.args);
  run_.vm = &start.vm;
  run_.caller = &call.session;
  run_.line = call.args;
  run_.name.assign(start.name);
  run_.flags = start.flags;
  run_.read_only = start.read_only || (start.flags & kScriptNoWrites);
  run_.function = start.function;
  run_.targets = store::kToAll;
  run_.wall_micros = 0;
  run_.slot = SlotUse::kNone;
  if (server_.cluster())
    run_.slot = call.session.in_exec ? call.session.transaction.slots.slot
                                     : server_.routes().use_of(call.command, call.args).slot;
  run_.start = run_.heard = std::max(server_.dispatcher().last_end(), server_.clock_stamp());
  run_.began_commit = run_.wrote = run_.slow = run_.killed = run_.abandoned = false;
  session_->db = call.db;
  session_->no_touch = call.session.no_touch;
  if (session_->user != call.session.user) session_->user = call.session.user;
  session_->reply().set_protocol(2);
  server_.hold_clock(true);

  if (!call.session.in_exec) server_.notifier().unit_begins();
  bool ok = start.vm.call(start.arguments, server_.settings().script_memory_max);

  server_.hold_clock(false);
  reply(call, ok);
  finish(call, reply_start);
  run_.vm = nullptr;
  run_.caller = nullptr;
  start.vm.tidy();
}

// Writes what the script left at the top, and pops it.
void ScriptHost::reply(Call& call, bool ok) {
  lua_State* lua = run_.vm->state();
  bool counted = false;
  if (ok) {
    script_values::write_value(lua, call.reply, session_->protocol(), counted);
  } else if (!lua_istable(lua, -1)) {
    const char* text = lua_isstring(lua, -1) ? lua_tostring(lua, -1) : "execution failure";
    constexpr size_t kShownBytes = 100;
    call.reply.error("ERR Error running script " + run_.name + ", " +
                     std::string(Bytes(text).substr(0, kShownBytes)));
    lua_pop(lua, 1);
  } else {
    auto field = [lua](const char* name) {
      lua_pushstring(lua, name);
      lua_rawget(lua, -2);
      const char* value = lua_tostring(lua, -1);
      std::string text = value ? value : "";
      lua_pop(lua, 1);
      return text;
    };
    std::string text = field("err");
    if (text.empty()) text = "ERR unknown error";
    std::string source = field("source");
    std::string line = field("line");
    if (!source.empty() && !line.empty())
      text += " script: " + run_.name + ", on " + source + ":" + line + ".";
    lua_pushliteral(lua, "ignore_error_stats_update");
    lua_rawget(lua, -2);
    counted = lua_toboolean(lua, -1);
    lua_pop(lua, 2);
    call.reply.error(text);
  }
  if (counted) server_.dispatcher().error_was_counted();
}

void ScriptHost::finish(Call& call, uint64_t reply_start) {
  store::CommitBuilder& commits = server_.store().commits();
  store::Seq seq = 0;
  if (commits.open()) {
    commits.set_targets(store::kToAll);
    if (run_.abandoned) commits.abandon();
  }
  if (run_.began_commit) {
    seq = commits.close();
    server_.after_commit(call.session, seq);
  }
  if (server_.gate().demanding() && !call.session.in_exec) {
    const store::Seq shown = seq ? seq : server_.persistence().unsettled().latest();
    server_.notifier().unit_over(server_.gate().ticket(shown));
    server_.dispatcher().hold_reply(call.session, shown, reply_start, seq != 0);
  }
  if (run_.slow) call.session.peer().pause_reads(false);
  session_->out().clear();  // the last reply of a command may hold a value
  if (joined_.capacity() > kKeptBytesMax) std::string().swap(joined_);
}

// --- redis.call --------------------------------------------------------------------------------

bool ScriptHost::take_arguments(lua_State* lua) {
  constexpr lua_Number kExactMax = 1e15;  // integers up to here have their decimal form in "%.17g"
  int count = lua_gettop(lua);
  if (count == 0) {
    script_values::push_error(lua,
                              "ERR Please specify at least one argument for this redis lib call");
    return false;
  }
  args_.clear();
  numbers_.clear();
  numbers_.reserve(static_cast<size_t>(count) * base::kDoubleTextMax);  // views stay where they are
  for (int i = 1; i <= count; ++i) {
    switch (lua_type(lua, i)) {
      case LUA_TSTRING: {
        size_t size;
        const char* text = lua_tolstring(lua, i, &size);
        args_.emplace_back(text, size);
        break;
      }
      case LUA_TNUMBER: {
        lua_Number value = lua_tonumber(lua, i);
        char text[base::kDoubleTextMax];
        if (std::isnan(value)) {
          args_.push_back(std::signbit(value) ? Bytes("-nan") : Bytes("nan"));
          break;
        }
        bool whole = std::fabs(value) < kExactMax && std::floor(value) == value &&
                     !(value == 0 && std::signbit(value));
        size_t size = whole ? base::format_int(static_cast<int64_t>(value), text)
                            : base::format_double(value, text);
        size_t at = numbers_.size();
        numbers_.append(text, size);
        args_.emplace_back(numbers_.data() + at, size);
        break;
      }
      default:
        script_values::push_error(
            lua, "ERR Lua redis lib command arguments must be strings or integers");
        return false;
    }
  }
  return true;
}

Command* ScriptHost::find_command() const {
  Command* command = server_.commands().find(args_[0]);
  if (!command || command->subcommands.empty() || args_.size() < 2) return command;
  return server_.commands().find_sub(*command, args_[1]);
}

Bytes ScriptHost::refusal(Command& command) const {
  const CommandSpec& spec = *command.spec;
  auto count = static_cast<int>(args_.size());
  if (spec.arity > 0 ? count != spec.arity : count < -spec.arity)
    return "ERR Wrong number of args calling Redis command from script";
  if ((spec.flags & kNoScript) && !debug_switches().scripts_may_run_denied)
    return "ERR This Redis command is not allowed from script";
  if (AclVerdict verdict = server_.acl().admit(*run_.caller, command, args_, AclContext::lua);
      !verdict)
    return refusal_in_script(verdict.denied);
  bool writes = spec.access == Access::write;
  if (run_.read_only && (writes || (spec.flags & kMayReplicate)))
    return "ERR Write commands are not allowed from read-only scripts.";
  if (server_.replication().stale() && !(spec.flags & kStale) && !must_obey(*run_.caller))
    return "ERR Can not execute the command on a stale replica";
  // A script that has begun to write is not stopped by what it could not foresee.
  if ((writes && run_.wrote) || must_obey(*run_.caller)) return {};
  if (Bytes text = server_.refusal_of(command, *session_); !text.empty()) return text;
  const bool wants_memory = (spec.flags & kDenyOom) && !(run_.flags & kScriptAllowOom);
  return wants_memory && server_.memory_limits().out_of_memory() ? errors::kOutOfMemory : Bytes();
}

// What the script did not declare is looked at, too.
Bytes ScriptHost::slot_refusal(const Command& command) {
  const SlotUse use = server_.routes().use_of(command, args_);
  const Route route = server_.routes().find(*run_.caller, command, use);
  switch (route) {
    case Route::here:
      break;
    case Route::no_quorum:
      refusal_ = server_.routes().error(*run_.caller, route, use);
      return refusal_;
    case Route::again:
    case Route::unbound:
    case Route::down:
      return "ERR Script attempted to execute a command while the cluster is down";
    case Route::read_only:
      return errors::kReadOnly;
    default:
      return "ERR Script attempted to access a non local key in a cluster node";
  }
  if (use.slot == SlotUse::kNone || (run_.flags & (kScriptCrossSlot | kScriptCompatible)))
    return {};
  if (run_.slot == SlotUse::kNone) run_.slot = use.slot;
  return run_.slot == use.slot
             ? Bytes()
             : "ERR Script attempted to access keys that do not hash to the same slot";
}

bool ScriptHost::call_command(lua_State* lua) {
  if (!take_arguments(lua)) return false;
  Command* command = find_command();
  if (!command) {
    script_values::push_error(lua, "ERR Unknown Redis command called from script");
    return false;
  }
  if (Bytes text = refusal(*command); !text.empty()) {
    ++command->counters.rejected;
    script_values::push_error(lua, text);
    return false;
  }
  if (server_.cluster()) {
    if (Bytes text = slot_refusal(*command); !text.empty()) {
      ++command->counters.rejected;
      script_values::push_error(lua, text);
      return false;
    }
  }
  execute(*command);
  lua_settop(lua, 0);  // the arguments may have taken all of the stack
  return push_reply(lua);
}

void ScriptHost::execute(Command& command) {
  store::CommitBuilder& commits = server_.store().commits();
  if (command.spec->access == Access::write) {
    run_.wrote = true;
    if (!commits.open()) {
      commits.begin(store::Origin::client, server_.now(), true);
      commits.set_targets(run_.targets);
      run_.began_commit = true;
    }
  }
  session_->out().clear();
  server_.tell_monitors(*session_, args_, &command);
  server_.dispatcher().run_in_script(*session_, command, args_);
}

// False when the reply is an error.
bool ScriptHost::push_reply(lua_State* lua) {
  wire::OutQueue& out = session_->out();
  Bytes parts[kSharedGatherParts];
  size_t count = out.gather(parts, out.end_offset());
  if (count == 1) {
    script_values::push_reply(lua, parts[0].data());
    return parts[0].front() != '-';
  }
  joined_.clear();
  joined_.reserve(out.size());
  for (; count > 0; count = out.gather(parts, out.end_offset())) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      joined_.append(parts[i]);
      bytes += parts[i].size();
    }
    out.consume(bytes);
  }
  script_values::push_reply(lua, joined_.data());
  return joined_.front() != '-';
}

bool ScriptHost::set_protocol(int version) {
  if (version != 2 && version != 3) return false;
  session_->reply().set_protocol(version);
  return true;
}

void ScriptHost::set_targets(uint8_t targets) {
  run_.targets = targets;
  if (server_.store().commits().open()) server_.store().commits().set_targets(targets);
}

bool ScriptHost::check_permission(lua_State* lua, bool& allowed) {
  if (!take_arguments(lua)) return false;
  Command* command = find_command();
  if (!command) {
    script_values::push_error(lua, "ERR Invalid command passed to redis.acl_check_cmd()");
    return false;
  }
  allowed = static_cast<bool>(server_.acl().check(*run_.caller, *command, args_));
  return true;
}

// --- scripts that take long --------------------------------------------------------------------

void ScriptHost::watch(lua_State* lua) {
  lua_sethook(lua, on_instructions, LUA_MASKCOUNT, kHookInstructions);
}

void ScriptHost::on_instructions(lua_State* lua, lua_Debug*) {
  LuaVm::owner_of<ScriptHost>(lua).look_at_clock(lua);
}

void ScriptHost::look_at_clock(lua_State* lua) {
  base::Nanos now = server_.host().clock.steady();
  if (load_deadline_ != 0) {
    if (now < load_deadline_) return;
    libraries_->interrupt();
    script_values::push_error(lua, "ERR FUNCTION LOAD timeout");
    lua_error(lua);
  }
  if (!running()) return;
  base::Nanos limit = server_.settings().busy_reply_threshold_ms;
  if (limit > 0 && limit < INT64_MAX / base::kNanosPerMilli &&
      now - run_.start >= limit * base::kNanosPerMilli && !run_.killed) {
    if (!run_.slow) become_slow();
    if (now - run_.heard >= kHearInterval) hear_clients();
  }
  if (!run_.killed) return;
  run_.vm->interrupt();
  script_values::push_error(lua, "ERR Script killed by user with SCRIPT KILL...");
  lua_error(lua);
}

void ScriptHost::become_slow() {
  run_.slow = true;
  run_.heard = 0;
  base::Nanos elapsed = server_.host().clock.steady() - run_.start;
  log::warning(
      "Slow script detected: still in execution after {} milliseconds. You can try killing the "
      "script using the {} command. Script name is: {}.",
      elapsed / base::kNanosPerMilli, run_.function ? "FUNCTION KILL" : "SCRIPT KILL", run_.name);
  // Bytes of the commands behind this one must stay where they are.
  run_.caller->peer().pause_reads(true);
}

void ScriptHost::hear_clients() {
  server_.serve_while_busy(*run_.caller);
  run_.heard = server_.host().clock.steady();
}

Bytes ScriptHost::busy_reply() const {
  if (!run_.slow || !running()) return {};
  return run_.function ? kFunctionBusy : kScriptBusy;
}

Bytes ScriptHost::kill(bool function) {
  if (!running()) return "NOTBUSY No scripts in execution right now.";
  if (run_.wrote) return kUnkillable;
  if (run_.function != function) return busy_reply();
  run_.killed = true;
  log::notice("Lua script killed by user with {} KILL.", function ? "FUNCTION" : "SCRIPT");
  return {};
}

void ScriptHost::abandon() { run_.killed = run_.abandoned = true; }

int64_t ScriptHost::wall_micros() {
  if (!running()) return server_.host().clock.wall_micros();
  if (run_.wall_micros == 0) run_.wall_micros = server_.host().clock.wall_micros();
  return run_.wall_micros;
}

bool ScriptHost::running_function(Running& running) const {
  if (!this->running() || !run_.function) return false;
  base::Nanos elapsed = server_.host().clock.steady() - run_.start;
  running = {run_.name, run_.line, elapsed / base::kNanosPerMilli};
  return true;
}

}  // namespace quoll::server
