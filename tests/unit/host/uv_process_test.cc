#include "host/uv_process.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <memory>

#include "host/uv_clock.h"

namespace quoll::host {

TEST_CASE("the process tells what the kernel accounts for it") {
  UvProcess process;
  CHECK(process.pid() == getpid());
  CHECK(process.system_name().starts_with("Linux "));
  CHECK(process.executable().starts_with("/"));
  CHECK(process.machine_memory_bytes() > (size_t{64} << 20));
  CHECK(process.draw_secret() != process.draw_secret());
}

TEST_CASE("resident memory grows with pages that are touched") {
  UvProcess process;
  const size_t before = process.resident_bytes();
  constexpr size_t kBytes = size_t{32} << 20;
  auto block = std::make_unique<char[]>(kBytes);
  for (size_t i = 0; i < kBytes; i += 4096) block[i] = 1;
  CHECK(process.resident_bytes() >= before + kBytes / 2);
}

TEST_CASE("processor time grows with work, and sleeping takes wall time only") {
  UvProcess process;
  UvClock clock;
  const Process::CpuTimes start = process.cpu_times();
  const Nanos begin = clock.steady();
  process.sleep(20 * base::kNanosPerMilli);
  CHECK(clock.steady() - begin >= 20 * base::kNanosPerMilli);
  volatile uint64_t work = 0;
  const auto used = [&] {
    const Process::CpuTimes now = process.cpu_times();
    return now.user_micros + now.system_micros - start.user_micros - start.system_micros;
  };
  while (used() < 20'000) work = work + 1;
  const Process::CpuTimes thread = process.thread_cpu_times();
  CHECK(thread.user_micros + thread.system_micros > 0);
}

}  // namespace quoll::host
