// The process of a simulated node: its processor time is the virtual time its turns took.
#pragma once

#include <cstdlib>

#include "host/host.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_loop.h"

namespace quoll::sim {

class SimProcess final : public host::Process {
 public:
  SimProcess(SimLoop& loop, host::Random& random, const SimDrive& drive, NodeId node)
      : loop_(loop), random_(random), drive_(drive), node_(node) {}

  int pid() override { return 1000 + node_; }
  CpuTimes cpu_times() override { return {loop_.busy() / base::kNanosPerMicro, 0}; }
  CpuTimes thread_cpu_times() override { return cpu_times(); }
  size_t resident_bytes() override { return 10'000'000; }
  size_t machine_memory_bytes() override { return 8'000'000'000; }
  size_t container_memory_bytes() override { return 0; }
  std::string system_name() override { return "Simulation 1.0 virtual"; }
  std::string executable() override { return "/quoll-server"; }
  std::string boot_id() override { return "boot " + std::to_string(drive_.power_losses()); }
  uint64_t draw_secret() override { return random_.draw(); }
  base::Result<int> oom_score() override { return oom_score_; }
  base::Result<> set_oom_score(int score) override {
    oom_score_ = score;
    return {};
  }
  void sleep(Nanos time) override { loop_.spend(time); }
  void crash() override { std::abort(); }

 private:
  SimLoop& loop_;
  host::Random& random_;
  const SimDrive& drive_;
  NodeId node_;
  int oom_score_ = 0;
};

}  // namespace quoll::sim
