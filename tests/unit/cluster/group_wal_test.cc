// GroupWal on a disk in memory: its files, its requests, every place where a crash may stop it and
// every byte that may be damaged. Faults in any order are played in
// tests/sim/group_wal_scenarios.cc.
#include "cluster/group_wal.h"

#include <doctest/doctest.h>

#include <map>

#include "tests/unit/persist/memory_disk.h"

namespace quoll::cluster {
namespace {

constexpr const char* kDir = "group";

// Posted tasks run when the test says so, timers when time passes.
struct ManualLoop final : host::Loop {
  std::deque<host::Task> posted;
  std::map<host::TimerId, std::pair<base::Nanos, host::Task>> timers;
  host::TimerId last = 0;
  base::Nanos now = 0;

  void post(host::Task task) override { posted.push_back(std::move(task)); }
  host::TimerId after(base::Nanos delay, host::Task task) override {
    timers[++last] = {now + delay, std::move(task)};
    return last;
  }
  void cancel(host::TimerId id) override { timers.erase(id); }
  void on_turn_end(host::Task) override {}
  void hear_nested() override {}
  base::Nanos turn_start() override { return now; }

  bool run() {
    if (posted.empty()) return false;
    host::Task task = std::move(posted.front());
    posted.pop_front();
    task();
    return true;
  }
  void pass(base::Nanos time) {
    now += time;
    for (auto it = timers.begin(); it != timers.end();) {
      if (it->second.first > now) {
        ++it;
        continue;
      }
      host::Task task = std::move(it->second.second);
      timers.erase(it);
      task();
      it = timers.begin();
    }
  }
};

std::string entry(Position at, size_t size = 20) {
  std::string bytes;
  encode_entry({at, static_cast<base::Millis>(at.index), 1, EntryKind::effects},
               std::string(size, static_cast<char>('a' + at.index % 26)), bytes);
  return bytes;
}

SavedState state_of(Epoch epoch) {
  SavedState state;
  state.id = std::string(40, 'f');
  state.epoch = epoch;
  state.vote = 2;
  return state;
}

struct Bench : GroupWalEvents {
  persist::MemoryDisk disk;
  ManualLoop loop;
  std::unique_ptr<GroupWal> wal;
  size_t budget = SIZE_MAX;  // of disk requests until the crash
  std::vector<Position> found;
  GroupWal::Recovery recovery;
  Index written = 0;
  Index synced = 0;
  std::vector<std::string> told;
  uint64_t saved = 0;  // epoch of the last state saved

  void wal_written(Position upto) override { written = upto.index; }
  void wal_synced(Position upto) override { synced = upto.index; }
  void wal_failed(const std::string& error) override { told.push_back(error); }
  void wal_again(Position durable) override {
    told.push_back("again " + std::to_string(durable.index));
  }
  void wal_state_failed(const std::string& error) override { told.push_back("state " + error); }

