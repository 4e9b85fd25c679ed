// The simulated network, proven with a server that echoes.
#include <algorithm>

#include "tests/sim/echo_server.h"
#include "tests/sim/scenario.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

std::string random_bulk(SimChance& chance, int64_t bytes_max) {
  std::string body(static_cast<size_t>(chance.between(0, bytes_max)), '\0');
  for (char& c : body) c = static_cast<char>(chance.draw());
  return "$" + std::to_string(body.size()) + "\r\n" + body + "\r\n";
}

// Sends `count` random bulks and checks that the echo brings them back in order.
struct EchoTalk {
  std::vector<std::string> sent;
  size_t matched = 0;
  bool mismatch = false;

  void begin(SimWorld& world, SimClient& client, int count, int64_t bytes_max) {
    for (int i = 0; i < count; ++i) {
      sent.push_back(random_bulk(world.chance(), bytes_max));
      client.send_raw(sent.back(), 1, [this](const std::string& raw) {
        mismatch = mismatch || raw != sent[matched];
        ++matched;
      });
    }
  }
};

}  // namespace

void echo_in_order(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  world.add_node(boot_echo);
  std::vector<std::unique_ptr<SimClient>> clients;
  std::vector<EchoTalk> talks(4);
  for (EchoTalk& talk : talks) {
    clients.push_back(std::make_unique<SimClient>(world, 0));
    talk.begin(world, *clients.back(), 60, 900);
  }
  auto done = [&] {
    return std::all_of(talks.begin(), talks.end(),
                       [](const EchoTalk& t) { return t.matched == t.sent.size(); });
  };
  run.check(world.run_until(done, 600 * kSecond), "not every echo came back");
  for (EchoTalk& talk : talks) run.check(!talk.mismatch, "an echo differs from what was sent");
  for (auto& client : clients) run.check(client->outstanding() == 0, "replies are missing");
}

void echo_through_resets(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  world.add_node(boot_echo);
  SimClient client(world, 0);
  int losses = 0;
  for (int round = 0; round < 30; ++round) {
    EchoTalk talk;
    talk.begin(world, client, 20, 300);
    auto ended = [&] { return client.lost() || talk.matched == talk.sent.size(); };
    if (!run.check(world.run_until(ended, 600 * kSecond), "neither an echo nor a loss")) return;
    run.check(!talk.mismatch, "an echo before the reset differs");
    if (!client.lost()) continue;
    ++losses;
    run.check(client.reason() == "Connection reset by peer", "a reset has another reason");
    client.connect();
  }
  run.check(losses > 0, "the plan broke no connection");
  world.calm_down();
  client.connect();
  EchoTalk talk;
  talk.begin(world, client, 20, 300);
  auto done = [&] { return talk.matched == talk.sent.size(); };
  run.check(world.run_until(done, 60 * kSecond), "no echo after the faults ended");
}

void one_way_partition(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  std::vector<std::string> heard[2];
  auto boot = [&](NodeId id) {
    return [&, id](host::Host& host) -> std::shared_ptr<void> {
      auto bound = host.datagrams.bind(
          {host::Endpoint::Family::ipv4, "127.0.0.1", 7000},
          [&, id](const host::Endpoint&, base::Bytes bytes) { heard[id].emplace_back(bytes); });
      run.check(bound.ok(), "bind failed");
      return nullptr;
    };
  };
  world.add_node(boot(0));
  world.add_node(boot(1));
  auto send = [&](NodeId from, NodeId to, base::Bytes text) {
    world.host(from).datagrams.send({host::Endpoint::Family::ipv4, SimWorld::address_of(to), 7000},
                                    text);
  };
  world.network().block(0, 1);
  send(0, 1, "lost");
  send(1, 0, "through");
  world.run_for(kSecond);
  run.check(heard[1].empty(), "a datagram crossed a blocked link");
  run.check(heard[0] == std::vector<std::string>{"through"}, "the open direction lost a datagram");
  world.network().heal(0, 1);
  send(0, 1, "again");
  world.run_for(kSecond);
  run.check(heard[1] == std::vector<std::string>{"again"}, "a healed link does not carry");

  // A stream holds its bytes back and delivers them after healing.
  NodeId server = world.add_node(boot_echo);
  SimClient client(world, server);
  auto connected = [&] { return client.connected(); };
  run.check(world.run_until(connected, 10 * kSecond), "no connection");
  world.network().block(world.clients(), server);
  std::string echo;
  client.send_raw("+held\r\n", 1, [&](const std::string& raw) { echo = raw; });
  world.run_for(5 * kSecond);
  run.check(echo.empty(), "bytes crossed a blocked link");
  SimClient second(world, server);
  world.run_for(kDialTimeout + kSecond);
  run.check(second.lost() && second.reason() == "Connection timed out", "a dial did not time out");
  world.network().heal_all();
  auto answered = [&] { return echo == "+held\r\n"; };
  run.check(world.run_until(answered, 10 * kSecond), "held bytes were lost");
}

void datagrams_as_planned(Run& run) {
  constexpr int kCount = 400;
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  std::vector<int> heard;
  std::string sender;
  world.add_node([](host::Host&) { return nullptr; });
  world.add_node([&](host::Host& host) -> std::shared_ptr<void> {
    auto bound = host.datagrams.bind({host::Endpoint::Family::ipv4, "0.0.0.0", 7000},
                                     [&](const host::Endpoint& from, base::Bytes bytes) {
                                       heard.push_back(std::stoi(std::string(bytes)));
                                       sender = from.address;
                                     });
    run.check(bound.ok(), "bind failed");
    return nullptr;
  });
  for (int i = 0; i < kCount; ++i) {
    world.host(0).datagrams.send({host::Endpoint::Family::ipv4, SimWorld::address_of(1), 7000},
                                 std::to_string(i));
  }
  world.run_for(kSecond);
  std::vector<int> sorted = heard;
  std::sort(sorted.begin(), sorted.end());
  bool reordered = sorted != heard;
  size_t total = heard.size();
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  run.check(sender == SimWorld::address_of(0), "the sender's address is wrong");
  if (run.plan.datagram_loss_ppm == 0) {
    run.check(total == kCount && !reordered, "a calm network lost or moved a datagram");
  } else {
    run.check(sorted.size() < kCount, "no datagram was lost");
    run.check(total > sorted.size(), "no datagram was copied");
    run.check(reordered, "no datagram was overtaken");
    run.check(sorted.size() > kCount / 2, "far more datagrams were lost than planned");
  }
}

void slow_reader(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  world.add_node(boot_echo);
  SimClient client(world, 0);
  auto connected = [&] { return client.connected(); };
  run.check(world.run_until(connected, 10 * kSecond), "no connection");
  client.pause_reads(true);
  EchoTalk talk;
  talk.begin(world, client, 100, static_cast<int64_t>(run.plan.window_bytes) / 20);
  world.run_for(20 * kSecond);
  run.check(talk.matched == 0, "a client that does not read received something");
  client.pause_reads(false);
  auto done = [&] { return talk.matched == talk.sent.size(); };
  run.check(world.run_until(done, 600 * kSecond), "not every echo came back after the pause");
  run.check(!talk.mismatch, "an echo differs from what was sent");
}

}  // namespace quoll::sim
