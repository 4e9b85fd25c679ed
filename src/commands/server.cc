#include "commands/families.h"

namespace quoll::commands {

Family server_commands() { return {}; }

}  // namespace quoll::commands
