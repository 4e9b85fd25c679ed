#include "commands/families.h"

namespace quoll::commands {

Family connection_commands() { return {}; }

}  // namespace quoll::commands
