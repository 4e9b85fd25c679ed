// What several clients together can rely on, whatever the order in which they come: counters,
// transfers, locks, SCAN; and that the same seed gives the same run of the complete server.
#include <algorithm>
#include <set>

#include "tests/sim/command_stream.h"
#include "tests/sim/server_node.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

int64_t integer_of(const std::string& raw) { return std::stoll(raw.substr(1)); }

// The text of a bulk reply; "" for null.
std::string text_of(const std::string& raw) {
  if (raw.empty() || raw[0] != '$' || raw[1] == '-') return "";
  size_t begin = raw.find("\r\n") + 2;
  return raw.substr(begin, raw.size() - begin - 2);
}

// One client that takes a step, waits for the reply and takes the next, through lost connections.
class Actor {
 public:
  explicit Actor(SimWorld& world, NodeId node) : world(world), client(world, node) {}
  virtual ~Actor() { *alive_ = false; }

  void begin() {
    ++turn_;
    if (stopped) return;
    if (client.lost()) client.connect();
    watch_for_loss();
    step();
  }
  void stop() { stopped = true; }

  SimWorld& world;
  SimClient client;
  bool stopped = false;

 protected:
  virtual void step() = 0;
  virtual void lost() {}  // what was asked last may or may not have been done
  void later(Nanos delay) {
    world.after(delay, [this, turn = turn_, alive = alive_] {
      if (*alive && turn == turn_) begin();  // unless a lost connection has made it begin anew
    });
  }

 private:
  // A reply that never comes must not stop the actor.
  void watch_for_loss() {
    if (watching_) return;
    watching_ = true;
    world.after(20 * kMilli, [this, alive = alive_] {
      if (!*alive) return;
      watching_ = false;
      if (client.lost() && !stopped) {
        lost();
        return begin();
      }
      watch_for_loss();
    });
  }

  uint64_t turn_ = 0;
  bool watching_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

struct Counter final : Actor {
  using Actor::Actor;
  void step() override {
    client.command({"INCR", "counter"}, [this](const std::string& raw) {
      seen.push_back(integer_of(raw));
      begin();
    });
  }
  void lost() override { ++unknown; }
  std::vector<int64_t> seen;
  int64_t unknown = 0;  // sent, and never heard of
};

constexpr int kAccounts = 6;
constexpr int64_t kBalance = 1000;

// Moves money between accounts with WATCH, GET, MULTI, SET, SET, EXEC.
struct Teller final : Actor {
  using Actor::Actor;
  void step() override {
    from = "acc" + std::to_string(world.chance().between(0, kAccounts - 1));
    to = "acc" + std::to_string(world.chance().between(0, kAccounts - 1));
    if (from == to) return later(kMilli);
    client.command({"WATCH", from, to});
    client.command({"GET", from}, [this](const std::string& raw) { held = text_of(raw); });
    client.command({"GET", to}, [this](const std::string& raw) { transfer(text_of(raw)); });
  }
  void transfer(const std::string& other) {
    int64_t amount = world.chance().between(1, 50);
    client.command({"MULTI"});
    client.command({"SET", from, std::to_string(std::stoll(held) - amount)});
    client.command({"SET", to, std::to_string(std::stoll(other) + amount)});
    client.command({"EXEC"}, [this](const std::string& raw) {
      ++(raw == "*-1\r\n" ? conflicts : transfers);
      later(world.chance().between(0, 2) * kMilli);
    });
  }
  std::string from, to, held;
  int transfers = 0;
  int conflicts = 0;
};

// Takes a lock that runs out by itself; on virtual time nobody else may get it before.
struct LockBook {
  Nanos held_until = 0;
  int grants = 0;
  bool twice = false;
};

struct Locker final : Actor {
  Locker(SimWorld& world, NodeId node, LockBook& book) : Actor(world, node), book(book) {}
  void step() override {
    int64_t ttl = world.chance().between(5, 60);
    client.command({"SET", "lock", "me", "NX", "PX", std::to_string(ttl)},
                   [this](const std::string&) { later(world.chance().between(0, 4) * kMilli); });
  }
  LockBook& book;
};

}  // namespace

