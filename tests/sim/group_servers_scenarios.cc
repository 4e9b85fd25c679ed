// Complete servers as a replica group, their clients, and everything that can go wrong at once. In
// the end: what clients were told holds, somebody serves within 30 s, and all members are equal.
#include "tests/sim/group_servers.h"
#include "tests/sim/group_workload.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

constexpr Nanos kFormTime = 30 * kSecond;
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

// A client that knows who leads, and what it was told to be done.
class Diligent {
 public:
  Diligent(SimWorld& world, GroupServers& group) : world_(world), group_(group) {}

  bool set(const std::string& key, const std::string& value) {
    constexpr int kTries = 200;  // every tenth of a second
    for (int i = 0; i < kTries; ++i) {
      if (ask({"SET", key, value}) == "+OK\r\n") {
        told_[key] = value;
        return true;
      }
      world_.run_for(kSecond / 10);
    }
    return false;
  }
  std::string missing() {
    for (const auto& [key, value] : told_)
      if (ask({"GET", key}) != "$" + std::to_string(value.size()) + "\r\n" + value + "\r\n")
        return key;
    return "";
  }

 private:
  std::string ask(const std::vector<std::string>& words) {
    const size_t leader = group_.leader();
    if (leader == group_.members()) return "";
    if (!client_ || leader != asks_ || client_->lost()) {
      client_ = std::make_unique<SimClient>(world_, group_.node(leader).id());
      asks_ = leader;
    }
    return client_->call(words);
  }

  SimWorld& world_;
  GroupServers& group_;
  std::unique_ptr<SimClient> client_;
  size_t asks_ = 0;
  std::map<std::string, std::string> told_;
};

uint64_t slots_left_out(GroupServers& group) {
  uint64_t sum = 0;
  for (size_t m = 0; m < group.members(); ++m)
    if (group.node(m).up()) sum += group.node(m).server().group()->counters().slots_left_out;
  return sum;
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

// Who was away for too long gets all data but what it has, whoever ends meanwhile.
void group_keeps_slots(Run& run) {
  constexpr int kKeys = 300, kHotKeys = 60, kRounds = 4;
  SimWorld world(run.seed, run.plan);
  GroupShape shape;
  shape.log_bytes = 20'000;
  GroupServers group(run, world, shape);
  if (!run.check(group.form(kFormTime), "the group does not form")) return;
  Diligent client(world, group);
  bool done = true;
  // More than the log keeps: there are checkpoints, which is what a member begins with.
  for (int i = 0; i < kKeys; ++i)
    done &= client.set("key:" + std::to_string(i), std::string(300, 'x'));
  world.run_for(kPeace);
  for (int round = 0; round < kRounds && done && !run.failed(); ++round) {
    const size_t leader = group.leader();
    const size_t away = (leader + 1 + world.chance().draw() % 2) % group.members();
    const uint64_t before = slots_left_out(group);
    group.end(away, CrashKind::killed);
    for (int i = 0; i < kHotKeys; ++i)
      done &= client.set("{hot}" + std::to_string(i), std::string(1000, 'a' + round));
    done &= client.set("key:" + std::to_string(round), "changed");
    group.begin(away);
    const bool disturbed = round > 0;
    if (disturbed) {
      world.run_for(world.chance().between(1, 1500) * kMilli);
      const size_t ends = world.chance().ppm(600'000) ? away : group.leader();
      if (ends < group.members()) group.end(ends, CrashKind::killed);
      done &= client.set("{hot}0", "meanwhile");
      if (ends < group.members()) group.begin(ends);
    }
    const std::string differences = group.differences(kHealTime);
    run.check(differences.empty(), differences);
    run.check(disturbed || slots_left_out(group) > before + kKeys / 4, "equal slots were sent");
  }
  run.check(done, "a write was not done in peace");
  const std::string missing = client.missing();
  run.check(missing.empty(), "not as it was acknowledged: " + missing);
}

}  // namespace quoll::sim
