// All command families, in one explicit list.
#pragma once

#include <span>

#include "server/command.h"

namespace quoll::commands {

// One span per family, each declared at the top of the family's file.
std::span<const std::span<const server::CommandSpec>> families();

}  // namespace quoll::commands