void server_counters(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world);
  std::vector<std::unique_ptr<Counter>> counters;
  for (int i = 0; i < 8; ++i) {
    counters.push_back(std::make_unique<Counter>(world, node.id()));
    counters.back()->begin();
  }
  auto enough = [&] {
    size_t heard = 0;
    for (auto& counter : counters) heard += counter->seen.size();
    return heard > 4'000;
  };
  world.run_until(enough, 5 * kSecond);
  world.calm_down();
  for (auto& counter : counters) counter->stop();
  world.run_for(kSecond);
  SimClient client(world, node.id());
  int64_t total = std::stoll(text_of(client.call({"GET", "counter"})));
  std::set<int64_t> all;
  int64_t heard = 0;
  int64_t unknown = 0;
  for (auto& counter : counters) {
    run.check(std::is_sorted(counter->seen.begin(), counter->seen.end()),
              "a client saw the counter go back");
    all.insert(counter->seen.begin(), counter->seen.end());
    heard += static_cast<int64_t>(counter->seen.size());
    unknown += counter->unknown;
  }
  run.check(static_cast<int64_t>(all.size()) == heard, "two clients got the same number");
  run.check(heard > 100, "hardly anything was counted");
  run.check(total >= heard && total <= heard + unknown, "numbers were lost or made up");
  run.check(*all.rbegin() <= total, "a number beyond the total");
  run.unfollow();
}

void server_transfers(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world);
  SimClient client(world, node.id());
  auto set_up = [&] {
    if (client.lost()) client.connect();
    std::vector<std::string> words = {"MSET"};
    for (int i = 0; i < kAccounts; ++i)
      words.insert(words.end(), {"acc" + std::to_string(i), std::to_string(kBalance)});
    return client.call(words) == "+OK\r\n";
  };
  bool ready = false;
  for (int i = 0; i < 100 && !ready; ++i) ready = set_up();  // a reset may have come between
  if (!run.check(ready, "no MSET")) return;
  std::vector<std::unique_ptr<Teller>> tellers;
  for (int i = 0; i < 6; ++i) {
    tellers.push_back(std::make_unique<Teller>(world, node.id()));
    tellers.back()->begin();
  }
  world.run_for(3 * kSecond);
  for (auto& teller : tellers) teller->stop();
  world.calm_down();
  world.run_for(kSecond);
  int transfers = 0;
  int conflicts = 0;
  for (auto& teller : tellers) {
    transfers += teller->transfers;
    conflicts += teller->conflicts;
  }
  client.connect();
  int64_t total = 0;
  for (int i = 0; i < kAccounts; ++i)
    total += std::stoll(text_of(client.call({"GET", "acc" + std::to_string(i)})));
  run.check(total == kAccounts * kBalance, "money was made or lost: " + std::to_string(total));
  run.check(transfers > 50 && conflicts > 5, "hardly any transfer or conflict");
  run.unfollow();
}

void server_locks(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world);
  LockBook book;
  // The server itself says when a lock was granted and until when by its own clock.
  node.on_commit([&](const store::Commit& commit) {
    for (const store::Effect& effect : commit.effects) {
      if (effect.args[0] == "DEL") {
        book.twice |= commit.at * kMilli < book.held_until;
        continue;
      }
      auto place = std::find_if(effect.args.begin(), effect.args.end(),
                                [](base::Bytes word) { return word == "PXAT" || word == "pxat"; });
      if (!run.check(place != effect.args.end(), "a lock without a deadline in the journal"))
        return;
      base::Millis until = std::stoll(std::string(place[1]));
      book.twice |= commit.at * kMilli < book.held_until;
      run.check(until - commit.at >= 5 && until - commit.at <= 60, "another TTL than asked for");
      book.held_until = until * kMilli;
      ++book.grants;
    }
  });
  std::vector<std::unique_ptr<Locker>> lockers;
  for (int i = 0; i < 8; ++i) {
    lockers.push_back(std::make_unique<Locker>(world, node.id(), book));
    lockers.back()->begin();
  }
  world.run_for(3 * kSecond);
  run.check(!book.twice, "the lock was held twice at a time");
  run.check(book.grants > 30, "the lock was hardly ever granted");
  node.on_commit({});
  run.unfollow();
}

// ---- SCAN

namespace {

// Iterates again and again; each round must show every key that was there throughout.
struct Scanner {
  Scanner(Run& run, SimWorld& world, NodeId node, size_t stable)
      : run(run), world(world), client(world, node), stable(stable) {
    next("0");
  }

  void next(const std::string& cursor) {
    client.command({"SCAN", cursor, "COUNT", std::to_string(world.chance().between(1, 120))},
                   [this](const std::string& raw) { heard(raw); });
  }

  void heard(const std::string& raw) {
    size_t at = 0;
    auto line = [&] {
      size_t end = raw.find("\r\n", at);
      std::string text = raw.substr(at, end - at);
      at = end + 2;
      return text;
    };
    line();
    line();
    std::string cursor = line();
    for (int64_t n = integer_of(line()); n > 0; --n) {
      line();
      std::string key = line();
      run.check(key.starts_with("stable:") || key.starts_with("churn:"),
                "SCAN showed a key that never was: " + key);
      if (key.starts_with("stable:")) seen.insert(key);
    }
    if (cursor == "0") {
      run.check(seen.size() == stable, "SCAN missed " + std::to_string(stable - seen.size()) +
                                           " of the keys that were there throughout");
      seen.clear();
      ++rounds;
    }
    world.after(world.chance().between(0, 8) * kMilli, [this, cursor, alive = alive] {
      if (*alive) next(cursor);
    });
  }
  ~Scanner() { *alive = false; }

