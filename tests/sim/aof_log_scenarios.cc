// AofLog on the simulated disk: whatever fails and whenever the machine stops, the files hold a
// prefix of the commits that ends between two of them, and everything reported durable.
//
// A commit's effects name its seq, so what recovery finds is compared with what was absorbed, byte
// by byte. A base is a file holding the seq it stands for.
#include <algorithm>

#include "host/whole_file.h"
#include "persist/aof_log.h"
#include "persist/aof_reader.h"
#include "persist/sealed_disk.h"
#include "tests/sim/scenario.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {
namespace {

using base::Result;
using persist::AofSync;
using store::Seq;

constexpr const char* kTemporaryBase = "temp-rewriteaof.aof";

struct AofLine {
  store::DbIndex db;
  std::vector<std::string> args;
  bool operator==(const AofLine&) const = default;
};
using AofLines = std::vector<AofLine>;

// What the world outside the node knows. history[seq]: the effects of that commit.
struct AofTruth {
  std::vector<AofLines> history = std::vector<AofLines>(1);
  Seq durable = 0;   // reported in any life, by an fsync
  Seq released = 0;  // reported in this life, also without
  Seq written = 0;   // what a killed process had released: the system holds it until power fails
  Seq absorbed() const { return history.size() - 1; }
};

struct AofHabits {
  std::vector<AofSync> policies = {AofSync::always};
  int64_t rewrite_ppm = 0;  // per round of commits
  int64_t suspend_ppm = 0;
  int64_t switch_on_ppm = 0;  // closed and opened again, by way of a temporary increment
  bool works = true;          // commits are made
  bool sealed = false;        // on an encrypted disk
};

// What a server is to the log: recovers, then commits, rewrites and changes its mind.
class Server {
 public:
  Server(SimWorld& world, Run& run, AofTruth& truth, AofHabits& habits, host::Host& host)
      : world_(world), run_(run), truth_(truth), habits_(habits), host_(host) {
    if (habits.sealed) {
      sealed_ = std::make_unique<persist::SealedDisk>(
          host.disk, [&host] { return host.process.draw_secret(); });
      sealed_->set_keys(persist::SealKeys::parse(std::string(64, 'a')).value());
    }
    host_.loop.on_turn_end([this] {
      if (log_) log_->flush();
    });
    recover();
  }

  bool ready() const { return ready_; }
  persist::AofLog& log() { return *log_; }
  bool rewriting() const { return rewriting_; }
  // Nothing becomes durable before a base is published.
  bool wants_base() const { return log_->needs_base() || !stands_; }
  // An fsync has failed and what it was to write has not been written anew: the pages look written
  // to whoever comes next, which no log can see (persist/aof_log.h). A new base ends it, too.
  bool doubtful() {
    if (log_->is_open() && log_->last_write_ok() && !wants_base()) doubtful_ = false;
    return doubtful_;
  }
  int rewrites() const { return rewrites_; }

  void rewrite() {
    if (rewriting_ || !log_ || closing_) return;
    rewriting_ = true;
    const Seq boundary = truth_.absorbed();
    log_->begin_increment(boundary, [this, boundary](Result<> begun) {
      if (!begun) {
        rewriting_ = false;
        return;
      }
      // The walk over the data takes a while.
      host_.loop.after(world_.chance().between(0, 300) * kMilli,
                       [this, boundary] { write_base(boundary); });
    });
  }

 private:
  SimChance& chance() { return world_.chance(); }
  std::string path(const std::string& name) { return directory_->path(name); }
  host::Disk& disk() { return sealed_ ? *sealed_ : host_.disk; }

  // ---- recovery: load the manifest, read the files, cut the tail, open the log

  void recover() {
    directory_ =
        std::make_unique<persist::AofDirectory>(host_.loop, disk(), persist::AofDirectoryPlace{});
    directory_->load([this](Result<std::vector<std::string>> loaded) {
      if (!loaded) return again("load", loaded.error());
      found_ = 0;
      const auto& manifest = directory_->manifest();
      files_.clear();
      if (manifest.has_base()) files_.push_back(manifest.base().name);
      for (const auto& file : manifest.increments()) files_.push_back(file.name);
      torn_.clear();
      read_next(manifest.has_base());
    });
  }

  // Faults of the plan may strike during the start; a person would start the server again.
  void again(const char* what, const std::string& why) {
    run_.check(why == "Input/output error" || why == "No space left on device" ||
                   why.find(": Input/output error") != std::string::npos,
               std::string(what) + " at the start: " + why);
    host_.loop.after(10 * kMilli, [this] { recover(); });
  }

