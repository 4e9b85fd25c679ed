#include "commands/families.h"

namespace quoll::commands {

Family introspection_commands() { return {}; }

}  // namespace quoll::commands
