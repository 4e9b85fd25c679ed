#include "data/zset.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "data/zset_builder.h"
#include "tests/unit/data/packed_text.h"

using namespace quoll;
using data::PackedItem;
using data::Packing;
using data::ScoreOutcome;
using data::ZSet;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

Packing packing_of(uint64_t entries, uint64_t value_bytes = 64) {
  Packing packing;
  packing.zset_entries = entries;
  packing.zset_value_bytes = value_bytes;
  return packing;
}

using Pairs = std::vector<std::pair<std::string, double>>;

Pairs pairs_of(const ZSet& zset, uint64_t rank, uint64_t count, bool reverse = false) {
  Pairs pairs;
  zset.visit(rank, count, reverse, [&](const PackedItem& member, double score) {
    pairs.emplace_back(text_of(member), score);
  });
  return pairs;
}

Pairs pairs_of(const ZSet& zset) { return pairs_of(zset, 0, zset.size()); }

// What the sorted set should hold.
class ZSetModel {
 public:
  void put(const std::string& member, double score) {
    erase(member);
    scores_[member] = score;
    order_.insert({score, member});
  }
  bool erase(const std::string& member) {
    auto found = scores_.find(member);
    if (found == scores_.end()) return false;
    order_.erase({found->second, member});
    scores_.erase(found);
    return true;
  }
  const std::map<std::string, double>& scores() const { return scores_; }
  Pairs pairs() const {
    Pairs pairs;
    for (const auto& [score, member] : order_) pairs.emplace_back(member, score);
    return pairs;
  }

 private:
  std::map<std::string, double> scores_;
  std::set<std::pair<double, std::string>> order_;
};

std::string some_member(std::mt19937_64& random, uint64_t of) {
  uint64_t number = random() % of;
  switch (number % 4) {
    case 0:
      return std::to_string(number);
    case 1:
      return "member:" + std::to_string(number);
    case 2:
      return std::string(number % 70, 'x') + std::to_string(number);
    default:
      return number == 3 ? "" : std::string("\0\xff", 2) + std::to_string(number);
  }
}

double some_score(std::mt19937_64& random) {
  uint64_t draw = random();
  switch (draw % 6) {
    case 0:
      return static_cast<double>(draw % 10);
    case 1:
      return -0.1 * static_cast<double>(draw % 100);
    case 2:
      return draw % 5 == 0 ? kInf : draw % 5 == 1 ? -kInf : 0.5;
    case 3:
      return std::ldexp(static_cast<double>(draw >> 11), static_cast<int>(draw % 1900) - 1000);
    default:
      return static_cast<double>(draw >> 12);
  }
}

void compare(const ZSet& zset, const ZSetModel& model) {
  Pairs expected = model.pairs();
  REQUIRE(zset.size() == expected.size());
  REQUIRE(pairs_of(zset) == expected);
  Pairs reversed = pairs_of(zset, zset.size() - (zset.size() > 0), zset.size(), true);
  REQUIRE(reversed == Pairs(expected.rbegin(), expected.rend()));
  for (size_t rank = 0; rank < expected.size(); rank += 1 + rank / 3) {
    auto found = zset.rank_of(expected[rank].first);
    REQUIRE(found);
    REQUIRE(found->rank == rank);
    REQUIRE(found->score == expected[rank].second);
    double score = expected[rank].second;
    size_t below = 0;
    size_t through = 0;
    for (const auto& pair : expected) {
      below += pair.second < score;
      through += pair.second <= score;
    }
    REQUIRE(zset.rank(data::ScoreBoundary{score, false}) == below);
    REQUIRE(zset.rank(data::ScoreBoundary{score, true}) == through);
  }
}

}  // namespace

