#include "base/hash_table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace {

using namespace quoll::base;

// An item is its own hash: the tests choose where it lies.
struct Thing {
  uint64_t hash;
};

struct ThingTraits {
  using Item = Thing;
  static constexpr unsigned kSkipBits = 8;
  static uint64_t hash(const Thing* thing) { return thing->hash; }
};
using Table = HashTable<ThingTraits>;

// A table and what it should hold. Thing blocks never move, so pointers are the identity.
struct Model {
  Table table;
  std::unordered_map<Thing*, uint64_t> things;
  std::vector<Thing*> order;  // for drawing one at random
  std::mt19937_64 random;

  explicit Model(uint64_t seed) : random(seed) {}
  ~Model() {
    for (auto& [thing, hash] : things) delete thing;
  }
  Thing* insert(uint64_t hash) {
    auto* thing = new Thing{hash};
    Position at = table.insert(hash, thing);
    CHECK(at.bucket->pointer(at.slot) == thing);
    things.emplace(thing, hash);
    order.push_back(thing);
    return thing;
  }
  Thing* insert() { return insert(random()); }
  void erase(size_t index) {
    Thing* thing = order[index];
    table.erase(thing->hash, thing);
    order[index] = order.back();
    order.pop_back();
    things.erase(thing);
    delete thing;
  }
  void erase_any() { erase(random() % order.size()); }
  bool finds(const Thing* thing, uint64_t hash) const {
    return table.find(hash, [&](const Thing* candidate) { return candidate == thing; }) == thing;
  }
  // Every item is found, nothing else is walked.
  void check() const {
    CHECK(table.size() == things.size());
    size_t missing = 0;
    for (auto& [thing, hash] : things) missing += !finds(thing, hash);
    CHECK(missing == 0);
    WalkCursor cursor;
    std::unordered_set<const Thing*> seen;
    size_t visits = 0;
    while (table.walk(cursor, [&](Thing* thing) {
      seen.insert(thing);
      ++visits;
    })) {
    }
    CHECK(visits == things.size());
    CHECK(seen.size() == things.size());
  }
};

uint64_t with_field(uint64_t hash, unsigned field) {
  return (hash & ~(uint64_t{63} << 8)) | uint64_t{field} << 8;
}

}  // namespace

TEST_CASE("hash table: empty") {
  Table table;
  CHECK(table.size() == 0);
  CHECK(table.find(1, [](Thing*) { return true; }) == nullptr);
  WalkCursor cursor;
  CHECK_FALSE(table.walk(cursor, [](Thing*) {}));
  CHECK_FALSE(table.drain([](Thing*) {}));
  CHECK(table.random([] { return uint64_t{7}; }) == nullptr);
}

TEST_CASE("hash table: growth from one bucket to many segments and back") {
  Model model(1);
  for (size_t count : {1, 8, 9, 32, 33, 129, 130, 518, 519, 3000, 40000}) {
    while (model.things.size() < count) model.insert();
    model.check();
  }
  CHECK(model.table.depth() >= 6);
  for (size_t count : {20000, 3000, 400, 40, 9, 1}) {
    while (model.things.size() > count) model.erase_any();
    model.check();
  }
  CHECK(model.table.depth() <= 2);
  model.erase_any();
  CHECK(model.table.size() == 0);
  model.insert();
  model.check();
}

TEST_CASE("hash table: memory returns after mass deletes") {
  std::mt19937_64 random(2);
  std::vector<Thing> things(100000);
  for (Thing& thing : things) thing.hash = random();
  size_t before = memory_used();
  Table table;
  for (Thing& thing : things) table.insert(thing.hash, &thing);
  size_t full = memory_used() - before;
  CHECK(full > 100000 * 10);
  CHECK(full < 100000 * 16);
  size_t left = things.size();
  while (left > 100) {
    --left;
    table.erase(things[left].hash, &things[left]);
  }
  CHECK(memory_used() - before < full / 40);  // of 256 segments a few are left
  while (left-- > 0) table.erase(things[left].hash, &things[left]);
  CHECK(memory_used() == before);
}

