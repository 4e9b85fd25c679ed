#include "host/uv_loop.h"

#include <csignal>
#include <vector>

#include "tests/unit/host/host_fixture.h"

namespace quoll::host {

TEST_CASE("loop: posted tasks run in order, in a later turn") {
  HostFixture f;
  std::vector<int> order;
  int turn = 0;
  std::vector<int> turns;
  f.host.loop.on_turn_end([&] { ++turn; });
  f.host.loop.post([&] {
    order.push_back(1);
    turns.push_back(turn);
    f.host.loop.post([&] {
      order.push_back(3);
      turns.push_back(turn);
    });
  });
  f.host.loop.post([&] { order.push_back(2); });
  REQUIRE(f.run_until([&] { return order.size() == 3; }));
  CHECK(order == std::vector<int>{1, 2, 3});
  CHECK(turns[1] == turns[0] + 1);
}

TEST_CASE("loop: turn-end tasks run once per turn, after the turn's tasks, in order") {
  HostFixture f;
  std::string trace;
  f.host.loop.on_turn_end([&] { trace += 'x'; });
  f.host.loop.on_turn_end([&] { trace += 'y'; });
  f.host.loop.post([&] {
    trace.clear();
    trace += 'a';
    f.host.loop.post([&] { trace += 'c'; });
  });
  f.host.loop.post([&] { trace += 'b'; });
  REQUIRE(f.run_until([&] { return trace.find('c') != std::string::npos; }));
  CHECK(trace == "abxycxy");
}

TEST_CASE("loop: what is left for before_sleep runs once, behind the turn-end tasks") {
  UvLoop loop;
  std::string trace;
  loop.on_turn_end([&] {
    trace += 'x';
    if (trace.size() == 2) loop.before_sleep([&] { trace += 'z'; });
    if (trace.size() >= 6) loop.stop();
  });
  loop.post([&] {
    trace.assign(1, 'a');
    loop.before_sleep([&] {
      trace += 'y';
      loop.before_sleep([&] { trace += 'w'; });
      loop.post([] {});
    });
  });
  loop.run();
  CHECK(trace == "axyzwx");
}

TEST_CASE("loop: another turn follows at once where background work asks for it") {
  UvLoop loop;
  int turns = 0;
  loop.on_turn_end([&] {
    if (++turns < 4) return loop.turn_again();
    loop.stop();
  });
  loop.turn_again();  // nothing else would ever wake the loop
  loop.run();
  CHECK(turns == 4);
}

TEST_CASE("loop: timers fire in order of their deadlines and never early") {
  HostFixture f;
  Nanos begin = f.host.clock.steady();
  std::vector<int> order;
  std::vector<Nanos> late;
  auto arm = [&](int name, Nanos delay) {
    f.host.loop.after(delay, [&, name, delay] {
      order.push_back(name);
      late.push_back(f.host.clock.steady() - begin - delay);
    });
  };
  arm(3, 12'000'000);
  arm(1, 2'500'000);
  arm(2, 2'500'000);  // equal deadlines: order of setting
  arm(0, 0);
  REQUIRE(f.run_until([&] { return order.size() == 4; }));
  CHECK(order == std::vector<int>{0, 1, 2, 3});
  for (Nanos each : late) CHECK(each >= 0);
}

TEST_CASE("loop: a cancelled timer stays silent; unknown and fired ids are ignored") {
  HostFixture f;
  bool fired = false;
  bool later = false;
  TimerId victim = f.host.loop.after(1'000'000, [&] { fired = true; });
  TimerId first = f.host.loop.after(500'000, [&] { f.host.loop.cancel(victim); });
  f.host.loop.after(4'000'000, [&] { later = true; });
  REQUIRE(f.run_until([&] { return later; }));
  CHECK_FALSE(fired);
  f.host.loop.cancel(first);
  f.host.loop.cancel(0);
  f.host.loop.cancel(123456);
}

TEST_CASE("loop: a timer that sets itself with no delay leaves room for other turns") {
  HostFixture f;
  int count = 0;
  int turns = 0;
  std::function<void()> again = [&] {
    if (++count < 5) f.host.loop.after(0, again);
  };
  f.host.loop.on_turn_end([&] { ++turns; });
  f.host.loop.after(0, again);
  REQUIRE(f.run_until([&] { return count == 5; }));
  CHECK(turns >= 5);
}

TEST_CASE("loop: turn_start stands still within a turn and moves between turns") {
  HostFixture f;
  Nanos start = 0;
  Nanos later = 0;
  f.host.loop.post([&] {
    start = f.host.loop.turn_start();
    Nanos until = f.host.clock.steady() + 1'000'000;
    while (f.host.clock.steady() < until) {
    }
    CHECK(f.host.loop.turn_start() == start);
    CHECK(f.host.clock.steady() - start >= 1'000'000);
    f.host.loop.post([&] { later = f.host.loop.turn_start(); });
  });
  REQUIRE(f.run_until([&] { return later != 0; }));
  CHECK(later - start >= 1'000'000);
}

TEST_CASE("loop: tasks pending at the end of the host are dropped, not run") {
  bool ran = false;
  auto held = std::make_shared<int>(1);
  {
    UvHost uv;
    uv.host().loop.after(0, [&ran, held] { ran = true; });
    uv.host().loop.post([&ran, held] { ran = true; });
  }
  CHECK_FALSE(ran);
  CHECK(held.use_count() == 1);
}

TEST_CASE("host: signals arrive as tasks; clocks and chance look alive") {
  HostFixture f;
  int hits = 0;
  f.uv.on_signal(SIGUSR2, [&] { ++hits; });
  f.host.loop.post([] { raise(SIGUSR2); });
  REQUIRE(f.run_until([&] { return hits == 1; }));
  CHECK(f.host.clock.wall() > 1'600'000'000'000);
  CHECK(f.host.clock.wall_micros() / 1'000'000 >= f.host.clock.wall() / 1000);
  UvHost other;
  CHECK(f.host.random.draw() != other.host().random.draw());
  CHECK(f.host.random.draw() != f.host.random.draw());
}

}  // namespace quoll::host
