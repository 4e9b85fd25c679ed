// CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO: a connection's side of client-side caching;
// see server/tracking.h.
#pragma once

#include "server/call.h"

namespace quoll::commands {

void client_tracking(server::Call& call);
void client_caching(server::Call& call);
void client_getredir(server::Call& call);
void client_trackinginfo(server::Call& call);

}  // namespace quoll::commands
