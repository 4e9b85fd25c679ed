// Functions: FCALL, and FUNCTION for the libraries they come from; what changes those is in
// function_change.cc.
#include "base/glob.h"
#include "base/text.h"
#include "commands/families.h"
#include "commands/function_family.h"
#include "commands/help.h"
#include "server/call.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"
#include "wire/rdb_writer.h"

namespace quoll::commands {
namespace {

using namespace server;
using base::equals_ignoring_case;
using Libraries = ScriptLibraries;

constexpr Bytes kFunctionHelp[] = {
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Create a new library with the given library name and code.",
    "DELETE <LIBRARY NAME>",
    "    Delete the given library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Return general information on all the libraries:",
    "    * Library name",
    "    * The engine used to run the Library",
    "    * Library description",
    "    * Functions list",
    "    * Library code (if WITHCODE is given)",
    "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
    "STATS",
    "    Return information about the current function running:",
    "    * Function name",
    "    * Command used to run the function",
    "    * Duration in MS that the function is running",
    "    If no function is running, return nil",
    "    In addition, returns a list of available engines.",
    "KILL",
    "    Kill the current running function.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all the libraries.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the libraries.",
    "    * SYNC: Synchronously flush the libraries.",
    "DUMP",
    "    Return a serialized payload representing the current libraries, can be restored using "
    "FUNCTION RESTORE command",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Restore the libraries represented by the given payload, it is possible to give a restore "
    "policy to",
    "    control how to handle existing libraries (default APPEND):",
    "    * FLUSH: delete all existing libraries.",
    "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
    "    * REPLACE: appends the restored libraries to the existing libraries, On collision, "
    "replace "
    "the old",
    "      libraries with the new libraries (notice that even on this option there is a chance of "
    "failure",
    "      in case of functions name collision with another library).",
};

Libraries& libraries_of(Call& call) { return call.server.scripts().libraries(); }

void fcall(Call& call) { libraries_of(call).call(call, false); }
void fcall_ro(Call& call) { libraries_of(call).call(call, true); }

void reply_function(wire::ReplyWriter& reply, const Libraries::Function& function) {
  reply.map(3);
  reply.bulk("name");
  reply.bulk(function.name);
  reply.bulk("description");
  function.described ? reply.bulk(function.description) : reply.null();
  reply.bulk("flags");
  reply.set(static_cast<size_t>(__builtin_popcount(function.flags)));
  for (uint32_t i = 0; i < kScriptFlagsNamed; ++i)
    if (function.flags & uint32_t{1} << i) reply.simple(script_flag_name(uint32_t{1} << i));
}

void function_list(Call& call) {
  Bytes pattern;
  bool filtered = false;
  bool with_code = false;
  for (size_t i = 2; i < call.argc(); ++i) {
    if (!with_code && equals_ignoring_case(call.arg(i), "withcode")) {
      with_code = true;
    } else if (!filtered && equals_ignoring_case(call.arg(i), "libraryname")) {
      if (++i >= call.argc()) return call.reply.error("ERR library name argument was not given");
      pattern = call.arg(i);
      filtered = true;
    } else {
      return call.reply.error("ERR Unknown argument " + std::string(call.arg(i)));
    }
  }
  std::vector<const Libraries::Library*> shown;
  for (const auto& [name, library] : libraries_of(call).libraries())
    if (!filtered || base::glob_match(pattern, name, base::Case::ignored))
      shown.push_back(library.get());
  call.reply.array(shown.size());
  for (const Libraries::Library* library : shown) {
    call.reply.map(with_code ? 4 : 3);
    call.reply.bulk("library_name");
    call.reply.bulk(library->name);
    call.reply.bulk("engine");
    call.reply.bulk("LUA");
    call.reply.bulk("functions");
    call.reply.array(library->functions.size());
    for (const Libraries::Function& function : library->functions)
      reply_function(call.reply, function);
    if (!with_code) continue;
    call.reply.bulk("library_code");
    call.reply.bulk(library->code);
  }
}

void function_stats(Call& call) {
  call.reply.map(2);
  call.reply.bulk("running_script");
  ScriptHost::Running running;
  if (call.server.scripts().running_function(running)) {
    call.reply.map(3);
    call.reply.bulk("name");
    call.reply.bulk(running.name);
    call.reply.bulk("command");
    call.reply.array(running.command.size());
    for (Bytes word : running.command) call.reply.bulk(word);
    call.reply.bulk("duration_ms");
    call.reply.integer(running.duration_ms);
  } else {
    call.reply.null();
  }
  call.reply.bulk("engines");
  call.reply.map(1);
  call.reply.bulk("LUA");
  call.reply.map(2);
  call.reply.bulk("libraries_count");
  call.reply.integer(static_cast<int64_t>(libraries_of(call).libraries().size()));
  call.reply.bulk("functions_count");
  call.reply.integer(static_cast<int64_t>(libraries_of(call).functions()));
}

void function_kill(Call& call) {
  Bytes refusal = call.server.scripts().kill(true);
  refusal.empty() ? call.reply.ok() : call.reply.error(refusal);
}

void function_dump(Call& call) {
  std::string payload;
  wire::RdbWriter writer(payload, call.server.settings().rdbcompression);
  for (const std::string& code : libraries_of(call).codes()) writer.function(code);
  wire::append_dump_footer(payload, static_cast<unsigned>(call.server.settings().rdb_version));
  call.reply.bulk(payload);
}

void function_help(Call& call) { reply_help(call, kFunctionHelp); }

constexpr uint32_t kCallFlags =
    kNoScript | kStale | kSkipMonitor | kMayReplicate | kNoMandatoryKeys | kMovableKeys;
constexpr uint32_t kCallRoFlags =
    kNoScript | kStale | kSkipMonitor | kNoMandatoryKeys | kMovableKeys;
constexpr Bytes kOnAllShards = "request_policy:all_shards,response_policy:all_succeeded";
constexpr Bytes kOnOneShard = "request_policy:all_shards,response_policy:one_succeeded";

constexpr CommandSpec kFunctionCommands[] = {
    {.name = "fcall",
     .arity = -3,
     .run = fcall,
     .keys = keys::noted(
         keys::counted(2, kKeyRw | kKeyAccess | kKeyUpdate),
         "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE"),
     .flags = kCallFlags,
     .categories = kCatScripting,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Calls a function of a library.",
     .complexity = "Depends on the function that is executed.",
     .syntax = "function numkeys [key [key ...]] [arg [arg ...]]"},
    {.name = "fcall_ro",
     .arity = -3,
     .run = fcall_ro,
     .access = Access::read,
     .keys = keys::noted(
         keys::counted(2, kKeyRo | kKeyAccess),
         "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS"),
     .flags = kCallRoFlags,
     .categories = kCatScripting,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Calls a function that does not write.",
     .complexity = "Depends on the function that is executed.",
     .syntax = "function numkeys [key [key ...]] [arg [arg ...]]"},
    {.name = "function",
     .arity = -2,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "A container for commands about libraries of functions.",
     .complexity = "Depends on subcommand."},
    {.name = "function|load",
     .arity = -3,
     .run = function_load,
     .access = Access::write,
     .journal = Journal::verbatim,
     .flags = kDenyOom | kNoScript | kAgreed,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Loads a library.",
     .complexity = "O(1) (considering compilation time is redundant)",
     .syntax = "[REPLACE] function-code",
     .tips = kOnAllShards},
    {.name = "function|delete",
     .arity = 3,
     .run = function_delete,
     .access = Access::write,
     .journal = Journal::verbatim,
     .flags = kNoScript | kAgreed,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Removes a library and its functions.",
     .complexity = "O(1)",
     .syntax = "library-name",
     .tips = kOnAllShards},
    {.name = "function|flush",
     .arity = -2,
     .run = function_flush,
     .access = Access::write,
     .journal = Journal::verbatim,
     .flags = kNoScript | kAgreed,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Removes all libraries.",
     .complexity = "O(N) where N is the number of functions deleted",
     .syntax = "[ASYNC | SYNC]",
     .tips = kOnAllShards},
    {.name = "function|list",
     .arity = -2,
     .run = function_list,
     .flags = kNoScript,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Lists the libraries and their functions.",
     .complexity = "O(N) where N is the number of functions",
     .syntax = "[LIBRARYNAME library-name-pattern] [WITHCODE]",
     .tips = "nondeterministic_output_order"},
    {.name = "function|dump",
     .arity = 2,
     .run = function_dump,
     .flags = kNoScript,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Returns all libraries as one payload.",
     .complexity = "O(N) where N is the number of functions"},
    {.name = "function|restore",
     .arity = -3,
     .run = function_restore,
     .access = Access::write,
     .journal = Journal::verbatim,
     .flags = kDenyOom | kNoScript | kAgreed,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Loads the libraries of a payload.",
     .complexity = "O(N) where N is the number of functions on the payload",
     .syntax = "serialized-value [FLUSH | APPEND | REPLACE]",
     .tips = kOnAllShards},
    {.name = "function|stats",
     .arity = 2,
     .run = function_stats,
     .flags = kNoScript | kAllowBusy,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Tells which function runs now, and how many there are.",
     .complexity = "O(1)",
     .tips = "nondeterministic_output,request_policy:all_shards,response_policy:special"},
    {.name = "function|kill",
     .arity = 2,
     .run = function_kill,
     .flags = kNoScript | kAllowBusy,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Ends the function that runs now, unless it has written.",
     .complexity = "O(1)",
     .tips = kOnOneShard},
    {.name = "function|help",
     .arity = 2,
     .run = function_help,
     .flags = kLoading | kStale,
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Shows the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kFunctionCommands));

}  // namespace

Family function_commands() { return kFunctionCommands; }

}  // namespace quoll::commands
