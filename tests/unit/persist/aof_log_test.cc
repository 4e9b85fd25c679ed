// AofLog on a real disk: the order and number of its requests, its answers to errors. Crashes are
// played in tests/sim/aof_log_scenarios.cc.
#include "persist/aof_log.h"

#include "tests/unit/persist/aof_feeder.h"
#include "tests/unit/persist/aof_fixture.h"

namespace quoll::persist {
namespace {

struct LogFixture : AofFixture {
  LogFixture() {
    load(directory);
    host.loop.on_turn_end([this] { log.flush(); });
  }

  AofDirectory directory{host.loop, disk, place};
  std::vector<store::Seq> reported;
  std::vector<std::string> states;
  int rooms = 0;
  std::vector<AofPlace> places;
  AofLog log{host.clock,
             host.loop,
             disk,
             directory,
             {[this](store::Seq seq) { reported.push_back(seq); },
              [this](bool ok, const std::string& error) { states.push_back(ok ? "ok" : error); },
              [this] { ++rooms; }, [this](const AofPlace& place) { places.push_back(place); }}};

  store::Seq seq = 0;

  void commit(const std::string& value = "v") {
    ++seq;
    const std::string key = std::to_string(seq);
    const base::Bytes args[] = {"SET", key, value};
    const store::Effect effects[] = {{0, args}};
    log.absorb({seq, host.clock.wall(), store::Origin::client, false, {}, effects});
  }
  void open() {
    REQUIRE(wait([&](host::OnDone done) { log.open(seq, done); }) == "");
  }
  bool until_durable() {
    return run_until([this] { return log.durable_seq() == seq; });
  }
  std::vector<std::string> keys(const std::string& name) {
    const AofSeen seen = read_aof(read(inside(name)), 1000);
    CHECK(seen.end.kind == AofEnd::Kind::clean);
    std::vector<std::string> found;
    for (const auto& command : seen.commands) found.push_back(command.args[1]);
    return found;
  }
};

using Keys = std::vector<std::string>;

TEST_CASE_FIXTURE(LogFixture, "always: one append and one fsync for all commits of a turn") {
  open();
  CHECK(manifest() == "file appendonly.aof.1.incr.aof seq 1 type i\n");
  log.set_sync(AofSync::always);
  disk.appends = disk.syncs = 0;
  for (int i = 0; i < 50; ++i) commit();
  CHECK(reported.empty());
  CHECK(log.stats().buffer_length > 0);
  REQUIRE(until_durable());
  CHECK(reported == std::vector<store::Seq>{50});
  CHECK(disk.appends == 1);
  CHECK(disk.syncs == 1);
  CHECK(keys("appendonly.aof.1.incr.aof").size() == 50);
  CHECK(log.stats().buffer_length == 0);
  CHECK(log.stats().current_size == read(inside("appendonly.aof.1.incr.aof")).size());
}

TEST_CASE_FIXTURE(LogFixture,
                  "always: turns queue behind a running fsync where the disk gathers them") {
  open();
  log.set_sync(AofSync::always);
  // Clients that do not come back: nothing is waited for any more.
  for (unsigned i = 0; i < GroupCommit::kMissesMax; ++i) {
    for (int n = 0; n < 4; ++n) commit();
    REQUIRE(until_durable());
    commit();
    REQUIRE(until_durable());
  }
  const size_t before = keys("appendonly.aof.1.incr.aof").size();
  for (const bool gathering : {true, false}) {
    CAPTURE(gathering);
    disk.gathering = gathering;
    disk.appends = disk.syncs = 0;
    for (int turn = 0; turn < 3; ++turn) {
      commit();
      log.flush();
    }
    CHECK(disk.appends == (gathering ? 3 : 1));
    CHECK(disk.syncs == (gathering ? 3 : 1));
    REQUIRE(until_durable());
    CHECK(log.stats().pending_fsync == 0);
  }
  CHECK(keys("appendonly.aof.1.incr.aof").size() == before + 6);
}

TEST_CASE_FIXTURE(LogFixture,
                  "always: what queued behind a failed append is written once, in order") {
  open();
  log.set_sync(AofSync::always);
  disk.append_error = "No space left on device";
  for (int turn = 0; turn < 3; ++turn) {
    commit();
    log.flush();
  }
  REQUIRE(run_until([this] { return !log.last_write_ok(); }));
  disk.append_error.clear();
  REQUIRE(until_durable());
  CHECK(keys("appendonly.aof.1.incr.aof") == Keys{"1", "2", "3"});
  CHECK(log.last_write_ok());
}

TEST_CASE_FIXTURE(LogFixture, "everysec: written at once, synced within the second") {
  open();
  log.set_sync(AofSync::everysec);
  disk.appends = disk.syncs = 0;
  for (int i = 0; i < 20; ++i) {
    commit();
    run_for(5 * base::kNanosPerMilli);
  }
  CHECK(keys("appendonly.aof.1.incr.aof").size() == 20);
  CHECK(disk.syncs == 0);
  REQUIRE(until_durable());
  CHECK(disk.syncs == 1);
  run_for(1'200 * base::kNanosPerMilli);
  CHECK(disk.syncs == 1);  // nothing was written since
}

TEST_CASE_FIXTURE(LogFixture, "no: written, synced only at the end") {
  open();
  log.set_sync(AofSync::no);
  disk.syncs = 0;
  commit();
  run_for(1'200 * base::kNanosPerMilli);
  CHECK(keys("appendonly.aof.1.incr.aof") == Keys{"1"});
  CHECK(disk.syncs == 0);
  CHECK(wait([&](host::OnDone done) { log.close(done); }) == "");
  CHECK(disk.syncs == 1);
  CHECK(!log.listening());
  CHECK(reported == std::vector<store::Seq>{1});
}

TEST_CASE_FIXTURE(LogFixture, "always, suspended: written counts") {
  open();
  log.set_sync(AofSync::always);
  log.suspend_sync(true);
  disk.syncs = 0;
  commit();
  REQUIRE(until_durable());
  CHECK(disk.syncs == 0);
  log.suspend_sync(false);
  REQUIRE(run_until([this] { return disk.syncs == 1; }));
}

TEST_CASE_FIXTURE(LogFixture, "a rewrite splits at the boundary and the old files go") {
  open();
  commit();
  std::string begun = "not called";
  log.begin_increment(seq, [&](base::Result<> result) { begun = result ? "" : result.error(); });
  commit();
  REQUIRE(run_until([&] { return begun != "not called"; }));
  CHECK(begun == "");
  CHECK(manifest() ==
        "file appendonly.aof.1.incr.aof seq 1 type i\n"
        "file appendonly.aof.2.incr.aof seq 2 type i\n");
  CHECK(reported == std::vector<store::Seq>{1});  // the old increment is synced before
  write(inside("temp"), "base");
  CHECK(wait([&](host::OnDone done) { log.publish_base("temp", true, 4, done); }) == "");
  REQUIRE(run_until([&] { return !exists(inside("appendonly.aof.1.incr.aof")); }));
  REQUIRE(until_durable());
  CHECK(keys("appendonly.aof.2.incr.aof") == Keys{"2"});
  const uint64_t size = 4 + read(inside("appendonly.aof.2.incr.aof")).size();
  CHECK(log.stats().current_size == size);
  CHECK(log.stats().base_size <= size);
  REQUIRE(run_until([&] { return manifest().find("type h") == std::string::npos; }));
  CHECK(manifest() ==
        "file appendonly.aof.1.base.rdb seq 1 type b\n"
        "file appendonly.aof.2.incr.aof seq 2 type i\n");
}

TEST_CASE_FIXTURE(LogFixture, "switched on while running: durable once the base is there") {
  seq = 7;
  log.set_sync(AofSync::always);
  CHECK(wait([&](host::OnDone done) { log.begin_increment(7, done); }) == "");
  commit();
  REQUIRE(run_until([&] { return exists(inside("temp-appendonly.aof.incr")); }));
  run_for(30 * base::kNanosPerMilli);
  CHECK(keys("temp-appendonly.aof.incr") == Keys{"8"});
  CHECK(reported.empty());
  CHECK(!exists(inside("appendonly.aof.manifest")));
  write(inside("temp"), "base");
  CHECK(wait([&](host::OnDone done) { log.publish_base("temp", true, 4, done); }) == "");
  REQUIRE(until_durable());
  CHECK(directory.manifest().increments().size() == 1);
  CHECK(keys("appendonly.aof.1.incr.aof") == Keys{"8"});
  CHECK(!exists(inside("temp-appendonly.aof.incr")));
}

TEST_CASE_FIXTURE(LogFixture, "closed while its base is not there: the temporary file goes") {
  CHECK(wait([&](host::OnDone done) { log.begin_increment(0, done); }) == "");
  commit();
  CHECK(wait([&](host::OnDone done) { log.close(done); }) ==
        "The append-only file has no base yet");
  REQUIRE(run_until([&] { return !exists(inside("temp-appendonly.aof.incr")); }));
  CHECK(wait([&](host::OnDone done) { log.close(done); }) == "");
}

TEST_CASE_FIXTURE(LogFixture, "a failed append holds everything and is made good") {
  open();
  log.set_sync(AofSync::always);
  commit();
  REQUIRE(until_durable());
  disk.append_error = "No space left on device";
  commit();
  REQUIRE(run_until([this] { return !log.last_write_ok(); }));
  CHECK(log.last_error() == "No space left on device");
  commit();
  run_for(50 * base::kNanosPerMilli);
  CHECK(log.durable_seq() == 1);
  disk.append_error.clear();
  REQUIRE(until_durable());
  CHECK(log.last_write_ok());
  CHECK(states == std::vector<std::string>{"No space left on device", "ok"});
  CHECK(keys("appendonly.aof.1.incr.aof") == Keys{"1", "2", "3"});
}

TEST_CASE_FIXTURE(LogFixture, "bytes of a failed fsync move to a fresh increment") {
  open();
  log.set_sync(AofSync::always);
  commit();
  REQUIRE(until_durable());
  disk.sync_error = "Input/output error";
  commit();
  REQUIRE(run_until([this] { return !log.last_write_ok(); }));
  commit();
  run_for(50 * base::kNanosPerMilli);
  CHECK(log.durable_seq() == 1);
  CHECK(manifest() == "file appendonly.aof.1.incr.aof seq 1 type i\n");
  disk.sync_error.clear();
  REQUIRE(until_durable());
  CHECK(log.last_write_ok());
  CHECK(keys("appendonly.aof.1.incr.aof") == Keys{"1"});
  const auto& increments = directory.manifest().increments();
  REQUIRE(increments.size() == 2);
  CHECK(keys(increments.back().name) == Keys{"2", "3"});
  const AofSeen seen = read_aof(read(inside(increments.back().name)), 100);
  CHECK(read(inside(increments.back().name)).starts_with("*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"));
}

TEST_CASE_FIXTURE(LogFixture, "it is told where commits stand, also when they move") {
  seq = 4;
  open();
  log.set_sync(AofSync::always);
  commit();
  commit();
  REQUIRE(until_durable());
  const uint64_t first = read(inside("appendonly.aof.1.incr.aof")).size();
  commit();
  REQUIRE(until_durable());
  REQUIRE(places.size() == 2);
  auto is = [](const AofPlace& place, int64_t increment, uint64_t offset, store::Seq after) {
    return place.increment == increment && place.offset == offset && place.after == after;
  };
  CHECK(is(places[0], 1, 0, 4));
  CHECK(!places[0].database);
  CHECK(is(places[1], 1, first, 6));
  CHECK(places[1].database == 0u);
  disk.sync_error = "Input/output error";
  commit();
  REQUIRE(run_until([this] { return !log.last_write_ok(); }));
  disk.sync_error.clear();
  REQUIRE(until_durable());
  CHECK(places.back().increment == 2);
  CHECK(places.back().after == 7);
}

TEST_CASE_FIXTURE(LogFixture, "what was written before the base stood is told with it") {
  seq = 7;
  CHECK(wait([&](host::OnDone done) { log.begin_increment(7, done); }) == "");
  commit();
  REQUIRE(run_until([this] { return log.stats().buffer_length == 0; }));
  CHECK(places.empty());
  write(inside("temp"), "base");
  CHECK(wait([&](host::OnDone done) { log.publish_base("temp", true, 4, done); }) == "");
  REQUIRE(places.size() == 1);
  CHECK(places[0].increment == 1);
  CHECK(places[0].offset == 0);
  CHECK(places[0].after == 7);
}

TEST_CASE_FIXTURE(LogFixture, "a hole in untraced bytes asks for a base") {
  open();
  log.set_sync(AofSync::no);
  commit();
  REQUIRE(run_until([this] { return log.stats().buffer_length == 0; }));
  run_for(20 * base::kNanosPerMilli);
  disk.sync_error = "Input/output error";
  log.set_sync(AofSync::always);
  REQUIRE(run_until([this] { return log.needs_base(); }));
  disk.sync_error.clear();
  CHECK(!log.last_write_ok());
  commit();
  CHECK(wait([&](host::OnDone done) { log.begin_increment(seq, done); }) == "");
  commit();
  run_for(30 * base::kNanosPerMilli);
  CHECK(reported.empty());
  write(inside("temp"), "base");
  CHECK(wait([&](host::OnDone done) { log.publish_base("temp", true, 4, done); }) == "");
  REQUIRE(until_durable());
  CHECK(log.last_write_ok());
  CHECK(!log.needs_base());
  CHECK(keys(directory.manifest().increments().back().name) == Keys{"3"});
}

TEST_CASE_FIXTURE(LogFixture, "clients are held while too much waits for the disk") {
  open();
  log.set_sync(AofSync::always);
  disk.append_error = "No space left on device";
  const std::string large(kAofBufferBytesMax / 8, 'x');
  for (int i = 0; i < 9 && !log.full(); ++i) {
    commit(large);
    run_for(base::kNanosPerMilli);
  }
  CHECK(log.full());
  CHECK(rooms == 0);
  disk.append_error.clear();
  REQUIRE(until_durable());
  CHECK(!log.full());
  CHECK(rooms == 1);
}

TEST_CASE_FIXTURE(LogFixture, "closing does not wait for a disk that fails") {
  open();
  disk.append_error = "No space left on device";
  commit();
  CHECK(wait([&](host::OnDone done) { log.close(done); }) == "No space left on device");
  disk.append_error.clear();
  CHECK(log.last_write_ok());
  seq = 0;
  open();
  commit();
  CHECK(wait([&](host::OnDone done) { log.close(done); }) == "");
  CHECK(keys("appendonly.aof.1.incr.aof") == Keys{"1"});
}

}  // namespace
}  // namespace quoll::persist
