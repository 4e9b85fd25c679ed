#include "store/store.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <unordered_set>

#include "tests/unit/givens.h"

namespace {

using namespace quoll;
using store::DbIndex;
using store::Edit;
using store::kSet;
using store::Ttl;

constexpr DbIndex kDatabases = 3;

struct Expected {
  std::string text;
  base::Millis deadline = store::kNoDeadline;
  bool ttl = false;
};
using Keyspace = std::map<std::string, Expected>;

// The store beside plain maps. The maps forget a key at its deadline, the store when the wheel or
// an edit comes by; both must look the same to readers at any time.
struct Model {
  store::Store store{kDatabases};
  Keyspace maps[kDatabases];
  std::mt19937_64 random;
  base::Millis now = kNow;

  explicit Model(uint64_t seed) : random(seed) {}

  uint64_t draw(uint64_t below) { return random() % below; }
  template <class Change>
  void commit(Change&& change) {
    store.commits().begin(store::Origin::client, now);
    size_t changes = store.commits().changes();
    change();
    base::Bytes line[] = {"X"};
    if (store.commits().changes() > changes) store.commits().effect(0, line);
    store.commits().close();
  }
  void forget_expired() {
    for (Keyspace& map : maps)
      std::erase_if(map,
                    [&](auto& item) { return item.second.ttl && item.second.deadline <= now; });
  }

