// COMMAND: what the server can do, told from the rows of all families.
#include "commands/introspection.h"

#include "base/glob.h"
#include "base/text.h"
#include "commands/families.h"
#include "server/call.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr Bytes kIntrospectionHelp[] = {
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
    "HELP",
    "    Prints this help.",
};

void command(Call& call) {
  const auto& all = call.server.commands().top_level();
  call.reply.array(all.size());
  for (const Command* each : all) reply_command_info(call.reply, *each);
}

void command_count(Call& call) {
  call.reply.integer(static_cast<int64_t>(call.server.commands().top_level().size()));
}

void command_info(Call& call) {
  if (call.argc() == 2) return command(call);
  call.reply.array(call.argc() - 2);
  for (Bytes name : call.args.subspan(2)) {
    const Command* found = call.server.commands().find_full(name);
    if (found) {
      reply_command_info(call.reply, *found);
    } else {
      call.reply.null();
    }
  }
}

void command_docs(Call& call) {
  const CommandTable& table = call.server.commands();
  std::vector<const Command*> asked;
  if (call.argc() == 2) asked.assign(table.top_level().begin(), table.top_level().end());
  for (Bytes name : call.args.subspan(2))
    if (const Command* found = table.find_full(name)) asked.push_back(found);
  call.reply.map(asked.size());
  for (const Command* each : asked) reply_command_docs(call.reply, *each);
}

// COMMAND LIST's filter. There are no modules: MODULE matches nothing.
struct ListFilter {
  enum class By : uint8_t { nothing, module, category, pattern };
  By by = By::nothing;
  uint32_t categories = 0;
  Bytes pattern;

  bool matches(const Command& command) const {
    switch (by) {
      case By::nothing:
        return true;
      case By::module:
        return false;
      case By::category:
        return command.categories & categories;
      case By::pattern:
        return base::glob_match(pattern, command.spec->name, base::Case::ignored);
    }
    return false;
  }
};

bool parse_filter(Args args, ListFilter& filter) {
  if (args.size() == 2) return true;
  if (args.size() != 5 || !base::equals_ignoring_case(args[2], "filterby")) return false;
  if (base::equals_ignoring_case(args[3], "module")) {
    filter.by = ListFilter::By::module;
  } else if (base::equals_ignoring_case(args[3], "aclcat")) {
    filter.by = ListFilter::By::category;
    for (unsigned bit = 0; bit < kCategories; ++bit)
      if (base::equals_ignoring_case(args[4], category_name(bit))) filter.categories = 1u << bit;
  } else if (base::equals_ignoring_case(args[3], "pattern")) {
    filter.by = ListFilter::By::pattern;
    filter.pattern = args[4];
  } else {
    return false;
  }
  return true;
}

void command_list(Call& call) {
  ListFilter filter;
  if (!parse_filter(call.args, filter)) return call.syntax_error();
  std::vector<Bytes> names;
  for (const Command* top : call.server.commands().top_level()) {
    if (filter.matches(*top)) names.push_back(top->spec->name);
    for (const Command* sub : top->subcommands)
      if (filter.matches(*sub)) names.push_back(sub->spec->name);
  }
  call.reply.array(names.size());
  for (Bytes name : names) call.reply.bulk(name);
}

bool names_keys(const CommandSpec& spec) {
  for (size_t i = 0; i < spec.keys.count(); ++i)
    if (!(spec.keys.specs[i].flags & kKeyNotKey)) return true;
  return false;
}

// The keys of the command line that stands behind COMMAND GETKEYS; replies the error itself.
bool keys_of_line(Call& call, Args line, std::vector<KeyArg>& keys) {
  const CommandTable& table = call.server.commands();
  const Command* found = table.find(line[0]);
  if (found && !found->subcommands.empty() && line.size() > 1)
    found = table.find_sub(*found, line[1]);
  if (!found) {
    call.reply.error("ERR Invalid command specified");
    return false;
  }
  const CommandSpec& spec = *found->spec;
  if (!names_keys(spec)) {
    call.reply.error("ERR The command has no key arguments");
    return false;
  }
  auto argc = static_cast<int>(line.size());
  if (spec.arity > 0 ? argc != spec.arity : argc < -spec.arity) {
    call.reply.error("ERR Invalid number of arguments specified for command");
    return false;
  }
  bool found_keys = find_keys(spec, line, keys);
  if (found_keys) std::erase_if(keys, [](const KeyArg& key) { return key.flags & kKeyNotKey; });
  if (found_keys && !keys.empty()) return true;
  keys.clear();
  if (spec.flags & kNoMandatoryKeys) return true;
  call.reply.error("ERR Invalid arguments specified for command");
  return false;
}

