#include "commands/families.h"

namespace quoll::commands {

Family object_commands() { return {}; }

}  // namespace quoll::commands
