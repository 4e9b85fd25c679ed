#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "persist/value_codec.h"

using namespace quoll;
using data::Packing;
using data::ZSet;
using persist::PieceCursor;
using wire::RdbType;

namespace {

ZSet make_zset(size_t members, uint64_t entries) {
  Packing packing;
  packing.zset_entries = entries;
  std::mt19937_64 random(members);
  ZSet zset;
  for (size_t i = 0; i < members; ++i) {
    std::string name = i % 3 == 0 ? std::to_string(i) : "member:" + std::to_string(i);
    double score = i % 4 == 0   ? static_cast<double>(i)
                   : i % 4 == 1 ? std::ldexp(static_cast<double>(random()), -70)
                   : i % 4 == 2 ? -static_cast<double>(random() % 1000) / 7
                                : (i % 8 == 3 ? 1 : -1) * std::numeric_limits<double>::infinity();
    zset.put(name, score, {}, packing);
  }
  return zset;
}

std::string encoded(const ZSet& zset, RdbType& type, size_t bytes_max = SIZE_MAX) {
  REQUIRE(persist::rdb_type_of(zset, 11, type));
  std::string out;
  wire::RdbWriter writer(out);
  PieceCursor at;
  while (!persist::encode(zset, type, at, writer, bytes_max)) {
  }
  return out;
}

using Pairs = std::vector<std::pair<std::string, double>>;

Pairs pairs_of(const ZSet& zset) {
  Pairs pairs;
  zset.for_each([&](const data::PackedItem& member, double score) {
    char text[base::kIntTextMax];
    pairs.emplace_back(member.text(text), score);
  });
  return pairs;
}

bool decode(base::Bytes bytes, RdbType type, ZSet& zset, const Packing& packing = {}) {
  wire::RdbReader in(bytes);
  return persist::decode(in, type, {packing, 0}, zset) && in.at_end();
}

// Whatever was accepted is in order and can be asked and changed.
void exercise(ZSet& zset) {
  Pairs pairs = pairs_of(zset);
  bool valid = true;
  for (size_t i = 0; i < pairs.size(); ++i) {
    valid &= !std::isnan(pairs[i].second) && zset.rank_of(pairs[i].first)->rank == i;
    if (i > 0)
      valid &= data::stands_before(pairs[i - 1].second, pairs[i - 1].first, pairs[i].second,
                                   pairs[i].first);
  }
  REQUIRE(valid);
  zset.put("another", 0.25, {}, {});
  if (zset.size() > 1) zset.erase(pairs[0].first);
}

std::string member_string(base::Bytes bytes) {
  std::string out;
  wire::RdbWriter writer(out);
  writer.string(bytes);
  return out;
}

}  // namespace

TEST_CASE("rdb zset: round trips in both forms, whole and in pieces") {
  for (size_t members : {1, 2, 127, 128, 129, 2000}) {
    for (uint64_t entries : {0, 128, 100000}) {
      ZSet zset = make_zset(members, entries);
      RdbType type;
      std::string whole = encoded(zset, type);
      CHECK(type == (zset.large_form() ? RdbType::zset_2 : RdbType::zset_listpack));
      CHECK(encoded(zset, type, 1) == whole);
      CHECK(encoded(zset, type, 500) == whole);
      ZSet back;
      REQUIRE(decode(whole, type, back));
      CHECK(pairs_of(back) == pairs_of(zset));
      CHECK(back.large_form() == (members > 128));
      RdbType again;
      CHECK((back.large_form() != zset.large_form() || encoded(back, again) == whole));
      CHECK(persist::rdb_type_of(zset, 10, again));
      CHECK(again == type);
    }
  }
}

