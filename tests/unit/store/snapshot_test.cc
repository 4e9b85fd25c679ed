#include "store/snapshot.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>

#include "data/list.h"
#include "store/store.h"
#include "tests/unit/givens.h"

namespace quoll::store {
namespace {

using Content = std::map<std::pair<DbIndex, std::string>, std::string>;

std::string text_of(const Entry& entry) {
  if (entry.type() == data::Type::list)
    return "list of " + std::to_string(entry.value<data::List>()->size());
  char scratch[24];
  return std::string(entry.text(scratch)) +
         (entry.has_ttl() ? " until " + std::to_string(entry.deadline()) : "");
}

// Takes down what it is given; large entries need several pieces.
struct ContentRecorder : SnapshotSink {
  Content content;
  const Entry* unfinished = nullptr;
  int pieces = 0;
  int completed_early = 0;

  bool piece(DbIndex db, const Entry& entry, size_t) override {
    REQUIRE((unfinished == nullptr || unfinished == &entry));
    unfinished = &entry;
    if (++pieces % 4 != 0) return false;
    unfinished = nullptr;
    take(db, entry);
    return true;
  }
  void complete(DbIndex db, const Entry& entry) override {
    if (unfinished == &entry) {
      unfinished = nullptr;
      ++completed_early;
    }
    take(db, entry);
  }
  void take(DbIndex db, const Entry& entry) {
    bool first = content.emplace(std::pair{db, std::string(entry.key())}, text_of(entry)).second;
    CHECK(first);
  }
};

struct SnapshotWorld {
  explicit SnapshotWorld(uint64_t seed) : random(seed), store(3) {}

  void put(DbIndex db, const std::string& key, data::Value value, Ttl ttl) {
    store.commits().begin(Origin::client, kNow);
    {
      Edit edit = store.edit(db, store.ref(key), kNow);
      edit.put(std::move(value), ttl);
      edit.done_silently();
    }
    store.commits().effect(db, {});
    store.commits().close();
  }
  void put_text(DbIndex db, const std::string& key, const std::string& text) {
    Ttl ttl = random() % 3 ? Ttl::drop() : Ttl::at(kNow + 1 + static_cast<Millis>(random() % 1000));
    put(db, key, data::Value::of_text(text), ttl);
  }
  void erase(DbIndex db, const std::string& key) {
    store.commits().begin(Origin::client, kNow);
    bool found;
    {
      Edit edit = store.edit(db, store.ref(key), kNow);
      found = edit.found();
      if (found) {
        edit.erase();
        edit.done_silently();
      }
    }
    if (found) store.commits().effect(db, {});
    store.commits().close();
  }
  std::string any_key() { return "key:" + std::to_string(random() % 3000); }
  void change() {
    auto db = static_cast<DbIndex>(random() % 3);
    switch (random() % 8) {
      case 0:
        return erase(db, any_key());
      case 1:
        return put_text(db, any_key(), std::string(random() % 200'000, 'L'));
      default:
        return put_text(db, any_key(), std::to_string(random()));
    }
  }
  Content content() const {
    Content found;
    for (DbIndex db = 0; db < store.databases(); ++db) {
      uint64_t cursor = 0;
      do {
        cursor = store.scan(db, cursor, 1000, [&](const Entry* entry) {
          found[{db, std::string(entry->key())}] = text_of(*entry);
        });
      } while (cursor != 0);
    }
    return found;
  }

  std::mt19937_64 random;
  Store store;
};

}  // namespace

TEST_CASE("snapshot: shows the instant it began, whatever changes meanwhile") {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SnapshotWorld world(seed);
    // From an almost empty database to ones whose tables split during the walk.
    for (uint64_t i = world.random() % (seed % 3 == 0 ? 5 : 4000); i > 0; --i) world.change();
    for (int round = 0; round < 2; ++round) {
      Content before = world.content();
      ContentRecorder recorder;
      Snapshot& snapshot = world.store.begin_snapshot(recorder);
      CHECK(snapshot.keys_total() == before.size());
      bool more = true;
      for (int step = 0; more; ++step) {
        for (uint64_t i = world.random() % 4; i > 0; --i) world.change();
        if (step == 200 && seed % 2) world.store.swap(0, 1);
        if (step == 300 && seed % 2) world.store.flush(2);
        more = snapshot.step();
      }
      CHECK(snapshot.keys_written() == before.size());
      world.store.end_snapshot();
      CHECK(recorder.content == before);
      while (world.store.reclaim()) {
      }
    }
  }
}

TEST_CASE("snapshot: an edit of a value in pieces has it finished first") {
  SnapshotWorld world(9);
  data::List list;
  data::Packing packing;
  for (int i = 0; i < 50'000; ++i) list.push(data::ListEnd::tail, std::to_string(i), packing);
  world.put(0, "big", data::Value::of_collection(data::Collection(std::move(list))), Ttl::drop());
  ContentRecorder recorder;
  Snapshot& snapshot = world.store.begin_snapshot(recorder);
  while (!recorder.unfinished) REQUIRE(snapshot.step());
  world.put_text(0, "other", "new");
  CHECK(recorder.unfinished != nullptr);  // another key's edit does not wait for it
  world.erase(0, "big");
  CHECK(recorder.completed_early == 1);
  while (snapshot.step()) {
  }
  world.store.end_snapshot();
  CHECK(recorder.content == Content{{{0, "big"}, "list of 50000"}});
}

TEST_CASE("snapshot: an edit of much that is still to be written can wait for the walk") {
  SnapshotWorld world(10);
  const std::string large(3 * kSnapshotEditBytesMax, 'L');
  for (int i = 0; i < 300; ++i) world.put_text(0, "key:" + std::to_string(i), "small");
  for (const char* key : {"one", "two"})
    world.put(0, key, data::Value::of_text(large), Ttl::drop());
  world.put(0, "medium", data::Value::of_text(std::string(200'000, 'M')), Ttl::drop());
  const Content before = world.content();
  ContentRecorder recorder;
  Snapshot& snapshot = world.store.begin_snapshot(recorder);
  const auto defers = [&](DbIndex db, const std::string& key) {
    return snapshot.defer_edit(db, world.store.ref(key));
  };
  CHECK(!defers(0, "medium"));
  CHECK(!defers(0, "key:1"));
  CHECK(!defers(0, "missing"));
  CHECK(!defers(1, "two"));
  CHECK(defers(0, "two"));
  CHECK(defers(0, "one"));  // waits as well, but the walk goes to the first
  CHECK(snapshot.awaited());
  while (snapshot.awaited()) REQUIRE(snapshot.step());
  CHECK(recorder.content.contains({0, "two"}));
  CHECK(!recorder.content.contains({0, "one"}));
  CHECK(!defers(0, "two"));
  world.put_text(0, "two", "new");
  // Who cannot wait has it written at once, and nobody is awaited any more.
  CHECK(defers(0, "one"));
  world.erase(0, "one");
  CHECK(!snapshot.awaited());
  while (snapshot.step()) world.put_text(0, "late", "new");
  world.store.end_snapshot();
  CHECK(recorder.content == before);
}

}  // namespace quoll::store
