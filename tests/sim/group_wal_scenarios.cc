// GroupWal on the simulated disk: whatever fails and whenever the machine stops, the log that is
// recovered was the member's log at some time, up to some entry; it holds everything reported
// synced and, after a kill, everything reported written; or the damage is told.
//
// An entry's bytes follow from its position, and a position has one entry before it in all logs, so
// what recovery finds is compared with what was appended, byte by byte and link by link.
#include <algorithm>
#include <map>

#include "cluster/group_wal.h"
#include "tests/sim/scenario.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {
namespace {

using base::Result;
using cluster::Durability;
using cluster::Epoch;
using cluster::Index;
using cluster::Position;

constexpr const char* kWalDir = "group";
constexpr uint64_t kFileBytes = 6'000;

// What the world outside the node knows.
struct WalTruth {
  std::map<Position, Position> before;  // of every entry ever appended: the one before it
  Epoch epoch = 1;
  Position synced;    // reported, and not replaced since
  Position written;   // the same, for who survives a kill
  Index covered = 0;  // by a checkpoint
  uint64_t state_saved = 0;
  uint64_t state_asked = 0;
  bool closed = false;  // everything is on disk, with the last promise
  bool rotten = false;  // a bit was flipped since
  // Damage was told, and no file that begins behind it is on disk: the next start finds it again.
  bool damage_stands = false;
  bool unsettled = false;  // damage was told and its consequence is not saved
  uint64_t settling = 0;   // the state that does
};

struct WalHabits {
  Durability durability = Durability::fsync;
  bool works = true;
  int64_t close_ppm = 200'000;  // of the lives' ends
  int64_t rot_ppm = 0;          // of those behind an orderly end
  int64_t kill_ppm = 300'000;
};

std::string bytes_of(Position at) {
  const size_t size = (at.epoch * 31 + at.index * 7) % 211 + (at.index % 40 == 0 ? 3000 : 0);
  std::string bytes;
  cluster::encode_entry({at, static_cast<base::Millis>(at.index), 7, cluster::EntryKind::effects},
                        std::string(size, static_cast<char>('a' + at.index % 26)), bytes);
  return bytes;
}

cluster::SavedState state_of(uint64_t number) {
  cluster::SavedState state;
  state.id = std::string(40, 'a');
  state.epoch = number;
  state.unsynced_boot = "boot 1";
  return state;
}

// What a member is to its log.
class Member final : public cluster::GroupWalEvents {
 public:
  Member(SimWorld& world, Run& run, WalTruth& truth, WalHabits& habits, host::Host& host)
      : world_(world), run_(run), truth_(truth), habits_(habits), host_(host) {
    host_.loop.on_turn_end([this] {
      if (ready_) wal_->flush();
    });
    wal_ = std::make_unique<cluster::GroupWal>(host_.disk, host_.loop, kWalDir, *this, kFileBytes);
    wal_->set_sync(habits_.durability);
    wal_->open([this](const cluster::Entry& entry, base::Bytes bytes) { take(entry, bytes); },
               [this](Result<cluster::GroupWal::Recovery> found) { recovered(std::move(found)); });
  }

  bool ready() const { return ready_; }
  bool doubtful() const { return doubtful_; }
  bool settled() const {
    const bool synced = log_.empty() || truth_.synced == last();
    return ready_ && !closing_ && !wal_->in_trouble() && synced &&
           truth_.state_saved == truth_.state_asked && !truth_.unsettled;
  }
  int rounds() const { return rounds_; }
  std::string describe() const {
    return "last " + std::to_string(last().index) + ", synced " +
           std::to_string(truth_.synced.index) + ", state " + std::to_string(truth_.state_saved) +
           " of " + std::to_string(truth_.state_asked) + (truth_.unsettled ? ", damaged" : "") +
           (wal_->in_trouble() ? ", in trouble" : "");
  }
  void finish(std::function<void(bool)> done) {
    closing_ = true;
    wal_->flush();
    const uint64_t number = ++truth_.state_asked;
    auto ended = [this, number, done](Result<> closed) {
      truth_.closed = closed.ok() && !truth_.unsettled;
      if (truth_.closed) {
        truth_.synced = last();
        truth_.state_saved = number;
      }
      ready_ = !closed.ok();
      closing_ = false;
      if (ready_) save();  // it goes on
      done(closed.ok());
    };
    wal_->close(std::move(ended), state_of(number));
  }

