// UvProcess: the process as the kernel accounts for it: getrusage, /proc/self/statm, uname.
#pragma once

#include "host/host.h"

namespace quoll::host {

// The arguments of main(), kept elsewhere so that the title may be written over them. Once, first.
char** adopt_arguments(int argc, char** argv);
// What ps shows.
void set_process_title(const std::string& title);

class UvProcess final : public Process {
 public:
  int pid() override;
  CpuTimes cpu_times() override;
  CpuTimes thread_cpu_times() override;
  size_t resident_bytes() override;
  size_t machine_memory_bytes() override;
  size_t container_memory_bytes() override;
  std::string system_name() override;
  std::string executable() override;
  std::string boot_id() override;
  uint64_t draw_secret() override;
  base::Result<int> oom_score() override;
  base::Result<> set_oom_score(int score) override;
  void sleep(Nanos time) override;
  void crash() override;
};

}  // namespace quoll::host
