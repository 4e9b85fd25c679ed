// The simulated world itself: time, turns, crashes, repeatability.
#include "tests/sim/echo_server.h"
#include "tests/sim/scenario.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

// Something of everything: streams, disk, timers, chance, clocks, faults by plan.
struct Busybody {
  explicit Busybody(host::Host& host) : host(host), echo(host) {
    host.disk.open("log", host::OpenMode::append, [this](base::Result<host::FileId> file) {
      if (file) tick(file.value());
    });
  }
  void tick(host::FileId file) {
    std::string line = std::to_string(host.random.draw() % 1000) + " " +
                       std::to_string(host.clock.wall()) + " " +
                       std::to_string(host.clock.steady()) + "\n";
    host.disk.append(file, line, nullptr);
    host.disk.sync(file, [this, file](base::Result<>) {
      host.loop.after(static_cast<Nanos>(host.random.draw() % 50'000'000),
                      [this, file] { tick(file); });
    });
  }
  host::Host& host;
  EchoServer echo;
};

uint64_t busy_transcript(const Run& run, uint64_t seed) {
  SimWorld world(seed, run.plan);
  world.trace(run.trace);
  auto boot = [](host::Host& host) { return std::make_shared<Busybody>(host); };
  world.add_node(boot);
  world.add_node(boot);
  SimClient one(world, 0);
  SimClient two(world, 1);
  for (int i = 0; i < 100; ++i) {
    for (SimClient* client : {&one, &two}) {
      if (client->lost()) client->connect();
      client->send_raw("+message " + std::to_string(i) + "\r\n", 1);
    }
    world.run_for(200 * base::kNanosPerMilli);
  }
  return world.transcript_hash();
}

}  // namespace

void same_seed_same_transcript(Run& run) {
  uint64_t first = busy_transcript(run, run.seed);
  run.check(first == busy_transcript(run, run.seed), "one seed gave two transcripts");
  run.check(first != busy_transcript(run, run.seed + 1), "two seeds gave one transcript");
}

void crash_and_restart(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  int boots = 0;
  std::weak_ptr<void> occupant;
  NodeId node = world.add_node([&](host::Host& host) {
    ++boots;
    auto server = std::make_shared<EchoServer>(host);
    occupant = server;
    return server;
  });
  SimClient client(world, node);
  run.check(client.call({"x"}).front() == '*', "no echo");
  client.send_raw("+never answered\r\n", 1);
  world.crash(node);
  run.check(occupant.expired(), "the occupant outlived the crash");
  run.check(world.run_until([&] { return client.lost(); }, kSecond), "the client heard nothing");
  run.check(client.reason() == "Connection reset by peer", "the crash has another reason");
  client.connect();
  run.check(world.run_until([&] { return client.lost(); }, kSecond), "a dead node took a dial");
  run.check(client.reason() == "Connection refused", "a dead node did not refuse");
  world.restart(node);
  client.connect();
  run.check(client.call({"y"}).substr(0, 4) == "*1\r\n", "no echo after the restart");
  run.check(boots == 2, "boot() ran another number of times");

  world.stop_soon(node);  // the way out a server has itself
  run.check(world.running(node), "the node stopped within the call");
  world.run_for(kSecond);
  run.check(!world.running(node) && client.lost(), "the node did not stop");
}

void time_passes(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  std::string trace;
  bool steady_back = false;
  Nanos last = 0;
  Nanos yielded_after = 0;
  NodeId node = world.add_node([&](host::Host& host) -> std::shared_ptr<void> {
    host.loop.on_turn_end([&] {
      Nanos now = host.clock.steady();
      steady_back = steady_back || now <= last;
      last = now;
      if (!trace.empty() && trace.back() != '|') trace += '|';
    });
    host.loop.post([&] { trace += 'a'; });
    host.loop.post([&] {
      trace += 'b';
      host.loop.post([&] { trace += 'c'; });
    });
    host::TimerId cancelled = host.loop.after(5'000'000, [&] { trace += 'X'; });
    host.loop.after(3'000'000, [&, cancelled] {
      trace += '3';
      host.loop.cancel(cancelled);
    });
    host.loop.after(2'000'000, [&] { trace += '2'; });
    // Work with a budget by the clock must come to its end.
    host.loop.after(50'000'000, [&] {
      while (host.clock.steady() - host.loop.turn_start() < 200 * base::kNanosPerMicro) {
      }
      yielded_after = host.clock.steady() - host.loop.turn_start();
    });
    return nullptr;
  });
  world.run_for(kSecond);
  run.check(trace == "a|b|c|2|3|", "turns or timers ran in another order: " + trace);
  run.check(!steady_back, "the steady clock went back");
  run.check(yielded_after >= 200 * base::kNanosPerMicro, "virtual work took no time");

  base::Millis wall = world.host(node).clock.wall();
  world.jump_clock(node, -5000);
  run.check(world.host(node).clock.wall() == wall - 5000, "the clock did not jump");
  world.jump_clock(node, 5000);
  world.run_for(1000 * kSecond);
  int64_t skew_ms = world.host(node).clock.wall() - (kEpoch + 1001 * 1000);
  if (run.plan.drift_ppm == 0) {
    run.check(skew_ms == 0, "a calm clock drifted");
  } else {
    run.check(skew_ms != 0, "no clock drifted or jumped");
  }
  // A task that posts itself for ever does not stop time.
  auto& loop = world.host(node).loop;
  int turns = 0;
  std::function<void()> again = [&] {
    ++turns;
    loop.post(again);
  };
  loop.post(again);
  world.run_for(base::kNanosPerMilli);
  run.check(turns > 10 && turns < 1000, "posting stopped the time");
}

void replies_at_any_split(Run& run) {
  const std::string replies[] = {"+OK\r\n",
                                 "-ERR no\r\n",
                                 ":-12\r\n",
                                 "$5\r\nhe\r\no\r\n",
                                 "$-1\r\n",
                                 "$0\r\n\r\n",
                                 "*0\r\n",
                                 "*-1\r\n",
                                 "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
                                 "%1\r\n+k\r\n,1.5\r\n",
                                 "~2\r\n#t\r\n_\r\n",
                                 "(123456789012345678901\r\n",
                                 "=7\r\ntxt:abc\r\n",
                                 "!5\r\nERR x\r\n",
                                 ">2\r\n+a\r\n+b\r\n",
                                 "|1\r\n+ttl\r\n:3\r\n*1\r\n+x\r\n"};
  for (const std::string& reply : replies) {
    for (size_t length = 0; length < reply.size(); ++length) {
      run.check(reply_length(reply.substr(0, length)) == 0, "a part passed for all of " + reply);
    }
    run.check(reply_length(reply + "+more\r\n") == reply.size(), "wrong end of " + reply);
  }
  for (const char* bad : {"hello\r\n", "$x\r\n", "*1x\r\n", "$1\r\nabc", "%-1\r\n"}) {
    run.check(reply_length(bad) == kMalformed, std::string("taken for a reply: ") + bad);
  }
  run.check(resp_command({"GET", ""}) == "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "wrong command bytes");
}

}  // namespace quoll::sim
