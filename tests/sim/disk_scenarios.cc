// The simulated disk: what a crash leaves, and how requests fail.
#include "tests/sim/scenario.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {
namespace {

std::shared_ptr<void> boot_nothing(host::Host&) { return nullptr; }

// Issues requests of node 0 one after the other, running the world until each is done.
struct DiskHand {
  SimWorld& world;

  host::Disk& disk() { return world.host(0).disk; }
  std::string wait(const std::function<void(host::OnDone)>& request) {
    auto outcome = std::make_shared<std::optional<std::string>>();
    request([outcome](base::Result<> done) { *outcome = done.ok() ? "" : done.error(); });
    world.run_until([&] { return outcome->has_value(); }, 10 * kSecond);
    return outcome->value_or("no answer");
  }
  host::FileId open(const std::string& path, host::OpenMode mode = host::OpenMode::append) {
    auto file = std::make_shared<host::FileId>(0);
    disk().open(path, mode, [file](base::Result<host::FileId> got) {
      if (got) *file = got.value();
    });
    world.run_until([&] { return *file != 0; }, 10 * kSecond);
    return *file;
  }
  std::string append(host::FileId file, const std::string& bytes) {
    return wait([&](host::OnDone done) { disk().append(file, bytes, done); });
  }
  std::string sync(host::FileId file) {
    return wait([&](host::OnDone done) { disk().sync(file, done); });
  }
  std::string sync_dir(const std::string& path) {
    return wait([&](host::OnDone done) { disk().sync_dir(path, done); });
  }
  std::string read(host::FileId file, host::Offset offset, size_t size) {
    auto got = std::make_shared<std::optional<std::string>>();
    disk().read(file, offset, size, [got](base::Result<std::string> b) { *got = b.value(); });
    world.run_until([&] { return got->has_value(); }, 10 * kSecond);
    return got->value_or("no answer");
  }
};

}  // namespace

