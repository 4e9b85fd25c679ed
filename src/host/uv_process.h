// UvProcess: the process as the kernel accounts for it: getrusage, /proc/self/statm, uname.
#pragma once

#include "host/host.h"

namespace quoll::host {

class UvProcess final : public Process {
 public:
  int pid() override;
  CpuTimes cpu_times() override;
  CpuTimes thread_cpu_times() override;
  size_t resident_bytes() override;
  size_t machine_memory_bytes() override;
  std::string system_name() override;
  std::string executable() override;
  uint64_t draw_secret() override;
  void sleep(Nanos time) override;
  void crash() override;
};

}  // namespace quoll::host