  void read_next(bool is_base) {
    if (files_.empty()) return recovered();
    const std::string name = files_.front();
    files_.erase(files_.begin());
    run_.check(torn_.empty(), "a file that is not the last one is torn: " + torn_);
    run_.check(world_.drive(0).exists(path(name)), "listed but not there: " + name);
    if (sealed_) return unseal(name, is_base);
    take_file(name, world_.drive(0).content(path(name)), is_base);
  }

  void take_file(const std::string& name, const std::string& bytes, bool is_base) {
    if (is_base) {
      found_ = std::stoull(bytes);
    } else {
      read_increment(name, bytes);
    }
    read_next(false);
  }

  // Only the last file may have a torn end; what cannot be read for other reasons is damage, and
  // no plan here damages.
  void unseal(const std::string& name, bool is_base) {
    auto read = [this, name, is_base] {
      host::read_whole_file(*sealed_, path(name), [this, name, is_base](Result<std::string> bytes) {
        if (!run_.check(bytes.ok(), "reading an encrypted file: " + bytes.error())) return;
        const std::string& sealed = world_.drive(0).content(path(name));
        run_.check(sealed.empty() || sealed.find("$3\r\nSET") == std::string::npos,
                   "readable without the key: " + name);
        take_file(name, bytes.value(), is_base);
      });
    };
    if (!files_.empty() || is_base) return read();
    sealed_->mend(path(name), [this, read](Result<uint64_t> cut) {
      if (cut) return read();
      if (cut.error() != "Input/output error") return again("mend", cut.error());
      world_.after(kMilli, [&world = world_] {  // its pages are not to be trusted any more
        world.crash(0);
        world.restart(0);
      });
    });
  }

  void read_increment(const std::string& name, const std::string& bytes) {
    persist::AofReader reader;
    persist::AofCommand command;
    AofLines lines;
    for (size_t at = 0;;) {
      const auto step = reader.next(command);
      if (step == persist::AofReader::Step::command) {
        lines.push_back({command.database, {command.args.begin(), command.args.end()}});
        if (!command.in_block || command.last_of_block) take_commit(std::move(lines));
        if (!command.in_block || command.last_of_block) lines.clear();
        continue;
      }
      if (step == persist::AofReader::Step::damaged || at == bytes.size()) break;
      const size_t size = std::min<size_t>(bytes.size() - at, chance().between(1, 4000));
      reader.feed(bytes.substr(at, size));
      at += size;
    }
    const persist::AofEnd end = reader.finish();
    run_.check(end.kind != persist::AofEnd::Kind::damaged,
               "damage in " + name + " at " + std::to_string(end.offset) + ": " + end.reason);
    if (end.kind == persist::AofEnd::Kind::torn) {
      torn_ = name;
      torn_size_ = end.valid_bytes;
    }
  }

  void take_commit(AofLines lines) {
    ++found_;
    if (!run_.check(found_ <= truth_.absorbed(), "recovered more than was committed")) return;
    run_.check(lines == truth_.history[found_],
               "commit " + std::to_string(found_) + " differs from what was absorbed");
  }

  void recovered() {
    run_.check(found_ >= truth_.written, "a killed process lost what it had written");
    truth_.written = 0;
    run_.check(found_ >= truth_.durable, "durable commits are missing: found " +
                                             std::to_string(found_) + " of " +
                                             std::to_string(truth_.durable));
    if (found_ <= truth_.absorbed()) truth_.history.resize(found_ + 1);
    if (torn_.empty()) return open();
    directory_->truncate(torn_, torn_size_, [this](Result<> cut) {
      if (cut) return open();
      // Its pages are not to be trusted any more: only a new start of the machine helps.
      world_.after(kMilli, [&world = world_] {
        world.crash(0);
        world.restart(0);
      });
    });
  }

