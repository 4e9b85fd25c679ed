#include "commands/help.h"

#include "base/text.h"

namespace quoll::commands {
namespace {

constexpr size_t kShownBytes = 128;  // of an unknown subcommand

std::string container_name(const server::Call& call) {
  const server::Command& command = call.command;
  return base::to_upper(command.parent ? command.parent->name : command.name);
}

}  // namespace

void reply_help(server::Call& call, std::span<const base::Bytes> lines) {
  call.reply.array(lines.size() + 3);
  call.reply.simple(container_name(call) +
                    " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
  for (base::Bytes line : lines) call.reply.simple(line);
  call.reply.simple("HELP");
  call.reply.simple("    Prints this help.");
}

void reply_unknown_subcommand(server::Call& call) {
  std::string text = "ERR unknown subcommand or wrong number of arguments for '";
  text += call.arg(1).substr(0, kShownBytes);
  text += "'. Try " + container_name(call) + " HELP.";
  call.reply.error(text);
}

}  // namespace quoll::commands
