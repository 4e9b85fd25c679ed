// What the server knows when it dies: INFO, the clients, the command that ran and the settings that
// matter for finding bugs. Goes into the crash report; see host/crash_report.h.
#pragma once

namespace quoll::host {
class CrashText;
}

namespace quoll::server {

class Server;

// The server that reports tell of; nullptr: none (any more).
void set_crash_witness(Server* server);
// The sections that the report has beyond stack and registers. Allocates.
void tell_crash(const host::CrashText& out);

}  // namespace quoll::server
