#include "commands/families.h"

namespace quoll::commands {

Family memory_commands() { return {}; }

}  // namespace quoll::commands
