// Memory limits on virtual time: random writes under every policy, of which the model knows what
// was acknowledged. A key is missing only if an eviction named it, memory stays at its limit, and
// the same seed evicts the same keys.
#include <map>

#include "base/memory.h"
#include "server/memory_limits.h"
#include "tests/sim/server_node.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

using Words = std::vector<std::string>;

constexpr const char* kPolicies[] = {"allkeys-lru",  "allkeys-lfu",  "allkeys-random",
                                     "volatile-lru", "volatile-lfu", "volatile-random",
                                     "volatile-ttl", "noeviction"};
// Room for about a third of what is written. The simulator's own memory counts as the server's, so
// the limit is set above what is used when the writing begins.
constexpr size_t kRoomBytes = size_t{3} << 20;
constexpr size_t kWrites = 20'000;
// What one turn may leave to the next.
constexpr size_t kOverBytes = size_t{512} << 10;

// Every key that the server must hold, by what its commits said.
class Ledger {
 public:
  Ledger(Run& run, ServerNode& node, const std::string& policy)
      : run_(run), node_(node), only_volatile_(policy.starts_with("volatile")) {
    node_.on_commit([this](const store::Commit& commit) { absorb(commit); });
  }
  ~Ledger() { node_.on_commit({}); }

  struct Key {
    std::string value;
    bool expires;
  };
  const std::map<std::string, Key>& keys() const { return keys_; }
  const Words& evicted() const { return evicted_; }
  size_t expiring() const { return expiring_; }

 private:
  void absorb(const store::Commit& commit) {
    if (commit.origin == store::Origin::eviction) {
      run_.check(commit.effects.size() == commit.touches.size(), "an eviction without its DEL");
      for (const store::Touch& touch : commit.touches) evict(touch);
      return;
    }
    for (const store::Effect& effect : commit.effects) {
      if (!run_.check(effect.args[0] == "SET", "an effect that is no SET")) return;
      put(std::string(effect.args[1]), {std::string(effect.args[2]), effect.args.size() > 3});
    }
  }
  void put(const std::string& name, Key key) {
    drop(name);
    expiring_ += key.expires;
    keys_[name] = std::move(key);
  }
  void evict(const store::Touch& touch) {
    std::string name(touch.key);
    auto at = keys_.find(name);
    run_.check(touch.change == store::Change::evicted, "a touch that is no eviction");
    if (!run_.check(at != keys_.end(), "a key was evicted that was not there")) return;
    run_.check(at->second.expires || !only_volatile_, "a key without a deadline was evicted");
    drop(name);
    evicted_.push_back(name);
  }
  void drop(const std::string& name) {
    auto at = keys_.find(name);
    if (at == keys_.end()) return;
    expiring_ -= at->second.expires;
    keys_.erase(at);
  }

  Run& run_;
  ServerNode& node_;
  bool only_volatile_;
  std::map<std::string, Key> keys_;
  size_t expiring_ = 0;
  Words evicted_;
};

class Pressure {
 public:
  Pressure(Run& run, const std::string& policy)
      : run_(run),
        world_(run.seed, run.plan),
        node_(world_, {"--maxmemory-policy", policy}),
        client_(world_, node_.id()),
        ledger_(run, node_, policy),
        policy_(policy) {
    world_.trace(run.trace);
    run.follow(world_);
  }
  ~Pressure() { run_.unfollow(); }

  void write() {
    limit_ = base::memory_used() + kRoomBytes;
    run_.check(client_.call({"CONFIG", "SET", "maxmemory", std::to_string(limit_)}) == "+OK\r\n",
               "maxmemory was not set");
    for (size_t sent = 0; sent < kWrites && !run_.failed();) {
      for (int64_t n = world_.chance().between(1, 60); n > 0; --n, ++sent) write_one();
      run_.check(world_.run_until([&] { return client_.outstanding() == 0; }, 600 * kSecond),
                 "replies are missing");
      compare();
    }
  }
  void read_back() {
    run_.check(client_.call({"CONFIG", "SET", "maxmemory", "0"}) == "+OK\r\n", "the limit stays");
    for (const auto& [name, key] : ledger_.keys()) {
      std::string value = "$" + std::to_string(key.value.size()) + "\r\n" + key.value + "\r\n";
      client_.command({"GET", name}, [this, value](const std::string& raw) {
        run_.check(raw == value, "a key has another value than was acknowledged");
      });
    }
    run_.check(world_.run_until([&] { return client_.outstanding() == 0; }, 600 * kSecond),
               "values are missing");
  }
  void judge() {
    const bool evicts = policy_ != "noeviction";
    run_.check(evicts == !ledger_.evicted().empty(), "evictions do not fit the policy");
    run_.check(node_.server().store().counters().evicted_keys == ledger_.evicted().size(),
               "evicted_keys counts others");
    // Where keys that may go are left, nobody is refused.
    const bool all_may_go = policy_.starts_with("allkeys");
    run_.check(!all_may_go || refused_ == 0, "a write was refused though keys could go");
    run_.check(evicts || refused_ > 0, "no write was refused");
    run_.check(node_.broken_commit().empty(), "a commit with " + node_.broken_commit());
  }
  const Words& evicted() const { return ledger_.evicted(); }

 private:
  void write_one() {
    SimChance& chance = world_.chance();
    Words line{"SET", "key:" + std::to_string(chance.between(0, 30'000)),
               std::string(static_cast<size_t>(chance.between(0, 1000)), 'v')};
    if (chance.ppm(400'000)) {
      line.push_back("EX");
      line.push_back(std::to_string(chance.between(100'000, 200'000)));
    }
    if (chance.ppm(200'000)) line = {"GET", line[1]};
    client_.command(line, [this](const std::string& raw) {
      if (raw[0] != '-') return;
      ++refused_;
      run_.check(raw.starts_with("-OOM "), "an error other than OOM: " + raw);
    });
  }
  void compare() {
    store::Store& store = node_.server().store();
    run_.check(store.keys(0) == ledger_.keys().size(), "a key went without being evicted");
    run_.check(store.expires(0) == ledger_.expiring(), "a deadline went, or came");
    const size_t used = base::memory_used() - node_.server().memory_limits().not_counted();
    const bool can_evict = policy_.starts_with("allkeys");
    run_.check(!can_evict || used <= limit_ + kOverBytes, "memory is above its limit");
  }

  Run& run_;
  SimWorld world_;
  ServerNode node_;
  SimClient client_;
  Ledger ledger_;
  std::string policy_;
  size_t limit_ = 0;
  size_t refused_ = 0;
};

}  // namespace

void server_eviction(Run& run) {
  // Two policies per seed: four seeds have seen them all.
  for (uint64_t i = 2 * run.seed; i < 2 * run.seed + 2 && !run.failed(); ++i) {
    Pressure pressure(run, kPolicies[i % std::size(kPolicies)]);
    pressure.write();
    if (!run.failed()) pressure.read_back();
    if (!run.failed()) pressure.judge();
  }
}

void server_eviction_same_seed(Run& run) {
  // What a process allocates only once counts as memory in use: the first world bears that.
  Words evicted[3];
  for (Words& of_one : evicted) {
    Pressure pressure(run, kPolicies[run.seed % 7]);
    pressure.write();
    of_one = pressure.evicted();
  }
  run.check(!evicted[1].empty(), "nothing was evicted");
  run.check(evicted[1] == evicted[2], "the same seed evicted other keys");
}

}  // namespace quoll::sim