TEST_CASE("hash table: equal hashes chain, and their buckets shrink again") {
  Model model(3);
  uint64_t same = 0x1234567890ABCDEF;
  // Filling by one hash only: the directory must not grow without bound.
  for (int i = 0; i < 5000; ++i) model.insert(same);
  model.check();
  CHECK(model.table.depth() <= 13);
  for (int i = 0; i < 500; ++i) model.insert();
  model.check();
  std::shuffle(model.order.begin(), model.order.end(), model.random);
  while (model.things.size() > 700) model.erase_any();
  model.check();
  while (!model.order.empty()) model.erase_any();
  CHECK(model.table.size() == 0);
}

TEST_CASE("hash table: one bucket field, many prefixes") {
  Model model(4);
  for (int i = 0; i < 4000; ++i) model.insert(with_field(model.random(), 17));
  model.check();
  for (int i = 0; i < 3900; ++i) model.erase_any();
  model.check();
}

TEST_CASE("hash table: fingerprint zero is a value like others") {
  Model model(5);
  for (int i = 0; i < 300; ++i) model.insert(model.random() & ~uint64_t{0xFF});
  for (int i = 0; i < 300; ++i) model.insert((model.random() & ~uint64_t{0xFF}) | 1);
  model.check();
}

TEST_CASE("hash table: random inserts and deletes agree with the model") {
  for (uint64_t seed = 10; seed < 16; ++seed) {
    Model model(seed);
    for (int round = 0; round < 30; ++round) {
      size_t goal = model.random() % 6000;
      // Some rounds use few prefixes, so that parts of the table grow deeper than others.
      uint64_t top = model.random() % 3 == 0 ? uint64_t{0xAB3} << 52 : 0;
      while (model.things.size() < goal)
        model.insert(top ? top | model.random() >> 12 : model.random());
      while (model.things.size() > goal) model.erase_any();
      if (round % 5 == 0) model.check();
    }
    model.check();
  }
}

TEST_CASE("hash table: a position allows replacing an item") {
  Model model(6);
  for (int i = 0; i < 1000; ++i) model.insert();
  Thing* old = model.order[500];
  auto* fresh = new Thing{old->hash};
  Position at;
  REQUIRE(model.table.find(
              old->hash, [&](Thing* thing) { return thing == old; }, &at) == old);
  Table::replace(at, fresh);
  CHECK(model.finds(fresh, fresh->hash));
  CHECK_FALSE(model.finds(old, fresh->hash));
  model.things.erase(old);
  model.things.emplace(fresh, fresh->hash);
  delete old;
  model.order[500] = fresh;
  model.check();
}

TEST_CASE("hash table: a walk sees what stays, while others come and go") {
  for (uint64_t seed = 20; seed < 40; ++seed) {
    Model model(seed);
    size_t begin = model.random() % 8000;
    for (size_t i = 0; i < begin; ++i) model.insert();
    std::unordered_set<Thing*> staying;
    for (size_t i = 0; i < model.order.size(); ++i)
      if (model.random() % 8 == 0) staying.insert(model.order[i]);
    std::unordered_set<Thing*> seen;
    WalkCursor cursor;
    size_t steps = 0;
    // Swings between growth and shrinkage, so that splits and merges both cross the cursor.
    while (model.table.walk(cursor, [&](Thing* thing) { seen.insert(thing); })) {
      REQUIRE(++steps < 200000);
      bool grow = (steps / 100 + seed) % 2 == 0;
      size_t changes = model.random() % 200;
      for (size_t i = 0; i < changes; ++i) {
        if (grow && model.things.size() < 20000) {
          model.insert();
        } else if (!model.order.empty()) {
          size_t index = model.random() % model.order.size();
          if (!staying.contains(model.order[index])) model.erase(index);
        }
      }
    }
    size_t missed = 0;
    for (Thing* thing : staying) missed += !seen.contains(thing);
    CHECK(missed == 0);
  }
}

TEST_CASE("hash table: a walk over a table that does not change visits each item once") {
  Model model(7);
  for (int i = 0; i < 5000; ++i) model.insert();
  // Part of the table is much deeper than the rest.
  for (int i = 0; i < 5000; ++i) model.insert(uint64_t{0x55} << 48 | model.random() >> 16);
  model.check();
}

TEST_CASE("hash table: any cursor is safe") {
  Model model(8);
  for (int i = 0; i < 3000; ++i) model.insert();
  for (int i = 0; i < 10000; ++i) {
    WalkCursor cursor;
    cursor.depth = static_cast<unsigned>(model.random() % 32);
    cursor.prefix = model.random() & ((uint64_t{1} << cursor.depth) - 1);
    cursor.bucket = static_cast<unsigned>(model.random() % 64);
    size_t visits = 0;
    model.table.walk(cursor, [&](Thing* thing) {
      CHECK(model.things.contains(thing));
      ++visits;
    });
    CHECK(visits <= model.things.size());
  }
}

