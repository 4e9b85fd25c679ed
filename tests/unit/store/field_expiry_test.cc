// Hash fields leave on time, whatever happens to their keys meanwhile.
#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/memory.h"
#include "store/store.h"
#include "tests/unit/givens.h"

namespace {

using namespace quoll;
using base::Millis;
using data::Hash;
using data::HashItem;
using store::DbIndex;
using store::Edit;
using store::Ttl;

constexpr Millis kTick = 16;
constexpr store::Event kHset{"hset", 'h'};
constexpr DbIndex kFieldDatabases = 2;

// Remembers what commits of the wheel said.
struct Log : store::CommitSink {
  Log() { listen(true); }
  void absorb(const store::Commit& commit) override {
    CHECK(commit.touches.empty() == commit.effects.empty());
    if (commit.origin != store::Origin::expiry) return;
    size_t fields = 0;
    for (const store::Touch& touch : commit.touches)
      touches.push_back(std::string(touch.event.name) + " " + std::string(touch.key));
    for (const store::Effect& effect : commit.effects) {
      std::string line;
      for (base::Bytes word : effect.args)
        line += std::string(line.empty() ? "" : " ") + std::string(word);
      effects.push_back(line);
      fields += effect.args.size() - 2;
    }
    fields_max = std::max(fields_max, fields);
  }
  std::vector<std::string> touches;
  std::vector<std::string> effects;
  size_t fields_max = 0;  // of one commit
};

using Fields = std::map<std::string, Millis>;
using Keys = std::map<std::string, Fields>;

struct FieldWorld {
  store::Store store{kFieldDatabases};
  Log log;
  Millis now = kNow;
  data::Packing packing;
  Keys keys[kFieldDatabases];

  FieldWorld() { store.commits().add_sink(log); }

  template <class Change>
  void commit(Change&& change) {
    store.commits().begin(store::Origin::client, now);
    size_t changes = store.commits().changes();
    change();
    base::Bytes line[] = {"X", "Y"};
    if (store.commits().changes() > changes) store.commits().effect(0, line);
    store.commits().close();
  }
  void set(DbIndex db, const std::string& key, const std::string& field, Millis deadline) {
    commit([&] {
      Edit edit = store.edit(db, store.ref(key), now);
      if (!edit.found()) edit.create<Hash>();
      Hash& hash = edit.value<Hash>();
      hash.set(field, "value", Hash::Deadline::drop, now, packing);
      if (deadline != data::kHashNoDeadline) hash.set_deadline(field, deadline);
      edit.done(kHset);
    });
    keys[db][key][field] = deadline;
  }
  void erase_key(DbIndex db, const std::string& key) {
    commit([&] {
      Edit edit = store.edit(db, store.ref(key), now);
      if (!edit.found()) return;
      edit.erase();
      edit.done(store::kEventDel);
    });
    keys[db].erase(key);
  }
  // True when all that was due is gone.
  bool expire(size_t steps) {
    store.commits().begin(store::Origin::expiry, now);
    bool done = store.expire_due(now, steps, [](Millis) {});
    store.commits().close();
    return done;
  }
  void expire_all() {
    while (!expire(50)) {
    }
  }
  const store::Entry* find(DbIndex db, const std::string& key) {
    return store.find(db, store.ref(key), now);
  }

  // Nothing is missing before its deadline, nothing is left a tick after it.
  void check() {
    for (DbIndex db = 0; db < kFieldDatabases; ++db) {
      Millis earliest = data::kHashNoDeadline;
      uint64_t present = 0;
      for (auto& [key, fields] : keys[db]) {
        std::erase_if(fields, [&](auto& field) { return field.second <= now - kTick; });
        const store::Entry* entry = find(db, key);
        if (fields.empty()) {
          REQUIRE(!entry);
          continue;
        }
        ++present;
        size_t live = 0;
        for (auto& [field, deadline] : fields) {
          HashItem item;
          bool found = entry && entry->value<Hash>()->find(field, item);
          if (deadline > now) {
            REQUIRE(found);
            REQUIRE(item.deadline == deadline);
            ++live;
            earliest = std::min(earliest, deadline);
          }
        }
        if (live == 0 && !entry) --present;
        if (entry) CHECK(entry->value<Hash>()->size() <= fields.size());
      }
      CHECK(store.keys(db) == present);
      std::erase_if(keys[db], [](auto& key) { return key.second.empty(); });
    }
  }
};

}  // namespace

