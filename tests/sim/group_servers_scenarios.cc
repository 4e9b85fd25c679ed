// Complete servers as a replica group, their clients, and everything that can go wrong at once. In
// the end: what clients were told holds, somebody serves within 30 s, and all members are equal.
#include "tests/sim/group_servers.h"
#include "tests/sim/group_workload.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

constexpr Nanos kFormTime = 30 * kSecond;
constexpr Nanos kHealTime = 30 * kSecond;
constexpr Nanos kTorment = 12 * kSecond;
constexpr Nanos kTormentFull = 60 * kSecond;
constexpr Nanos kPeace = 2 * kSecond;

// Locks are timed by the clocks of whoever leads.
WorkloadHabits habits_of(const FaultPlan& plan) {
  WorkloadHabits habits;
  habits.clock_slack = (1'000 + 2 * plan.clock_jump_max_ms) * kMilli;
  return habits;
}

void live(Run& run, const GroupShape& shape) {
  SimWorld world(run.seed, run.plan);
  GroupServers group(run, world, shape);
  const bool early = world.chance().ppm(200'000);  // faults before it has formed
  if (!early && !run.check(group.form(kFormTime), "the group does not form")) return;
  GroupWorkload workload(world, group.ids(), habits_of(run.plan));
  group.torment(run.full ? kTormentFull : kTorment);
  group.heal();
  if (run.failed() || !run.check(group.serves_within(kHealTime), "no leader 30 s after peace"))
    return;
  const uint64_t before = workload.outcomes().done;
  auto done_more = [&] { return workload.outcomes().done > before || run.failed(); };
  if (!run.check(world.run_until(done_more, kHealTime), "no service 30 s after peace")) return;
  world.run_for(kPeace);
  if (run.failed()) return;
  if (!run.check(workload.finish(kHealTime), "clients get no answers in peace")) return;
  const std::string wrong = workload.judge();
  run.check(wrong.empty(), wrong);
  const std::string differences = group.differences(kHealTime);
  run.check(differences.empty(), differences);
  run.check(workload.outcomes().done > 100, "hardly anything was done");
}

}  // namespace

void group_servers(Run& run) { live(run, GroupShape::drawn(run.seed)); }

// A member that cannot end, for its disk fails, goes on as one.
void group_shutdown_fails(Run& run) {
  SimWorld world(run.seed, run.plan);
  GroupShape shape = GroupShape::drawn(run.seed);
  GroupServers group(run, world, shape);
  if (!run.check(group.form(kFormTime), "the group does not form")) return;
  GroupWorkload workload(world, group.ids(), habits_of(run.plan));
  world.run_for(kSecond);
  const size_t ends = run.seed % 2 ? group.leader() : (group.leader() + 1) % group.members();
  SimDrive& drive = world.drive(group.node(ends).id());
  drive.trouble.fails = true;
  SimClient client(world, group.node(ends).id());
  const std::string refused = client.call({"SHUTDOWN"});
  run.check(refused.starts_with("-ERR Errors trying to SHUTDOWN"), "SHUTDOWN: " + refused);
  world.run_for(kSecond);
  drive.trouble = {};
  world.run_for(3 * kSecond);
  if (!run.check(group.node(ends).up(), "the server has ended")) return;
  // The group can do without as many others as it can do without members, for this one counts.
  std::vector<size_t> down;
  const size_t spare = shape.members - std::max(shape.election_quorum(), shape.write_quorum);
  for (size_t m = 0; m < group.members() && down.size() < spare; ++m)
    if (m != ends && !group.is_witness(m)) down.push_back(m);
  for (size_t m : down) group.end(m, CrashKind::killed);
  const uint64_t before = workload.outcomes().done;
  run.check(world.run_until([&] { return workload.outcomes().done > before + 50; }, kHealTime),
            "no service with the member that could not end");
  for (size_t m : down) group.begin(m);
  if (!run.check(workload.finish(kHealTime), "clients get no answers in peace")) return;
  const std::string wrong = workload.judge();
  run.check(wrong.empty(), wrong);
  const std::string differences = group.differences(kHealTime);
  run.check(differences.empty(), differences);
  // Now it can.
  SimClient again(world, group.node(ends).id());
  run.check(again.call({"SHUTDOWN"}).empty(), "SHUTDOWN is refused");
  run.check(!group.node(ends).up(), "the server did not end");
  group.begin(ends);
  const std::string after = group.differences(kHealTime);
  run.check(after.empty(), after);
}

}  // namespace quoll::sim
