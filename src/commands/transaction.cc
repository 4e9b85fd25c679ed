#include "commands/families.h"

namespace quoll::commands {

Family transaction_commands() { return {}; }

}  // namespace quoll::commands
