// HotKeys: which keys cost most processor time and most bytes on the wire, for HOTKEYS. One session
// at a time; its result stays until it is reset.
//
// A command's time and bytes are divided evenly among its keys. Commands of a transaction count one
// by one, those of a script as the script.
//
// Cost: none while no session runs (the dispatcher comes here on the way of slow commands). Else a
// scan of 10 * count counters per metric and key of every sampled command.
#pragma once

#include <optional>
#include <span>

#include "base/heavy_hitters.h"
#include "host/host.h"
#include "server/command_table.h"

namespace quoll::server {

constexpr size_t kHotKeysCountMax = 64;     // of a reply
constexpr size_t kHotKeysPerReported = 10;  // counters kept per key that is reported

class HotKeys {
 public:
  struct Plan {
    bool cpu = false;
    bool net = false;
    size_t count = 10;
    base::Millis duration_ms = 0;  // 0: until stopped
    uint64_t sample = 1;           // one of so many commands, by chance
  };
  struct Session {
    Plan plan;
    base::Millis start_ms;
    base::Millis end_ms;  // 0: it runs
    host::Process::CpuTimes cpu_at_start;
    host::Process::CpuTimes cpu_at_end;
    base::Nanos nanos = 0;  // of all commands with keys
    uint64_t bytes = 0;
    base::HeavyHitters by_nanos;
    base::HeavyHitters by_bytes;
  };

  bool active() const { return session_ && session_->end_ms == 0; }
  // null: none since the last reset.
  const Session* session() const { return session_ ? &*session_ : nullptr; }

  void start(const Plan& plan, base::Millis now, host::Process& process, uint64_t seed);
  void stop(base::Millis now, host::Process& process);
  // Ends a session whose time is over; true when it did.
  bool end_due(base::Millis now, host::Process& process);
  void reset() { session_.reset(); }

  void record(Args args, std::span<const KeyArg> keys, base::Nanos elapsed, uint64_t reply_bytes);

 private:
  bool sampled();

  std::optional<Session> session_;
  uint64_t state_ = 1;
};

}  // namespace quoll::server