TEST_CASE("hash table: paused merges keep the segments, and the table stays correct") {
  Model model(9);
  for (int i = 0; i < 20000; ++i) model.insert();
  unsigned depth = model.table.depth();
  model.table.hold_segments(true);
  while (model.things.size() > 50) model.erase_any();
  CHECK(model.table.depth() == depth);
  model.check();
  while (!model.order.empty()) model.erase_any();
  CHECK(model.table.depth() == depth);
  model.check();
  for (int i = 0; i < 1000; ++i) model.insert();
  model.check();
  model.table.hold_segments(false);
  while (!model.order.empty()) model.erase_any();
  CHECK(model.table.depth() == 0);
}

TEST_CASE("hash table: drain hands out every item once, bucket by bucket") {
  Model model(11);
  for (int i = 0; i < 9000; ++i) model.insert();
  size_t largest = 0;
  std::unordered_set<Thing*> drained;
  for (bool more = true; more;) {
    size_t before = drained.size();
    more = model.table.drain([&](Thing* thing) { CHECK(drained.insert(thing).second); });
    largest = std::max(largest, drained.size() - before);
    CHECK(model.table.size() == model.things.size() - drained.size());
  }
  CHECK(drained.size() == model.things.size());
  CHECK(largest <= 3 * kBucketSlots);  // a chain
  // The table may be used again.
  size_t count = model.things.size();
  for (auto& [thing, hash] : model.things) delete thing;
  model.things.clear();
  model.order.clear();
  for (size_t i = 0; i < count; ++i) model.insert();
  model.check();
}

TEST_CASE("hash table: a table dies in the middle of a drain without leaking its segments") {
  std::vector<Thing> things(5000);
  std::mt19937_64 random(12);
  size_t before = memory_used();
  {
    Table table;
    for (Thing& thing : things) {
      thing.hash = random();
      table.insert(thing.hash, &thing);
    }
    // In a segment whose chains are partly gone.
    for (unsigned i = 0; i < 2 * kSegmentBuckets + 30; ++i) CHECK(table.drain([](Thing*) {}));
  }
  CHECK(memory_used() == before);
}

TEST_CASE("hash table: random() is uniform, also over segments of different depth") {
  for (size_t count : {1, 2, 7, 40, 300, 700, 2000}) {
    Model model(count);
    for (size_t i = 0; i < count; ++i) {
      // Half of the items crowd into one sixteenth of the table.
      uint64_t hash = model.random();
      if (i % 2) hash = (hash & ~(uint64_t{0xF} << 52)) | uint64_t{0x9} << 52;
      model.insert(hash);
    }
    std::unordered_map<Thing*, int> drawn;
    constexpr int kPerItem = 200;
    int draws = static_cast<int>(count) * kPerItem;
    for (int i = 0; i < draws; ++i) ++drawn[model.table.random([&] { return model.random(); })];
    CHECK(drawn.size() == count);
    // Standard deviation 14; nobody is off by seven of them.
    for (auto& [thing, times] : drawn) {
      CHECK(model.things.contains(thing));
      CHECK(times > kPerItem / 2);
      CHECK(times < kPerItem * 3 / 2);
    }
  }
}

TEST_CASE("hash table: ranges of hashes are visited whole, and nothing else") {
  for (size_t count : {0, 5, 300, 3000, 20'000}) {
    Model model(count);
    for (size_t i = 0; i < count; ++i) {
      uint64_t hash = model.random();
      // Half of the items crowd into one range of six bits.
      if (i % 2) hash = (hash & ~(uint64_t{0x3F} << 50)) | uint64_t{0x15} << 50;
      model.insert(hash);
    }
    for (unsigned bits : {0u, 1u, 6u, 9u}) {
      std::unordered_set<Thing*> seen;
      for (uint64_t prefix = 0; prefix < uint64_t{1} << bits; ++prefix) {
        model.table.visit_range(prefix, bits, [&](Thing* thing) {
          CHECK((thing->hash << ThingTraits::kSkipBits >> 1 >> (63 - bits)) == prefix);
          CHECK(seen.insert(thing).second);
          return true;
        });
      }
      CHECK(seen.size() == count);
    }
  }
}
