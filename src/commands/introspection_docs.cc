// COMMAND DOCS: one page per command.
#include "commands/introspection.h"
#include "commands/syntax_tree.h"

namespace quoll::commands {
namespace {

using namespace server;
using wire::ReplyWriter;

void reply_text(ReplyWriter& reply, Bytes name, Bytes value) {
  reply.bulk(name);
  reply.bulk(value);
}

void reply_arguments(ReplyWriter& reply, const std::vector<Argument>& arguments);

void reply_argument(ReplyWriter& reply, const Argument& argument) {
  bool has_token = argument.type == ArgumentType::pure_token || !argument.token.empty();
  size_t flags = argument.optional + argument.multiple + argument.multiple_token;
  size_t fields =
      2 + (argument.key_spec >= 0) + has_token + (flags > 0) + !argument.members.empty();
  reply.map(fields);
  reply_text(reply, "name", argument.name);
  reply_text(reply, "type", type_name(argument.type));
  if (argument.key_spec >= 0) {
    reply.bulk("key_spec_index");
    reply.integer(argument.key_spec);
  }
  if (has_token) reply_text(reply, "token", argument.token);
  if (flags > 0) {
    reply.bulk("flags");
    reply.set(flags);
    if (argument.optional) reply.simple("optional");
    if (argument.multiple) reply.simple("multiple");
    if (argument.multiple_token) reply.simple("multiple_token");
  }
  if (!argument.members.empty()) {
    reply.bulk("arguments");
    reply_arguments(reply, argument.members);
  }
}

void reply_arguments(ReplyWriter& reply, const std::vector<Argument>& arguments) {
  reply.array(arguments.size());
  for (const Argument& argument : arguments) reply_argument(reply, argument);
}

}  // namespace

void reply_command_docs(ReplyWriter& reply, const Command& command) {
  const CommandSpec& spec = *command.spec;
  std::vector<Argument> arguments;
  parse_syntax(spec.syntax, spec.keys.count(), arguments);  // unit tests parse every row
  bool deprecated = !spec.deprecated_since.empty();
  size_t fields = 2 + !spec.since.empty() + !spec.complexity.empty() + 2 * deprecated +
                  (deprecated && !spec.replaced_by.empty()) + !arguments.empty() +
                  !command.subcommands.empty();
  reply.bulk(spec.name);
  reply.map(fields);
  reply_text(reply, "summary", spec.summary);
  if (!spec.since.empty()) reply_text(reply, "since", spec.since);
  reply_text(reply, "group", spec.group);
  if (!spec.complexity.empty()) reply_text(reply, "complexity", spec.complexity);
  if (deprecated) {
    reply.bulk("doc_flags");
    reply.set(1);
    reply.simple("deprecated");
    reply_text(reply, "deprecated_since", spec.deprecated_since);
    if (!spec.replaced_by.empty()) reply_text(reply, "replaced_by", spec.replaced_by);
  }
  if (!arguments.empty()) {
    reply.bulk("arguments");
    reply_arguments(reply, arguments);
  }
  if (command.subcommands.empty()) return;
  reply.bulk("subcommands");
  reply.map(command.subcommands.size());
  for (const Command* sub : command.subcommands) reply_command_docs(reply, *sub);
}

}  // namespace quoll::commands
