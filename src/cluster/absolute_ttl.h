// Commands of an older primary's stream that say how long a key has left, as commands that say
// until when: SETEX, PSETEX, SET .. EX|PX, GETEX .. EX|PX, EXPIRE, PEXPIRE, RESTORE. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::cluster {

// True: `words` is what to run instead of `args` at the time `now`.
bool absolute_ttl(base::Args args, base::Millis now, std::vector<std::string>& words);

}  // namespace quoll::cluster
