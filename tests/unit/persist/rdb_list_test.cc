// Lists through their RDB forms: round trips, every truncation, random damage.
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "persist/value_codec.h"

namespace quoll::persist {
namespace {

using data::List;
using data::ListEnd;
using Texts = std::vector<std::string>;

Texts texts_of(const List& list) {
  Texts texts;
  list.for_each([&](const data::PackedItem& item) {
    char buffer[base::kIntTextMax];
    texts.emplace_back(item.text(buffer));
  });
  return texts;
}

List list_of(const Texts& texts, const data::Packing& packing = {}) {
  List list;
  for (const std::string& text : texts) {
    base::Bytes view = text;
    list.expect({&view, 1}, packing);
    list.push(ListEnd::tail, text, packing);
  }
  return list;
}

std::string encoded(const List& list, size_t bytes_max) {
  wire::RdbType type;
  REQUIRE(rdb_type_of(list, 10, type));
  CHECK(type == wire::RdbType::list_quicklist_2);
  std::string out;
  wire::RdbWriter writer(out);
  PieceCursor at;
  for (int i = 0; !encode(list, type, at, writer, bytes_max); ++i) REQUIRE(i < 100'000);
  return out;
}

bool decoded(base::Bytes bytes, wire::RdbType type, List& list) {
  wire::RdbReader reader(bytes);
  bool ok = decode(reader, type, {}, list);
  CHECK(ok == (reader.failure() == wire::RdbFailure::none));
  return ok;
}

Texts mixed(size_t count) {
  Texts texts;
  for (size_t i = 0; i < count; ++i) {
    texts.push_back(i % 3 ? "element " + std::to_string(i) : std::to_string(i * 1000));
    if (i % 97 == 50) texts.push_back(std::string(9000 + i, 'p'));
  }
  return texts;
}

}  // namespace

TEST_CASE("rdb list: what is written is read again, in pieces of any size") {
  for (size_t count : {0, 1, 2, 100, 3000}) {
    Texts texts = mixed(count);
    List list = list_of(texts);
    std::string whole = encoded(list, SIZE_MAX);
    for (size_t piece : {size_t{1}, size_t{1000}, size_t{100'000}})
      CHECK(encoded(list, piece) == whole);
    List other;
    REQUIRE(decoded(whole, wire::RdbType::list_quicklist_2, other));
    CHECK(texts_of(other) == texts);
    CHECK(other.encoding_name() == list.encoding_name());
  }
}

TEST_CASE("rdb list: a very long element goes out in pieces") {
  Texts texts = {"a", std::string(1'000'000, 'v'), "z"};
  List list = list_of(texts);
  std::string whole = encoded(list, SIZE_MAX);
  CHECK(encoded(list, 70'000) == whole);
  List other;
  REQUIRE(decoded(whole, wire::RdbType::list_quicklist_2, other));
  CHECK(texts_of(other) == texts);
}

TEST_CASE("rdb list: the older forms") {
  std::string plain;
  wire::RdbWriter writer(plain);
  writer.length(3);
  for (base::Bytes text : {"one", "2", "three"}) writer.string(text);
  List list;
  REQUIRE(decoded(plain, wire::RdbType::list, list));
  CHECK(texts_of(list) == Texts{"one", "2", "three"});
  CHECK(list.encoding_name() == "listpack");

  // A ziplist of "ab" and 5, as Redis 6 writes it.
  const std::string ziplist(
      "\x11\0\0\0\x0e\0\0\0\x02\0\0\x02"
      "ab\x04\xf6\xff",
      17);
  std::string one;
  wire::RdbWriter(one).string(ziplist);
  List small;
  REQUIRE(decoded(one, wire::RdbType::list_ziplist, small));
  CHECK(texts_of(small) == Texts{"ab", "5"});
  CHECK(small.encoding_name() == "listpack");

  std::string two;
  wire::RdbWriter nodes(two);
  nodes.length(2);
  nodes.string(ziplist);
  nodes.string(ziplist);
  List big;
  REQUIRE(decoded(two, wire::RdbType::list_quicklist, big));
  CHECK(texts_of(big) == Texts{"ab", "5", "ab", "5"});
  CHECK(big.encoding_name() == "quicklist");
}

TEST_CASE("rdb list: no listpack is too large to be worked with") {
  data::Listpack pack;
  Texts texts;
  for (int i = 0; i < 70'000; ++i) {
    texts.push_back(std::to_string(i));
    REQUIRE(pack.append(base::Bytes(texts.back())));
  }
  std::string out;
  wire::RdbWriter writer(out);
  writer.length(1);
  writer.length(2);
  writer.string(pack.bytes());
  List list;
  REQUIRE(decoded(out, wire::RdbType::list_quicklist_2, list));
  CHECK(texts_of(list) == texts);
  CHECK(list.quicklist().nodes().size() > 10);
}

TEST_CASE("rdb list: truncated anywhere it fails") {
  std::string whole = encoded(list_of(mixed(120)), SIZE_MAX);
  for (size_t size = 0; size < whole.size(); ++size) {
    List list;
    CHECK(!decoded(base::Bytes(whole).substr(0, size), wire::RdbType::list_quicklist_2, list));
  }
}

TEST_CASE("rdb list: damaged bytes fail or give a valid list") {
  std::mt19937_64 random(7);
  const std::string whole = encoded(list_of(mixed(150)), SIZE_MAX);
  for (auto type : {wire::RdbType::list_quicklist_2, wire::RdbType::list,
                    wire::RdbType::list_ziplist, wire::RdbType::list_quicklist}) {
    for (int round = 0; round < 2000; ++round) {
      std::string damaged = whole;
      for (size_t n = random() % 4 + 1; n > 0; --n)
        damaged[random() % (round % 2 ? 60 : damaged.size())] = static_cast<char>(random());
      List list;
      if (!decoded(damaged, type, list)) continue;
      CHECK(texts_of(list).size() == list.size());
      while (list.size() > 0) list.pop(random() % 2 ? ListEnd::head : ListEnd::tail);
    }
  }
}

}  // namespace quoll::persist
