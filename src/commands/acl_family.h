// Handlers of the ACL family that acl.cc's table names: users, their files, what was refused.
#pragma once

#include "server/call.h"

namespace quoll::commands {

// acl_users.cc
void acl_setuser(server::Call& call);
void acl_getuser(server::Call& call);
void acl_deluser(server::Call& call);
void acl_list(server::Call& call);
void acl_users(server::Call& call);
void acl_dryrun(server::Call& call);
// acl_files.cc
void acl_load(server::Call& call);
void acl_save(server::Call& call);

}  // namespace quoll::commands
