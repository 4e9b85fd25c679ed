// ACL: the table of the family, and the subcommands that are not about particular users.
#include <algorithm>

#include "base/text.h"
#include "commands/acl_family.h"
#include "commands/families.h"
#include "commands/help.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr int64_t kPasswordBits = 256;
constexpr int64_t kPasswordBitsMax = 4096;
constexpr int64_t kBitsPerDigit = 4;
constexpr size_t kErrorNameBytes = 128;  // of an unknown category shown in the reply

constexpr int64_t kLogEntriesShown = 10;  // unless ACL LOG is given a number

constexpr Bytes kAclHelp[] = {
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "DELUSER <username> [<username> ...]",
    "    Delete a list of users.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user can execute the given command without executing the command.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "LOAD",
    "    Reload users from the ACL file.",
    "LOG [<count> | RESET]",
    "    Show the ACL log entries.",
    "SAVE",
    "    Save the current config to the ACL file.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Create or modify a user with the specified attributes.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
};

void acl_whoami(Call& call) { call.reply.bulk(call.session.user->name()); }

// The commands of a category. Like Redis, a container is named when it is in the category itself;
// its subcommands always are.
void reply_category(Call& call, unsigned category) {
  size_t count = 0;
  call.reply.begin_deferred();
  for (const auto& command : call.server.commands().all()) {
    if (!(command->categories >> category & 1)) continue;
    call.reply.bulk(command->spec->name);
    ++count;
  }
  call.reply.end_deferred(wire::ReplyWriter::Kind::array, count);
}

void acl_cat(Call& call) {
  if (call.argc() > 3) return reply_unknown_subcommand(call);
  if (call.argc() == 2) {
    call.reply.array(kCategories);
    for (unsigned i = 0; i < kCategories; ++i) call.reply.bulk(category_name(i));
    return;
  }
  for (unsigned i = 0; i < kCategories; ++i)
    if (base::equals_ignoring_case(call.arg(2), category_name(i))) return reply_category(call, i);
  call.reply.error("ERR Unknown category '" +
                   std::string(errors::shown(call.arg(2)).substr(0, kErrorNameBytes)) + "'");
}

void acl_genpass(Call& call) {
  if (call.argc() > 3) return reply_unknown_subcommand(call);
  int64_t bits = kPasswordBits;
  if (call.argc() == 3 && !call.integer(2, bits)) return;
  if (bits <= 0 || bits > kPasswordBitsMax)
    return call.reply.error(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive "
        "number up to 4096");
  const auto digits = static_cast<size_t>((bits + kBitsPerDigit - 1) / kBitsPerDigit);
  std::string password;
  while (password.size() < digits)
    password += base::to_hex(call.server.host().process.draw_secret());
  call.reply.bulk(Bytes(password).substr(0, digits));
}

void reply_refusal(Call& call, const AclLogEntry& entry) {
  wire::ReplyWriter& reply = call.reply;
  reply.map(10);
  reply.bulk("count");
  reply.integer(static_cast<int64_t>(entry.count));
  reply.bulk("reason");
  reply.bulk(reason_name(entry.reason));
  reply.bulk("context");
  reply.bulk(context_name(entry.context));
  reply.bulk("object");
  reply.bulk(entry.object);
  reply.bulk("username");
  reply.bulk(entry.user);
  reply.bulk("age-seconds");
  reply.real(static_cast<double>(call.now - entry.updated_ms) / 1000);
  reply.bulk("client-info");
  reply.bulk(entry.client);
  reply.bulk("entry-id");
  reply.integer(static_cast<int64_t>(entry.id));
  reply.bulk("timestamp-created");
  reply.integer(entry.created_ms);
  reply.bulk("timestamp-last-updated");
  reply.integer(entry.updated_ms);
}

void acl_log(Call& call) {
  if (call.argc() > 3) return reply_unknown_subcommand(call);
  AclLog& log = call.server.acl().log();
  int64_t count = kLogEntriesShown;
  if (call.argc() == 3) {
    if (base::equals_ignoring_case(call.arg(2), "reset")) {
      log.clear();
      return call.reply.ok();
    }
    if (!call.integer(2, count)) return;
  }
  const auto& entries = log.entries();
  const auto shown = std::clamp<int64_t>(count, 0, static_cast<int64_t>(entries.size()));
  call.reply.array(static_cast<size_t>(shown));
  for (size_t i = 0; i < static_cast<size_t>(shown); ++i) reply_refusal(call, entries[i]);
}