TEST_CASE("field expiry: events and effects") {
  FieldWorld world;
  world.set(0, "h", "a", kNow + 100);
  world.set(0, "h", "b", kNow + 100);
  world.set(0, "h", "c", kNow + 5000);
  CHECK(world.store.next_expiry() <= kNow + 112);
  world.now = kNow + 99;
  world.expire_all();
  CHECK(world.log.effects.empty());
  world.now = kNow + 100 + kTick;
  world.expire_all();
  CHECK(world.log.touches == std::vector<std::string>{"hexpired h"});
  CHECK((world.log.effects == std::vector<std::string>{"HDEL h a b"} ||
         world.log.effects == std::vector<std::string>{"HDEL h b a"}));
  world.now = kNow + 6000;
  world.expire_all();
  CHECK(world.log.touches == std::vector<std::string>{"hexpired h", "hexpired h", "del h"});
  CHECK(world.log.effects.back() == "HDEL h c");
  CHECK(world.store.keys(0) == 0);
  CHECK(world.store.counters().expired_fields == 3);
  CHECK(world.store.next_expiry() == store::kNoDeadline);
}

TEST_CASE("field expiry: very many at once go in bounded pieces, without a pause between them") {
  FieldWorld world;
  constexpr size_t kFields = 5000;
  for (size_t i = 0; i < kFields; ++i) world.set(0, "big", std::to_string(i), kNow + 50);
  world.set(0, "small", "f", kNow + 50);
  world.now = kNow + 50 + kTick;
  size_t rounds = 0;
  while (!world.expire(64)) {
    ++rounds;
    CHECK(world.store.next_expiry() <= world.now);
    REQUIRE(rounds < 1000);
  }
  CHECK(rounds >= kFields / 64);
  CHECK(world.log.fields_max <= 64);
  CHECK(world.store.keys(0) == 0);
  CHECK(world.store.next_expiry() == store::kNoDeadline);
}

TEST_CASE("field expiry: a piece that waits for a key which is gone or replaced") {
  for (int what = 0; what < 3; ++what) {
    FieldWorld world;
    for (size_t i = 0; i < 200; ++i) world.set(0, "big", std::to_string(i), kNow + 50);
    world.now = kNow + 50 + kTick;
    CHECK_FALSE(world.expire(64));
    if (what == 0) world.erase_key(0, "big");
    if (what == 1) world.store.flush(0);
    if (what == 2) {
      world.commit([&] {
        Edit edit = world.store.edit(0, world.store.ref("big"), world.now);
        edit.put(data::Value::of_text("a string"), Ttl::drop());
        edit.done(kHset);
      });
    }
    world.expire_all();
    CHECK(world.store.keys(0) == (what == 2));
    CHECK(world.store.next_expiry() == store::kNoDeadline);
  }
}