TEST_CASE("rdb zset: what ends early or is damaged is refused or valid") {
  std::mt19937_64 random(17);
  for (uint64_t entries : {0, 128}) {
    ZSet zset = make_zset(40, entries);
    RdbType type;
    std::string whole = encoded(zset, type);
    for (size_t size = 0; size < whole.size(); ++size) {
      ZSet back;
      CHECK_FALSE(decode(base::Bytes(whole).substr(0, size), type, back));
    }
    for (int i = 0; i < 20000; ++i) {
      std::string damaged = whole;
      for (uint64_t flips = 1 + random() % 3; flips > 0; --flips)
        damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
      constexpr RdbType kTypes[] = {RdbType::zset, RdbType::zset_2, RdbType::zset_ziplist,
                                    RdbType::zset_listpack};
      ZSet back;
      if (decode(damaged, i % 8 == 0 ? kTypes[random() % 4] : type, back)) exercise(back);
    }
  }
}

TEST_CASE("rdb zset: scores as text, from old files") {
  std::string out;
  wire::RdbWriter writer(out);
  writer.length(4);
  for (auto [member, score] : {std::pair<const char*, double>{"a", 1.5},
                               {"b", -std::numeric_limits<double>::infinity()},
                               {"c", std::numeric_limits<double>::infinity()},
                               {"7", 3}}) {
    writer.string(member);
    writer.ascii_double(score);
  }
  ZSet zset;
  REQUIRE(decode(out, RdbType::zset, zset));
  CHECK_FALSE(zset.large_form());
  CHECK(pairs_of(zset).front().first == "b");
  CHECK(pairs_of(zset).back().first == "c");

  Packing tight;
  tight.zset_value_bytes = 0;
  ZSet large;
  REQUIRE(decode(out, RdbType::zset, large, tight));
  CHECK(large.large_form());
}

TEST_CASE("rdb zset: refusals") {
  auto pairs = [](std::initializer_list<base::Bytes> texts) {
    data::Listpack listpack;
    for (base::Bytes text : texts) REQUIRE(listpack.append(text));
    return member_string(listpack.bytes());
  };
  ZSet zset;
  CHECK(decode(pairs({"a", "1", "b", "2"}), RdbType::zset_listpack, zset));
  CHECK_FALSE(decode(pairs({"a", "1", "a", "2"}), RdbType::zset_listpack, zset));
  CHECK_FALSE(decode(pairs({"a", "1", "b"}), RdbType::zset_listpack, zset));
  CHECK_FALSE(decode(pairs({"a", "nan"}), RdbType::zset_listpack, zset));
  CHECK_FALSE(decode(pairs({"a", "one"}), RdbType::zset_listpack, zset));
  // Out of order: taken member by member.
  ZSet sorted;
  REQUIRE(decode(pairs({"b", "2", "a", "1", "c", "1.5"}), RdbType::zset_listpack, sorted));
  CHECK(pairs_of(sorted) == Pairs{{"a", 1}, {"c", 1.5}, {"b", 2}});
  CHECK_FALSE(decode(pairs({"b", "2", "a", "1", "b", "3"}), RdbType::zset_listpack, zset));
  ZSet none;
  REQUIRE(decode(pairs({}), RdbType::zset_listpack, none));
  CHECK(none.size() == 0);

  auto binary = [](std::initializer_list<std::pair<const char*, double>> members) {
    std::string out;
    wire::RdbWriter writer(out);
    writer.length(members.size());
    for (const auto& [member, score] : members) {
      writer.string(member);
      writer.binary_double(score);
    }
    return out;
  };
  ZSet any;
  CHECK(decode(binary({{"a", 1}, {"b", 1}}), RdbType::zset_2, any));
  ZSet twice;
  CHECK_FALSE(decode(binary({{"a", 1}, {"a", 2}}), RdbType::zset_2, twice));
  ZSet nan;
  CHECK_FALSE(decode(binary({{"a", std::nan("")}}), RdbType::zset_2, nan));
  // A count without members behind it allocates nothing for them.
  std::string huge;
  wire::RdbWriter(huge).length(UINT64_MAX);
  ZSet counted;
  CHECK_FALSE(decode(huge, RdbType::zset_2, counted));
}
