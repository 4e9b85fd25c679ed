// Every block of every kind of value moves, and nobody can tell. The rule `all` makes them move
// with any allocator; what is sparse is the business of base/compaction_test.cc.
#include "store/defragmentation.h"

#include <doctest/doctest.h>

#include <random>
#include <string>

#include "data/list.h"
#include "data/set.h"
#include "data/stream.h"
#include "data/zset.h"
#include "store/digest.h"
#include "tests/unit/givens.h"

namespace quoll::store {
namespace {

using base::Compaction;

struct FragmentedWorld {
  explicit FragmentedWorld(uint64_t seed) : random(seed) {}

  template <class Change>
  void edit(const std::string& key, Change&& change) {
    DbIndex db = key.size() % 2;
    store.commits().begin(Origin::client, kNow);
    {
      Edit edit = store.edit(db, store.ref(key), kNow);
      change(edit);
      edit.done_silently();
    }
    store.commits().effect(db, {});
    store.commits().close();
  }
  template <class T>
  void put(const std::string& key, T value) {
    edit(key, [&](Edit& edit) {
      edit.put(data::Value::of_collection(data::Collection(std::move(value))), some_ttl());
    });
  }
  Ttl some_ttl() {
    return random() % 2 ? Ttl::drop() : Ttl::at(kNow + 1 + static_cast<Millis>(random() % 100'000));
  }
  std::string text(size_t size) {
    std::string made(size, 'x');
    for (char& letter : made) letter = static_cast<char>('a' + random() % 26);
    return made;
  }

  void put_string(const std::string& key) {
    static constexpr size_t kSizes[] = {0, 3, 40, 200, 300, 5000, 100'000};
    std::string value = text(kSizes[random() % 7]);
    edit(key, [&](Edit& edit) { edit.put(data::Value::of_text(value), some_ttl()); });
  }
  void put_list(const std::string& key) {
    data::List list;
    for (size_t i = random() % 400 + 1; i > 0; --i) {
      std::string element = text(random() % 50 == 0 ? 20'000 : random() % 60);
      base::Bytes one(element);
      list.expect({&one, 1}, packing);
      list.push(data::ListEnd::tail, one, packing);
    }
    put(key, std::move(list));
  }
  void put_set(const std::string& key) {
    data::Set set;
    const bool integers = random() % 2;
    for (size_t i = many(); i > 0; --i)
      set.insert(integers ? std::to_string(random() % 5000) : text(random() % 400), packing);
    put(key, std::move(set));
  }
  void put_zset(const std::string& key) {
    data::ZSet zset;
    for (size_t i = many(); i > 0; --i)
      zset.put(text(random() % 30 + 5), static_cast<double>(random() % 20), {}, packing);
    put(key, std::move(zset));
  }
  void put_hash(const std::string& key) {
    data::Hash hash;
    const bool timed = random() % 2;
    for (size_t i = many(); i > 0; --i) {
      std::string field = text(random() % 20 + 5);
      hash.set(field, text(random() % 40 == 0 ? 6000 : random() % 30), data::Hash::Deadline::drop,
               kNow, packing);
      if (timed && random() % 2)
        hash.set_deadline(field, kNow + 1 + static_cast<Millis>(random() % 100'000));
    }
    put(key, std::move(hash));
  }
  void put_stream(const std::string& key) {
    data::Stream stream;
    for (size_t i = many(); i > 0; --i) {
      std::string value = text(random() % 100);
      const base::Bytes pair[] = {"field", value};
      data::StreamId id = stream.facts().last_id;
      id.increment();
      stream.append(id, pair, packing);
    }
    put(key, std::move(stream));
  }
  size_t many() { return random() % 3 ? random() % 60 + 1 : random() % 3000 + 1; }

  void put_something() {
    std::string key = "key " + text(random() % 20) + std::to_string(random() % 300);
    void (FragmentedWorld::*puts[])(const std::string&) = {
        &FragmentedWorld::put_string, &FragmentedWorld::put_list, &FragmentedWorld::put_set,
        &FragmentedWorld::put_zset,   &FragmentedWorld::put_hash, &FragmentedWorld::put_stream};
    (this->*puts[random() % 6])(key);
  }
  std::string digest(Millis now = kNow) { return Digest::of_store(store, now).hex(); }
  void expire(Millis now) {
    for (bool done = false; !done;) {
      store.commits().begin(Origin::expiry, now);
      done = store.expire_due(now, 1000, [](Millis) {});
      store.commits().close();
    }
  }

  std::mt19937_64 random;
  Store store{2};
  data::Packing packing;
};

TEST_CASE("everything moves, and the data stay the same") {
  FragmentedWorld world(1);
  for (int i = 0; i < 400; ++i) world.put_something();
  const std::string before = world.digest();
  const size_t used = base::memory_used();
  Defragmentation walk(world.store, Compaction::Rule::all);
  for (int round = 0; round < 3; ++round) {
    while (walk.step()) {
    }
  }
  CHECK(world.digest() == before);
  CHECK(walk.keys_moved() == 3 * (world.store.keys(0) + world.store.keys(1)));
  CHECK(walk.keys_left() == 0);
  CHECK(walk.blocks().left() == 0);
  CHECK(base::memory_used() <= used + 4096);  // the walk's own notes of large keys
}

TEST_CASE("between steps keys come, go and change, and deadlines are kept") {
  FragmentedWorld still(2), moving(2);
  Defragmentation walk(moving.store, Compaction::Rule::all);
  for (int i = 0; i < 800; ++i) {
    still.put_something();
    moving.put_something();
    for (int step = 0; step < 50; ++step) walk.step();
    if (i % 100 == 99) CHECK(moving.digest() == still.digest());
  }
  for (Millis now = kNow; now <= kNow + 120'000; now += 20'000) {
    still.expire(now);
    moving.expire(now);
    for (int step = 0; step < 2000; ++step) walk.step();
    CHECK(moving.digest(now) == still.digest(now));
    CHECK(moving.store.expires(0) == still.store.expires(0));
  }
  CHECK(moving.store.expires(0) + moving.store.expires(1) == 0);
}

TEST_CASE("a large value that goes or becomes another one ends its part of the walk") {
  FragmentedWorld world(3);
  world.edit("large", [&](Edit& edit) {
    data::ZSet zset;
    for (int i = 0; i < 5000; ++i) zset.put(std::to_string(i), i, {}, world.packing);
    edit.put(data::Value::of_collection(data::Collection(std::move(zset))), Ttl::drop());
  });
  Defragmentation walk(world.store, Compaction::Rule::all);
  auto into_the_value = [&] {
    const uint64_t before = walk.blocks().moved();
    while (walk.blocks().moved() < before + 1000) walk.step();
  };
  into_the_value();
  world.edit("large", [&](Edit& edit) {
    data::List list;
    for (int i = 0; i < 3000; ++i) {
      std::string element(20, 'e');
      base::Bytes one(element);
      list.expect({&one, 1}, world.packing);
      list.push(data::ListEnd::tail, one, world.packing);
    }
    edit.put(data::Value::of_collection(data::Collection(std::move(list))), Ttl::drop());
  });
  const std::string before = world.digest();
  while (walk.step()) {
  }
  CHECK(world.digest() == before);
  world.edit("large", [&](Edit& edit) { edit.erase(); });
  while (walk.step()) {
  }
  CHECK(world.store.keys(0) + world.store.keys(1) == 0);
}

}  // namespace
}  // namespace quoll::store
