// What COMMAND says about one command: its row in COMMAND INFO, its page in COMMAND DOCS.
#pragma once

#include "server/command_table.h"
#include "wire/reply_writer.h"

namespace quoll::commands {

// Ten elements: name, arity, flags, first key, last key, step, categories, tips, key specs,
// subcommands.
void reply_command_info(wire::ReplyWriter& reply, const server::Command& command);

// The name and a map of summary, since, group, complexity, deprecation, arguments, subcommands;
// fields without content are left out. Redis's "history" and the arguments' "since" are not kept.
void reply_command_docs(wire::ReplyWriter& reply, const server::Command& command);

// The words of a key's flags: "RW", "access", ...
void reply_key_flags(wire::ReplyWriter& reply, uint16_t flags);

}  // namespace quoll::commands
