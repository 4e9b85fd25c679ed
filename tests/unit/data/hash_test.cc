#include "data/hash.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <set>
#include <string>

#include "base/memory.h"
#include "tests/unit/data/packed_text.h"

using namespace quoll;
using base::Millis;
using data::Hash;
using data::HashItem;

namespace {

constexpr Millis kNow = 1'000'000;

struct Expected {
  std::string value;
  Millis deadline = data::kHashNoDeadline;
};
using HashModel = std::map<std::string, Expected>;

void compare(const Hash& hash, const HashModel& model, Millis now) {
  REQUIRE(hash.size() == model.size());
  HashModel seen;
  hash.for_each([&](const HashItem& item) {
    bool fresh =
        seen.emplace(text_of(item.field), Expected{text_of(item.value), item.deadline}).second;
    CHECK(fresh);
  });
  REQUIRE(seen.size() == model.size());
  uint64_t expired = 0;
  Millis earliest = data::kHashNoDeadline;
  for (const auto& [field, expected] : model) {
    const Expected& found = seen.at(field);
    REQUIRE(found.value == expected.value);
    REQUIRE(found.deadline == expected.deadline);
    HashItem item;
    REQUIRE(hash.find(field, item));
    REQUIRE(text_of(item.value) == expected.value);
    REQUIRE(item.deadline == expected.deadline);
    REQUIRE(hash.find(field, now, item) == (expected.deadline > now));
    expired += expected.deadline <= now;
    earliest = std::min(earliest, expected.deadline);
  }
  CHECK(hash.expired(now) == expired);
  CHECK(hash.earliest_deadline() == earliest);
  CHECK(hash.has_deadlines() == (earliest != data::kHashNoDeadline));
}

// Random edits against a map. Small limits, so that every conversion happens at every size.
void play(uint64_t seed, size_t fields, const data::Packing& packing, size_t value_bytes_max) {
  std::mt19937_64 random(seed);
  Hash hash;
  HashModel model;
  Millis now = kNow;
  auto draw = [&](uint64_t below) { return random() % below; };
  for (size_t step = 0; step < 4000; ++step) {
    std::string field =
        draw(3) ? "field:" + std::to_string(draw(fields)) : std::to_string(draw(fields));
    auto at = model.find(field);
    switch (draw(8)) {
      case 0:
      case 1:
      case 2: {
        std::string value =
            draw(3) ? std::string(draw(value_bytes_max + 1), static_cast<char>('a' + draw(26)))
                    : std::to_string(static_cast<int64_t>(random()) >> draw(64));
        bool keep = draw(2);
        bool expired = at != model.end() && at->second.deadline <= now;
        Hash::Deadline rule = keep ? Hash::Deadline::keep : Hash::Deadline::drop;
        base::Blob blob = base::Blob::copy_of(value);
        bool fresh = hash.set(field, value, rule, now, packing, draw(2) ? &blob : nullptr);
        REQUIRE(fresh == (at == model.end() || expired));
        Expected& expected = model[field];
        expected.value = value;
        if (!keep || expired) expected.deadline = data::kHashNoDeadline;
        break;
      }
      case 3:
        REQUIRE(hash.erase(field) == (at != model.end()));
        if (at != model.end()) model.erase(at);
        break;
      case 4:
      case 5:
        if (at != model.end()) {
          at->second.deadline = now - 50 + static_cast<Millis>(draw(400));
          hash.set_deadline(field, at->second.deadline);
        }
        break;
      case 6: {
        bool had = at != model.end() && at->second.deadline != data::kHashNoDeadline;
        REQUIRE(hash.drop_deadline(field) == had);
        if (had) at->second.deadline = data::kHashNoDeadline;
        break;
      }
      default: {
        now += static_cast<Millis>(draw(20));
        if (draw(4)) break;
        size_t max = 1 + draw(5);
        Millis last = 0;
        size_t dropped = hash.drop_expired(now, max, [&](base::Bytes name) {
          auto gone = model.find(std::string(name));
          REQUIRE(gone != model.end());
          CHECK(gone->second.deadline <= now);
          CHECK(gone->second.deadline >= last);
          last = gone->second.deadline;
          model.erase(gone);
        });
        CHECK(dropped <= max);
        if (dropped < max) CHECK(hash.expired(now) == 0);
      }
    }
    if (step % 50 == 0) compare(hash, model, now);
  }
  compare(hash, model, now);
  Hash same = hash.copy();
  compare(same, model, now);
  CHECK(same.encoding_name() == hash.encoding_name());
  while (hash.drain(100)) {
  }
  compare(same, model, now);
}

}  // namespace

TEST_CASE("hash: agrees with a map through all forms") {
  size_t before = base::memory_used();
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    data::Packing packing;
    packing.hash_entries = seed * 7;
    packing.hash_value_bytes = 40 + seed;
    play(seed, 5 * seed, packing, 30);
    play(seed + 100, 100 * seed, packing, 44 + seed);
    play(seed + 200, 20, packing, 400);
    play(seed + 300, 2000, packing, data::kHashInlineValueMax + 10);
  }
  CHECK(base::memory_used() == before);
}

