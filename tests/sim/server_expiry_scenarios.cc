// Deadlines on virtual time: nothing is seen past its deadline, nothing goes before it, every
// `expired` event comes in time, and work done for many at once is cut into short turns.
#include <algorithm>
#include <cmath>
#include <set>

#include "tests/sim/server_node.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

constexpr base::Millis kKeyLatenessMax = 50;  // ms from the deadline to the event
constexpr size_t kKeyPipeline = 500;          // commands
constexpr base::Millis kDay = 86'400'000;

std::string integer_reply(uint64_t value) { return ":" + std::to_string(value) + "\r\n"; }

// The keys that a scenario expects to expire, and what became of them.
using Words = std::vector<std::string>;

class Deadlines {
 public:
  Deadlines(Run& run, ServerNode& node, base::Millis lateness_max)
      : run_(run), node_(node), lateness_max_(lateness_max) {
    node_.on_commit([this](const store::Commit& commit) { absorb(commit); });
  }
  ~Deadlines() { node_.on_commit({}); }

  void set(const std::string& key, base::Millis deadline) {
    forget(key);
    deadlines_[key] = deadline;
    due_.insert({deadline, key});
  }
  void forget(const std::string& key) {
    auto at = deadlines_.find(key);
    if (at == deadlines_.end()) return;
    due_.erase({at->second, key});
    deadlines_.erase(at);
  }
  size_t left() const { return deadlines_.size(); }
  // Keys whose deadline is later than `wall`.
  size_t later_than(base::Millis wall) const {
    return static_cast<size_t>(std::distance(due_.lower_bound({wall + 1, ""}), due_.end()));
  }
  uint64_t expired() const { return expired_; }
  const std::map<std::string, base::Millis>& all() const { return deadlines_; }

  // The store's own counters, while none but these keys have a TTL.
  void compare(uint64_t lasting) {
    base::Millis wall = node_.wall();
    store::Store& store = node_.server().store();
    uint64_t held = store.expires(0);
    run_.check(held >= later_than(wall) && held <= later_than(wall - lateness_max_),
               "the server counts " + std::to_string(held) + " keys with a TTL, there are " +
                   std::to_string(later_than(wall)));
    run_.check(store.keys(0) == held + lasting, "keys and expires disagree");
  }

 private:
  void absorb(const store::Commit& commit) {
    for (const store::Touch& touch : commit.touches) {
      if (touch.change != store::Change::expired) continue;
      auto at = deadlines_.find(std::string(touch.key));
      if (!run_.check(at != deadlines_.end(), "a key expired that had no TTL, or expired twice"))
        return;
      base::Millis late = commit.at - at->second;
      run_.check(late >= 0, "a key expired before its deadline");
      run_.check(late <= lateness_max_, "a key expired " + std::to_string(late) + " ms late");
      ++expired_;
      forget(at->first);
    }
  }

  Run& run_;
  ServerNode& node_;
  base::Millis lateness_max_;
  std::map<std::string, base::Millis> deadlines_;
  std::set<std::pair<base::Millis, std::string>> due_;
  uint64_t expired_ = 0;
};

// Counts the `expired` events that reach a subscriber.
struct Listener {
  explicit Listener(SimWorld& world, NodeId node) : client(world, node) {
    client.on_push = [this](const std::string& raw) {
      if (raw.find("__keyevent@0__:expired\r\n") != std::string::npos && raw[1] == '3') ++heard;
    };
    client.command({"SUBSCRIBE", "__keyevent@0__:expired"});
  }
  SimClient client;
  uint64_t heard = 0;
};

base::Millis random_ttl(SimChance& chance) {
  double exponent = static_cast<double>(chance.between(0, 1'000'000)) / 1e6;
  return static_cast<base::Millis>(std::pow(3.0 * static_cast<double>(kDay), exponent));
}

// Gives keys deadlines in all the ways there are.
Words change_deadline(SimChance& chance, Deadlines& deadlines, const std::string& key,
                      base::Millis wall) {
  base::Millis deadline = wall + 20'000 + random_ttl(chance);
  std::string text = std::to_string(deadline);
  deadlines.set(key, deadline);
  switch (chance.between(0, 3)) {
    case 0:
      return {"SET", key, "v", "PXAT", text};
    case 1:
      return {"PEXPIREAT", key, text};
    case 2:
      return {"GETEX", key, "PXAT", text};
    default:
      return {"SET", key, std::string(300, 'x'), "PXAT", text};
  }
}

}  // namespace

