// The workload of a replica group, against one server: what a lost connection leaves unknown is all
// that may be unknown, and with every reply behind an fsync a crash is no excuse either.
#include "tests/sim/group_workload.h"
#include "tests/sim/server_node.h"

namespace quoll::sim {
namespace {

void check_workload(Run& run, GroupWorkload& workload) {
  if (!run.check(workload.finish(kHealTime), "no service 30 s after everything healed")) return;
  std::string wrong = workload.judge();
  run.check(wrong.empty(), wrong);
  run.check(workload.outcomes().done > 300, "hardly anything was done");
}

}  // namespace

void workload_of_one(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world);
  GroupWorkload workload(world, {node.id()});
  world.run_for(5 * kSecond);
  world.calm_down();
  check_workload(run, workload);
  run.unfollow();
}

// The machine stops at any moment, and what was not synced may be gone.
void workload_through_crashes(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world, {"--appendonly", "yes", "--appendfsync", "always", "--save", ""});
  GroupWorkload workload(world, {node.id()});
  world.run_for((run.full ? 60 : 12) * kSecond);
  world.calm_down();
  check_workload(run, workload);
  run.unfollow();
}

// The checkers are worth something: replies ahead of the fsync are found out.
void workload_finds_loss(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world, {"--appendonly", "yes", "--appendfsync", "everysec", "--save", ""});
  GroupWorkload workload(world, {node.id()});
  world.run_for(20 * kSecond);
  world.calm_down();
  run.check(workload.finish(kHealTime), "no service 30 s after everything healed");
  run.check(!workload.judge().empty(), "lost writes went unnoticed");
  run.unfollow();
}

}  // namespace quoll::sim