  void wal_written(Position position) override {
    const Index upto = position.index;
    run_.check(!wal_->in_trouble(), "written in spite of a failure");
    if (!run_.check(upto > base_.index && upto <= last().index, "written what is not there"))
      return;
    run_.check(upto > reported_, "written goes back");
    reported_ = upto;
    if (upto > truth_.written.index) truth_.written = at(upto);
  }
  void wal_synced(Position position) override {
    const Index upto = position.index;
    run_.check(!wal_->in_trouble(), "synced in spite of a failure");
    if (!run_.check(upto > base_.index && upto <= last().index, "synced what is not there")) return;
    run_.check(upto > truth_.synced.index && upto <= reported_, "synced out of order");
    truth_.damage_stands = false;
    truth_.synced = at(upto);
  }
  void wal_failed(const std::string& error) override {
    run_.check(!doubtful_, "a failure is told twice: " + error);
    doubtful_ = true;
  }
  void wal_again(Position position) override {
    const Index durable = position.index;
    run_.check(doubtful_, "again without a failure");
    run_.check(durable <= last().index && durable >= truth_.synced.index,
               "goes on where it was not synced");
    doubtful_ = false;
    reported_ = durable;
    hand_over(durable);
  }
  void wal_state_failed(const std::string&) override {}

 private:
  SimChance& chance() { return world_.chance(); }
  Position last() const { return log_.empty() ? base_ : log_.back(); }
  Position at(Index index) const {
    return index == base_.index ? base_ : log_.at(index - base_.index - 1);
  }
  bool holds(Position entry) const {
    return entry.index <= base_.index || (entry.index <= last().index && at(entry.index) == entry);
  }

  // ---- recovery

  void take(const cluster::Entry& entry, base::Bytes bytes) {
    const Position at = entry.header.at;
    run_.check(bytes == bytes_of(at), "an entry's bytes differ");
    if (!log_.empty()) {
      auto known = truth_.before.find(at);
      run_.check(known != truth_.before.end() && known->second == log_.back(),
                 "entry " + std::to_string(at.index) + " was never behind the one before it");
    }
    log_.push_back(at);
  }

  void recovered(Result<cluster::GroupWal::Recovery> found) {
    if (!found) {
      run_.check(found.error().find("Input/output error") != std::string::npos, found.error());
      // The pages are not to be trusted any more.
      world_.after(kMilli, [&world = world_, &truth = truth_] {
        truth.written = {};
        world.crash(0);
        world.restart(0);
      });
      return;
    }
    const cluster::GroupWal::Recovery& recovery = found.value();
    base_ = recovery.base;
    run_.check(recovery.last == last(), "the last entry is not the last one");
    // Without its state file a log may begin with files that a restart had left behind.
    run_.check(base_.index <= truth_.covered || recovery.damaged,
               "entries without a checkpoint are gone");
    if (!log_.empty()) {
      run_.check(truth_.before.contains(log_.front()) && truth_.before[log_.front()] == base_ &&
                     log_.front().index == base_.index + 1,
                 "the first entry does not follow the base");
    }
    judge(recovery);
    if (run_.failed()) return;
    truth_.rotten = truth_.closed = false;
    found_ = last();
    reported_ = found_.index;
    if (!truth_.unsettled) truth_.synced = truth_.written = found_;
    ++truth_.epoch;  // no position is used twice
    ready_ = true;
    if (truth_.unsettled) {
      save();
      truth_.settling = truth_.state_asked;
    }
    work();
  }

