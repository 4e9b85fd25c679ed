#include "host/uv_side_loop.h"

#include <atomic>
#include <thread>

#include "host/uv_datagrams.h"
#include "tests/unit/host/host_fixture.h"

namespace quoll::host {
namespace {

// Answers datagrams, counts, and says on which thread.
struct EchoWork final : SideWork {
  Endpoint at{Endpoint::Family::ipv4, "127.0.0.1", 0};
  SideLoop& side;
  std::thread::id thread;
  std::atomic<int> rings{0};
  std::atomic<int> ticks{0};
  std::atomic<bool> ended{false};
  SideHost* host = nullptr;

  explicit EchoWork(SideLoop& side) : side(side) {}
  base::Result<> begin(SideHost& given) override {
    host = &given;
    thread = std::this_thread::get_id();
    tick();
    return host->datagrams.bind(
        at, [this](const Endpoint& from, Bytes bytes) { host->datagrams.send(from, bytes); });
  }
  void tick() {
    ++ticks;
    host->loop.after(base::kNanosPerMilli, [this] { tick(); });
  }
  void rung() override {
    ++rings;
    side.ring_main();
  }
  void end() override {
    CHECK(std::this_thread::get_id() == thread);
    ended = true;
  }
};

}  // namespace

TEST_CASE("side loop: a thread that goes on while the main loop is busy, rung both ways") {
  HostFixture f;
  SideLoop& side = f.host.side;
  EchoWork work(side);
  int rung = 0;
  REQUIRE(side.start(work, [&] { ++rung; }).ok());
  CHECK(work.thread != std::this_thread::get_id());
  // The main loop does not turn here.
  const int before = work.ticks;
  while (work.ticks < before + 5) std::this_thread::yield();
  side.ring();
  while (work.rings == 0) std::this_thread::yield();
  CHECK(rung == 0);
  REQUIRE(f.run_until([&] { return rung > 0; }));
  side.stop();
  CHECK(work.ended);
  const int after = work.ticks;
  side.stop();  // nothing runs: nothing happens
  f.run_for(3 * base::kNanosPerMilli);
  CHECK(work.ticks == after);
}

TEST_CASE("side loop: work that cannot begin is refused, other work may follow") {
  HostFixture f;
  UvLoop other;
  UvDatagrams taken(other);
  REQUIRE(taken.bind({Endpoint::Family::ipv4, "127.0.0.1", 0}, [](const Endpoint&, Bytes) {}).ok());
  EchoWork work(f.host.side);
  work.at = taken.bound(0);
  CHECK(f.host.side.start(work, [] {}).error() == "bind: Address already in use");
  CHECK_FALSE(work.ended);
  EchoWork second(f.host.side);
  bool rung = false;
  // Ended from the ring itself.
  REQUIRE(f.host.side
              .start(second,
                     [&] {
                       rung = true;
                       f.host.side.stop();
                     })
              .ok());
  f.host.side.ring();
  REQUIRE(f.run_until([&] { return rung; }));
  CHECK(second.ended);
}

}  // namespace quoll::host
