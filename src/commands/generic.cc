#include "commands/families.h"

namespace quoll::commands {

Family generic_commands() { return {}; }

}  // namespace quoll::commands
