#include "commands/families.h"

namespace quoll::commands {

Family debug_commands() { return {}; }

}  // namespace quoll::commands
