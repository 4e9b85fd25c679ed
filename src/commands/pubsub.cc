#include "commands/families.h"

namespace quoll::commands {

Family pubsub_commands() { return {}; }

}  // namespace quoll::commands