// TTLs from a millisecond to days. Minutes pass; then the clock leaps, hours at a time.
void server_expiry(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world, {"--notify-keyspace-events", "Ex"});
  bool jumps = run.plan.clock_jump_every_ms != 0;
  Deadlines deadlines(run, node, jumps ? run.plan.clock_jump_max_ms + 150 : kKeyLatenessMax);
  Listener listener(world, node.id());
  SimClient client(world, node.id());
  SimChance& chance = world.chance();
  const size_t keys = run.full ? 200'000 : 4'000;
  uint64_t lasting = 0;
  // Far enough ahead that the commands arrive before: the pipelines take virtual time.
  bool sent = send_many(world, client, keys, kKeyPipeline, [&](size_t i) -> Words {
    std::string key = "key:" + std::to_string(i);
    base::Millis deadline = node.wall() + 20'000 + random_ttl(chance);
    deadlines.set(key, deadline);
    return {"SET", key, std::to_string(i), "PXAT", std::to_string(deadline)};
  });
  run.check(sent, "a SET failed");
  sent = send_many(world, client, keys / 4, kKeyPipeline, [&](size_t) {
    std::string key = "key:" + std::to_string(chance.between(0, static_cast<int64_t>(keys) - 1));
    if (deadlines.all().count(key) != 0 && chance.ppm(200'000)) {
      deadlines.forget(key);
      ++lasting;
      return Words{"PERSIST", key};
    }
    return deadlines.all().count(key) != 0 ? change_deadline(chance, deadlines, key, node.wall())
                                           : Words{"EXISTS", key};
  });
  run.check(sent, "a change of a deadline failed");
  for (int i = 0; i < 60 && !run.failed(); ++i) {
    world.run_for(chance.between(100, 4000) * kMilli);
    if (!jumps) deadlines.compare(lasting);
  }
  if (jumps) world.calm_down();
  uint64_t before_leaps = deadlines.expired();
  run.check(before_leaps > 0, "nothing expired in minutes");
  node.on_commit({});  // how late events are now follows from the leaps alone
  while (!run.failed() && deadlines.later_than(node.wall()) > 0) {
    world.jump_clock(node.id(), chance.between(1, 5 * 3'600'000));
    world.run_for((run.full ? 5000 : 300) * kMilli);
    uint64_t held = node.server().store().expires(0);
    run.check(held >= deadlines.later_than(node.wall()) &&
                  held <= deadlines.later_than(node.wall() - 100),
              "keys outlived a leap of the clock");
  }
  world.run_for(200 * kMilli);
  store::Store& store = node.server().store();
  run.check(store.expires(0) == 0 && store.keys(0) == lasting, "keys are left over");
  run.check(store.next_expiry() == store::kNoDeadline, "the wheel is not empty");
  run.check(store.average_ttl(0, node.wall()) == 0, "a TTL without a key");
  run.check(client.call({"DBSIZE"}) == integer_reply(lasting), "DBSIZE counts other keys");
  auto all_heard = [&] { return listener.heard + lasting == keys; };
  run.check(world.run_until(all_heard, 60 * kSecond), std::to_string(listener.heard) +
                                                          " expired events came for " +
                                                          std::to_string(keys - lasting) + " keys");
  run.check(node.broken_commit().empty(), "a commit with " + node.broken_commit());
  run.unfollow();
}

