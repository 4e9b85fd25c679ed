// UvClock: wall and steady time from the processor's cycle counter, corrected by the kernel's clock
// every millisecond. Commands read the steady clock one by one; a system clock read would cost as
// much as a small command's own work.
//
//   steady = base + (cycles since base) x rate        rate: measured since the process started
//
// The counter is used only where the kernel itself runs on it: clocksource "tsc", or "kvm-clock" on
// a processor whose counter never stops. Elsewhere every reading asks the kernel. When a virtual
// machine moves to a host of another rate, readings are wrong by less than kResyncNanos until the
// next correction, which measures the rate anew.
//
// Invariants: steady() never goes back. wall() is at most kResyncNanos behind a jump of the
// system's wall clock.
#pragma once

#include "host/host.h"

namespace quoll::host {

class UvClock final : public Clock {
 public:
  UvClock();

  Millis wall() override { return wall_micros() / 1000; }
  int64_t wall_micros() override {
    Nanos now = steady();
    return wall_base_micros_ + (now - base_) / base::kNanosPerMicro;
  }
  Nanos steady() override;
  Nanos busy() override;

 private:
  static constexpr Nanos kResyncNanos = base::kNanosPerMilli;
  static constexpr Nanos kCalibrationNanos =
      20 * base::kNanosPerMilli;  // until the rate is trusted

  Nanos resync(uint64_t cycles);
  bool counter_agrees(Nanos elapsed, uint64_t cycles) const;

  bool counter_trusted_;
  uint64_t start_cycles_ = 0;
  Nanos start_ = 0;
  uint64_t base_cycles_ = 0;
  uint64_t resync_cycles_ = 0;  // span after which the kernel is asked again; 0 = always
  uint64_t rate_ = 0;           // ns per cycle, 32 fraction bits
  Nanos base_ = 0;
  Nanos last_ = 0;
  int64_t wall_base_micros_ = 0;
};

}  // namespace quoll::host