void command_getkeys(Call& call) {
  Args line = call.args.subspan(2);
  std::vector<KeyArg> keys;
  if (!keys_of_line(call, line, keys)) return;
  call.reply.array(keys.size());
  for (const KeyArg& key : keys) call.reply.bulk(line[key.index]);
}

void command_getkeysandflags(Call& call) {
  Args line = call.args.subspan(2);
  std::vector<KeyArg> keys;
  if (!keys_of_line(call, line, keys)) return;
  call.reply.array(keys.size());
  for (const KeyArg& key : keys) {
    call.reply.array(2);
    call.reply.bulk(line[key.index]);
    reply_key_flags(call.reply, key.flags);
  }
}

void command_help(Call& call) {
  call.reply.array(std::size(kIntrospectionHelp));
  for (Bytes line : kIntrospectionHelp) call.reply.simple(line);
}

constexpr uint32_t kFlags = kLoading | kStale;

constexpr CommandSpec kIntrospectionCommands[] = {
    {.name = "command",
     .arity = -1,
     .run = command,
     .flags = kFlags,
     .categories = kCatConnection,
     .group = "server",
     .since = "2.8.13",
     .summary = "Returns details about all commands.",
     .complexity = "O(N) where N is the total number of Redis commands",
     .tips = "nondeterministic_output_order"},
    {.name = "command|count",
     .arity = 2,
     .run = command_count,
     .flags = kFlags,
     .categories = kCatConnection,
     .group = "server",
     .since = "2.8.13",
     .summary = "Returns how many commands the server has.",
     .complexity = "O(1)"},
    {.name = "command|docs",
     .arity = -2,
     .run = command_docs,
     .flags = kFlags,
     .categories = kCatConnection,
     .group = "server",
     .since = "7.0.0",
     .summary = "Returns the documentation of some or all commands.",
     .complexity = "O(N) where N is the number of commands to look up",
     .syntax = "[command-name [command-name ...]]",
     .tips = "nondeterministic_output_order"},
    {.name = "command|getkeys",
     .arity = -4,
     .run = command_getkeys,
     .flags = kFlags,
     .categories = kCatConnection,
     .group = "server",
     .since = "2.8.13",
     .summary = "Returns the keys in a full command line.",
     .complexity = "O(N) where N is the number of arguments to the command",
     .syntax = "command [arg [arg ...]]"},
    {.name = "command|getkeysandflags",
     .arity = -4,
     .run = command_getkeysandflags,
     .flags = kFlags,
     .categories = kCatConnection,
     .group = "server",
     .since = "7.0.0",
     .summary = "Returns the keys in a full command line and how each is used.",
     .complexity = "O(N) where N is the number of arguments to the command",
     .syntax = "command [arg [arg ...]]"},
    {.name = "command|help",
     .arity = 2,
     .run = command_help,
     .flags = kFlags,
     .categories = kCatConnection,
     .group = "server",
     .since = "5.0.0",
     .summary = "Returns a help text about the subcommands.",
     .complexity = "O(1)"},
    {.name = "command|info",
     .arity = -2,
     .run = command_info,
     .flags = kFlags,
     .categories = kCatConnection,
     .group = "server",
     .since = "2.8.13",
     .summary = "Returns details about some or all commands.",
     .complexity = "O(N) where N is the number of commands to look up",
     .syntax = "[command-name [command-name ...]]",
     .tips = "nondeterministic_output_order"},
    {.name = "command|list",
     .arity = -2,
     .run = command_list,
     .flags = kFlags,
     .categories = kCatConnection,
     .group = "server",
     .since = "7.0.0",
     .summary = "Returns the names of all or of matching commands.",
     .complexity = "O(N) where N is the total number of Redis commands",
     .syntax = "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
     .tips = "nondeterministic_output_order"},
};
static_assert(well_formed(kIntrospectionCommands));

}  // namespace

Family introspection_commands() { return kIntrospectionCommands; }

}  // namespace quoll::commands
