#include "store/placement.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <set>
#include <string>

#include "store/eviction.h"
#include "store/store.h"
#include "tests/unit/givens.h"

namespace quoll::store {
namespace {

struct SlotWorld {
  Store store{2, Placement::by_slot};
  std::mt19937_64 random{7};

  void put(const std::string& key, Ttl ttl = Ttl::drop()) {
    store.commits().begin(Origin::load, kNow);
    {
      Edit edit = store.edit(0, store.ref(key), kNow);
      edit.put(data::Value::of_bytes("v"), ttl);
      edit.done(kSet);
    }
    store.commits().close();
  }
  void erase(const std::string& key) {
    store.commits().begin(Origin::client, kNow);
    {
      Edit edit = store.edit(0, store.ref(key), kNow);
      edit.erase();
      edit.done(kSet);
    }
    const Bytes line[] = {"DEL", key};
    store.commits().effect(0, line);
    store.commits().close();
  }
  bool has(const std::string& key) const { return store.find(0, store.ref(key), kNow); }
  std::set<std::string> keys_of(unsigned slot) const {
    std::set<std::string> keys;
    store.visit_slot(0, slot, [&](const Entry* entry) {
      CHECK(keys.emplace(entry->key()).second);
      return true;
    });
    return keys;
  }
};

std::string tagged(const std::string& tag, int i) { return "{" + tag + "}" + std::to_string(i); }

TEST_CASE("placement: a hash begins with the slot, and the entry knows it") {
  SlotWorld it;
  it.put("{user}:1");
  const KeyRef ref = it.store.ref("{user}:1");
  CHECK(slot_of(ref.hash) == base::key_slot("user"));
  CHECK(it.store.find(0, ref, kNow)->hash() == ref.hash);
  CHECK(slot_of(it.store.ref("{user}:2").hash) == slot_of(ref.hash));
  CHECK(it.store.ref("{user}:2").hash != ref.hash);
  Store plain(1);
  CHECK(plain.ref("k").hash == base::hash_key("k"));
}

TEST_CASE("placement: what slots hold is what a model says, through changes of every kind") {
  SlotWorld it;
  std::map<unsigned, std::set<std::string>> model;
  std::vector<std::string> tags;
  for (int i = 0; i < 40; ++i) tags.push_back("t" + std::to_string(i));
  for (int step = 0; step < 60'000; ++step) {
    // Few tags and few numbers: slots grow and become empty; the last third only shrinks.
    std::string key = tagged(tags[it.random() % tags.size()], static_cast<int>(it.random() % 400));
    const unsigned slot = base::key_slot(key);
    if (it.has(key) && (step > 40'000 || it.random() % 3 == 0)) {
      it.erase(key);
      model[slot].erase(key);
    } else if (step <= 40'000) {
      // With and without a deadline: the entry moves to another block.
      it.put(key, it.random() % 2 ? Ttl::at(kNow + 5000) : Ttl::drop());
      model[slot].insert(key);
    }
  }
  for (const auto& [slot, keys] : model) {
    CHECK(it.store.keys_in_slot(0, slot) == keys.size());
    CHECK(it.keys_of(slot) == keys);
  }
  CHECK(it.store.keys_in_slot(1, 0) == 0);
  CHECK(it.keys_of((base::key_slot("t0") + 1) % kSlots).empty());
}

TEST_CASE("placement: flushing forgets the counts, and swapped databases take them along") {
  SlotWorld it;
  for (int i = 0; i < 10; ++i) it.put(tagged("a", i));
  const unsigned slot = base::key_slot("a");
  it.store.swap(0, 1);
  CHECK(it.store.keys_in_slot(0, slot) == 0);
  CHECK(it.store.keys_in_slot(1, slot) == 10);
  it.store.commits().begin(Origin::client, kNow);
  it.store.flush(1);
  it.store.commits().close();
  CHECK(it.store.keys_in_slot(1, slot) == 0);
  while (it.store.reclaim()) {
  }
}

// A table under a hot tag: 100,000 keys in one slot, and a few in its neighbours of the same shard.
struct Hot : SlotWorld {
  static constexpr int kHot = 100'000;
  unsigned slot = base::key_slot("hot");
  std::set<std::string> others;
  size_t before = 0;

  Hot() {
    for (int i = 0; others.size() < 20; ++i) {
      std::string key = "other" + std::to_string(i);
      if (base::key_slot(key) >> 6 != slot >> 6 || base::key_slot(key) == slot) continue;
      others.insert(key);
      put(key);
    }
    before = base::memory_used();
    for (int i = 0; i < kHot; ++i) put(tagged("hot", i));
  }
};

TEST_CASE("placement: one slot of 100,000 keys costs memory as others do") {
  Hot it;
  CHECK(it.store.keys_in_slot(0, it.slot) == Hot::kHot);
  CHECK(it.keys_of(it.slot).size() == Hot::kHot);
  // Such an entry is a block of 32 bytes; the table takes about 12 more, and its directory 5.
  CHECK((base::memory_used() - it.before) / Hot::kHot < 32 + 25);
  for (const std::string& key : it.others) CHECK(it.has(key));
  // GETKEYSINSLOT looks at the slot only, whatever its neighbour holds.
  for (const std::string& key : it.others) CHECK(it.keys_of(base::key_slot(key)).count(key) == 1);
  // A walk that ends early takes one segment.
  size_t seen = 0;
  it.store.visit_slot(0, it.slot, [&](const Entry*) { return ++seen < 10; });
  CHECK(seen >= 10);
  CHECK(seen < 2000);
  for (int i = 0; i < Hot::kHot; ++i) it.erase(tagged("hot", i));
  CHECK(it.store.keys(0) == it.others.size());
}

TEST_CASE("placement: SCAN sees every key once or more") {
  Hot it;
  std::set<std::string> seen;
  uint64_t cursor = 0;
  size_t visits = 0;
  do {
    cursor = it.store.scan(0, cursor, 100, [&](const Entry* entry) {
      seen.emplace(entry->key());
      ++visits;
    });
    CHECK(cursor < uint64_t{1} << 53);
  } while (cursor != 0);
  CHECK(seen.size() == Hot::kHot + it.others.size());
  CHECK(visits == seen.size());
}

TEST_CASE("placement: random keys are uniform over hot and quiet slots") {
  SlotWorld it;
  // 4,096 keys of one slot beside 64 that are alone in theirs.
  std::set<std::string> alone;
  for (int i = 0; i < 4096; ++i) it.put(tagged("hot", i));
  for (int i = 0; alone.size() < 64; ++i) {
    std::string key = "other" + std::to_string(i);
    if (base::key_slot(key) >> 6 != base::key_slot("hot") >> 6) continue;
    alone.insert(key);
    it.put(key);
  }
  constexpr int kDraws = 65'000;
  int drawn_alone = 0;
  for (int i = 0; i < kDraws; ++i) {
    const Entry* entry = it.store.random(0, kNow, [&] { return it.random(); });
    REQUIRE(entry);
    drawn_alone += static_cast<int>(alone.count(std::string(entry->key())));
  }
  // 1,000 expected with a deviation of 31.
  CHECK(drawn_alone > 800);
  CHECK(drawn_alone < 1200);
}

TEST_CASE("placement: eviction finds the idle keys of a hot slot") {
  SlotWorld it;
  for (int i = 0; i < 10'000; ++i) it.put(tagged("hot", i));
  // The first half was used an hour later than the second.
  for (int i = 0; i < 5000; ++i) {
    const std::string key = tagged("hot", i);
    it.store.note_access(it.store.find(0, it.store.ref(key), kNow), kNow + 3'600'000);
  }
  Eviction eviction(it.store);
  eviction.set_seed(3);
  eviction.set_rules({EvictionRules::By::recency, false, 5});
  for (int i = 0; i < 2000; ++i) {
    it.store.commits().begin(Origin::eviction, kNow + 7'200'000);
    CHECK(eviction.evict_one(kNow + 7'200'000));
    it.store.commits().close();
  }
  int used_left = 0;
  for (int i = 0; i < 5000; ++i) used_left += it.has(tagged("hot", i));
  CHECK(used_left > 4900);
  CHECK(it.store.keys_in_slot(0, base::key_slot("hot")) == 8000);
}

struct KeyRecorder : SnapshotSink {
  std::set<std::string> keys;
  bool piece(DbIndex, const Entry& entry, size_t) override {
    complete(0, entry);
    return true;
  }
  void complete(DbIndex, const Entry& entry) override { CHECK(keys.emplace(entry.key()).second); }
};

TEST_CASE("placement: a snapshot has every key once while keys come and go") {
  SlotWorld it;
  std::set<std::string> expected;
  for (int i = 0; i < 5000; ++i) {
    it.put(tagged("hot", i));
    expected.insert(tagged("hot", i));
  }
  KeyRecorder recorder;
  Snapshot& snapshot = it.store.begin_snapshot(recorder);
  for (int step = 0; snapshot.step(); ++step) {
    it.put(tagged("hot", 5000 + step));
    it.erase(tagged("hot", 4999 - step % 5000));
    if (step >= 4998) break;
  }
  while (snapshot.step()) {
  }
  it.store.end_snapshot();
  CHECK(recorder.keys == expected);
}

}  // namespace
}  // namespace quoll::store
