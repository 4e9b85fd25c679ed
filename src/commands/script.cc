// Scripts: EVAL and its kind, and SCRIPT for their cache. Running them is server/script_host.h's.
#include "base/text.h"
#include "commands/families.h"
#include "commands/help.h"
#include "server/call.h"
#include "server/script_cache.h"
#include "server/script_host.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr Bytes kScriptHelp[] = {
    "DEBUG (YES|SYNC|NO)",
    "    Set the debug mode for subsequent scripts executed.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache. Very dangerous on replicas.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the scripts cache.",
    "    * SYNC: Synchronously flush the scripts cache.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
};

void eval(Call& call) { call.server.scripts().cache().eval(call, false); }
void eval_ro(Call& call) { call.server.scripts().cache().eval(call, true); }
void evalsha(Call& call) { call.server.scripts().cache().eval_sha(call, false); }
void evalsha_ro(Call& call) { call.server.scripts().cache().eval_sha(call, true); }

void script_load(Call& call) {
  auto loaded = call.server.scripts().cache().load(call.arg(2));
  if (!loaded) return call.reply.error("ERR " + loaded.error());
  call.reply.bulk(loaded.value());
}

void script_exists(Call& call) {
  call.reply.array(call.argc() - 2);
  for (Bytes sha : call.args.subspan(2))
    call.reply.integer(call.server.scripts().cache().has(sha) ? 1 : 0);
}

void script_flush(Call& call) {
  bool mode = call.argc() == 3 && (base::equals_ignoring_case(call.arg(2), "sync") ||
                                   base::equals_ignoring_case(call.arg(2), "async"));
  if (call.argc() > 2 && !mode)
    return call.reply.error("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
  call.server.scripts().cache().flush();
  call.reply.ok();
}

void script_kill(Call& call) {
  Bytes refusal = call.server.scripts().kill(false);
  refusal.empty() ? call.reply.ok() : call.reply.error(refusal);
}

void script_debug(Call& call) {
  if (base::equals_ignoring_case(call.arg(2), "no")) return call.reply.ok();
  if (base::equals_ignoring_case(call.arg(2), "yes") ||
      base::equals_ignoring_case(call.arg(2), "sync"))
    return call.reply.error("ERR this server has no Lua debugger");
  call.reply.error("ERR Use SCRIPT DEBUG YES/SYNC/NO");
}

void script_help(Call& call) { reply_help(call, kScriptHelp); }

constexpr uint32_t kEvalFlags =
    kNoScript | kStale | kSkipMonitor | kMayReplicate | kNoMandatoryKeys | kMovableKeys;
constexpr uint32_t kEvalRoFlags =
    kNoScript | kStale | kSkipMonitor | kNoMandatoryKeys | kMovableKeys;
constexpr KeySpecs kAnyUse = keys::counted(2, kKeyRw | kKeyAccess | kKeyUpdate);
constexpr KeySpecs kAnyRead = keys::counted(2, kKeyRo | kKeyAccess);
constexpr Bytes kUseNote =
    "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE";
constexpr Bytes kReadNote =
    "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS";

constexpr CommandSpec kScriptCommands[] = {
    {.name = "eval",
     .arity = -3,
     .run = eval,
     .keys = keys::noted(kAnyUse, kUseNote),
     .flags = kEvalFlags,
     .categories = kCatScripting,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Runs a Lua script.",
     .complexity = "Depends on the script that is executed.",
     .syntax = "script numkeys [key [key ...]] [arg [arg ...]]"},
    {.name = "evalsha",
     .arity = -3,
     .run = evalsha,
     .keys = kAnyUse,
     .flags = kEvalFlags,
     .categories = kCatScripting,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Runs a cached Lua script, named by the SHA1 of its text.",
     .complexity = "Depends on the script that is executed.",
     .syntax = "sha1 numkeys [key [key ...]] [arg [arg ...]]"},
    {.name = "eval_ro",
     .arity = -3,
     .run = eval_ro,
     .access = Access::read,
     .keys = keys::noted(kAnyRead, kReadNote),
     .flags = kEvalRoFlags,
     .categories = kCatScripting,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Runs a Lua script that may not write.",
     .complexity = "Depends on the script that is executed.",
     .syntax = "script numkeys [key [key ...]] [arg [arg ...]]"},
    {.name = "evalsha_ro",
     .arity = -3,
     .run = evalsha_ro,
     .access = Access::read,
     .keys = kAnyRead,
     .flags = kEvalRoFlags,
     .categories = kCatScripting,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Runs a cached Lua script that may not write.",
     .complexity = "Depends on the script that is executed.",
     .syntax = "sha1 numkeys [key [key ...]] [arg [arg ...]]"},
    {.name = "script",
     .arity = -2,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "A container for commands about the cache of scripts.",
     .complexity = "Depends on subcommand."},
    {.name = "script|load",
     .arity = 3,
     .run = script_load,
     .flags = kNoScript | kStale,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Compiles a script into the cache without running it.",
     .complexity = "O(N) with N being the length in bytes of the script body.",
     .syntax = "script",
     .tips = "request_policy:all_nodes,response_policy:all_succeeded"},
    {.name = "script|exists",
     .arity = -3,
     .run = script_exists,
     .flags = kNoScript,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Tells which scripts are in the cache.",
     .complexity =
         "O(N) with N being the number of scripts to check (so checking a single script is an O(1) "
         "operation).",
     .syntax = "sha1 [sha1 ...]",
     .tips = "request_policy:all_shards,response_policy:agg_logical_and"},
    {.name = "script|flush",
     .arity = -2,
     .run = script_flush,
     .flags = kNoScript,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Empties the cache of scripts.",
     .complexity = "O(N) with N being the number of scripts in cache",
     .syntax = "[ASYNC | SYNC]",
     .tips = "request_policy:all_nodes,response_policy:all_succeeded"},
    {.name = "script|kill",
     .arity = 2,
     .run = script_kill,
     .flags = kNoScript | kAllowBusy,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Ends the script that runs now, unless it has written.",
     .complexity = "O(1)",
     .tips = "request_policy:all_shards,response_policy:one_succeeded"},
    {.name = "script|debug",
     .arity = 3,
     .run = script_debug,
     .flags = kNoScript,
     .group = "scripting",
     .since = "3.2.0",
     .summary = "Turns the debugger off; there is none.",
     .complexity = "O(1)",
     .syntax = "<YES | SYNC | NO>"},
    {.name = "script|help",
     .arity = 2,
     .run = script_help,
     .flags = kLoading | kStale,
     .group = "scripting",
     .since = "5.0.0",
     .summary = "Shows the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kScriptCommands));

}  // namespace

Family script_commands() { return kScriptCommands; }

}  // namespace quoll::commands