TEST_CASE("field expiry: a key's own deadline beside those of its fields") {
  FieldWorld world;
  world.set(0, "h", "a", kNow + 100);
  world.set(0, "h", "b", kNow + 100'000);
  auto edit_key = [&](auto&& change) {
    world.commit([&] {
      Edit edit = world.store.edit(0, world.store.ref("h"), world.now);
      change(edit);
      edit.done(kHset);
    });
  };
  edit_key([](Edit& edit) { edit.set_deadline(kNow + 50'000); });
  edit_key([](Edit& edit) { edit.persist(); });
  edit_key([](Edit& edit) { edit.set_deadline(kNow + 1000); });
  world.now = kNow + 200;
  world.expire_all();
  CHECK(world.find(0, "h")->value<Hash>()->size() == 1);
  world.now = kNow + 2000;
  world.expire_all();
  CHECK(world.store.keys(0) == 0);
  CHECK(world.store.next_expiry() == store::kNoDeadline);
}

TEST_CASE("field expiry: agrees with a model through edits, renames, flushes and swaps") {
  size_t before = base::memory_used();
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    FieldWorld world;
    world.packing.hash_entries = seed % 2 ? 8 : 512;
    std::mt19937_64 random(seed);
    auto draw = [&](uint64_t below) { return random() % below; };
    auto key = [&] { return "key:" + std::to_string(draw(12)); };
    for (int step = 0; step < 6000; ++step) {
      auto db = static_cast<DbIndex>(draw(kFieldDatabases));
      switch (draw(12)) {
        case 0:
          world.erase_key(db, key());
          break;
        case 1: {  // rename, perhaps to the other database
          auto to = static_cast<DbIndex>(draw(kFieldDatabases));
          std::string from_key = key(), to_key = key();
          if (!world.find(db, from_key) || (db == to && from_key == to_key)) break;
          world.commit([&] {
            data::Value value;
            {
              Edit edit = world.store.edit(db, world.store.ref(from_key), world.now);
              value = edit.take();
              edit.erase();
              edit.done(store::kEventDel);
            }
            Edit edit = world.store.edit(to, world.store.ref(to_key), world.now);
            edit.put(std::move(value), Ttl::drop());
            edit.done(kHset);
          });
          world.keys[to][to_key] = std::exchange(world.keys[db][from_key], {});
          world.keys[db].erase(from_key);
          break;
        }
        case 2: {  // copy
          std::string from_key = key(), to_key = key();
          const store::Entry* entry = world.find(db, from_key);
          if (!entry || from_key == to_key) break;
          data::Collection copy = entry->collection()->copy();
          world.commit([&] {
            Edit edit = world.store.edit(db, world.store.ref(to_key), world.now);
            edit.put(data::Value::of_collection(std::move(copy)), Ttl::drop());
            edit.done(kHset);
          });
          world.keys[db][to_key] = world.keys[db][from_key];
          break;
        }
        case 3: {  // another value in the same place, and deadlines dropped
          std::string name = key();
          if (!world.find(db, name)) break;
          Fields& fields = world.keys[db][name];
          world.commit([&] {
            Edit edit = world.store.edit(db, world.store.ref(name), world.now);
            Hash& hash = edit.value<Hash>();
            for (auto& [field, deadline] : fields)
              if (hash.drop_deadline(field)) deadline = data::kHashNoDeadline;
            edit.done(kHset);
          });
          std::erase_if(fields, [&](auto& field) { return field.second <= world.now; });
          break;
        }
        case 4:
          if (draw(40) == 0) {
            world.store.flush(db);
            world.keys[db].clear();
            while (world.store.reclaim()) {
            }
          } else if (draw(20) == 0) {
            world.store.swap(0, 1);
            std::swap(world.keys[0], world.keys[1]);
          }
          break;
        case 5: {
          world.now += static_cast<Millis>(draw(60));
          if (draw(3) == 0) world.expire(1 + draw(10));
          world.expire_all();
          // Deadlines are met to the tick: those of this tick may wait for the next.
          world.check();
          break;
        }
        default: {
          Millis deadline = draw(4)
                                ? world.now + 1 + static_cast<Millis>(draw(draw(2) ? 300 : 100'000))
                                : data::kHashNoDeadline;
          world.set(db, key(), "f" + std::to_string(draw(20)), deadline);
        }
      }
    }
    world.now += 200'000;
    world.expire_all();
    world.check();
    CHECK(world.store.next_expiry() == store::kNoDeadline);
  }
  CHECK(base::memory_used() == before);
}