TEST_CASE("zset: random changes agree with a model around the conversion point") {
  for (uint64_t entries : {0, 1, 8, 128}) {
    for (uint64_t members : {4, 20, 400}) {
      std::mt19937_64 random(entries * 1000 + members);
      Packing packing = packing_of(entries);
      ZSetModel model;
      ZSet zset;
      for (int i = 0; i < 1500; ++i) {
        std::string member = some_member(random, members);
        uint64_t draw = random();
        if (draw % 4 == 0) {
          REQUIRE(zset.erase(member) == model.erase(member));
        } else if (draw % 64 == 1 && zset.size() > 0) {
          uint64_t rank = random() % zset.size();
          uint64_t count = 1 + random() % (zset.size() - rank);
          zset.take(rank, count, [&](const PackedItem& item, double score) {
            auto found = model.scores().find(text_of(item));
            REQUIRE(found != model.scores().end());
            REQUIRE(found->second == score);
            model.erase(text_of(item));
          });
        } else {
          double score = some_score(random);
          auto old = model.scores().find(member);
          auto result = zset.put(member, score, {}, packing);
          ScoreOutcome expected = old == model.scores().end() ? ScoreOutcome::added
                                  : old->second == score      ? ScoreOutcome::same
                                                              : ScoreOutcome::updated;
          REQUIRE(result.outcome == expected);
          REQUIRE(result.score == score);
          if (expected != ScoreOutcome::same) model.put(member, score);
        }
        if (i % 100 == 0) compare(zset, model);
      }
      compare(zset, model);
      ZSet copy = zset.copy();
      compare(copy, model);
      CHECK(copy.encoding_name() == zset.encoding_name());
    }
  }
}

TEST_CASE("zset: rules of ZADD") {
  for (uint64_t entries : {0, 128}) {
    Packing packing = packing_of(entries);
    ZSet zset;
    auto put = [&](const char* member, double score, const data::ScoreRule& rule) {
      return zset.put(member, score, rule, packing).outcome;
    };
    CHECK(put("a", 1, {.only_old = true}) == ScoreOutcome::refused);
    CHECK(put("a", 1, {.only_new = true}) == ScoreOutcome::added);
    CHECK(put("a", 2, {.only_new = true}) == ScoreOutcome::refused);
    CHECK(put("a", 2, {.only_old = true}) == ScoreOutcome::updated);
    CHECK(put("a", 1, {.only_greater = true}) == ScoreOutcome::refused);
    CHECK(put("a", 3, {.only_greater = true}) == ScoreOutcome::updated);
    CHECK(put("a", 3, {.only_less = true}) == ScoreOutcome::refused);
    CHECK(put("a", 2, {.only_less = true}) == ScoreOutcome::updated);
    CHECK(put("b", 2, {.only_less = true}) == ScoreOutcome::added);
    CHECK(zset.put("a", 5, {.increase = true}, packing).score == 7);
    CHECK(put("a", 0, {.increase = true}) == ScoreOutcome::same);
    CHECK(put("a", kInf, {.increase = true}) == ScoreOutcome::updated);
    CHECK(put("a", -kInf, {.increase = true}) == ScoreOutcome::not_a_number);
    CHECK(zset.score("a") == kInf);
    CHECK(put("c", 5, {.only_old = true, .increase = true}) == ScoreOutcome::refused);
  }
}

TEST_CASE("zset: conversion points") {
  Packing packing = packing_of(3, 5);
  ZSet zset;
  for (int i = 0; i < 3; ++i) zset.put(std::to_string(i), i, {}, packing);
  CHECK(zset.encoding_name() == "listpack");
  zset.put("2", 9, {}, packing);
  CHECK(zset.encoding_name() == "listpack");
  zset.put("3", 3, {}, packing);
  CHECK(zset.encoding_name() == "skiplist");
  zset.pack(packing);
  CHECK(zset.encoding_name() == "skiplist");
  zset.erase("0");
  zset.pack(packing);
  CHECK(zset.encoding_name() == "listpack");
  CHECK(pairs_of(zset) == Pairs{{"1", 1}, {"3", 3}, {"2", 9}});
  zset.put("123456", 1, {.only_old = true}, packing);
  CHECK(zset.encoding_name() == "listpack");
  zset.erase("1");
  zset.put("123456", 1, {}, packing);
  CHECK(zset.encoding_name() == "skiplist");
  zset.pack(packing);
  CHECK(zset.encoding_name() == "skiplist");

  ZSet many;
  many.expect("a", 4, packing);
  CHECK(many.encoding_name() == "skiplist");
  ZSet longer;
  longer.expect("123456", 1, packing);
  CHECK(longer.encoding_name() == "skiplist");
  ZSet few;
  few.expect("12345", 3, packing);
  CHECK(few.encoding_name() == "listpack");
}

