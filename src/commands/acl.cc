// ACL: so far what needs no users beside "default".
#include "base/text.h"
#include "commands/families.h"
#include "commands/help.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr int64_t kPasswordBits = 256;
constexpr int64_t kPasswordBitsMax = 4096;
constexpr int64_t kBitsPerDigit = 4;

constexpr Bytes kHelp[] = {
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "WHOAMI",
    "    Return the current connection username.",
};

void acl_whoami(Call& call) { call.reply.bulk(call.session.user); }

// The commands of a category. Like Redis, a container is named when it is in the category itself;
// its subcommands always are.
void reply_category(Call& call, unsigned category) {
  size_t count = 0;
  call.reply.begin_deferred();
  for (const auto& command : call.server.commands().all()) {
    if (!(command->categories >> category & 1)) continue;
    call.reply.bulk(command->name);
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
  call.reply.error("ERR Unknown category '" + std::string(call.arg(2)) + "'");
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

void acl_help(Call& call) { reply_help(call, kHelp); }

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
