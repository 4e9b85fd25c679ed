#include "store/slot_digests.h"

#include <doctest/doctest.h>

#include "tests/unit/givens.h"

namespace quoll::store {
namespace {

constexpr uint64_t kSeed = 7;

void put(Store& store, DbIndex db, const std::string& key, const std::string& text,
         Ttl ttl = Ttl::drop()) {
  store.commits().begin(Origin::load, kNow);
  {
    Edit edit = store.edit(db, store.ref(key), kNow);
    edit.put(data::Value::of_text(text), ttl);
    edit.done_silently();
  }
  store.commits().close();
}

SlotDigests slot_digests_of(const Store& store, uint64_t seed = kSeed) {
  SlotDigests digests(seed);
  while (digests.step(store)) {
  }
  CHECK(digests.complete());
  return digests;
}

SlotSet equal(const Store& one, const Store& two) {
  return slot_digests_of(one).equal(slot_digests_of(two).slots());
}

std::string key(int i) { return "key:" + std::to_string(i); }

TEST_CASE("slots with the same keys are equal, whatever their order") {
  Store one(2, Placement::by_slot), two(2, Placement::by_slot);
  for (int i = 0; i < 2000; ++i) put(one, i % 2, key(i), "v" + std::to_string(i));
  for (int i = 1999; i >= 0; --i) put(two, i % 2, key(i), "v" + std::to_string(i));
  CHECK(equal(one, two).all());
  put(two, 0, "{tag}more", "x");
  SlotSet slots = equal(one, two);
  CHECK(slots.count() == kSlots - 1);
  CHECK(!slots[base::key_slot("tag")]);
}

TEST_CASE("value, database and deadline make a difference, and so does the seed") {
  Store one(2, Placement::by_slot);
  put(one, 0, "k", "v", Ttl::at(kNow + 1000));
  const unsigned slot = base::key_slot("k");
  const auto same = [&](DbIndex db, const std::string& text, Ttl ttl) -> bool {
    Store two(2, Placement::by_slot);
    put(two, db, "k", text, ttl);
    return equal(one, two)[slot];
  };
  CHECK(same(0, "v", Ttl::at(kNow + 1000)));
  CHECK(!same(0, "w", Ttl::at(kNow + 1000)));
  CHECK(!same(1, "v", Ttl::at(kNow + 1000)));
  CHECK(!same(0, "v", Ttl::at(kNow + 1001)));
  CHECK(!same(0, "v", Ttl::drop()));
  CHECK(slot_digests_of(one, 1).slots()[slot] != slot_digests_of(one, 2).slots()[slot]);
}

TEST_CASE("what changed after it was computed equals nothing") {
  Store store(1, Placement::by_slot);
  put(store, 0, "k", "v");
  const unsigned slot = base::key_slot("k");
  SlotDigests ours = slot_digests_of(store);
  const SlotDigests theirs = slot_digests_of(store);
  ours.changed(slot);
  CHECK(ours.equal(theirs.slots()).count() == kSlots - 1);
  CHECK(!ours.equal(theirs.slots())[slot]);
  SUBCASE("nor does what has no digest on both sides") { CHECK(!ours.equal(ours.slots())[slot]); }
  SUBCASE("of all slots, those that are not computed yet will be") {
    SlotDigests half(kSeed);
    for (unsigned i = 0; i < kSlots / 2; ++i) half.step(store);
    half.all_changed();
    while (half.step(store)) {
    }
    CHECK(half.equal(theirs.slots()).count() == kSlots / 2);
  }
}

TEST_CASE("a slot that holds too much has no digest") {
  Store store(1, Placement::by_slot);
  const unsigned slot = base::key_slot("tag");
  SUBCASE("keys") {
    for (size_t i = 0; i < kSlotDigestKeysMax; ++i)
      put(store, 0, "{tag}" + key(static_cast<int>(i)), "v");
    CHECK(equal(store, store).all());
    put(store, 0, "{tag}one more", "v");
  }
  SUBCASE("bytes") {
    put(store, 0, "{tag}1", std::string(kSlotDigestBytesMax / 2, 'x'));
    CHECK(equal(store, store).all());
    put(store, 0, "{tag}2", std::string(kSlotDigestBytesMax / 2, 'x'));
  }
  const SlotSet slots = equal(store, store);
  CHECK(slots.count() == kSlots - 1);
  CHECK(!slots[slot]);
}

}  // namespace
}  // namespace quoll::store