  void pump() {
    for (bool more = true; more && budget > 0;) {
      const size_t count = disk.run(1);
      budget -= count;
      more = count > 0 || loop.run();
    }
  }
  bool open(Durability durability = Durability::fsync, uint64_t file_bytes = kWalFileBytes) {
    wal = std::make_unique<GroupWal>(disk, loop, kDir, *this, file_bytes);
    wal->set_sync(durability);
    found.clear();
    std::string outcome = "nothing";
    wal->open([this](const Entry& e, base::Bytes) { found.push_back(e.header.at); },
              [&](base::Result<GroupWal::Recovery> result) {
                outcome = result.ok() ? "" : result.error();
                if (result) recovery = result.value();
              });
    pump();
    if (budget > 0) CHECK(outcome == "");
    return outcome == "";
  }
  // The process ends; another one finds the files.
  void reopen(Durability durability = Durability::fsync) {
    auto files = disk.files;
    wal.reset();
    disk.run();
    disk.files = files;
    written = synced = 0;
    REQUIRE(open(durability));
  }
  void add(Epoch epoch, Index from, Index upto, size_t size = 20) {
    std::string bytes;
    for (Index index = from; index <= upto; ++index) bytes += entry({epoch, index}, size);
    wal->append(bytes, upto);
  }
  void put(Epoch epoch, Index from, Index upto, size_t size = 20) {
    add(epoch, from, upto, size);
    wal->flush();
    pump();
  }
  void save(uint64_t epoch) {
    wal->save_state(state_of(epoch), [this, epoch] { saved = epoch; });
    pump();
  }
  std::string close(std::optional<SavedState> last = {}) {
    std::string outcome = "nothing";
    wal->close([&](base::Result<> result) { outcome = result.ok() ? "" : result.error(); },
               std::move(last));
    pump();
    return outcome;
  }
  std::string path(uint64_t sequence) const {
    return std::string(kDir) + "/" + wal_file_name(sequence);
  }
  std::string names() const {
    std::string text;
    for (const auto& [name, bytes] : disk.files) text += name.substr(name.rfind('/') + 1) + " ";
    return text;
  }
  // "1:1-5 2:6-9": epoch and indexes.
  std::string log() const {
    std::string text;
    for (size_t i = 0; i < found.size(); ++i) {
      const bool begins = i == 0 || found[i].epoch != found[i - 1].epoch;
      if (begins)
        text += (i == 0 ? "" : " ") + std::to_string(found[i].epoch) + ":" +
                std::to_string(found[i].index);
      const bool ends = i + 1 == found.size() || found[i + 1].epoch != found[i].epoch;
      if (ends && !begins) text += "-" + std::to_string(found[i].index);
    }
    return text;
  }
};

TEST_CASE_FIXTURE(Bench, "a fresh directory, entries, and a second life") {
  REQUIRE(open());
  CHECK(recovery.fresh);
  CHECK(recovery.last == Position{});
  CHECK(names() == "log.0000000001 state ");
  save(3);
  put(1, 1, 3);
  put(1, 4, 4);
  CHECK(written == 4);
  CHECK(synced == 4);
  reopen();
  CHECK_FALSE(recovery.fresh);
  CHECK_FALSE(recovery.damaged);
  CHECK(recovery.report == "");
  CHECK(recovery.state.epoch == 3);
  CHECK(recovery.state.vote == 2);
  CHECK(log() == "1:1-4");
  CHECK(recovery.last == Position{1, 4});
  put(2, 5, 5);
  reopen();
  CHECK(log() == "1:1-4 2:5");
}

TEST_CASE_FIXTURE(Bench, "one append and one fsync per turn") {
  REQUIRE(open());
  disk.appends = disk.syncs = 0;
  for (Index index = 1; index <= 50; ++index) add(1, index, index);
  CHECK(wal->waiting_bytes() > 50 * 60);
  wal->flush();
  pump();
  CHECK(disk.appends == 1);
  CHECK(disk.syncs == 1);
  CHECK(wal->waiting_bytes() == 0);
  disk.appends = disk.syncs = 0;
  put(1, 51, 60);
  CHECK(disk.appends == 1);
  CHECK(disk.syncs == 1);
}

TEST_CASE_FIXTURE(Bench, "memory: written at once, synced after a second, then the promise") {
  REQUIRE(open(Durability::memory));
  put(1, 1, 5);
  CHECK(written == 5);
  CHECK(synced == 0);
  loop.pass(kWalSyncEvery);
  pump();
  CHECK(synced == 5);
  const size_t size = disk.files[path(1)].size();
  for (int i = 0; i < 5; ++i) {
    loop.pass(kWalSyncEvery);
    pump();
  }
  CHECK(disk.files[path(1)].size() == size + kWalBatchBytes);
  CHECK(loop.timers.empty());
}

TEST_CASE_FIXTURE(Bench, "an entry replaces what waits, what is on its way and what is on disk") {
  REQUIRE(open());
  put(1, 1, 10);
  add(1, 11, 14);
  add(2, 13, 13);  // in memory
  wal->flush();
  pump();
  CHECK(names() == "log.0000000001 state ");
  CHECK(synced == 13);
  add(2, 14, 20);
  wal->flush();
  written = synced = 0;
  add(3, 16, 17);  // on its way
  wal->flush();
  pump();
  CHECK(written == 17);
  CHECK(synced == 17);
  put(4, 5, 6);  // on disk
  CHECK(names() == "log.0000000001 log.0000000002 log.0000000003 state ");
  reopen();
  CHECK(log() == "1:1-4 4:5-6");
  CHECK_FALSE(recovery.damaged);
}

TEST_CASE_FIXTURE(Bench, "files are rolled, trimmed and removed") {
  REQUIRE(open(Durability::fsync, 2000));
  save(1);
  for (Index index = 1; index <= 100; ++index) put(1, index, index, 100);
  CHECK(disk.files.size() > 5);
  wal->trim(0);
  pump();
  CHECK(wal->base() == Position{});
  wal->trim(50);
  pump();
  const Position base = wal->base();
  CHECK(base.index > 30);
  CHECK(base.index <= 50);
  CHECK_FALSE(disk.files.contains(path(1)));
  reopen();
  CHECK(recovery.base == base);
  CHECK(found.front() == Position{1, base.index + 1});
  CHECK(recovery.last == Position{1, 100});
  CHECK_FALSE(recovery.damaged);
  wal->trim(1000);  // no further than what is synced; the present file stays
  pump();
  CHECK(wal->base() == Position{1, 100});
  CHECK(disk.files.size() == 2);
}

TEST_CASE_FIXTURE(Bench, "a restart leaves an empty log behind the position") {
  REQUIRE(open());
  put(1, 1, 10);
  add(1, 11, 12);
  wal->restart({5, 70});
  put(5, 71, 75);
  CHECK(synced == 75);
  CHECK(names() == "log.0000000002 state ");
  reopen();
  CHECK(recovery.base == Position{5, 70});
  CHECK(log() == "5:71-75");
  wal->restart({6, 3});  // also backwards
  pump();
  reopen();
  CHECK(recovery.last == Position{6, 3});
  CHECK_FALSE(recovery.damaged);
}

TEST_CASE_FIXTURE(Bench, "a failed append: told once, another file a second later") {
  REQUIRE(open());
  put(1, 1, 5);
  disk.append_error = "No space left on device";
  put(1, 6, 8);
  CHECK(told == std::vector<std::string>{"No space left on device"});
  put(1, 9, 9);  // forgotten
  for (int i = 0; i < 10; ++i) {
    loop.pass(kWalRetryAfter);
    pump();
  }
  CHECK(told.size() == 1);
  CHECK(disk.files.size() <= 3);  // no file is left per try
  disk.append_error = "";
  loop.pass(kWalRetryAfter);
  pump();
  REQUIRE(told.size() == 2);
  CHECK(told[1] == "again 5");
  put(1, 6, 9);
  CHECK(synced == 9);
  reopen();
  CHECK(log() == "1:1-9");
  CHECK_FALSE(recovery.damaged);
}

TEST_CASE_FIXTURE(Bench, "a failed fsync: what was promised and is not there again is damage") {
  REQUIRE(open(Durability::memory));
  put(1, 1, 5);
  loop.pass(kWalSyncEvery);
  pump();
  put(1, 6, 8);
  CHECK(written == 8);
  disk.sync_error = "Input/output error";
  loop.pass(kWalSyncEvery);
  pump();
  CHECK(told == std::vector<std::string>{"Input/output error"});
  disk.sync_error = "";
  loop.pass(kWalRetryAfter);
  pump();
  CHECK(told.back() == "again 5");
  SUBCASE("not handed over again") {
    put(1, 6, 6);
    reopen(Durability::memory);
    CHECK(log() == "1:1-6");
    CHECK(recovery.damaged);
  }
  SUBCASE("handed over again") {
    put(1, 6, 8);
    reopen(Durability::memory);
    CHECK(log() == "1:1-8");
    CHECK_FALSE(recovery.damaged);
  }
  SUBCASE("given up by the group") {
    put(2, 6, 6);
    reopen(Durability::memory);
    CHECK(log() == "1:1-5 2:6");
    CHECK_FALSE(recovery.damaged);
  }
}

TEST_CASE_FIXTURE(Bench, "entries replaced during a failure are not lost to it") {
  REQUIRE(open());
  put(1, 1, 5);
  disk.append_error = "full";
  put(1, 6, 6);
  add(2, 4, 4);
  disk.append_error = "";
  loop.pass(kWalRetryAfter);
  pump();
  CHECK(told.back() == "again 3");
  put(2, 4, 5);
  reopen();
  CHECK(log() == "1:1-3 2:4-5");
}

TEST_CASE_FIXTURE(Bench, "states are saved in order, the latest wins, failures are tried again") {
  REQUIRE(open());
  std::vector<int> done;
  for (int i = 1; i <= 5; ++i)
    wal->save_state(state_of(static_cast<Epoch>(i)), [&done, i] { done.push_back(i); });
  pump();
  CHECK(done == std::vector<int>{1, 2, 3, 4, 5});
  disk.sync_error = "Input/output error";
  wal->save_state(state_of(9), [&done] { done.push_back(9); });
  pump();
  loop.pass(kGroupStateRetryAfter);
  pump();
  CHECK(told == std::vector<std::string>{"state Input/output error"});
  CHECK(done.back() == 5);
  disk.sync_error = "";
  loop.pass(kGroupStateRetryAfter);
  pump();
  CHECK(done.back() == 9);
  reopen();
  CHECK(recovery.state.epoch == 9);
}

TEST_CASE_FIXTURE(Bench, "close writes what waits and the last promise") {
  REQUIRE(open(Durability::memory));
  add(1, 1, 5);
  CHECK(close() == "");
  reopen();
  CHECK(log() == "1:1-5");
  disk.append_error = "full";
  put(1, 6, 6);
  CHECK(close() == "the disk has failed");
}

TEST_CASE_FIXTURE(Bench, "a close that fails leaves the log open") {
  REQUIRE(open());
  save(3);
  put(1, 1, 5);
  disk.sync_error = "Input/output error";
  add(1, 6, 6);
  CHECK(close(state_of(4)) == "Input/output error");
  CHECK(told == std::vector<std::string>{"Input/output error"});
  disk.sync_error = "";
  loop.pass(kWalRetryAfter);
  pump();
  CHECK(told.back() == "again 5");
  put(1, 6, 7);
  CHECK(synced == 7);
  CHECK(close(state_of(5)) == "");
  reopen();
  CHECK(log() == "1:1-7");
  CHECK(recovery.state.epoch == 5);
}

TEST_CASE_FIXTURE(Bench, "a last state that may or may not be on disk is taken back first") {
  REQUIRE(open(Durability::memory));
  save(3);
  put(1, 1, 5);
  for (int i = 0; i < 3; ++i) {  // all is synced, the promise is written
    loop.pass(kWalSyncEvery);
    pump();
  }
  disk.sync_error = "Input/output error";
  CHECK(close(state_of(4)) == "Input/output error");
  CHECK(told == std::vector<std::string>{"state Input/output error"});
  put(1, 6, 6);
  CHECK(written == 5);
  disk.sync_error = "";
  loop.pass(kGroupStateRetryAfter);
  pump();
  CHECK(written == 6);
  reopen();
  CHECK(recovery.state.epoch == 3);
  CHECK(log() == "1:1-6");
}

TEST_CASE_FIXTURE(Bench, "a state that could not be saved is tried again by close, at once") {
  REQUIRE(open());
  put(1, 1, 5);
  for (int i = 0; i < 3; ++i) {
    loop.pass(kWalSyncEvery);
    pump();
  }
  disk.sync_error = "Input/output error";
  save(3);
  CHECK(told == std::vector<std::string>{"state Input/output error"});
  CHECK(close() == "Input/output error");
  disk.sync_error = "";
  CHECK(close() == "");
  reopen();
  CHECK(recovery.state.epoch == 3);
}

// The file that is left is synced for the first time when the next one has begun; then the next one
// fails. What the first holds was reported synced, and a later entry replaces a part of it.
TEST_CASE_FIXTURE(Bench, "a file whose first fsync is its last one counts as on disk") {
  REQUIRE(open(Durability::memory, 400));
  save(1);
  put(1, 1, 10, 100);  // the file is full, and not synced
  REQUIRE(synced == 10);
  CHECK(names() == "log.0000000001 log.0000000002 state ");
  disk.append_error = "full";
  put(1, 11, 11);
  save(2);  // says where the log begins
  disk.append_error = "";
  put(2, 5, 5);  // while nothing can be written
  loop.pass(kWalRetryAfter);
  pump();
  CHECK(told.back() == "again 4");
  put(2, 5, 6);
  reopen(Durability::memory);
  CHECK_FALSE(recovery.damaged);
  CHECK(log() == "1:1-4 2:5-6");
}

// ---- damage

TEST_CASE("a file that ends anywhere has a torn tail") {
  Bench whole;
  REQUIRE(whole.open());
  whole.save(1);
  whole.put(1, 1, 3);
  whole.put(1, 4, 5);
  const std::string bytes = whole.disk.files[whole.path(1)];
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    Bench torn;
    torn.disk.files = whole.disk.files;
    torn.disk.files[torn.path(1)].resize(size);
    REQUIRE(torn.open());
    CHECK(torn.recovery.damaged == (size < kWalHeaderBytes));  // a file known to be there
    if (size >= kWalHeaderBytes) {
      torn.put(2, torn.recovery.last.index + 1, torn.recovery.last.index + 2);
      const Index end = torn.recovery.last.index + 2;
      torn.reopen();
      CHECK(torn.recovery.last == Position{2, end});
      CHECK_FALSE(torn.recovery.damaged);
    }
  }
}

TEST_CASE("any flipped bit of a closed log is told or harmless") {
  Bench whole;
  REQUIRE(whole.open(Durability::fsync, 400));
  whole.save(7);
  for (Index index = 1; index <= 12; ++index) whole.put(1, index, index);
  whole.put(2, 9, 10);
  REQUIRE(whole.close() == "");
  for (const auto& [name, bytes] : whole.disk.files) {
    for (size_t at = 0; at < bytes.size(); ++at) {
      CAPTURE(name);
      CAPTURE(at);
      Bench flipped;
      flipped.disk.files = whole.disk.files;
      flipped.disk.files[name][at] ^= static_cast<char>(1 << at % 8);
      REQUIRE(flipped.open());
      const bool all = flipped.log() == "1:1-8 2:9-10" && flipped.recovery.state.epoch == 7;
      CHECK((all || flipped.recovery.damaged));
      CHECK((!flipped.recovery.damaged || flipped.recovery.report != ""));
    }
  }
}

TEST_CASE("a missing file is damage, and told until its consequence is saved") {
  Bench whole;
  REQUIRE(whole.open(Durability::fsync, 400));
  whole.save(7);
  for (Index index = 1; index <= 30; ++index) whole.put(1, index, index);
  REQUIRE(whole.close() == "");
  REQUIRE(whole.disk.files.size() > 5);
  for (const auto& [name, bytes] : whole.disk.files) {
    CAPTURE(name);
    Bench left;
    left.disk.files = whole.disk.files;
    left.disk.files.erase(name);
    REQUIRE(left.open());
    CHECK(left.recovery.damaged);
    const Position last = left.recovery.last;
    left.put(3, last.index + 1, last.index + 2);  // waits
    CHECK(left.written == 0);
    left.reopen();
    CHECK(left.recovery.damaged);
    CHECK(left.recovery.last == last);
    left.save(8);
    left.put(3, last.index + 1, last.index + 2);
    CHECK(left.synced == last.index + 2);
    left.reopen();
    CHECK_FALSE(left.recovery.damaged);
    CHECK(left.recovery.state.epoch == 8);
    CHECK(left.recovery.last == Position{3, last.index + 2});
  }
}

// ---- crashes

// Everything a log does, until the disk stops.
struct Script : Bench {
  Position promised;  // whichever of synced and written the life of the machine keeps
  std::map<Position, Position> before;
  std::vector<Position> entries;
  uint64_t asked = 0;

