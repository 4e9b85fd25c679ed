// What DEBUG switches for tests, beyond the configuration. Of the process, not of a Server: nothing
// but DEBUG writes it, and a process with tests of that kind has one server.
#pragma once

#include <cstdint>

namespace quoll::server {

struct DebugSwitches {
  bool trust_payloads = false;          // SET-SKIP-CHECKSUM-VALIDATION
  bool scripts_may_run_denied = false;  // SET-DISABLE-DENY-SCRIPTS
  int64_t aof_flush_sleep_us = 0;       // AOF-FLUSH-SLEEP
};

inline DebugSwitches& debug_switches() {
  static DebugSwitches switches;
  return switches;
}

}  // namespace quoll::server
