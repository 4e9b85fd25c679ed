// Writing the configuration back to its file: CONFIG REWRITE and DEBUG CONFIG-REWRITE-FORCE-ALL.
//
//   read the file -> new content (server::Config) -> replace it (host::replace_whole_file)
//
// The session waits meanwhile and gets the outcome as its reply. Inside EXEC nothing can wait: the
// reply is then OK once the work has begun, and a failure goes to the log only.
#pragma once

#include "server/call.h"

namespace quoll::commands {

// `failure` introduces the reason in the error reply: "ERR Rewriting config file: ".
void rewrite_config_file(server::Call& call, bool force_all, base::Bytes failure);

}  // namespace quoll::commands
