// Complete servers as a cluster, their clients, an operator that moves slots and nodes about, and
// everything that can go wrong at once. In the end: what clients were told holds, every slot has
// one owner that serves it within 30 s, and who has the same slots has the same data.
#include "tests/sim/cluster_servers.h"
#include "tests/sim/group_workload.h"

namespace quoll::sim {
namespace {

constexpr Nanos kFormWithin = 60 * kSecond;
constexpr Nanos kTormentTime = 20 * kSecond;
constexpr Nanos kTormentTimeFull = 60 * kSecond;
constexpr Nanos kSettleWithin = 120 * kSecond;  // nodes that leave give their slots away

}  // namespace

void cluster_servers(Run& run) {
  SimWorld world(run.seed, run.plan);
  const ClusterShape shape = ClusterShape::drawn(run.seed);
  WorkloadHabits habits;
  habits.clock_slack = (1'000 + 2 * run.plan.clock_jump_max_ms) * kMilli;
  ClusterServers cluster(run, world, shape, GroupWorkload::usual_keys(habits));
  if (!run.check(cluster.form(kFormWithin), "the cluster does not form")) return;
  GroupWorkload workload(world, cluster.ids(), habits);
  cluster.torment(run.full ? kTormentTimeFull : kTormentTime);
  cluster.heal();
  if (run.failed()) return;
  const uint64_t before = workload.outcomes().done;
  auto done_more = [&] { return workload.outcomes().done > before || run.failed(); };
  if (!run.check(world.run_until(done_more, kHealTime), "no service 30 s after peace")) return;
  if (!run.check(workload.finish(kHealTime), "clients get no answers in peace")) return;
  const std::string wrong = workload.judge();
  run.check(wrong.empty(), wrong);
  const std::string differences = cluster.differences(kSettleWithin);
  run.check(differences.empty(), differences);
  run.check(workload.outcomes().done > 100, "hardly anything was done");
}

}  // namespace quoll::sim
