#include "server/key_versions.h"

#include <doctest/doctest.h>

#include <map>

namespace quoll::server {
namespace {

constexpr store::Event kSet{"set", '$'};

class Log {
 public:
  explicit Log(cluster::Epoch epoch) : epoch_(epoch) {}
  void begin(cluster::Epoch epoch) {
    epoch_ = epoch;
    versions_.forget();
  }
  void change(const std::string& key, store::Change change = store::Change::updated) {
    const store::Touch touch{0, key, kSet, change};
    versions_.changed({0, 0, store::Origin::client, false, {&touch, 1}, {}}, ++last_);
  }
  uint64_t ask(const std::string& key, bool behind_own_change = false) {
    return token_of(
        {epoch_, versions_.tell(0, key, last_, behind_own_change ? last_ + 1 : cluster::Index{0})});
  }
  cluster::Index last() const { return last_; }

 private:
  cluster::Epoch epoch_;
  cluster::Index last_ = 0;
  KeyVersions versions_;
};

TEST_CASE("key versions: the index of the entry that changed the key, once somebody has asked") {
  Log log(3);
  log.change("a");
  log.change("b");
  CHECK(position_of(log.ask("a")) == cluster::Position{3, 2});  // at least its own
  log.change("a");
  CHECK(position_of(log.ask("a")) == cluster::Position{3, 3});
  log.change("c");
  CHECK(position_of(log.ask("a")) == cluster::Position{3, 3});
  CHECK(position_of(log.ask("c")) == cluster::Position{3, 4});
  log.change("", store::Change::keyless);
  CHECK(position_of(log.ask("a")) == cluster::Position{3, 5});
}

TEST_CASE("key versions: in a transaction, its own entry; and never less behind it") {
  Log log(1);
  log.change("a");
  const uint64_t before = log.ask("a");
  const uint64_t within = log.ask("a", true);
  CHECK(within > before);
  log.change("other");  // the transaction's entry
  CHECK(log.ask("a") == within);
}

// Many keys, leaders and questions at random: never down, and up with every change.
TEST_CASE("key versions: tokens never go down, and grow with every change") {
  uint64_t chance = 88172645463325252u;  // xorshift64, Marsaglia 2003
  auto draw = [&](uint64_t below) {
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance % below;
  };
  Log log(1);
  cluster::Epoch epoch = 1;
  std::map<std::string, uint64_t> told;
  std::map<std::string, bool> changed;
  for (int i = 0; i < 200'000; ++i) {
    const std::string key = std::to_string(draw(100'000));  // more than there are places
    if (draw(5'000) == 0) {
      log.begin(++epoch);
      log.change("noop");
    } else if (draw(2) == 0) {
      log.change(key);
      changed[key] = true;
    } else {
      const uint64_t token = log.ask(key);
      const auto before = told.find(key);
      if (before != told.end() && changed[key]) REQUIRE(token > before->second);
      if (before != told.end()) REQUIRE(token >= before->second);
      REQUIRE(token <= token_of({epoch, log.last()}));
      told[key] = token;
      changed[key] = false;
    }
  }
}

}  // namespace
}  // namespace quoll::server