TEST_CASE("hash: forms and their names follow Redis") {
  data::Packing packing;
  packing.hash_entries = 4;
  auto set = [&](Hash& hash, base::Bytes field, base::Bytes value) {
    return hash.set(field, value, Hash::Deadline::drop, kNow, packing);
  };
  Hash hash;
  CHECK(hash.size() == 0);
  CHECK(hash.encoding_name() == "listpack");
  for (int i = 0; i < 4; ++i) CHECK(set(hash, "f" + std::to_string(i), "v"));
  CHECK(hash.encoding_name() == "listpack");
  CHECK_FALSE(set(hash, "f1", "w"));
  hash.set_deadline("f2", kNow + 5);
  CHECK(hash.encoding_name() == "listpackex");
  CHECK(hash.drop_deadline("f2"));
  CHECK(hash.encoding_name() == "listpackex");  // once timed, always timed
  CHECK(set(hash, "f4", "v"));
  CHECK(hash.encoding_name() == "hashtable");
  CHECK_FALSE(hash.timed());

  Hash by_value;
  CHECK(set(by_value, "f", std::string(64, 'x')));
  CHECK(by_value.encoding_name() == "listpack");
  CHECK_FALSE(set(by_value, "f", std::string(65, 'x')));
  CHECK(by_value.encoding_name() == "hashtable");

  Hash by_field;
  CHECK(set(by_field, std::string(65, 'x'), "v"));
  CHECK(by_field.encoding_name() == "hashtable");

  // Many at once convert before they are known to differ.
  Hash at_once;
  const base::Bytes pairs[] = {"a", "1", "a", "2", "a", "3", "a", "4", "a", "5"};
  at_once.expect(base::Args(pairs, 8), packing);
  CHECK(at_once.encoding_name() == "listpack");
  at_once.expect(pairs, packing);
  CHECK(at_once.encoding_name() == "hashtable");
}

TEST_CASE("hash: the packed timed form keeps Redis's order") {
  data::Packing packing;
  Hash hash;
  for (base::Bytes field : {"a", "b", "c", "d"})
    hash.set(field, "v", Hash::Deadline::drop, kNow, packing);
  auto order = [&] {
    std::string fields;
    hash.for_each([&](const HashItem& item) { fields += text_of(item.field); });
    return fields;
  };
  hash.set_deadline("c", 300);
  CHECK(order() == "cabd");
  hash.set_deadline("d", 200);
  CHECK(order() == "dcab");
  hash.set_deadline("b", 300);  // before its equal
  CHECK(order() == "dbca");
  hash.set_deadline("d", 250);  // in place
  CHECK(order() == "dbca");
  hash.set_deadline("d", 400);
  CHECK(order() == "bcda");
  CHECK(hash.drop_deadline("c"));
  CHECK(order() == "bdac");
  hash.set("b", "w", Hash::Deadline::keep, 100, packing);
  CHECK(order() == "bdac");
  hash.set("b", "w", Hash::Deadline::drop, 100, packing);
  CHECK(order() == "dacb");
}

TEST_CASE("hash: the wheel's handle moves along with the form") {
  data::Packing packing;
  packing.hash_entries = 2;
  Hash hash;
  hash.set("a", "1", Hash::Deadline::drop, kNow, packing);
  hash.set("b", "2", Hash::Deadline::drop, kNow, packing);
  hash.set_deadline("a", kNow + 1);
  hash.set_wheel_handle(77);
  hash.drop_deadline("a");
  hash.set("c", "3", Hash::Deadline::drop, kNow, packing);
  CHECK(hash.form() == Hash::Form::timed_table);
  CHECK(hash.wheel_handle() == 77);
  CHECK(hash.copy().form() == Hash::Form::timed_table);
  CHECK(hash.copy().wheel_handle() == 0);
}

TEST_CASE("hash: many deadlines leave by ascending order and give their memory back") {
  size_t before = base::memory_used();
  data::Packing packing;
  packing.hash_entries = 0;
  {
    Hash hash;
    std::mt19937_64 random(9);
    for (int i = 0; i < 20'000; ++i) {
      std::string field = std::to_string(i);
      hash.set(field, "v", Hash::Deadline::drop, kNow, packing);
      hash.set_deadline(field, kNow + static_cast<Millis>(random() % 1000));
    }
    CHECK(hash.large());
    CHECK(hash.expired(kNow + 499) > 9'000);
    size_t all = 0;
    Millis last = 0;
    while (hash.size() > 0) {
      Millis earliest = hash.earliest_deadline();
      CHECK(earliest >= last);
      last = earliest;
      all += hash.drop_expired(earliest, 7, [](base::Bytes) {});
    }
    CHECK(all == 20'000);
    CHECK_FALSE(hash.has_deadlines());
    for (int i = 0; i < 5'000; ++i) {
      std::string field = std::to_string(i);
      hash.set(field, "v", Hash::Deadline::drop, kNow, packing);
      hash.set_deadline(field, kNow + 1);
    }
    size_t steps = 0;
    while (hash.drain(600)) ++steps;
    CHECK(steps >= 8);
  }
  CHECK(base::memory_used() == before);
}

TEST_CASE("hash: bytes per field of 16 + 32 bytes in a big hash") {
  data::Packing packing;
  Hash hash;
  size_t before = base::memory_used();
  constexpr size_t kFields = 300'000;
  for (size_t i = 0; i < kFields; ++i) {
    char field[17];
    snprintf(field, sizeof(field), "field:%010zu", i);
    hash.set({field, 16}, std::string(32, 'v'), Hash::Deadline::drop, kNow, packing);
  }
  size_t used = base::memory_used() - before;
  CHECK(used / kFields <= 80);
  double told = static_cast<double>(hash.footprint(0));
  CHECK(told == doctest::Approx(static_cast<double>(used)).epsilon(0.1));
  CHECK(static_cast<double>(hash.footprint(5)) == doctest::Approx(told).epsilon(0.1));
  std::set<std::string> drawn;
  std::mt19937_64 random(3);
  for (int i = 0; i < 1000; ++i) drawn.insert(text_of(hash.random([&] { return random(); }).field));
  CHECK(drawn.size() > 950);
}