  Run& run;
  SimWorld& world;
  SimClient client;
  size_t stable;
  std::set<std::string> seen;
  int rounds = 0;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

}  // namespace

void server_scan(Run& run) {
  SimWorld world(run.seed, run.plan);
  run.follow(world);
  ServerNode node(world);
  SimClient client(world, node.id());
  SimChance& chance = world.chance();
  const size_t stable = 500;
  for (size_t i = 0; i < stable; ++i) client.command({"SET", "stable:" + std::to_string(i), "v"});
  run.check(world.run_until([&] { return client.outstanding() == 0; }, 600 * kSecond), "no SET");
  Scanner one(run, world, node.id(), stable);
  Scanner two(run, world, node.id(), stable);
  // Waves: many keys come, go by DEL or by themselves; tables split and join.
  for (int wave = 0; wave < 8 && !run.failed(); ++wave) {
    int64_t size = chance.between(1, run.full ? 200'000 : 6'000);
    bool brief = chance.ppm(500'000);
    for (bool erase : {false, true}) {
      if (erase && brief) {
        world.run_for(3 * kSecond);
        continue;
      }
      for (int64_t i = 0; i < size && !run.failed();) {
        for (int64_t until = std::min(size, i + 200); i < until; ++i) {
          std::string key = "churn:" + std::to_string(wave) + ":" + std::to_string(i);
          if (erase)
            client.command({"DEL", key});
          else if (brief)
            client.command({"SET", key, "v", "PX", std::to_string(chance.between(1, 2500))});
          else
            client.command({"SET", key, "v"});
          if (i % 7 == 0)
            client.command({"APPEND", "stable:" + std::to_string(i % 500), "xxxxxxx"});
        }
        world.run_until([&] { return client.outstanding() == 0; }, 600 * kSecond);
      }
    }
  }
  // What began during the waves must end, too.
  int first = one.rounds, second = two.rounds;
  auto both = [&] { return run.failed() || (one.rounds > first && two.rounds > second); };
  run.check(world.run_until(both, 600 * kSecond), "an iteration does not end");
  run.unfollow();
}

// ---- the same again

namespace {

uint64_t server_transcript(const Run& run, uint64_t seed) {
  SimWorld world(seed, run.plan);
  world.trace(run.trace);
  ServerNode node(world, {"--notify-keyspace-events", "KEA"});
  std::vector<std::unique_ptr<SimClient>> clients;
  std::vector<CommandStream> streams;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(std::make_unique<SimClient>(world, node.id()));
    streams.emplace_back(world.chance().draw(), CommandStream::Style{});
  }
  // Replies that would show an address, the order of one, or another process's state.
  const std::vector<std::vector<std::string>> curious = {
      {"CLIENT", "LIST"},
      {"INFO", "keyspace", "clients", "stats", "commandstats"},
      {"SCAN", "0"},
      {"RANDOMKEY"},
      {"KEYS", "*"},
      {"PUBSUB", "CHANNELS"},
      {"OBJECT", "FREQ", "k1"},
      {"DEBUG", "OBJECT", "k12"},
      {"CONFIG", "GET", "*"},
      {"COMMAND", "LIST"},
      {"SLOWLOG", "GET"},
      {"LATENCY", "LATEST"},
      {"MEMORY", "USAGE", "k12"},
      {"CLIENT", "INFO"}};
  for (int round = 0; round < 60; ++round) {
    for (size_t i = 0; i < clients.size(); ++i) {
      if (clients[i]->lost()) {
        clients[i]->connect();
        streams[i].begin_again();
      }
      for (int n = 0; n < 5; ++n) clients[i]->command(streams[i].next(node.wall()));
      if (round % 4 == 0)
        clients[i]->command(curious[static_cast<size_t>(
            world.chance().between(0, static_cast<int64_t>(curious.size()) - 1))]);
    }
    world.run_for(world.chance().between(1, 60) * kMilli);
  }
  return world.transcript_hash();
}

}  // namespace

void server_same_seed(Run& run) {
  uint64_t first = server_transcript(run, run.seed);
  run.check(first == server_transcript(run, run.seed), "one seed gave two transcripts");
  run.check(first != server_transcript(run, run.seed + 1), "two seeds gave one transcript");
}

}  // namespace quoll::sim