  void judge(const cluster::GroupWal::Recovery& recovery) {
    // Its consequence was saved, and the crash came before that was told.
    const bool accepted = truth_.unsettled && recovery.state.epoch >= truth_.settling;
    const bool whole = holds(truth_.synced) && holds(truth_.written);
    const bool lossy = habits_.durability == Durability::memory || truth_.rotten ||
                       world_.plan().flipped_bit_ppm > 0 || truth_.unsettled ||
                       truth_.damage_stands;
    run_.check(whole || recovery.damaged || accepted,
               "lost and not told: synced " + std::to_string(truth_.synced.index) + ", written " +
                   std::to_string(truth_.written.index) + ", found " +
                   std::to_string(last().index) + "\n" + recovery.report);
    run_.check(lossy || !recovery.damaged, "damage without a cause: " + recovery.report);
    truth_.damage_stands = recovery.damaged;
    run_.check(!recovery.damaged || !recovery.report.empty(), "damage without a report");
    if (world_.plan().flipped_bit_ppm == 0)
      run_.check(!truth_.unsettled || recovery.damaged || accepted, "damage was forgotten");
    truth_.unsettled = recovery.damaged;
    const uint64_t saved_before = std::exchange(truth_.state_saved, 0);
    if (recovery.damaged) return;
    const uint64_t state = recovery.state.epoch;
    run_.check(state >= saved_before && state <= truth_.state_asked,
               "the state is neither the saved one nor a later one");
    run_.check(recovery.fresh == (recovery.state.id.empty() && last() == Position{}), "fresh");
    truth_.state_saved = truth_.state_asked = state;
  }

  // ---- work

  void work() {
    host_.loop.after(chance().between(20, 3000) * base::kNanosPerMicro, [this] {
      if (ready_ && !closing_ && habits_.works) round();
      work();
    });
  }

