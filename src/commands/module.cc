// MODULE: there are none, and none can be loaded; tools that list them find an empty list.
#include "commands/families.h"
#include "commands/help.h"
#include "server/log.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr Bytes kModuleHelp[] = {
    "LIST",
    "    Return a list of loaded modules.",
    "LOAD <path> [<arg> ...]",
    "    Load a module library from <path>, passing to it any optional arguments.",
    "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
    "    Load a module library from <path>, while passing it module configurations and optional "
    "arguments.",
    "UNLOAD <name>",
    "    Unload a module.",
};

void module_list(Call& call) { call.reply.array(0); }

void module_load(Call& call) {
  log::warning("Module {} was not loaded: this server has no module interface", call.arg(2));
  call.reply.error("ERR Error loading the extension. Please check the server logs.");
}

void module_unload(Call& call) {
  call.reply.error("ERR Error unloading module: no such module with that name");
}

void module_help(Call& call) { reply_help(call, kModuleHelp); }

constexpr CommandSpec kModuleCommands[] = {
    {.name = "module",
     .arity = -2,
     .group = "server",
     .since = "4.0.0",
     .summary = "A container for commands about modules.",
     .complexity = "Depends on subcommand."},
    {.name = "module|list",
     .arity = 2,
     .run = module_list,
     .flags = kAdmin | kNoScript,
     .group = "server",
     .since = "4.0.0",
     .summary = "Lists the loaded modules: always none.",
     .complexity = "O(N) where N is the number of loaded modules.",
     .tips = "nondeterministic_output_order"},
    {.name = "module|load",
     .arity = -3,
     .run = module_load,
     .flags = kAdmin | kNoScript | kNoAsyncLoading | kNeedsPermission,
     .group = "server",
     .since = "4.0.0",
     .summary = "Fails: this server has no module interface.",
     .complexity = "O(1)",
     .syntax = "path [arg [arg ...]]"},
    {.name = "module|loadex",
     .arity = -3,
     .run = module_load,
     .flags = kAdmin | kNoScript | kNoAsyncLoading | kNeedsPermission,
     .group = "server",
     .since = "7.0.0",
     .summary = "Fails: this server has no module interface.",
     .complexity = "O(1)",
     .syntax = "path [CONFIG name value [CONFIG name value ...]] [ARGS {arg} [{arg} ...]]"},
    {.name = "module|unload",
     .arity = 3,
     .run = module_unload,
     .flags = kAdmin | kNoScript | kNoAsyncLoading | kNeedsPermission,
     .group = "server",
     .since = "4.0.0",
     .summary = "Fails: no module is ever loaded.",
     .complexity = "O(1)",
     .syntax = "name"},
    {.name = "module|help",
     .arity = 2,
     .run = module_help,
     .flags = kLoading | kStale,
     .group = "server",
     .since = "5.0.0",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kModuleCommands));

}  // namespace

Family module_commands() { return kModuleCommands; }

}  // namespace quoll::commands