void acl_help(Call& call) { reply_help(call, kAclHelp); }

constexpr uint32_t kAclFlags = kAdmin | kNoScript | kLoading | kStale;

constexpr CommandSpec kAclCommands[] = {
    {.name = "acl",
     .arity = -2,
     .group = "server",
     .since = "6.0.0",
     .summary = "A container for commands about access control.",
     .complexity = "Depends on subcommand."},
    {.name = "acl|cat",
     .arity = -2,
     .run = acl_cat,
     .flags = kNoScript | kLoading | kStale,
     .group = "server",
     .since = "6.0.0",
     .summary = "Lists the command categories, or the commands of one.",
     .complexity = "O(1) since the categories and commands are a fixed set.",
     .syntax = "[categoryname]"},
    {.name = "acl|genpass",
     .arity = -2,
     .run = acl_genpass,
     .flags = kNoScript | kLoading | kStale,
     .group = "server",
     .since = "6.0.0",
     .summary = "Draws a password that cannot be guessed.",
     .complexity = "O(1)",
     .syntax = "[bits]"},
    {.name = "acl|whoami",
     .arity = 2,
     .run = acl_whoami,
     .flags = kNoScript | kLoading | kStale,
     .group = "server",
     .since = "6.0.0",
     .summary = "Returns the name of the connection's user.",
     .complexity = "O(1)"},
    {.name = "acl|deluser",
     .arity = -3,
     .run = acl_deluser,
     .flags = kAclFlags,
     .group = "server",
     .since = "6.0.0",
     .summary = "Removes users and ends their connections.",
     .complexity = "O(1) amortized time considering the typical user.",
     .syntax = "username [username ...]"},
    {.name = "acl|dryrun",
     .arity = -4,
     .run = acl_dryrun,
     .flags = kAclFlags,
     .group = "server",
     .since = "7.0.0",
     .summary = "Tells whether a user may run a command, without running it.",
     .complexity = "O(1).",
     .syntax = "username command [arg [arg ...]]"},
    {.name = "acl|getuser",
     .arity = 3,
     .run = acl_getuser,
     .flags = kAclFlags,
     .group = "server",
     .since = "6.0.0",
     .summary = "Returns the rules of a user.",
     .complexity =
         "O(N). Where N is the number of password, command and pattern rules that the user has.",
     .syntax = "username"},
    {.name = "acl|list",
     .arity = 2,
     .run = acl_list,
     .flags = kAclFlags,
     .group = "server",
     .since = "6.0.0",
     .summary = "Returns all users as lines of an ACL file.",
     .complexity = "O(N). Where N is the number of configured users."},
    {.name = "acl|load",
     .arity = 2,
     .run = acl_load,
     .flags = kAclFlags,
     .group = "server",
     .since = "6.0.0",
     .summary = "Takes over the users of the ACL file, all or none.",
     .complexity = "O(N). Where N is the number of configured users."},
    {.name = "acl|log",
     .arity = -2,
     .run = acl_log,
     .flags = kAclFlags,
     .group = "server",
     .since = "6.0.0",
     .summary = "Lists what was refused lately, or forgets it.",
     .complexity = "O(N) with N being the number of entries shown.",
     .syntax = "[count | RESET]"},
    {.name = "acl|save",
     .arity = 2,
     .run = acl_save,
     .flags = kAclFlags,
     .group = "server",
     .since = "6.0.0",
     .summary = "Writes the users to the ACL file.",
     .complexity = "O(N). Where N is the number of configured users."},
    {.name = "acl|setuser",
     .arity = -3,
     .run = acl_setuser,
     .flags = kAclFlags,
     .group = "server",
     .since = "6.0.0",
     .summary = "Makes a user or changes his rules: all of them or none.",
     .complexity = "O(N). Where N is the number of rules provided.",
     .syntax = "username [rule [rule ...]]"},
    {.name = "acl|users",
     .arity = 2,
     .run = acl_users,
     .flags = kAclFlags,
     .group = "server",
     .since = "6.0.0",
     .summary = "Returns the names of all users.",
     .complexity = "O(N). Where N is the number of configured users."},
    {.name = "acl|help",
     .arity = 2,
     .run = acl_help,
     .flags = kLoading | kStale,
     .group = "server",
     .since = "6.0.0",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kAclCommands));

}  // namespace

Family acl_commands() { return kAclCommands; }

}  // namespace quoll::commands
