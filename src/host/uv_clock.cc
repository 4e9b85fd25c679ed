#include "host/uv_clock.h"

#include <cpuid.h>
#include <x86intrin.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace quoll::host {
namespace {

// The counter runs at one rate and never stops ("invariant TSC").
bool counter_never_stops() {
  constexpr unsigned kPowerManagementLeaf = 0x80000007;
  constexpr unsigned kInvariant = 1u << 8;  // of edx
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(kPowerManagementLeaf, &eax, &ebx, &ecx, &edx) && (edx & kInvariant);
}

bool kernel_runs_on_counter() {
  std::FILE* file =
      std::fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
  if (!file) return false;
  char name[16] = {};
  bool read = std::fgets(name, sizeof name, file) != nullptr;
  std::fclose(file);
  if (!read) return false;
  if (std::strcmp(name, "tsc\n") == 0) return true;
  return std::strcmp(name, "kvm-clock\n") == 0 && counter_never_stops();
}

int64_t nanos_of(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

UvClock::UvClock() : counter_trusted_(kernel_runs_on_counter()) {
  start_cycles_ = __rdtsc();
  start_ = nanos_of(CLOCK_MONOTONIC);
  resync(start_cycles_);
}

// A machine moved to another host may find the counter at another place or of another rate.
bool UvClock::counter_agrees(Nanos elapsed, uint64_t cycles) const {
  auto counted = static_cast<unsigned __int128>(cycles - base_cycles_);
  auto predicted = static_cast<Nanos>(counted * rate_ >> 32);
  return std::abs(predicted - elapsed) <= elapsed / 8;
}

Nanos UvClock::resync(uint64_t cycles) {
  // A reading torn by preemption would shift the base: take one whose two counter values are close.
  constexpr int kTries = 4;
  constexpr uint64_t kCloseCycles = 5'000;
  Nanos now = 0;
  for (int i = 0; i < kTries; ++i) {
    now = nanos_of(CLOCK_MONOTONIC);
    uint64_t after = __rdtsc();
    bool close = after - cycles < kCloseCycles;
    cycles = after;
    if (close) break;
  }
  if (rate_ != 0 && !counter_agrees(now - base_, cycles)) {
    start_ = now;
    start_cycles_ = cycles;
    rate_ = resync_cycles_ = 0;
  }
  base_ = now;
  base_cycles_ = cycles;
  wall_base_micros_ = nanos_of(CLOCK_REALTIME) / base::kNanosPerMicro;
  Nanos elapsed = base_ - start_;
  if (counter_trusted_ && elapsed >= kCalibrationNanos) {
    auto counted = static_cast<unsigned __int128>(cycles - start_cycles_);
    rate_ = static_cast<uint64_t>((static_cast<unsigned __int128>(elapsed) << 32) / counted);
    resync_cycles_ = (static_cast<uint64_t>(kResyncNanos) << 32) / rate_;
  }
  if (base_ < last_) base_ = last_;
  last_ = base_;
  return base_;
}

Nanos UvClock::steady() {
  uint64_t cycles = __rdtsc();
  uint64_t since = cycles - base_cycles_;
  if (since >= resync_cycles_) return resync(cycles);
  Nanos now = base_ + static_cast<Nanos>(since * rate_ >> 32);
  if (now > last_) last_ = now;
  return last_;
}

Nanos UvClock::busy() { return nanos_of(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace quoll::host