// Records are appended and synced at random; after a power loss the file is what was synced, plus
// a prefix of what was not.
void synced_bytes_survive(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  world.add_node(boot_nothing);
  DiskHand hand{world};
  int torn = 0;
  int lost = 0;
  int kept = 0;
  for (int round = 0; round < 40; ++round) {
    std::string path = "log" + std::to_string(round);
    host::FileId file = hand.open(path);
    while (hand.sync_dir(".") != "") {
    }
    std::string issued;
    size_t synced = 0;
    bool sync_failed = false;
    for (int i = 0; i < 12; ++i) {
      std::string record = "<" + std::to_string(i) + std::string(i, '=') + ">";
      if (hand.append(file, record) == "") issued += record;
      if (!world.chance().ppm(250'000)) continue;
      if (hand.sync(file) != "") sync_failed = true;
      if (!sync_failed) synced = issued.size();
    }
    if (!run.check(world.drive(0).content(path) == issued, "a read differs from the appends"))
      return;
    world.crash(0);
    std::string left = world.drive(0).content(path);
    run.check(left.size() >= synced, "synced bytes are gone");
    run.check(left == issued.substr(0, left.size()), "the file is no prefix of the appends");
    torn += !left.empty() && left.back() != '>';
    lost += left.size() < issued.size();
    kept += left.size() > synced;
    world.restart(0);
  }
  run.check(torn > 0, "no append was torn in 40 crashes");
  run.check(lost > 0, "nothing was lost in 40 crashes");
  run.check(kept > 0, "nothing unsynced survived in 40 crashes");

  host::FileId file = hand.open("survivor");
  while (hand.append(file, "written, not synced") != "") {
  }
  world.crash(0, CrashKind::killed);
  run.check(world.drive(0).content("survivor") == "written, not synced",
            "a killed server lost what its operating system held");
}

void names_need_sync_dir(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  world.add_node(boot_nothing);
  DiskHand hand{world};
  int old_names = 0;
  int new_names = 0;
  for (int round = 0; round < 40; ++round) {
    std::string path = "base" + std::to_string(round);
    world.drive(0).put(path, "old");
    bool durable = round % 2 == 0;
    host::FileId file = hand.open("temp", host::OpenMode::truncate);
    hand.append(file, "new");
    hand.sync(file);
    std::string renamed =
        hand.wait([&](host::OnDone done) { hand.disk().rename("temp", path, done); });
    run.check(renamed == "", "rename failed");
    if (durable) run.check(hand.sync_dir("./") == "", "sync_dir failed");
    run.check(world.drive(0).content(path) == "new", "a rename is not visible at once");
    world.crash(0);
    std::string left = world.drive(0).content(path);
    run.check(left == "new" || (left == "old" && !durable), "a rename is neither here nor there");
    old_names += left == "old";
    new_names += left == "new" && !durable;
    world.restart(0);
  }
  run.check(old_names > 0 && new_names > 0, "unsynced renames always end the same way");
  std::vector<std::string> names;
  hand.disk().list(".", [&](base::Result<std::vector<std::string>> got) { names = got.value(); });
  run.check(world.run_until([&] { return !names.empty(); }, kSecond), "no names");
  run.check(std::is_sorted(names.begin(), names.end()) && names.size() >= 40, "names are wrong");
}

void failed_sync_keeps_nothing(Run& run) {
  FaultPlan plan = run.plan;
  plan.failed_sync_ppm = 1'000'000;
  SimWorld world(run.seed, plan);
  world.trace(run.trace);
  world.add_node(boot_nothing);
  world.drive(0).put("/data/log", "durable;");
  DiskHand hand{world};
  host::FileId file = hand.open("/data//./log");
  run.check(hand.append(file, "doomed;") == "", "append failed");
  run.check(hand.sync(file) == "Input/output error", "the sync did not fail as planned");
  world.calm_down();
  run.check(hand.append(file, "behind;") == "", "append failed");
  run.check(hand.sync(file) == "", "the later sync failed");
  run.check(hand.read(file, 0, 100) == "durable;doomed;behind;", "the page cache lost bytes");
  world.crash(0);
  run.check(world.drive(0).content("/data/log") == "durable;",
            "bytes behind a failed sync became durable");
}

void full_and_rotten_disk(Run& run) {
  FaultPlan plan = run.plan;
  plan.disk_bytes_max = 100;
  plan.flipped_bit_ppm = 1'000'000;
  SimWorld world(run.seed, plan);
  world.trace(run.trace);
  world.add_node(boot_nothing);
  DiskHand hand{world};
  host::FileId file = hand.open("data");
  run.check(hand.append(file, std::string(90, 'a')) == "", "append failed");
  run.check(hand.append(file, std::string(11, 'b')) == "No space left on device", "disk not full");
  run.check(hand.append(file, std::string(10, 'c')) == "", "the disk has room for this one");
  run.check(world.drive(0).content("data").size() == 100, "a refused append left bytes");
  std::string got = hand.read(file, 0, 90);
  int flipped = 0;
  for (char c : got) flipped += __builtin_popcount(static_cast<unsigned char>(c ^ 'a'));
  run.check(got.size() == 90 && flipped == 1, "not exactly one bit is flipped");
  run.check(hand.open("missing/file") == 0, "opened a file in a missing directory");
  run.check(hand.wait([&](host::OnDone d) { hand.disk().make_dir("missing", d); }) == "", "mkdir");
  run.check(hand.open("missing/file") != 0, "could not create a file");
  run.check(
      hand.wait([&](host::OnDone d) { hand.disk().remove("missing", d); }) == "Directory not empty",
      "removed a directory that is not empty");
  run.check(hand.wait([&](host::OnDone d) { hand.disk().remove("nobody", d); }) ==
                "No such file or directory",
            "removed what is not there");
  hand.disk().close(file);
  run.check(hand.append(file, "x") == "Bad file descriptor", "a closed file took bytes");
}

}  // namespace quoll::sim
