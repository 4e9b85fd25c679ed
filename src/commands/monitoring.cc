#include "commands/families.h"

namespace quoll::commands {

Family monitoring_commands() { return {}; }

}  // namespace quoll::commands