  void round() {
    ++rounds_;
    if (chance().ppm(20'000)) cut_back();
    if (chance().ppm(20'000)) ++truth_.epoch;
    if (chance().ppm(700'000)) add(chance().between(1, 5));
    if (chance().ppm(20'000)) save();
    if (chance().ppm(20'000)) cover();
    if (chance().ppm(2'000) && !truth_.unsettled) restart();
  }

  void add(int64_t count) {
    const Index from = last().index;
    for (int64_t i = 0; i < count; ++i) {
      const Position next{truth_.epoch, last().index + 1};
      truth_.before[next] = last();
      log_.push_back(next);
    }
    hand_over(from);
  }

  void hand_over(Index behind) {
    std::string bytes;
    for (Index index = behind + 1; index <= last().index; ++index) bytes += bytes_of(at(index));
    if (!bytes.empty()) wal_->append(bytes, last().index);
  }

  // Another leader has other entries behind one that is not committed.
  void cut_back() {
    const Index low = std::max(truth_.covered, base_.index);
    if (truth_.unsettled || last().index <= low) return;
    const auto keep = static_cast<Index>(chance().between(
        static_cast<int64_t>(std::max(low, last().index - std::min<Index>(last().index, 12))),
        static_cast<int64_t>(last().index) - 1));
    ++truth_.epoch;
    log_.resize(keep - base_.index);
    truth_.synced = std::min(truth_.synced, last());
    truth_.written = std::min(truth_.written, last());
    reported_ = std::min(reported_, keep);
    add(chance().between(1, 3));
  }

  void save() {
    const uint64_t number = ++truth_.state_asked;
    wal_->save_state(state_of(number), [this, number] {
      run_.check(number > truth_.state_saved, "states are saved out of order");
      truth_.state_saved = number;
      if (!std::exchange(truth_.unsettled, false)) return;
      truth_.synced = truth_.written = found_;  // the truth from now on
    });
  }

  void cover() {
    if (truth_.unsettled || truth_.synced.index <= base_.index) return;
    const Index upto = static_cast<Index>(
        chance().between(static_cast<int64_t>(base_.index), static_cast<int64_t>(last().index)));
    truth_.covered = std::max(truth_.covered, upto);
    wal_->trim(truth_.covered);
    const Position base = wal_->base();
    run_.check(base.index <= truth_.covered, "trimmed too far");
    log_.erase(log_.begin(), log_.begin() + static_cast<ptrdiff_t>(base.index - base_.index));
    base_ = base;
  }

  // Everything up to an entry of a newer log came from elsewhere.
  void restart() {
    const Position at{++truth_.epoch, last().index + static_cast<Index>(chance().between(1, 50))};
    truth_.covered = at.index;
    log_.clear();
    base_ = at;
    reported_ = at.index;
    wal_->restart(at);
  }

  SimWorld& world_;
  Run& run_;
  WalTruth& truth_;
  WalHabits& habits_;
  host::Host& host_;
  std::unique_ptr<cluster::GroupWal> wal_;
  std::vector<Position> log_;  // behind base_
  Position base_;
  Position found_;      // by recovery
  Index reported_ = 0;  // written
  bool ready_ = false;
  bool closing_ = false;
  bool doubtful_ = false;
  int rounds_ = 0;
};

struct WalStage {
  WalStage(Run& run, WalHabits start) : run(run), habits(start), world(run.seed, run.plan) {
    run.follow(world);
    world.trace(run.trace);
    world.add_node([this](host::Host& host) {
      auto life = std::make_shared<Member>(world, this->run, truth, habits, host);
      member = life.get();
      return life;
    });
  }
  ~WalStage() { run.unfollow(); }

  bool start() {
    return run.check(world.run_until([&] { return member->ready() || run.failed(); }, 60 * kSecond),
                     "the member does not start") &&
           !run.failed();
  }

  void end_life() {
    if (world.chance().ppm(habits.close_ppm)) {
      bool ended = false, closed = false;
      member->finish([&](bool ok) {
        ended = true;
        closed = ok;
      });
      run.check(world.run_until([&] { return ended || run.failed(); }, 60 * kSecond),
                "the log does not close");
      if (!closed) world.run_for(world.chance().between(1, 3000) * kMilli);
    }
    const bool kill = world.chance().ppm(habits.kill_ppm) && !member->doubtful();
    const bool keeps = kill && habits.durability == Durability::memory;
    if (!keeps) truth.written = truth.synced;
    rounds += member->rounds();
    member = nullptr;
    world.crash(0, kill ? CrashKind::killed : CrashKind::power);
    if (truth.closed && world.chance().ppm(habits.rot_ppm)) rot();
    world.restart(0);
  }

  // One bit of one file.
  void rot() {
    const std::vector<std::string> names = world.drive(0).list(kWalDir);
    if (names.empty()) return;
    const auto last_name = static_cast<int64_t>(names.size()) - 1;
    const std::string path = std::string(kWalDir) + "/" +
                             names[static_cast<size_t>(world.chance().between(0, last_name))];
    std::string bytes = world.drive(0).content(path);
    if (bytes.empty()) return;
    const int64_t bit = world.chance().between(0, static_cast<int64_t>(bytes.size()) * 8 - 1);
    bytes[static_cast<size_t>(bit / 8)] ^= static_cast<char>(1 << (bit % 8));
    world.drive(0).put(path, bytes);
    truth.rotten = true;
  }

  void heal() {
    world.calm_down();
    habits.works = false;
    habits.kill_ppm = habits.rot_ppm = 0;
    habits.close_ppm = 1'000'000;
    if (!world.run_until([&] { return member->settled() || run.failed(); }, 60 * kSecond))
      run.check(false, "the log does not recover by itself: " + member->describe());
    world.run_for(3 * kSecond);  // what was under way may have failed yet
    if (run.failed()) return;
    end_life();
    run.check(truth.closed, "a healthy log cannot be closed");
    const Position last = truth.synced;
    if (start()) run.check(truth.synced == last, "entries are missing after healing");
  }

  Run& run;
  WalHabits habits;
  WalTruth truth;
  SimWorld world;
  Member* member = nullptr;
  int rounds = 0;
};

void append_and_crash(Run& run, WalHabits habits) {
  WalStage stage(run, habits);
  for (int life = 0; life < 10; ++life) {
    if (!stage.start()) return;
    stage.world.run_for(stage.world.chance().between(1, 2500) * kMilli);
    stage.end_life();
    if (run.failed()) return;
  }
  if (!stage.start()) return;
  stage.world.run_for(stage.world.chance().between(1, 3000) * kMilli);
  stage.heal();
  run.check(stage.rounds > 0, "nothing was ever done");
}

}  // namespace

void group_wal_fsync(Run& run) { append_and_crash(run, {}); }

void group_wal_memory(Run& run) {
  WalHabits habits;
  habits.durability = Durability::memory;
  habits.kill_ppm = 600'000;
  append_and_crash(run, habits);
}

void group_wal_rot(Run& run) {
  WalHabits habits;
  habits.close_ppm = 900'000;
  habits.rot_ppm = 700'000;
  append_and_crash(run, habits);
}

}  // namespace quoll::sim
