// Who started this process and waits to hear that it is ready: systemd, by the datagrams that
// sd_notify(3) documents, or upstart, by a SIGSTOP. libsystemd is not used: its development package
// draws in an upgrade of the init system for what is one datagram.
#pragma once

#include "base/bytes.h"

namespace quoll::host {

enum class Supervisor { none, systemd, upstart };

// Who says by the environment that it supervises.
Supervisor find_supervisor();
// Who does, for INFO; set by the roof.
void set_supervisor(Supervisor who);
Supervisor supervisor();

// Lines "READY=1", "STATUS=..." to NOTIFY_SOCKET. False: there is none, or it took nothing.
bool notify_systemd(base::Bytes state);
// Stops until upstart lets the process go on.
void notify_upstart();

}  // namespace quoll::host
