#include <doctest/doctest.h>

#include <random>
#include <set>
#include <string>

#include "base/memory.h"
#include "base/text.h"
#include "persist/value_codec.h"

using namespace quoll;
using data::Set;
using persist::DecodeOptions;
using persist::PieceCursor;
using wire::RdbReader;
using wire::RdbType;
using wire::RdbWriter;

namespace {

std::set<std::string> contents(const Set& set) {
  std::set<std::string> all;
  set.for_each([&](const data::PackedItem& item) {
    char text[base::kIntTextMax];
    all.insert(std::string(item.text(text)));
  });
  CHECK(all.size() == set.size());
  return all;
}

// Members: integers, short texts, and with `long_bytes` every tenth a long one.
Set make_set(size_t members, bool integers, size_t long_bytes = 0) {
  Set set;
  for (size_t i = 0; i < members; ++i) {
    std::string member =
        integers || i % 3 == 0 ? std::to_string(i * 7919) : "m" + std::to_string(i);
    if (long_bytes > 0 && i % 10 == 0) member.append(long_bytes, 'x');
    set.insert(member, {});
  }
  return set;
}

std::string encoded(const Set& set, unsigned version, RdbType& type, size_t piece = SIZE_MAX) {
  std::string out;
  RdbWriter writer(out);
  REQUIRE(persist::rdb_type_of(set, version, type));
  PieceCursor at;
  size_t pieces = 1;
  while (!persist::encode(set, type, at, writer, piece)) ++pieces;
  if (type == RdbType::set && out.size() / 20 > piece) CHECK(pieces > 1);
  return out;
}

bool decoded(base::Bytes bytes, RdbType type, Set& set, const DecodeOptions& options = {}) {
  RdbReader in(bytes);
  bool ok = persist::decode(in, type, options, set);
  CHECK(ok == (in.failure() == wire::RdbFailure::none));
  return ok;
}

void round_trip(const Set& set, unsigned version, RdbType expected) {
  RdbType type;
  std::string bytes = encoded(set, version, type);
  CHECK(type == expected);
  CHECK(encoded(set, version, type, 50) == bytes);
  Set back;
  REQUIRE(decoded(bytes, type, back));
  CHECK(contents(back) == contents(set));
  CHECK(back.encoding() == set.encoding());
}

std::string from_hex(base::Bytes hex) {
  std::string bytes;
  REQUIRE(base::from_hex(hex, bytes));
  return bytes;
}

}  // namespace

TEST_CASE("rdb set: every form comes back, at sizes around the conversions") {
  for (unsigned version : {10U, 11U, 12U}) {
    for (size_t members : {1U, 2U, 511U, 512U})
      round_trip(make_set(members, true), version, RdbType::set_intset);
    for (size_t members : {513U, 20000U})
      round_trip(make_set(members, true), version, RdbType::set);
    for (size_t members : {5U, 127U, 128U})
      round_trip(make_set(members, false), version,
                 version == 10 ? RdbType::set : RdbType::set_listpack);
    for (size_t members : {129U, 5000U})
      round_trip(make_set(members, false), version, RdbType::set);
    for (size_t bytes : {65U, 300U, 20000U})
      round_trip(make_set(40, false, bytes), version, RdbType::set);
  }
}

TEST_CASE("rdb set: the form follows the limits in force") {
  DecodeOptions small;
  small.packing.set_intset_entries = 4;
  small.packing.set_entries = 4;
  RdbType type;
  for (bool integers : {true, false}) {
    for (size_t members : {4U, 5U}) {
      Set set = make_set(members, integers);
      std::string bytes = encoded(set, 11, type);
      Set back;
      REQUIRE(decoded(bytes, type, back, small));
      CHECK((back.encoding() == Set::Encoding::table) == (members > 4));
      CHECK(contents(back) == contents(set));
    }
  }
  // Plain members beyond the intset limit: a table, whatever they are.
  small.packing.set_entries = 100;
  Set set = make_set(5, false);
  std::string bytes = encoded(set, 10, type);
  Set back;
  REQUIRE(decoded(bytes, type, back, small));
  CHECK(back.encoding() == Set::Encoding::table);
}

TEST_CASE("rdb set: payloads of redis-server 7.0.15") {
  Set set;
  REQUIRE(decoded(from_hex("0e02000000030000000100020003000a").substr(0, 15), RdbType::set_intset,
                  set));
  CHECK(contents(set) == std::set<std::string>{"1", "2", "3"});
  Set table;
  REQUIRE(decoded(from_hex("0301610162c005"), RdbType::set, table));
  CHECK(contents(table) == std::set<std::string>{"5", "a", "b"});
  CHECK(table.encoding() == Set::Encoding::listpack);
  Set empty;
  REQUIRE(decoded(from_hex("00"), RdbType::set, empty));
  CHECK(empty.size() == 0);
}

TEST_CASE("rdb set: what redis-server refuses") {
  Set set;
  CHECK(!decoded(from_hex("0201610161"), RdbType::set, set));  // "a" twice
  CHECK(!decoded(from_hex("02c0050135"), RdbType::set, set));  // 5 twice, as int and text
  CHECK(!decoded(from_hex("080200000000000000"), RdbType::set_intset, set));  // no member
  // A listpack with the same member twice, in different encodings: 5 and "5".
  CHECK(!decoded(from_hex("0c0c00000002000501813502ff"), RdbType::set_listpack, set));
  CHECK(decoded(from_hex("0c0c00000002000501813602ff"), RdbType::set_listpack, set));
  CHECK(!decoded(from_hex("8100ffffffffffffff0161"), RdbType::set, set));
}

TEST_CASE("rdb set: input that ends early or is flipped") {
  std::mt19937_64 random(33);
  size_t used = base::memory_used();
  for (size_t kind = 0; kind < 4; ++kind) {
    Set set = kind == 3 ? make_set(300, false, 90) : make_set(kind == 1 ? 60 : 40, kind == 0);
    RdbType type;
    std::string bytes = encoded(set, kind == 2 ? 10 : 11, type);
    for (size_t size = 0; size < bytes.size(); ++size) {
      std::string cut = bytes.substr(0, size);
      Set back;
      CHECK(!decoded(cut, type, back));
    }
    for (int round = 0; round < 4000; ++round) {
      std::string flipped = bytes;
      for (uint64_t flips = 1 + random() % 3; flips > 0; --flips)
        flipped[random() % flipped.size()] ^= static_cast<char>(1u << (random() % 8));
      Set back;
      if (!decoded(flipped, type, back)) continue;
      auto members = contents(back);
      for (const std::string& member : members) REQUIRE(back.contains(member));
      for (const std::string& member : members) REQUIRE(back.erase(member));
      REQUIRE(back.size() == 0);
    }
  }
  CHECK(base::memory_used() == used);
}
