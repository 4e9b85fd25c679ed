#include "commands/families.h"

namespace quoll::commands {

Family config_commands() { return {}; }

}  // namespace quoll::commands