TEST_CASE("zset: ranges of bytes, in both forms") {
  for (uint64_t entries : {0, 128}) {
    Packing packing = packing_of(entries);
    ZSet zset;
    for (const char* member : {"b", "a", "10", "", "aa", "c", "9"})
      zset.put(member, 0, {}, packing);
    using data::LexBoundary;
    using data::LexLimit;
    auto limit = [](const char* text, bool exclusive) {
      return LexLimit{LexLimit::Kind::member, text, exclusive};
    };
    CHECK(zset.rank(LexBoundary::low(limit("a", false))) == 3);
    CHECK(zset.rank(LexBoundary::low(limit("a", true))) == 4);
    CHECK(zset.rank(LexBoundary::high(limit("aa", false))) == 5);
    CHECK(zset.rank(LexBoundary::high(limit("aa", true))) == 4);
    CHECK(zset.rank(LexBoundary::low(limit("", true))) == 1);
    CHECK(zset.rank(LexBoundary::high({LexLimit::Kind::greatest, {}, true})) == 7);
    CHECK(zset.rank(LexBoundary::low({LexLimit::Kind::least, {}, true})) == 0);
  }
}

TEST_CASE("zset: a scan meets every member that stays") {
  Packing packing;
  std::mt19937_64 random(5);
  ZSet zset;
  for (int i = 0; i < 5000; ++i) zset.put("stays:" + std::to_string(i), i, {}, packing);
  std::set<std::string> met;
  uint64_t cursor = 0;
  int steps = 0;
  do {
    cursor = zset.scan(cursor, 10, [&](const PackedItem& member, double score) {
      std::string name = text_of(member);
      if (name.starts_with("stays:")) REQUIRE(score == std::stod(name.substr(6)));
      met.insert(name);
    });
    for (int i = 0; i < 20; ++i) {
      std::string name = "goes:" + std::to_string(random() % 10000);
      ++steps % 200 < 100 ? void(zset.put(name, 1, {}, packing)) : void(zset.erase(name));
    }
  } while (cursor != 0);
  for (int i = 0; i < 5000; ++i) REQUIRE(met.contains("stays:" + std::to_string(i)));
  for (int i = 0; i < 100; ++i) zset.scan(random(), 5, [](const PackedItem&, double) {});
}

TEST_CASE("zset: memory is counted and given back, at once or in steps") {
  size_t before = base::memory_used();
  Packing packing;
  constexpr int kMembers = 50000;
  std::mt19937_64 random(9);
  auto fill = [&] {
    ZSet zset;
    for (int i = 0; i < kMembers; ++i) {
      std::string name = std::to_string(1000000 + i);
      name.insert(0, 24 - name.size(), 'm');
      zset.put(name, static_cast<double>(random() % 1000000), {}, packing);
    }
    return zset;
  };
  {
    ZSet zset = fill();
    size_t used = base::memory_used() - before;
    MESSAGE("bytes per 24-byte member: " << static_cast<double>(used) / kMembers);
    CHECK(used < kMembers * 76);
    double stated = static_cast<double>(zset.footprint(0));
    CHECK(std::abs(stated - static_cast<double>(used)) < 0.05 * static_cast<double>(used));
    CHECK(zset.large());
  }
  CHECK(base::memory_used() == before);
  {
    ZSet collection = fill();
    size_t last = base::memory_used();
    size_t steps = 0;
    while (collection.drain(1000)) {
      CHECK(base::memory_used() < last);
      last = base::memory_used();
      ++steps;
    }
    CHECK(steps > 50);
    CHECK(base::memory_used() == before);
  }
  {
    ZSet collection = fill();
    for (int i = 0; i < 60; ++i) collection.drain(1000);
  }
  CHECK(base::memory_used() == before);
}

TEST_CASE("zset builder: combines and orders") {
  Packing packing = packing_of(4);
  data::ZSetBuilder builder;
  auto sum = [](double old, double more) { return old + more; };
  builder.add("b", 2, sum);
  builder.add("a", 5, sum);
  builder.add("b", 1, sum);
  builder.add("c", 3, sum);
  CHECK(builder.size() == 3);
  ZSet zset = builder.finish(packing);
  CHECK(pairs_of(zset) == Pairs{{"b", 3}, {"c", 3}, {"a", 5}});
  CHECK(zset.encoding_name() == "listpack");
  CHECK(builder.size() == 0);
  for (int i = 0; i < 1000; ++i) builder.add(std::to_string(i), -i, sum);
  zset = builder.finish(packing);
  CHECK(zset.size() == 1000);
  CHECK(zset.encoding_name() == "skiplist");
  CHECK(zset.score("999") == -999);
  CHECK(zset.rank_of("999")->rank == 0);
  builder.add("left behind", 1, sum);
}