  void open() {
    persist::AofLogEvents events;
    events.on_durable = [this](Seq seq) { durable(seq); };
    events.on_state = [this](bool ok, const std::string& error) {
      if (!ok) doubtful_ = true;
      run_.check(ok == error.empty() && error != last_error_, "on_state repeats itself");
      last_error_ = error;
    };
    last_error_.clear();
    log_ = std::make_unique<persist::AofLog>(host_.clock, host_.loop, disk(), *directory_,
                                             std::move(events));
    log_->set_timestamps(chance().ppm(500'000));
    log_->set_sync(any_policy());
    suspended_ = false;
    truth_.released = 0;
    log_->open(truth_.absorbed(), [this](Result<> opened) {
      if (!opened) {
        host_.loop.post([this, why = opened.error()] {
          log_.reset();
          again("open", why);
        });
        return;
      }
      ready_ = stands_ = true;
      work();
    });
  }

  void durable(Seq seq) {
    run_.check(seq > truth_.released, "on_durable goes back");
    run_.check(seq <= truth_.absorbed(), "durable before it was committed");
    truth_.released = seq;
    if (!suspended_) truth_.durable = std::max(truth_.durable, seq);
  }

  // ---- work

  AofSync any_policy() {
    return habits_.policies[static_cast<size_t>(
        chance().between(0, static_cast<int64_t>(habits_.policies.size()) - 1))];
  }

  void work() {
    host_.loop.after(chance().between(20, 3000) * base::kNanosPerMicro, [this] {
      if (habits_.works) round();
      work();
    });
  }

  void round() {
    doubtful();
    // While the log fails, the server refuses writes; keys still expire.
    const bool writes = log_->is_open() && (log_->last_write_ok() || chance().ppm(50'000));
    for (int64_t i = writes ? chance().between(0, 4) : 0; i > 0; --i) commit();
    if (chance().ppm(habits_.rewrite_ppm)) rewrite();
    if (wants_base()) rewrite();
    if (chance().ppm(20'000)) log_->set_sync(any_policy());
    if (!suspended_ && rewriting_ && chance().ppm(habits_.suspend_ppm)) {
      suspended_ = true;
      log_->suspend_sync(true);
    } else if (suspended_ && chance().ppm(20'000)) {
      log_->suspend_sync(false);
      suspended_ = false;
    }
    if (!rewriting_ && chance().ppm(habits_.switch_on_ppm)) switch_off_and_on();
  }

  void commit() {
    const Seq seq = truth_.absorbed() + 1;
    AofLines lines(static_cast<size_t>(chance().ppm(300'000) ? chance().between(2, 4) : 1));
    const int64_t size_max = chance().ppm(20'000) ? 9'000 : 60;
    for (size_t i = 0; i < lines.size(); ++i) {
      lines[i].db = static_cast<store::DbIndex>(chance().between(0, 2));
      std::string value(static_cast<size_t>(chance().between(0, size_max)), 'v');
      if (chance().ppm(100'000)) value += "\r\n*1\r\n$1\r\n";
      lines[i].args = {"SET", std::to_string(seq) + ":" + std::to_string(i), value};
    }
    std::vector<std::vector<base::Bytes>> views(lines.size());
    std::vector<store::Effect> effects;
    for (size_t i = 0; i < lines.size(); ++i) {
      views[i].assign(lines[i].args.begin(), lines[i].args.end());
      effects.push_back({lines[i].db, views[i]});
    }
    truth_.history.push_back(lines);
    log_->absorb({seq, host_.clock.wall(), store::Origin::client, lines.size() > 1, {}, effects});
  }

  void write_base(Seq boundary) {
    const std::string bytes = std::to_string(boundary);
    auto failed = [this] { rewriting_ = false; };
    disk().remove(path(kTemporaryBase), [this, bytes, boundary, failed](Result<>) {
      disk().open(path(kTemporaryBase), host::OpenMode::create_new,
                  [this, bytes, boundary, failed](Result<host::FileId> file) {
                    if (!file) return failed();
                    disk().append(file.value(), bytes,
                                  [this, file = file.value(), bytes, failed](Result<> written) {
                                    if (!written) return failed();
                                    disk().sync(file, [this, file, bytes, failed](Result<> synced) {
                                      disk().close(file);
                                      if (!synced) return failed();
                                      log_->publish_base(kTemporaryBase, true, bytes.size(),
                                                         [this](Result<> done) {
                                                           rewriting_ = false;
                                                           rewrites_ += done.ok();
                                                           stands_ = stands_ || done.ok();
                                                         });
                                    });
                                  });
                  });
    });
  }

  // CONFIG SET appendonly no, and yes again.
  void switch_off_and_on() {
    rewriting_ = closing_ = true;
    stands_ = false;
    const Seq last = truth_.absorbed();
    log_->close([this, last](Result<> closed) {
      closing_ = rewriting_ = false;
      if (!closed) doubtful_ = true;
      if (closed && !suspended_) truth_.durable = std::max(truth_.durable, last);
      rewrite();
    });
  }

  SimWorld& world_;
  Run& run_;
  AofTruth& truth_;
  AofHabits& habits_;
  host::Host& host_;
  std::unique_ptr<persist::SealedDisk> sealed_;
  std::unique_ptr<persist::AofDirectory> directory_;
  std::unique_ptr<persist::AofLog> log_;
  std::vector<std::string> files_;
  std::string torn_;
  uint64_t torn_size_ = 0;
  Seq found_ = 0;
  bool ready_ = false;
  std::string last_error_;
  bool suspended_ = false;
  bool stands_ = false;  // files and manifest hold the data
  bool rewriting_ = false;
  bool closing_ = false;
  bool doubtful_ = false;
  int rewrites_ = 0;
};

// A world with one such server; its present life is `server`.
struct AofStage {
  AofStage(Run& run, AofHabits start)
      : run(run), habits(std::move(start)), world(run.seed, run.plan) {
    run.follow(world);
    world.trace(run.trace);
    world.add_node([this](host::Host& host) {
      auto life = std::make_shared<Server>(world, this->run, truth, habits, host);
      server = life.get();
      return life;
    });
  }
  ~AofStage() { run.unfollow(); }

  bool start() {
    return run.check(world.run_until([&] { return server->ready() || run.failed(); }, 60 * kSecond),
                     "the server does not start") &&
           !run.failed();
  }
  void crash() {
    rewrites += server->rewrites();
    const bool chosen = world.chance().ppm(300'000);
    const bool kill = chosen && !server->doubtful();
    truth.written = kill ? truth.released : 0;
    server = nullptr;
    world.crash(0, kill ? CrashKind::killed : CrashKind::power);
    world.restart(0);
  }
  // Everything heals; what was committed becomes durable without anybody's help.
  void heal() {
    world.calm_down();
    habits.works = false;
    habits.policies = {AofSync::always};
    server->log().suspend_sync(false);
    server->log().set_sync(AofSync::always);
    auto healed = [&] {
      if (server->wants_base()) server->rewrite();
      return !server->rewriting() && server->log().is_open() && server->log().last_write_ok() &&
             !server->wants_base() && server->log().durable_seq() == truth.absorbed();
    };
    if (!world.run_until(healed, 60 * kSecond)) {
      const persist::AofLog& log = server->log();
      run.check(false, "the log does not recover by itself: " +
                           std::string(log.is_open() ? "open" : "closed") +
                           (server->wants_base() ? ", needs a base" : "") +
                           (server->rewriting() ? ", being rewritten" : "") + ", durable " +
                           std::to_string(log.durable_seq()) + " of " +
                           std::to_string(truth.absorbed()) + ", error '" + log.last_error() + "'");
    }
    world.run_for(kSecond);  // what was released while fsync was suspended is synced now
    truth.durable = truth.absorbed();
    crash();
    if (start()) run.check(truth.absorbed() == truth.durable, "commits are missing after healing");
  }

  Run& run;
  AofHabits habits;
  AofTruth truth;
  SimWorld world;
  Server* server = nullptr;
  int rewrites = 0;
};

void live_and_crash(Run& run, AofHabits habits, int lives) {
  AofStage stage(run, std::move(habits));
  for (int life = 0; life < lives; ++life) {
    if (!stage.start()) return;
    stage.world.run_for(stage.world.chance().between(1, 2500) * kMilli);
    stage.crash();
    if (run.failed()) return;
  }
  if (!stage.start()) return;
  stage.world.run_for(stage.world.chance().between(1, 3000) * kMilli);
  stage.heal();
  run.check(stage.truth.absorbed() > 0, "nothing was ever committed");
}

}  // namespace

void aof_always(Run& run) { live_and_crash(run, {}, 8); }

void aof_everysec(Run& run) {
  AofHabits habits;
  habits.policies = {AofSync::everysec};
  live_and_crash(run, habits, 8);
}

void aof_rewrites(Run& run) {
  AofHabits habits;
  habits.policies = {AofSync::always, AofSync::everysec};
  habits.rewrite_ppm = 20'000;
  live_and_crash(run, habits, 10);
}

void aof_any_policy(Run& run) {
  AofHabits habits;
  habits.policies = {AofSync::always, AofSync::everysec, AofSync::no};
  habits.rewrite_ppm = 10'000;
  habits.suspend_ppm = 50'000;
  habits.switch_on_ppm = 3'000;
  live_and_crash(run, habits, 10);
}

void aof_sealed(Run& run) {
  AofHabits habits;
  habits.policies = {AofSync::always, AofSync::everysec, AofSync::no};
  habits.rewrite_ppm = 15'000;
  habits.suspend_ppm = 30'000;
  habits.switch_on_ppm = 2'000;
  habits.sealed = true;
  live_and_crash(run, habits, 10);
}

// Without faults: everysec is durable within the second, a rewrite always succeeds.
void aof_keeps_time(Run& run) {
  AofHabits habits;
  habits.policies = {AofSync::everysec};
  AofStage stage(run, habits);
  if (!stage.start()) return;
  for (int i = 0; i < 10; ++i) {
    stage.world.run_for(stage.world.chance().between(1, 700) * kMilli);
    const Seq seq = stage.truth.absorbed();
    stage.world.run_for(1'100 * kMilli);
    run.check(stage.server->log().durable_seq() >= seq, "not durable after a second");
    stage.server->rewrite();
    stage.world.run_for(500 * kMilli);
    run.check(stage.server->rewrites() == i + 1, "a rewrite did not end");
  }
  stage.habits.works = false;
  stage.world.run_for(1'100 * kMilli);
  run.check(stage.server->log().durable_seq() == stage.truth.absorbed(),
            "an idle log is not synced");
}

}  // namespace quoll::sim
