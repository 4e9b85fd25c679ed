#include "host/uv_clock.h"

#include <doctest/doctest.h>

#include <ctime>

using quoll::host::UvClock;

namespace {

int64_t kernel_nanos(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

TEST_CASE("steady time follows the kernel's monotonic clock and never goes back") {
  UvClock clock;
  int64_t last = 0;
  int64_t begin = kernel_nanos(CLOCK_MONOTONIC);
  // Past the calibration, so that both ways of reading are crossed.
  while (kernel_nanos(CLOCK_MONOTONIC) - begin < 60'000'000) {
    int64_t before = kernel_nanos(CLOCK_MONOTONIC);
    int64_t now = clock.steady();
    int64_t after = kernel_nanos(CLOCK_MONOTONIC);
    REQUIRE(now >= last);
    last = now;
    // Wide enough for a machine that stops this process between the two readings of a correction.
    REQUIRE(now >= before - 50'000'000);
    REQUIRE(now <= after + 50'000'000);
  }
}

TEST_CASE("wall time is the system's") {
  UvClock clock;
  int64_t difference = clock.wall() - kernel_nanos(CLOCK_REALTIME) / 1'000'000;
  CHECK(difference >= -5);
  CHECK(difference <= 5);
}
