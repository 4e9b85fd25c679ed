#include "commands/families.h"

namespace quoll::commands {

Family client_commands() { return {}; }

}  // namespace quoll::commands
