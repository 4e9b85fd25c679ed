#include "commands/families.h"

namespace quoll::commands {

Family expire_commands() { return {}; }

}  // namespace quoll::commands