// A few keys with seconds to live among very many with a day.
void server_expiry_crowd(Run& run) {
  SimWorld world(run.seed, run.plan);
  run.follow(world);
  ServerNode node(world, {"--notify-keyspace-events", "Ex"});
  Listener listener(world, node.id());
  SimClient client(world, node.id());
  const size_t crowd = run.full ? 1'000'000 : 30'000;
  const size_t few = 1'000;
  bool sent = send_many(world, client, crowd, kKeyPipeline, [&](size_t i) -> Words {
    return {"SET", "day:" + std::to_string(i), "v", "EX", "86400"};
  });
  Deadlines deadlines(run, node, kKeyLatenessMax);
  sent &= send_many(world, client, few, kKeyPipeline, [&](size_t i) -> Words {
    std::string key = "short:" + std::to_string(i);
    base::Millis deadline = node.wall() + 1000 + world.chance().between(0, 60'000);
    deadlines.set(key, deadline);
    return {"SET", key, "v", "PXAT", std::to_string(deadline)};
  });
  run.check(sent, "a SET failed");
  world.run_for(62 * kSecond);
  run.check(deadlines.left() == 0, "short-lived keys are left");
  run.check(listener.heard == few, "events are missing");
  run.check(node.server().store().keys(0) == crowd, "the crowd has shrunk");
  run.unfollow();
}

// ---- the length of turns

namespace {

constexpr Nanos kTurnMax = 2 * kMilli;
// A request waits for the turn that runs, perhaps for that of a timer due before it, and for its
// own.
constexpr Nanos kWaitMax = 3 * kTurnMax;

// Asks a millisecond after each answer and remembers the longest wait for one.
class Pinger {
 public:
  Pinger(SimWorld& world, NodeId node) : world_(world), client_(world, node) { ask(); }
  ~Pinger() { *alive_ = false; }
  Nanos longest() const { return longest_; }
  void reset() { longest_ = 0; }

 private:
  void ask() {
    Nanos asked = world_.now();
    client_.command({"PING"}, [this, asked](const std::string&) {
      longest_ = std::max(longest_, world_.now() - asked);
      world_.after(kMilli, [this, alive = alive_] {
        if (*alive) ask();
      });
    });
  }

  SimWorld& world_;
  SimClient client_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Nanos longest_ = 0;
};

}  // namespace

// Everything at once: very many keys run out within a second, then as many are flushed.
void server_turns(Run& run) {
  SimWorld world(run.seed, run.plan);
  run.follow(world);
  ServerNode node(world);
  SimClient client(world, node.id());
  const size_t keys = run.full ? 1'000'000 : 40'000;
  base::Millis from = node.wall() + 600'000;
  bool sent = send_many(world, client, keys, kKeyPipeline, [&](size_t i) -> Words {
    return {"SET", "key:" + std::to_string(i), std::to_string(i), "PXAT",
            std::to_string(from + world.chance().between(0, 999))};
  });
  run.check(sent, "a SET failed");
  run.check(node.wall() < from, "loading took too long");
  store::Store& store = node.server().store();
  Pinger pinger(world, node.id());

  constexpr size_t kBatch = 16;                      // removals between two looks at the clock
  constexpr Nanos kLook = 5 * base::kNanosPerMicro;  // about what they take
  world.set_look_cost(node.id(), kLook);
  world.run_for((from - node.wall()) * kMilli - kMilli);
  node.reset_turns();
  pinger.reset();
  node.on_commit([](const store::Commit&) {});
  auto gone = [&] { return store.keys(0) == 0; };
  run.check(world.run_until(gone, 1'060 * kMilli), "keys outlived their second");
  run.check(node.turns().longest <= kTurnMax, "a turn of expiry was too long");
  run.check(node.turns().expired_max <= kBatch * (kMilli / kLook + 2), "too many in one turn");
  run.check(node.turns().touches_max <= kBatch, "a commit of the wheel is too big");
  run.check(pinger.longest() <= kWaitMax, "a PING waited for expiry");
  node.on_commit({});
  run.check(node.broken_commit().empty(), "a commit with " + node.broken_commit());

  world.set_look_cost(node.id(), kLookCost);
  sent = send_many(world, client, keys, kKeyPipeline, [&](size_t i) -> Words {
    return {"SET", "key:" + std::to_string(i), std::to_string(i), "EX", "1000"};
  });
  run.check(sent, "a SET failed");
  constexpr size_t kStep = 128;  // entries that a step of the reclaim frees at most
  world.set_look_cost(node.id(), kLook);
  world.run_for(10 * kMilli);
  node.reset_turns();
  pinger.reset();
  uint64_t freed = store.counters().freed_entries;
  run.check(client.call({"FLUSHALL"}) == "+OK\r\n", "FLUSHALL failed");
  run.check(store.reclaiming(), "FLUSHALL freed everything itself");
  run.check(client.call({"DBSIZE"}) == ":0\r\n", "keys are left after FLUSHALL");
  // New keys while the old are freed.
  run.check(client.call({"SET", "key:1", "new"}) == "+OK\r\n", "no SET after FLUSHALL");
  auto done = [&] { return !store.reclaiming(); };
  run.check(world.run_until(done, 60 * kSecond), "the reclaim does not end");
  run.check(store.counters().freed_entries - freed == keys, "not every entry was freed");
  run.check(node.turns().longest <= kTurnMax, "a turn of reclaim was too long");
  run.check(node.turns().freed_max <= kStep * (kMilli / kLook + 2), "too many freed in one turn");
  run.check(pinger.longest() <= kWaitMax, "a PING waited for the reclaim");
  run.check(client.call({"GET", "key:1"}) == "$3\r\nnew\r\n", "the new key went with the old");
  run.check(store.next_expiry() == store::kNoDeadline, "the wheel remembers flushed keys");
  run.unfollow();
}

}  // namespace quoll::sim
