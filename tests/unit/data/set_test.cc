#include "data/set.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/data/packed_text.h"

using namespace quoll;
using namespace quoll::data;

namespace {

std::vector<std::string> members_of(const Set& set) {
  std::vector<std::string> members;
  set.for_each([&](const PackedItem& item) { members.push_back(text_of(item)); });
  return members;
}

Set set_of(const std::vector<std::string>& members, const Packing& packing = {}) {
  Set set;
  for (const std::string& member : members) CHECK(set.insert(member, packing));
  return set;
}

std::vector<std::string> words(size_t count, const std::string& prefix = "m") {
  std::vector<std::string> words;
  for (size_t i = 0; i < count; ++i) words.push_back(prefix + std::to_string(i));
  return words;
}

}  // namespace

TEST_CASE("set: forms change where Redis 7.4 changes them") {
  CHECK(set_of({"1", "2"}).encoding_name() == "intset");
  CHECK(set_of({"1", "a"}).encoding_name() == "listpack");
  CHECK(set_of({"a", "1"}).encoding_name() == "listpack");
  CHECK(set_of(words(512, "")).encoding_name() == "intset");
  CHECK(set_of(words(513, "")).encoding_name() == "hashtable");
  CHECK(set_of(words(128)).encoding_name() == "listpack");
  CHECK(set_of(words(129)).encoding_name() == "hashtable");
  CHECK(set_of({std::string(64, 'x')}).encoding_name() == "listpack");
  CHECK(set_of({std::string(65, 'x')}).encoding_name() == "hashtable");
  CHECK(set_of({"1", std::string(65, 'x')}).encoding_name() == "hashtable");
  // Integers that a string joins: at most set-max-listpack-entries with it.
  std::vector<std::string> integers = words(127, "");
  integers.push_back("a");
  CHECK(set_of(integers).encoding_name() == "listpack");
  integers.insert(integers.begin(), "1000");
  CHECK(set_of(integers).encoding_name() == "hashtable");
  // Not canonical integers.
  CHECK(set_of({"01", "-0", "+1", " 1"}).encoding_name() == "listpack");
  Packing small;
  small.set_intset_entries = 2;
  small.set_entries = 3;
  CHECK(set_of({"1", "2", "3"}, small).encoding_name() == "hashtable");
  CHECK(set_of({"a", "b", "c"}, small).encoding_name() == "listpack");
  CHECK(set_of({"a", "b", "c", "d"}, small).encoding_name() == "hashtable");
  small.set_value_bytes = 1;
  CHECK(set_of({"10", "b"}, small).encoding_name() == "hashtable");
}

TEST_CASE("set: the number of members to come chooses the form") {
  Packing packing;
  auto form = [&](base::Bytes first, size_t members) {
    Set set;
    set.expect(first, members, packing);
    return std::string(set.encoding_name());
  };
  CHECK(form("1", 512) == "intset");
  CHECK(form("1", 513) == "hashtable");
  CHECK(form("a", 128) == "listpack");
  CHECK(form("a", 129) == "hashtable");
  packing.set_intset_entries = 2;
  CHECK(form("1", 3) == "listpack");
  Set set = set_of({"1"});
  set.expect("2", 3, packing);
  CHECK(set.encoding_name() == "hashtable");
  CHECK(set.contains("1"));
}

TEST_CASE("set: random operations agree with a plain set, memory is given back") {
  std::mt19937_64 random(7);
  for (size_t range : {3U, 100U, 130U, 500U, 520U, 3000U, 20000U}) {
    for (int kind = 0; kind < 3; ++kind) {
      size_t used = base::memory_used();
      {
        Packing packing;
        Set set;
        std::set<std::string> model;
        for (size_t step = 0; step < 4 * range + 200; ++step) {
          uint64_t number = random() % range;
          std::string member = kind == 0 ? std::to_string(number) : "m" + std::to_string(number);
          if (kind == 2 && number % 50 == 0) member.append(60 + number % 300, 'x');
          if (kind == 2 && number % 3 == 0) member = std::to_string(number);
          if (random() % 3 > 0) {
            REQUIRE(set.insert(member, packing) == model.insert(member).second);
          } else {
            REQUIRE(set.erase(member) == (model.erase(member) == 1));
          }
          REQUIRE(set.size() == model.size());
          REQUIRE(set.contains(member) == model.contains(member));
          if (set.size() == 0) set = Set();
        }
        std::vector<std::string> members = members_of(set);
        CHECK(members.size() == model.size());
        CHECK(std::set<std::string>(members.begin(), members.end()) == model);
        Set copy = set.copy();
        CHECK(copy.encoding_name() == set.encoding_name());
        while (set.size() > 0) {
          std::string drawn;
          set.take_random([&] { return random(); },
                          [&](const PackedItem& item) { drawn = text_of(item); });
          REQUIRE(model.erase(drawn) == 1);
          REQUIRE(!set.contains(drawn));
        }
        CHECK(model.empty());
        members = members_of(copy);
        CHECK(members.size() == copy.size());
        while (copy.drain(100)) {
        }
      }
      CHECK(base::memory_used() == used);
    }
  }
}

