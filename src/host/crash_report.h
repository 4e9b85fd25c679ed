// The last thing a dying process writes: what happened, where, and what it was doing.
//
//   === QUOLL BUG REPORT START ...
//   4711:signal-handler (1700000000) # Quoll 0.5 crashed by signal: 11, si_code: 1
//   ------ STACK TRACE ------
//   ------ REGISTERS ------
//   ... what the witness knows ...
//   === QUOLL BUG REPORT END ...
//
// Everything up to the witness uses only what a signal handler may: write(2) of text made on its
// own stack. The witness may allocate and so may hang or crash again: by then the rest is written,
// and an alarm ends the process. It dies of the signal that it got, unless told to exit.
#pragma once

#include "base/bytes.h"

namespace quoll::host {

// Appends to the log without buffers, locks or memory.
class CrashText {
 public:
  explicit CrashText(int file) : file_(file) {}
  void put(base::Bytes text) const;
  // printf; lines longer than kLineMax are cut. `line` goes behind the log's prefix.
  [[gnu::format(printf, 2, 3)]] void print(const char* form, ...) const;
  [[gnu::format(printf, 2, 3)]] void line(const char* form, ...) const;
  int file() const { return file_; }

 private:
  static constexpr size_t kLineMax = 2048;  // bytes

  int file_;
};

struct CrashOptions {
  const char* product = "";   // "Quoll 0.5.0"; must outlive the process
  const char* log_file = "";  // "": standard output; copied
  void (*witness)(const CrashText&) = nullptr;
};

// Where reports go and who else writes them. Failed checks go there too. Called once; then
// catch_crashes() turns the reports on and off.
void set_crash_options(const CrashOptions& options);
void catch_crashes(bool on);
// A report ends in exit(1) instead of the signal (use-exit-on-panic).
void exit_on_crash(bool on);

// The software watchdog: a report of where the loop is when it did not come by for `period_ms`.
// Each call begins a new period; 0 ends it.
void arm_watchdog(int period_ms);

}  // namespace quoll::host
