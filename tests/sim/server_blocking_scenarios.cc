// Clients that wait for lists: every element goes to one of them, those who came first are served
// first, timeouts come when they are due, and nobody who left is remembered.
#include <algorithm>
#include <map>

#include "tests/sim/server_node.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

constexpr int kKeys = 3;
constexpr size_t kPopMax = 3;  // elements one command may take

std::string key_of(int64_t i) { return "queue" + std::to_string(i); }

// The elements "e1" ... in a reply, wherever they stand.
std::vector<int> elements_of(const std::string& raw) {
  std::vector<int> found;
  for (size_t at = raw.find("\ne"); at != std::string::npos; at = raw.find("\ne", at + 1))
    found.push_back(std::atoi(raw.c_str() + at + 2));
  return found;
}

// One that takes elements, waiting for them with ever other commands.
class Worker {
 public:
  Worker(SimWorld& world, const ServerNode& node, std::map<int, int>& taken)
      : world_(world), client_(world, node.id()), taken_(taken) {}

  SimClient& client() { return client_; }
  size_t lost_max() const { return lost_max_; }
  const std::string& complaint() const { return complaint_; }

  void go_on(bool precise) {
    if (client_.lost()) {
      lost_max_ += kPopMax;  // a reply may have been on its way
      client_.connect();
    }
    if (client_.outstanding() > 0) return;
    SimChance& chance = world_.chance();
    int64_t timeout_ms = chance.between(0, 4) == 0 ? 0 : chance.between(1, 300);
    std::string timeout = std::to_string(static_cast<double>(timeout_ms) / 1000);
    Nanos sent = world_.now();
    client_.command(words(timeout), [this, sent, timeout_ms, precise](const std::string& raw) {
      for (int element : elements_of(raw)) ++taken_[element];
      if (raw.front() == '-') complaint_ = raw;
      if (raw.substr(0, 3) != "*-1" || !precise) return;
      Nanos took = world_.now() - sent;
      if (timeout_ms == 0 || took < timeout_ms * kMilli || took > (timeout_ms + 300) * kMilli)
        complaint_ = "a timeout at the wrong time";
    });
  }

 private:
  std::vector<std::string> words(const std::string& timeout) {
    SimChance& chance = world_.chance();
    std::string one = key_of(chance.between(0, kKeys - 1));
    std::string two = key_of(chance.between(0, kKeys - 1));
    switch (chance.between(0, 4)) {
      case 0:
        return {"BLPOP", one, timeout};
      case 1:
        return {"BRPOP", one, two, timeout};
      case 2:
        return {"BLMPOP", timeout, "2", one, two, "LEFT", "COUNT", std::to_string(kPopMax)};
      case 3:
        return {"BLMOVE", one, "done", "RIGHT", "LEFT", timeout};
      default:
        return {"BRPOPLPUSH", one, "done", timeout};
    }
  }

  SimWorld& world_;
  SimClient client_;
  std::map<int, int>& taken_;
  size_t lost_max_ = 0;
  std::string complaint_;
};