TEST_CASE("set: members of every length") {
  Packing packing;
  size_t used = base::memory_used();
  {
    Set set;
    std::vector<std::string> members;
    for (size_t size : {0U, 1U, 7U, 63U, 64U, 253U, 254U, 255U, 256U, 1000U, 70000U})
      members.push_back(std::string(size, 'y'));
    for (const std::string& member : members) CHECK(set.insert(member, packing));
    for (const std::string& member : members) {
      CHECK(!set.insert(member, packing));
      CHECK(set.contains(member));
    }
    CHECK(set.encoding_name() == "hashtable");
    size_t footprint = set.footprint(0);
    CHECK(footprint > 71000);
    for (const std::string& member : members) CHECK(set.erase(member));
    CHECK(set.size() == 0);
  }
  CHECK(base::memory_used() == used);
}

TEST_CASE("set: a member of 16 bytes costs at most 46") {
  Packing packing;
  size_t used = base::memory_used();
  Set set;
  constexpr size_t kMembers = 200'000;
  for (size_t i = 0; i < kMembers; ++i) {
    std::string member = std::to_string(i);
    member.insert(0, 16 - member.size(), 'k');
    set.insert(member, packing);
  }
  size_t cost = base::memory_used() - used;
  CHECK(cost <= 46 * kMembers);
  size_t footprint = set.footprint(100);
  CHECK(footprint > cost * 9 / 10);
  CHECK(footprint < cost * 11 / 10);
  CHECK(set.large());
}

TEST_CASE("set: random members are uniform in every form") {
  std::mt19937_64 random(11);
  auto check = [&](const Set& set) {
    std::map<std::string, int> seen;
    auto size = static_cast<int>(set.size());
    constexpr int kEach = 400;
    for (int i = 0; i < size * kEach; ++i) ++seen[text_of(set.random([&] { return random(); }))];
    CHECK(static_cast<int>(seen.size()) == size);
    double chi_square = 0;
    for (const auto& [member, count] : seen)
      chi_square += (count - kEach) * static_cast<double>(count - kEach) / kEach;
    // Mean size - 1, deviation sqrt(2 size): six deviations.
    CHECK(chi_square < size + 6 * std::sqrt(2.0 * size));
  };
  check(set_of({"5"}));
  check(set_of(words(50, "")));
  check(set_of(words(100)));
  check(set_of(words(129)));
  check(set_of(words(700)));
  check(set_of(words(2500)));
}

TEST_CASE("set: walks end when the visitor says so") {
  for (size_t count : {3U, 100U, 2000U}) {
    for (const char* prefix : {"", "m"}) {
      Set set = set_of(words(count, prefix));
      int visits = 0;
      set.for_each([&](const PackedItem&) { return ++visits < 2; });
      CHECK(visits == 2);
    }
  }
  Set().for_each([](const PackedItem&) { CHECK(false); });
}

TEST_CASE("set: back to an intset, and over the limits of another packing") {
  Packing packing;
  Set set;
  set.begin_listpack();
  for (const std::string& member : words(100, "")) set.insert(member, packing);
  CHECK(set.encoding_name() == "listpack");
  set.make_intset(packing);
  CHECK(set.encoding_name() == "intset");
  CHECK(set.size() == 100);
  CHECK(set.contains("99"));
  packing.set_intset_entries = 99;
  Set kept;
  kept.begin_listpack();
  for (const std::string& member : words(100, "")) kept.insert(member, packing);
  kept.make_intset(packing);
  CHECK(kept.encoding_name() == "listpack");
  set.convert_if_over(packing);
  CHECK(set.encoding_name() == "hashtable");
  packing.set_entries = 99;
  kept.convert_if_over(packing);
  CHECK(kept.encoding_name() == "hashtable");
  CHECK(kept.size() == 100);
}
