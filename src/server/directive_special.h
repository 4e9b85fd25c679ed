// Reading and writing of directives with a syntax of their own. Error texts are Redis's.
#pragma once

#include "server/directive.h"

namespace quoll::server::special {

extern const Special kBind;
extern const Special kSave;
extern const Special kOutputLimits;
extern const Special kNotifyEvents;
extern const Special kOomScores;
extern const Special kMaxmemory;
extern const Special kPercentiles;
extern const Special kReplicaOf;
extern const Special kDir;
extern const Special kShutdownOnSigint;
extern const Special kShutdownOnSigterm;

}  // namespace quoll::server::special
