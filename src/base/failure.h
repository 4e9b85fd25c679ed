// Where the last words of a process go that must end: a failed QUOLL_CHECK, memory that is not
// given. Standard error, until the owner of the log says otherwise.
#pragma once

namespace quoll::base {

// Must not allocate: memory may be what is missing.
using FailureSink = void (*)(const char* line);
void set_failure_sink(FailureSink sink);
void tell_failure(const char* line);

}  // namespace quoll::base