  Position last() const { return entries.empty() ? Position{} : entries.back(); }
  void wal_written(Position upto) override {
    Bench::wal_written(upto);
    promised = entries.at(upto.index - first);
  }
  void put_next(Epoch epoch, Index from, Index upto) {
    while (!entries.empty() && entries.back().index >= from) entries.pop_back();
    if (!entries.empty() && promised > entries.back()) promised = entries.back();
    for (Index index = from; index <= upto; ++index) {
      before[{epoch, index}] = entries.empty() ? at : entries.back();
      entries.push_back({epoch, index});
    }
    if (budget > 0) put(epoch, from, upto);
  }
  void ask(uint64_t epoch) {
    asked = epoch;
    if (budget > 0) save(epoch);
  }
  void play() {
    if (!open(Durability::memory, 500)) return;
    ask(1);
    for (Index index = 1; index <= 16; ++index) put_next(1, index, index);
    put_next(2, 12, 18);
    second();
    if (budget > 0) wal->trim(11);
    ask(2);
    put_next(2, 19, 30);
    second();
    if (budget > 0) wal->trim(25);
    pump();
    ask(3);
    if (budget > 0) {
      entries.clear();
      at = {4, 100};
      first = 101;
      wal->restart(at);
      pump();
    }
    if (at.index == 100) put_next(4, 101, 110);
    second();
    if (budget > 0) close();
  }
  void second() {
    if (budget == 0) return;
    loop.pass(kWalSyncEvery);
    pump();
  }
  Position at;
  Index first = 1;
};

TEST_CASE("a crash behind any request of the disk loses nothing that was written") {
  size_t requests = 0;
  for (size_t budget = 0;; ++budget) {
    CAPTURE(budget);
    Script script;
    script.budget = budget;
    script.play();
    Bench after;
    after.disk.files = script.disk.files;
    REQUIRE(after.open());
    CHECK_FALSE(after.recovery.damaged);
    CHECK(after.recovery.state.epoch >= script.saved);
    CHECK(after.recovery.state.epoch <= script.asked);
    Position last = after.recovery.base;
    bool held = script.promised.index <= last.index;
    for (Position entry : after.found) {
      CHECK(entry.index == last.index + 1);
      CHECK(script.before.contains(entry));
      if (last != Position{}) CHECK(script.before[entry] == last);
      held = held || entry == script.promised;
      last = entry;
    }
    CHECK(held);
    CHECK(after.recovery.last == last);
    // It goes on from there.
    after.put(9, last.index + 1, last.index + 3);
    after.reopen();
    CHECK_FALSE(after.recovery.damaged);
    CHECK(after.recovery.last == Position{9, last.index + 3});
    if (script.budget > 0) {
      requests = budget;
      break;
    }
  }
  CHECK(requests > 100);
}

// ---- parts

TEST_CASE("epoch runs") {
  EpochRuns runs;
  runs.restart({2, 10});
  for (Index index = 11; index <= 15; ++index) runs.append({2, index});
  for (Index index = 16; index <= 20; ++index) runs.append({5, index});
  CHECK(runs.at(10) == Position{2, 10});
  CHECK(runs.at(15) == Position{2, 15});
  CHECK(runs.at(16) == Position{5, 16});
  CHECK(runs.holds({5, 20}));
  CHECK_FALSE(runs.holds({2, 16}));
  CHECK_FALSE(runs.holds({5, 21}));
  CHECK_FALSE(runs.follows({4, 21}));
  EpochRuns inside = runs;
  inside.trim({2, 12});
  CHECK(inside.at(13) == Position{2, 13});
  CHECK(inside.at(17) == Position{5, 17});
  inside.trim({2, 15});
  CHECK(inside.at(16) == Position{5, 16});
  inside.trim({5, 20});
  CHECK(inside.last() == Position{5, 20});
  inside.append({5, 21});
  CHECK(inside.at(21) == Position{5, 21});
  runs.truncate(15);
  CHECK(runs.last() == Position{2, 15});
  runs.append({7, 16});
  CHECK(runs.at(16) == Position{7, 16});
  runs.truncate(10);
  CHECK(runs.last() == Position{2, 10});
}

TEST_CASE("names and the state file") {
  CHECK(wal_file_name(7) == "log.0000000007");
  CHECK(wal_sequence("log.0000000007") == 7);
  CHECK_FALSE(wal_sequence("log.7"));
  CHECK_FALSE(wal_sequence("log.00000000x7"));
  CHECK_FALSE(wal_sequence("state"));
  const GroupSuperblock block{
      {std::string(40, 'e'), 12, 3, 99, "boot id", {}, {}}, 4, 6, {11, 500}};
  CHECK(decode_superblock(encode_superblock(block)) == block);
  CHECK(decode_superblock(encode_superblock({})) == GroupSuperblock{});
  CHECK_FALSE(decode_superblock(""));
}

TEST_CASE("a batch is only taken for one in its place, and found wherever reads cut it") {
  char batch[kWalBatchBytes];
  encode_wal_batch({0, {3, 40}}, 5, 1000, batch);
  const std::string bytes = std::string(77, 'Q') + std::string(batch, sizeof batch) + "QBAT...";
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    WalScan scan(5, 1000 - 77);
    scan.feed(base::Bytes(bytes).substr(0, cut));
    CHECK(scan.fed() == 1000 - 77 + cut);
    scan.feed(base::Bytes(bytes).substr(cut));
    CHECK(scan.promised() == Position{3, 40});
  }
  WalScan elsewhere(5, 1000);
  elsewhere.feed(bytes);
  CHECK_FALSE(elsewhere.promised());
}

}  // namespace
}  // namespace quoll::cluster