void produce(SimWorld& world, SimClient& client, int& made) {
  SimChance& chance = world.chance();
  std::string key = key_of(chance.between(0, kKeys - 1));
  auto fresh = [&] { return "e" + std::to_string(++made); };
  switch (chance.between(0, 5)) {
    case 0:
      client.command({"MULTI"});
      client.command({"RPUSH", key, fresh()});
      client.command({"LPUSH", key_of(chance.between(0, kKeys - 1)), fresh(), fresh()});
      client.command({"EXEC"});
      break;
    case 1:
      client.command({"RPUSH", "aside", fresh()});
      client.command({"LMOVE", "aside", key, "LEFT", "LEFT"});
      break;
    case 2:  // comes and goes within a commit: nobody sees it
      client.command({"MULTI"});
      client.command({"RENAMENX", key, "away"});
      client.command({"SADD", key, "other"});
      client.command({"DEL", key});
      client.command({"RENAMENX", "away", key});
      client.command({"EXEC"});
      break;
    default:
      client.command({chance.ppm(500'000) ? "LPUSH" : "RPUSH", key, fresh()});
  }
}

// Returns the hash of the transcript.
uint64_t play_queue(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world);
  std::map<int, int> taken;
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < 6; ++i) workers.push_back(std::make_unique<Worker>(world, node, taken));
  SimClient producer(world, node.id());
  int made = 0;
  bool precise = run.plan.latency_max_us <= 50 && run.plan.clog_ppm == 0;
  size_t forgotten = 0;
  for (int round = 0; round < 400 && !run.failed(); ++round) {
    for (auto& worker : workers) {
      if (world.chance().ppm(10'000)) {
        worker->client().disconnect();
        worker->client().connect();
        forgotten += kPopMax;
      }
      worker->go_on(precise);
      run.check(worker->complaint().empty(), worker->complaint());
    }
    if (producer.lost()) {
      forgotten += 4;
      producer.connect();
    }
    if (producer.outstanding() == 0) produce(world, producer, made);
    world.run_for(world.chance().between(0, 60) * kMilli);
  }
  world.calm_down();
  for (auto& worker : workers) {
    forgotten += worker->lost_max();
    worker->client().disconnect();
  }
  producer.disconnect();
  run.check(world.run_until([&] { return node.server().sessions().empty(); }, 60 * kSecond),
            "sessions are left");
  run.check(node.server().blocked_keys().keys() == 0, "somebody who left still waits");
  SimClient last(world, node.id());
  for (std::string key : {"queue0", "queue1", "queue2", "done", "aside", "away"})
    for (int element : elements_of(last.call({"LRANGE", key, "0", "-1"})))
      if (key != "done") ++taken[element];
  size_t missing = 0;
  for (int element = 1; element <= made; ++element) missing += taken[element] == 0;
  for (auto& [element, times] : taken)
    run.check(times <= 1, "element " + std::to_string(element) + " was given twice");
  run.check(missing <= forgotten, std::to_string(missing) + " elements are lost");
  run.check(made > 100, "hardly anything happened");
  run.unfollow();
  return world.transcript_hash();
}

}  // namespace

void server_blocking_queue(Run& run) {
  uint64_t hash = play_queue(run);
  if (!run.failed()) run.check(play_queue(run) == hash, "the same seed went another way");
}

void server_blocking_order(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world);
  SimClient boss(world, node.id());
  run.check(boss.call({"PING"}) == "+PONG\r\n", "no PONG");
  constexpr int kWorkers = 12;
  std::vector<std::unique_ptr<SimClient>> workers;
  std::vector<int> served;
  auto waiting = [&] {
    return std::count_if(
        node.server().sessions().begin(), node.server().sessions().end(),
        [](const auto& one) { return one.second->postponed() == server::Postponed::blocked; });
  };
  for (int i = 0; i < kWorkers; ++i) {
    workers.push_back(std::make_unique<SimClient>(world, node.id()));
    workers[i]->command({"BLPOP", "other", "line", "0"},
                        [&served, i](const std::string&) { served.push_back(i); });
    run.check(world.run_until([&] { return waiting() == i + 1; }, 60 * kSecond),
              "a client does not wait");
  }
  // One leaves the middle of the line; what is no list, or is gone again, moves nobody.
  workers[4]->disconnect();
  run.check(world.run_until([&] { return waiting() == kWorkers - 1; }, 60 * kSecond),
            "one that left still waits");
  std::vector<int> expected;
  for (int i = 0; i < kWorkers; ++i)
    if (i != 4) expected.push_back(i);
  size_t given = 0;
  while (given < expected.size()) {
    switch (world.chance().between(0, 3)) {
      case 0:
        boss.call({"SET", "line", "text"});
        boss.call({"DEL", "line"});
        break;
      case 1:
        boss.call({"MULTI"});
        boss.call({"RPUSH", "line", "x"});
        boss.call({"DEL", "line"});
        boss.call({"EXEC"});
        break;
      default:
        boss.call({"RPUSH", world.chance().ppm(500'000) ? "line" : "other", "x"});
        ++given;
    }
    run.check(world.run_until([&] { return served.size() == given; }, 60 * kSecond),
              "an element reached nobody");
  }
  run.check(served == expected, "not in the order of arrival");
  run.check(node.server().blocked_keys().keys() == 0, "somebody still waits");
  run.unfollow();
}

}  // namespace quoll::sim
