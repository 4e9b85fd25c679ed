#include "store/eviction.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/unit/givens.h"

namespace quoll::store {
namespace {

using By = EvictionRules::By;
constexpr Event kMade{"made", '$'};
constexpr Millis kSecond = 1000;
constexpr Millis kHour = 3600 * kSecond;

struct Listener final : CommitSink {
  Listener() { listen(true); }
  void absorb(const Commit& commit) override {
    for (const Touch& touch : commit.touches)
      told.push_back(std::to_string(touch.db) + ":" + std::string(touch.key) + ":" +
                     touch.event.name);
    for (const Effect& effect : commit.effects)
      lines.push_back(std::string(effect.args[0]) + " " + std::string(effect.args[1]));
  }
  std::vector<std::string> told, lines;
};

struct EvictionFixture {
  EvictionFixture() { eviction.set_seed(7); }
  void put(const std::string& key, Millis at = kNow, Ttl ttl = Ttl::drop(), DbIndex db = 0) {
    store.commits().begin(Origin::load, at);
    {
      Edit edit = store.edit(db, store.ref(key), at);
      edit.put(data::Value::of_bytes("value"), ttl);
      edit.done(kMade);
    }
    store.commits().close();
  }
  bool evict(Millis at = kNow) {
    store.commits().begin(Origin::eviction, at);
    bool found = eviction.evict_one(at);
    store.commits().close();
    return found;
  }
  bool has(const std::string& key, Millis at = kNow, DbIndex db = 0) const {
    return store.find(db, store.ref(key), at) != nullptr;
  }
  void use(const std::string& key, Millis at) {
    store.note_access(store.find(0, store.ref(key), at), at);
  }