  std::string any_key() {
    uint64_t number = draw(400);
    if (number == 0) return "";
    if (number < 10) return std::string(250 + number, 'k');
    if (number == 10) return std::string(70000, 'K');
    return "key:" + std::to_string(number);
  }
  std::string any_text() {
    switch (draw(6)) {
      case 0:
        return std::to_string(static_cast<int64_t>(random()));
      case 1:
        return std::string(draw(300), 'v');
      case 2:
        return std::string(draw(20000), 'V');
      case 3:
        return "";
      default:
        return "value " + std::to_string(random());
    }
  }
  base::Millis any_deadline() {
    switch (draw(8)) {
      case 0:
        return INT64_MAX - static_cast<base::Millis>(draw(3));
      case 1:
        return store::kNarrowDeadlineMax + static_cast<base::Millis>(draw(3)) - 1;
      case 2:
        return now + 1 + static_cast<base::Millis>(draw(100'000'000'000));
      case 3:
        return now + 1 + static_cast<base::Millis>(draw(10'000'000));
      default:
        return now + 1 + static_cast<base::Millis>(draw(3000));
    }
  }

  void put(DbIndex db, const std::string& key) {
    std::string text = any_text();
    uint64_t kind = draw(3);
    commit([&] {
      Edit edit = store.edit(db, store.ref(key), now);
      Expected& expected = maps[db][key];
      if (!edit.found()) expected = {};
      Ttl ttl = Ttl::keep();
      if (kind == 0) {
        ttl = Ttl::drop();
        expected.ttl = false;
      } else if (kind == 1) {
        ttl = Ttl::at(any_deadline());
        expected.ttl = true;
        expected.deadline = ttl.deadline;
      }
      expected.text = text;
      if (draw(2)) {
        edit.put(data::Value::of_text(text), ttl);
      } else {
        edit.put(data::Value::of_blob(base::Blob::copy_of(text)), ttl);
      }
      edit.done(kSet);
    });
  }
  void change(DbIndex db, const std::string& key) {
    commit([&] {
      Edit edit = store.edit(db, store.ref(key), now);
      REQUIRE(edit.found() == maps[db].contains(key));
      if (!edit.found()) return;
      Expected& expected = maps[db][key];
      switch (draw(4)) {
        case 0:
          edit.erase();
          maps[db].erase(key);
          break;
        case 1:
          expected.deadline = any_deadline();
          expected.ttl = true;
          edit.set_deadline(expected.deadline);
          break;
        case 2:
          if (!expected.ttl) return;
          edit.persist();
          expected.ttl = false;
          break;
        default: {
          base::Blob blob = edit.take_text(5);
          blob.append("+more");
          edit.put(data::Value::of_blob(std::move(blob), true), Ttl::keep());
          expected.text += "+more";
        }
      }
      edit.done(kSet);
    });
  }
  void change_database() {
    DbIndex a = static_cast<DbIndex>(draw(kDatabases));
    DbIndex b = static_cast<DbIndex>(draw(kDatabases));
    if (draw(3) == 0) {
      uint64_t held = store.keys(a);
      CHECK(store.flush(a) == held);
      maps[a].clear();
    } else {
      store.swap(a, b);
      std::swap(maps[a], maps[b]);
    }
  }
  void pass_time() {
    now += static_cast<base::Millis>(draw(4)    ? draw(200)
                                     : draw(20) ? draw(5000)
                                                : draw(5'000'000'000));
    forget_expired();
  }
  // Lets the wheel run in small portions until it has nothing due.
  void expire() {
    for (bool done = false; !done;) {
      store.commits().begin(store::Origin::expiry, now);
      done = store.expire_due(now, 1 + draw(50), [&](base::Millis late) { CHECK(late >= 0); });
      store.commits().close();
    }
  }

  void compare(DbIndex db, const std::string& key) {
    const store::Entry* entry = store.find(db, store.ref(key), now);
    auto at = maps[db].find(key);
    REQUIRE((entry != nullptr) == (at != maps[db].end()));
    if (!entry) return;
    char scratch[24];
    CHECK(entry->text(scratch) == at->second.text);
    CHECK(entry->has_ttl() == at->second.ttl);
    if (at->second.ttl) CHECK(entry->deadline() == at->second.deadline);
  }
  // All of it: contents by scan, counters against a full count.
  void compare_all() {
    for (DbIndex db = 0; db < kDatabases; ++db) {
      uint64_t present = 0;
      uint64_t deadlines = 0;
      uint64_t live = 0;
      __int128 sum = 0;
      uint64_t cursor = 0;
      do {
        cursor = store.scan(db, cursor, 10, [&](const store::Entry* entry) {
          ++present;
          if (entry->has_ttl()) {
            ++deadlines;
            sum += entry->deadline();
          }
          if (entry->expired(now)) return;
          ++live;
          compare(db, std::string(entry->key()));
        });
      } while (cursor != 0);
      CHECK(live == maps[db].size());
      CHECK(store.keys(db) == present);
      CHECK(store.expires(db) == deadlines);
      base::Millis mean =
          deadlines ? static_cast<base::Millis>(sum / static_cast<__int128>(deadlines)) : 0;
      CHECK(store.average_ttl(db, now) == (mean > now ? mean - now : 0));
      for (auto& [key, expected] : maps[db]) compare(db, key);
    }
  }
  // After the wheel ran, nothing that was due a tick ago is left.
  void check_expired_are_gone() {
    constexpr base::Millis kTick = store::Wheel::kTickMs;
    for (DbIndex db = 0; db < kDatabases; ++db) {
      store.scan(db, 0, UINT64_MAX,
                 [&](const store::Entry* entry) { CHECK_FALSE(entry->expired(now - kTick)); });
    }
    CHECK(store.next_expiry() > now - kTick);
  }
};

void insert(store::Store& store, const std::string& key, base::Millis now, Ttl ttl = Ttl::drop(),
            DbIndex db = 0) {
  store.commits().begin(store::Origin::client, now);
  {
    Edit edit = store.edit(db, store.ref(key), now);
    edit.put(data::Value::of_bytes("v"), ttl);
    edit.done(kSet);
  }
  base::Bytes line[] = {"X"};
  store.commits().effect(db, line);
  store.commits().close();
}

void remove(store::Store& store, const std::string& key, base::Millis now) {
  store.commits().begin(store::Origin::client, now);
  size_t changes = store.commits().changes();
  {
    Edit edit = store.edit(0, store.ref(key), now);
    if (edit.found()) {
      edit.erase();
      edit.done(kSet);
    }
  }
  base::Bytes line[] = {"X"};
  if (store.commits().changes() > changes) store.commits().effect(0, line);
  store.commits().close();
}

}  // namespace

TEST_CASE("store: random changes agree with plain maps") {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    size_t before = base::memory_used();
    {
      Model model(seed);
      for (int step = 0; step < 12000; ++step) {
        DbIndex db = static_cast<DbIndex>(model.draw(kDatabases));
        std::string key = model.any_key();
        uint64_t dice = model.draw(1000);
        if (dice < 450) {
          model.put(db, key);
        } else if (dice < 900) {
          model.change(db, key);
        } else if (dice < 950) {
          model.pass_time();
        } else if (dice < 975) {
          model.expire();
          model.check_expired_are_gone();
        } else if (dice < 982) {
          model.change_database();
        } else if (dice < 990) {
          model.store.reclaim();
        } else {
          model.compare(db, key);
        }
        if (step % 2000 == 0) model.compare_all();
      }
      model.compare_all();
      while (model.store.reclaim()) {
      }
      CHECK(model.store.reclaim_pending() == 0);
      model.compare_all();
    }
    CHECK(base::memory_used() == before);
  }
}

TEST_CASE("store: a scan returns every key that stays, whatever else comes and goes") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    store::Store store(1);
    std::set<std::string> staying;
    uint64_t stay = random() % 3000;
    uint64_t others = random() % 40000;
    for (uint64_t i = 0; i < stay; ++i) {
      staying.insert("stay" + std::to_string(i));
      insert(store, "stay" + std::to_string(i), kNow);
    }
    for (uint64_t i = 0; i < others; ++i) insert(store, "other" + std::to_string(i), kNow);
    std::unordered_set<std::string> seen;
    uint64_t cursor = 0;
    uint64_t count = uint64_t{1} << (random() % 10);
    uint64_t steps = 0;
    do {
      cursor = store.scan(0, cursor, count, [&](const store::Entry* entry) {
        seen.insert(std::string(entry->key()));
      });
      REQUIRE(++steps < 200000);
      bool grow = random() % 2;
      for (uint64_t i = random() % 100; i > 0 && steps < 2000; --i) {
        std::string key = "other" + std::to_string(random() % 60000);
        if (grow)
          insert(store, key, kNow);
        else
          remove(store, key, kNow);
      }
    } while (cursor != 0);
    size_t missed = 0;
    for (const std::string& key : staying) missed += !seen.contains(key);
    CHECK(missed == 0);
  }
}

TEST_CASE("store: a scan over keys that do not change returns each once") {
  store::Store store(1);
  for (uint64_t keys : {0, 1, 5, 300, 20000}) {
    for (uint64_t i = store.keys(0); i < keys; ++i) insert(store, std::to_string(i), kNow);
    for (uint64_t count : {1, 10, 1000}) {
      std::map<std::string, int> seen;
      uint64_t cursor = 0;
      uint64_t steps = 0;
      do {
        cursor = store.scan(0, cursor, count,
                            [&](const store::Entry* entry) { ++seen[std::string(entry->key())]; });
        ++steps;
      } while (cursor != 0);
      CHECK(seen.size() == keys);
      for (auto& [key, times] : seen) CHECK(times == 1);
      CHECK(steps <= keys + 1);  // every step but a last one brings something
      if (count >= keys) CHECK(steps == 1);
    }
  }
}

TEST_CASE("store: a scan survives flush, swap and any cursor") {
  store::Store store(2);
  std::mt19937_64 random(5);
  for (int i = 0; i < 5000; ++i) insert(store, std::to_string(i), kNow);
  uint64_t cursor = store.scan(0, 0, 100, [](const store::Entry*) {});
  CHECK(cursor != 0);
  store.swap(0, 1);
  CHECK(store.scan(0, cursor, 100, [](const store::Entry*) {}) == 0);
  CHECK(store.scan(1, cursor, 100, [](const store::Entry*) {}) != 0);
  store.flush(1);
  CHECK(store.scan(1, cursor, 100, [](const store::Entry*) {}) == 0);
  for (int i = 0; i < 5000; ++i) insert(store, std::to_string(i), kNow);
  for (int i = 0; i < 20000; ++i) {
    uint64_t any = random() >> random() % 64;
    uint64_t seen = 0;
    store.scan(0, any, 10, [&](const store::Entry* entry) {
      CHECK(store.find(0, store.ref(entry->key()), kNow) == entry);
      ++seen;
    });
    CHECK(seen <= 5000);
  }
}

TEST_CASE("store: scan cursors survive packing and stay within 53 bits") {
  std::mt19937_64 random(6);
  for (int i = 0; i < 10000; ++i) {
    store::ScanCursor at;
    at.shard = static_cast<unsigned>(random() % 256);
    at.walk.bucket = static_cast<unsigned>(random() % 64);
    at.walk.depth = static_cast<unsigned>(random() % 32);
    at.walk.prefix = random() & ((uint64_t{1} << at.walk.depth) - 1);
    uint64_t packed = at.pack();
    CHECK(packed < uint64_t{1} << 53);
    store::ScanCursor back = store::ScanCursor::unpack(packed);
    CHECK(back.shard == at.shard);
    CHECK(back.walk.bucket == at.walk.bucket);
    CHECK(back.walk.depth == at.walk.depth);
    CHECK(back.walk.prefix == at.walk.prefix);
  }
}

TEST_CASE("store: random() is fair and never returns an expired key") {
  std::mt19937_64 random(7);
  for (uint64_t keys : {1, 2, 3, 50, 1500}) {
    store::Store store(1);
    CHECK(store.random(0, kNow, random) == nullptr);
    for (uint64_t i = 0; i < keys; ++i) insert(store, "live" + std::to_string(i), kNow);
    for (uint64_t i = 0; i < keys * 2; ++i)
      insert(store, "dead" + std::to_string(i), kNow, Ttl::at(kNow + 1));
    std::map<std::string, int> drawn;
    constexpr int kPerKey = 200;
    for (uint64_t i = 0; i < keys * kPerKey; ++i)
      ++drawn[std::string(store.random(0, kNow + 1, random)->key())];
    CHECK(drawn.size() == keys);
    for (auto& [key, times] : drawn) {
      CHECK(key.starts_with("live"));
      CHECK(times > kPerKey / 2);
      CHECK(times < kPerKey * 3 / 2);
    }
  }
}

TEST_CASE("store: random() finds the one live key among expired ones, and none among none") {
  std::mt19937_64 random(8);
  store::Store store(1);
  for (int i = 0; i < 3000; ++i) insert(store, std::to_string(i), kNow, Ttl::at(kNow + 1));
  CHECK(store.random(0, kNow + 1, random) == nullptr);
  insert(store, "live", kNow);
  CHECK(store.random(0, kNow + 1, random)->key() == "live");
}

TEST_CASE("store: flushed databases are freed in bounded steps") {
  size_t before = base::memory_used();
  {
    store::Store store(2);
    for (int i = 0; i < 30000; ++i)
      insert(store, std::to_string(i), kNow, i % 2 ? Ttl::at(kNow + i) : Ttl::drop());
    for (int i = 0; i < 10; ++i) insert(store, std::to_string(i), kNow, Ttl::drop(), 1);
    CHECK(store.flush(0) == 30000);
    CHECK(store.keys(0) == 0);
    CHECK(store.expires(0) == 0);
    CHECK(store.next_expiry() == store::kNoDeadline);
    CHECK(store.reclaiming());
    CHECK(store.reclaim_pending() == 30000);
    insert(store, "new", kNow);
    constexpr uint64_t kChainMax = 3 * base::kBucketSlots;  // of keys that do not collide
    uint64_t pending = store.reclaim_pending();
    while (store.reclaim()) {
      uint64_t left = store.reclaim_pending();
      CHECK(pending - left <= store::kReclaimBucketsPerStep * kChainMax);
      pending = left;
    }
    CHECK_FALSE(store.reclaiming());
    CHECK(store.counters().freed_entries == 30000);
    CHECK(store.keys(0) == 1);
    CHECK(store.keys(1) == 10);
    store.flush(0);  // left to the destructor
  }
  CHECK(base::memory_used() == before);
}

TEST_CASE("store: large values are freed in bounded steps, and the store stays usable") {
  size_t before = base::memory_used();
  {
    store::Store store(1);
    auto set = [&](base::Bytes key, size_t size) {
      base::Blob blob(size);
      blob.resize(size);
      std::fill_n(blob.data(), size, 'x');
      store.commits().begin(store::Origin::client, kNow);
      {
        Edit edit = store.edit(0, store.ref(key), kNow);
        edit.put(data::Value::of_blob(std::move(blob)), Ttl::drop());
        edit.done(kSet);
      }
      base::Bytes line[] = {"X"};
      store.commits().effect(0, line);
      store.commits().close();
    };
    constexpr size_t kMiB = 1 << 20;
    set("large", 20 * kMiB);
    set("small", 1000);
    size_t held = base::memory_used();
    remove(store, "small", kNow);
    CHECK_FALSE(store.reclaiming());
    remove(store, "large", kNow);
    CHECK(store.reclaiming());
    CHECK(store.reclaim_pending() == 1);
    int steps = 0;
    // Others arrive while the first is half gone.
    for (; steps < 5; ++steps) CHECK(store.reclaim());
    set("other", 3 * kMiB + 123);
    set("other", 100'000);  // replaces the one before
    remove(store, "other", kNow);
    CHECK(store.reclaim_pending() == 3);
    set("kept", 2 * kMiB);
    while (store.reclaim()) ++steps;
    CHECK(steps >= 20);
    CHECK(base::memory_used() < held - 15 * kMiB);
    const store::Entry* kept = store.find(0, store.ref("kept"), kNow);
    CHECK(base::Blob::view_of(kept->heap()) == std::string(2 * kMiB, 'x'));
    // Flushed ones, too.
    for (int i = 0; i < 30; ++i) set(std::to_string(i), kMiB);
    store.flush(0);
    while (store.reclaim()) {
      CHECK(base::memory_used() < before + 64 * kMiB);
    }
    CHECK(store.reclaim_pending() == 0);
  }
  CHECK(base::memory_used() == before);
}

TEST_CASE("store: expiry works in portions and tells when it is done") {
  store::Store store(3);
  for (int i = 0; i < 1000; ++i)
    insert(store, std::to_string(i), kNow, Ttl::at(kNow + 100), static_cast<DbIndex>(i % 3));
  insert(store, "later", kNow, Ttl::at(kNow + 10'000));
  auto expire = [&](base::Millis now, size_t items) {
    store.commits().begin(store::Origin::expiry, now);
    bool done = store.expire_due(now, items, [](base::Millis) {});
    store.commits().close();
    return done;
  };
  CHECK(expire(kNow + 99, 10));
  CHECK(store.counters().expired_keys == 0);
  int rounds = 0;
  while (!expire(kNow + 200, 100)) {
    ++rounds;
    CHECK(store.counters().expired_keys <= static_cast<uint64_t>(rounds) * 100);
  }
  CHECK(rounds >= 9);
  CHECK(store.counters().expired_keys == 1000);
  CHECK(store.expires(0) == 1);
  CHECK(store.next_expiry() > kNow + 200);
  CHECK(store.next_expiry() <= kNow + 10'016);
}