  Store store{4};
  Eviction eviction{store};
};

TEST_CASE("eviction: nothing to choose, and keys without a deadline where only others may go") {
  EvictionFixture it;
  for (By by : {By::recency, By::frequency, By::chance, By::deadline}) {
    it.eviction.set_rules({by, true, 5});
    CHECK_FALSE(it.evict());
  }
  it.put("persistent");
  for (By by : {By::recency, By::frequency, By::chance, By::deadline}) {
    it.eviction.set_rules({by, true, 5});
    CHECK_FALSE(it.evict());
  }
  CHECK(it.has("persistent"));
  it.put("volatile", kNow, Ttl::at(kNow + kHour));
  for (By by : {By::recency, By::frequency, By::chance, By::deadline}) {
    it.eviction.set_rules({by, true, 5});
    CHECK(it.evict());
    CHECK_FALSE(it.has("volatile"));
    it.put("volatile", kNow, Ttl::at(kNow + kHour));
  }
  CHECK(it.has("persistent"));
  CHECK(it.store.expires(0) == 1);
}

TEST_CASE("eviction: every key goes in the end, in every database") {
  for (By by : {By::recency, By::frequency, By::chance}) {
    EvictionFixture it;
    it.eviction.set_rules({by, false, 5});
    for (int i = 0; i < 6000; ++i) it.put("key" + std::to_string(i));
    for (int i = 0; i < 300; ++i) it.put("key" + std::to_string(i), kNow, Ttl::at(kNow + kHour), 2);
    for (int i = 0; i < 6300; ++i) REQUIRE(it.evict());
    CHECK_FALSE(it.evict());
    CHECK(it.store.keys(0) == 0);
    CHECK(it.store.keys(2) == 0);
    CHECK(it.store.expires(2) == 0);
    CHECK(it.store.counters().evicted_keys == 6300);
  }
}

TEST_CASE("eviction: told as event, effect and statistics; not a change that counts for saving") {
  EvictionFixture it;
  Listener listener;
  it.put("key", kNow, Ttl::drop(), 1);
  it.store.commits().add_sink(listener);
  uint64_t changes = it.store.commits().total_changes();
  it.eviction.set_rules({By::recency, false, 5});
  CHECK(it.evict());
  CHECK(listener.told == std::vector<std::string>{"1:key:evicted"});
  CHECK(listener.lines == std::vector<std::string>{"DEL key"});
  CHECK(it.store.commits().total_changes() == changes);
}

// Half of the keys are old. With 16 candidates kept, hardly a young one should go while half of the
// old are still there.
TEST_CASE("eviction: by recency the idle ones go first") {
  EvictionFixture it;
  it.eviction.set_rules({By::recency, false, 5});
  constexpr int kKeys = 10'000;
  for (int i = 0; i < kKeys; ++i) it.put("old" + std::to_string(i), kNow);
  for (int i = 0; i < kKeys; ++i) it.put("young" + std::to_string(i), kNow + kHour);
  Millis now = kNow + kHour + kSecond;
  for (int i = 0; i < kKeys / 2; ++i) REQUIRE(it.evict(now));
  int young = 0;
  for (int i = 0; i < kKeys; ++i) young += it.has("young" + std::to_string(i), now);
  CHECK(young > kKeys - kKeys / 1000);
}

TEST_CASE("eviction: by frequency the rare ones go first") {
  EvictionFixture it;
  it.store.access().set_rules({true, 10, 1});
  it.eviction.set_rules({By::frequency, false, 5});
  constexpr int kKeys = 5000;
  for (int i = 0; i < kKeys; ++i) {
    it.put("rare" + std::to_string(i));
    it.put("often" + std::to_string(i));
    for (int use = 0; use < 20; ++use) it.use("often" + std::to_string(i), kNow);
  }
  for (int i = 0; i < kKeys / 2; ++i) REQUIRE(it.evict());
  int often = 0;
  for (int i = 0; i < kKeys; ++i) often += it.has("often" + std::to_string(i));
  CHECK(often > kKeys - kKeys / 1000);
}

TEST_CASE("eviction: a candidate that was used meanwhile stays") {
  EvictionFixture it;
  it.eviction.set_rules({By::recency, false, 1000});
  // All keys of a small database become candidates.
  for (int i = 0; i < 10; ++i) it.put("key" + std::to_string(i), kNow + i * kSecond);
  Millis now = kNow + kHour;
  REQUIRE(it.evict(now));
  CHECK_FALSE(it.has("key0", now));
  it.use("key1", now);
  it.eviction.set_rules({By::recency, false, 1000});
  REQUIRE(it.evict(now));
  CHECK(it.has("key1", now));
  CHECK_FALSE(it.has("key2", now));
}

TEST_CASE("eviction: by deadline the soonest goes first, also when deadlines were put off") {
  EvictionFixture it;
  it.eviction.set_rules({By::deadline, true, 5});
  constexpr int kKeys = 3000;
  for (int i = 0; i < kKeys; ++i)
    it.put("key" + std::to_string(i), kNow, Ttl::at(kNow + kHour + i * kHour / 100), i % 2);
  // The first thousand live longest after all.
  for (int i = 0; i < 1000; ++i)
    it.put("key" + std::to_string(i), kNow, Ttl::at(kNow + 1000 * kHour), i % 2);
  for (int i = 0; i < 1000; ++i) REQUIRE(it.evict());
  int kept = 0, late = 0;
  for (int i = 0; i < 1000; ++i) kept += it.has("key" + std::to_string(i), kNow, i % 2);
  for (int i = 2200; i < kKeys; ++i) late += it.has("key" + std::to_string(i), kNow, i % 2);
  CHECK(kept == 1000);
  CHECK(late == kKeys - 2200);
}

TEST_CASE("eviction: what is past its deadline goes first, as expired") {
  EvictionFixture it;
  it.eviction.set_rules({By::recency, false, 1000});
  for (int i = 0; i < 20; ++i) it.put("key" + std::to_string(i));
  it.put("late", kNow, Ttl::at(kNow + kSecond));
  REQUIRE(it.evict(kNow + kHour));
  CHECK(it.store.keys(0) == 20);
  CHECK(it.store.counters().expired_keys == 1);
  CHECK(it.store.counters().evicted_keys == 0);
}

TEST_CASE("eviction: chance is fair") {
  EvictionFixture it;
  it.eviction.set_rules({By::chance, true, 5});
  int first_half = 0;
  for (int round = 0; round < 400; ++round) {
    // Deadlines from seconds to months, so that keys lie on all levels of the wheel.
    for (int i = 0; i < 20; ++i)
      it.put("key" + std::to_string(i), kNow, Ttl::at(kNow + (kSecond << i)));
    REQUIRE(it.evict());
    for (int i = 0; i < 10; ++i) first_half += !it.has("key" + std::to_string(i));
  }
  CHECK(first_half > 140);
  CHECK(first_half < 260);
}

}  // namespace
}  // namespace quoll::store
