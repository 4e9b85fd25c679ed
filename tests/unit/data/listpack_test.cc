#include "data/listpack.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/text.h"
#include "tests/unit/data/packed_text.h"
#include "wire/rdb_reader.h"
#include "wire/rdb_writer.h"

using namespace quoll;
using namespace quoll::data;
using Texts = std::vector<std::string>;

namespace {

Listpack of(const Texts& texts) {
  Listpack listpack;
  for (const std::string& text : texts) REQUIRE(listpack.append(text));
  return listpack;
}
Texts forwards(const ListpackView& view) {
  Texts texts;
  char buffer[base::kIntTextMax];
  for (auto position = view.first(); position; position = view.next(position)) {
    texts.emplace_back(view.item(position).text(buffer));
  }
  return texts;
}
Texts backwards(const ListpackView& view) {
  Texts texts;
  char buffer[base::kIntTextMax];
  for (auto position = view.last(); position; position = view.previous(position)) {
    texts.emplace_back(view.item(position).text(buffer));
  }
  std::reverse(texts.begin(), texts.end());
  return texts;
}
// DUMP of a list with one node that holds `texts`, as redis-server 7.0.15 makes it.
std::string list_dump_hex(const Texts& texts) {
  Listpack listpack = of(texts);
  std::string out;
  wire::RdbWriter writer(out);
  writer.type(wire::RdbType::list_quicklist_2);
  writer.length(1);
  writer.length(static_cast<uint64_t>(wire::RdbNode::packed));
  writer.string(listpack.bytes());
  wire::append_dump_footer(out, 10);
  return base::to_hex(out);
}
std::string packed_dump_hex(wire::RdbType type, const Texts& texts) {
  Listpack listpack = of(texts);
  std::string out;
  wire::RdbWriter writer(out);
  writer.type(type);
  writer.string(listpack.bytes());
  wire::append_dump_footer(out, 10);
  return base::to_hex(out);
}
bool valid_listpack(const std::string& bytes) {
  std::unique_ptr<char[]> block(new char[bytes.size() + (bytes.empty() ? 1 : 0)]);
  bytes.copy(block.get(), bytes.size());
  base::Bytes foreign(block.get(), bytes.size());
  if (!ListpackView::validate(foreign)) return false;
  ListpackView view(foreign);  // what is valid_listpack can be walked both ways
  REQUIRE(forwards(view) == backwards(view));
  REQUIRE(view.count() == forwards(view).size());
  view.find(view.first(), "17");
  return true;
}
const Texts kEdges = {"0",
                      "127",
                      "128",
                      "-1",
                      "4095",
                      "-4096",
                      "4096",
                      "-4097",
                      "32767",
                      "-32768",
                      "32768",
                      "-32769",
                      "8388607",
                      "-8388608",
                      "8388608",
                      "-8388609",
                      "2147483647",
                      "-2147483648",
                      "2147483648",
                      "9223372036854775807",
                      "-9223372036854775808",
                      "9223372036854775808",
                      "-0",
                      "007",
                      "1 "};

}  // namespace

TEST_CASE("listpack: DUMP payloads equal those of redis-server") {
  CHECK(list_dump_hex(kEdges) ==
        "120102c3408d40931c93000000190000017f01c08002dfff02cfff02d00002f1001003f1ffef20030e7f03f100"
        "8003f200800004f2ff7fff200408ff7f04f200008004f32004020005f3200f00ff400502ff7f05201103008005"
        "f440052003020009f420154000017f09401340001f8009933932323333373230333638353437373538303814"
        "822d300383303037040482312003ff0a0068592bf2270a2ff6");
  CHECK(list_dump_hex({std::string(63, 'a'), std::string(64, 'b'), ""}) ==
        "120102c319408d078d0000000300bf61e035000340e04062e0360003428001ff0a00bc3281c30580188e");
  CHECK(list_dump_hex({std::string(4095, 'a'), std::string(2000, 'b')}) ==
        "120102c3405c57de08de1700000200efff61e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00"
        "e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e07d00042081e7d062e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00"
        "e0ff00e08e00020fd2ff0a004c3a70885d9aa8f2");
  CHECK(list_dump_hex({std::string(4096, 'a'), "b"}) ==
        "120102c34044501107111000000200f00020060061e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00"
        "e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e07e00052085816202ff0a00e0e26ca1f7fdf0cf");
  CHECK(
      packed_dump_hex(wire::RdbType::hash_listpack, {"name", "quoll", "age", "12", "x", "-5"}) ==
      "1021210000000600846e616d65058571756f6c6c0683616765040c01817802dffb02ff0a001dd0fcf47ba602e8");
  CHECK(packed_dump_hex(wire::RdbType::zset_listpack, {"c", "-inf", "a", "1", "b", "2.5"}) ==
        "111d1d0000000600816302842d696e6605816102010181620283322e3504ff0a003992339be11f323d");
}

TEST_CASE("listpack: a body of 16383 bytes has three bytes of back length, as in Redis") {
  for (size_t text : {16377U, 16378U, 16379U}) {
    Listpack listpack = of({std::string(text, 'a')});
    size_t body = text + 5;
    CHECK(listpack.size_bytes() == 7 + body + (body < 16383 ? 2 : 3));
    CHECK(ListpackView::validate(listpack.bytes()));
    CHECK(backwards(listpack.view()).size() == 1);
  }
  Listpack listpack = of({std::string(16378, 'a'), "1"});
  // From the node of 16378 bytes that redis-server wrote.
  CHECK(base::to_hex(listpack.bytes().substr(6 + 16383)) == "00ffff0101ff");
}

TEST_CASE("listpack: both ways, by index, by search") {
  Listpack listpack = of(kEdges);
  ListpackView view = listpack.view();
  CHECK(forwards(view) == kEdges);
  CHECK(backwards(view) == kEdges);
  CHECK(view.count() == kEdges.size());
  auto size = static_cast<int64_t>(kEdges.size());
  char buffer[base::kIntTextMax];
  for (int64_t i = 0; i < size; ++i) {
    auto position = view.at(i);
    REQUIRE(position != ListpackView::kNone);
    CHECK(view.at(i - size) == position);
    CHECK(view.item(position).text(buffer) == kEdges[static_cast<size_t>(i)]);
    CHECK(view.equals(position, kEdges[static_cast<size_t>(i)]));
    CHECK_FALSE(view.equals(position, "other"));
    CHECK(view.find(view.first(), kEdges[static_cast<size_t>(i)]) == position);
    auto odd = view.find(view.at(1), kEdges[static_cast<size_t>(i)], 1);
    CHECK(odd == (i % 2 ? position : ListpackView::kNone));
  }
  for (int64_t index : {size, -size - 1, std::numeric_limits<int64_t>::max(),
                        std::numeric_limits<int64_t>::min()}) {
    CHECK(view.at(index) == ListpackView::kNone);
  }
  CHECK(view.find(view.first(), "129") == ListpackView::kNone);
  CHECK_FALSE(view.item(view.at(-4)).is_integer);  // 2^63 does not fit
  CHECK(view.item(view.at(0)).is_integer);
}

TEST_CASE("listpack: integers outside their smallest form are still the same element") {
  // 5 as int64, "5" as text, "ab" as a 32-bit text: valid_listpack for Redis, so for us.
  std::string bytes = unhex("1c0000000300f4050000000000000009813502f002000000616207ff");
  REQUIRE(valid_listpack(bytes));
  ListpackView view(bytes);
  CHECK(forwards(view) == Texts{"5", "5", "ab"});
  CHECK(view.find(view.first(), "5") == view.at(0));
  CHECK(view.find(view.at(1), "5") == view.at(1));
  CHECK(view.equals(view.at(1), "5"));
  CHECK(view.find(view.first(), "ab") == view.at(2));
}

TEST_CASE("listpack: random edits agree with a plain vector") {
  std::mt19937_64 random(11);
  size_t used = base::memory_used();
  auto some_text = [&] {
    switch (random() % 5) {
      case 0:
        return kEdges[random() % kEdges.size()];
      case 1:
        return std::to_string(static_cast<int64_t>(random()) >> random() % 64);
      case 2:
        return std::string(random() % 300, 'x');
      default:
        return std::string(random() % 12, static_cast<char>('a' + random() % 26));
    }
  };
  for (int round = 0; round < 20; ++round) {
    Listpack listpack;
    Texts model;
    for (int step = 0; step < 300; ++step) {
      std::string one = some_text(), two = some_text();
      base::Bytes pair[] = {one, two};
      size_t index = model.empty() ? 0 : random() % model.size();
      auto position = model.empty() ? 0 : listpack.view().at(static_cast<int64_t>(index));
      auto place = model.begin() + static_cast<ptrdiff_t>(index);
      switch (random() % (model.empty() ? 3 : 10)) {
        case 0:
          REQUIRE(listpack.append(one));
          model.push_back(one);
          break;
        case 1:
          REQUIRE(listpack.prepend(pair));
          model.insert(model.begin(), {one, two});
          break;
        case 2: {
          auto number = static_cast<int64_t>(random());
          REQUIRE(listpack.append_integer(number));
          model.push_back(std::to_string(number));
          break;
        }
        case 3:
          REQUIRE(listpack.insert_before(position, pair) == position);
          model.insert(place, {one, two});
          break;
        case 4: {
          auto inserted = listpack.insert_after(position, base::Args(pair, 1));
          REQUIRE(listpack.view().equals(inserted, one));
          model.insert(place + 1, one);
          break;
        }
        case 5:
          REQUIRE(listpack.replace(position, one));
          *place = one;
          break;
        case 6:
          REQUIRE(listpack.replace_integer(position, -70000));
          *place = "-70000";
          break;
        case 7: {
          auto after = listpack.erase(position, 2);
          size_t erased = std::min<size_t>(2, model.size() - index);
          model.erase(place, place + static_cast<ptrdiff_t>(erased));
          REQUIRE((after == Listpack::kNone) == (index == model.size()));
          if (after) REQUIRE(listpack.view().equals(after, model[index]));
          break;
        }
        case 8: {
          size_t count = random() % 4;
          int64_t from = static_cast<int64_t>(index);
          if (random() % 2) from -= static_cast<int64_t>(model.size());
          size_t erased = std::min(count, model.size() - index);
          REQUIRE(listpack.erase_range(from, count) == erased);
          model.erase(place, place + static_cast<ptrdiff_t>(erased));
          break;
        }
        default:
          break;
      }
      REQUIRE(listpack.count() == model.size());
      if (step % 20 == 0) {
        REQUIRE(ListpackView::validate(listpack.bytes()));
        REQUIRE(forwards(listpack.view()) == model);
        REQUIRE(backwards(listpack.view()) == model);
        REQUIRE(listpack.bytes() == of(model).bytes());
      }
    }
    size_t half = model.size() / 2;
    Listpack front = of(Texts(model.begin(), model.begin() + static_cast<ptrdiff_t>(half)));
    Listpack back = of(Texts(model.begin() + static_cast<ptrdiff_t>(half), model.end()));
    Listpack joined = Listpack::copy_of(front.bytes());
    REQUIRE(joined.merge_back(back.view()));
    CHECK(joined.bytes() == listpack.bytes());
    REQUIRE(back.merge_front(front.view()));
    CHECK(back.bytes() == listpack.bytes());
  }
  CHECK(base::memory_used() == used);
}

TEST_CASE("listpack: ownership and emptiness") {
  size_t used = base::memory_used();
  {
    Listpack listpack;
    CHECK(listpack.empty());
    CHECK(listpack.footprint() == 0);
    CHECK(base::to_hex(listpack.bytes()) == "070000000000ff");
    CHECK(listpack.view().first() == ListpackView::kNone);
    CHECK(listpack.view().last() == ListpackView::kNone);
    CHECK(listpack.view().at(0) == ListpackView::kNone);
    CHECK(listpack.erase_range(0, 5) == 0);
    REQUIRE(listpack.append("a"));
    CHECK(listpack.footprint() == base::usable_size(10));
    CHECK(base::memory_used() == used + listpack.footprint());
    Listpack moved = std::move(listpack);
    CHECK(moved.count() == 1);
    Listpack adopted = Listpack::adopt(moved.detach());
    CHECK(adopted.count() == 1);
    CHECK(adopted.erase(adopted.view().first()) == Listpack::kNone);
    CHECK(base::to_hex(adopted.bytes()) == "070000000000ff");
    REQUIRE(adopted.prepend("z"));
    adopted.clear();
    CHECK(base::memory_used() == used);
    CHECK(adopted.merge_back(ListpackView(adopted.bytes())));
    CHECK(adopted.empty());
  }
  CHECK(base::memory_used() == used);
}

TEST_CASE("listpack: more elements than the count field holds") {
  Listpack listpack;
  std::vector<base::Bytes> many(65533, "7");
  REQUIRE(listpack.append(base::Args(many)));
  CHECK(base::to_hex(listpack.bytes().substr(4, 2)) == "fdff");
  REQUIRE(listpack.append("8"));
  REQUIRE(listpack.append("9"));
  CHECK(base::to_hex(listpack.bytes().substr(4, 2)) == "ffff");
  REQUIRE(listpack.append("10"));
  CHECK(listpack.count() == 65536);
  CHECK(ListpackView::validate(listpack.bytes()));
  CHECK(listpack.view().equals(listpack.view().at(65535), "10"));
  CHECK(listpack.view().equals(listpack.view().at(-2), "9"));
  CHECK(listpack.view().at(65536) == ListpackView::kNone);
  CHECK(listpack.view().at(-65537) == ListpackView::kNone);
  CHECK(listpack.erase_range(-65536, 10) == 10);
  CHECK(listpack.count() == 65526);  // counted: the field stays unknown
  CHECK(base::to_hex(listpack.bytes().substr(4, 2)) == "ffff");
}

TEST_CASE("listpack: the size limit refuses and changes nothing") {
  Listpack listpack = of({"a"});
  CHECK(listpack.fits(1000));
  CHECK_FALSE(listpack.fits(kListpackBytesMax));
  CHECK_FALSE(listpack.fits(~size_t{0}));
  base::Bytes endless(listpack.bytes().data(), kListpackBytesMax + 1);  // refused by size alone
  CHECK_FALSE(listpack.append(endless));
  CHECK(listpack.insert_before(6, base::Args(&endless, 1)) == Listpack::kNone);
  CHECK_FALSE(listpack.replace(6, endless));
  CHECK(forwards(listpack.view()) == Texts{"a"});
}

TEST_CASE("listpack: foreign bytes") {
  CHECK(valid_listpack(unhex("070000000000ff")));
  CHECK(valid_listpack(unhex("07000000ffffff")));  // count unknown
  CHECK(valid_listpack(unhex("0900000001000501ff")));
  CHECK_FALSE(valid_listpack(""));
  CHECK_FALSE(valid_listpack(unhex("0600000000ff")));
  CHECK_FALSE(valid_listpack(unhex("080000000000ff")));      // total
  CHECK_FALSE(valid_listpack(unhex("07000000000000")));      // end
  CHECK_FALSE(valid_listpack(unhex("0900000000000501ff")));  // count
  CHECK_FALSE(valid_listpack(unhex("0900000001000502ff")));  // back length
  CHECK_FALSE(valid_listpack(unhex("0900000001000581ff")));
  CHECK_FALSE(
      valid_listpack(unhex("080000000100"
                           "05ff")));                        // no back length
  CHECK_FALSE(valid_listpack(unhex("0900000001008501ff")));  // text beyond the end
  CHECK_FALSE(
      valid_listpack(unhex("080000000100"
                           "e1ff")));  // encoding cut off
  CHECK_FALSE(
      valid_listpack(unhex("090000000100"
                           "f0ffff")));
  CHECK_FALSE(
      valid_listpack(unhex("0d0000000100"
                           "f0ffffffff05ff")));
  CHECK_FALSE(
      valid_listpack(unhex("090000000100"
                           "f501ff")));  // unknown encodings
  CHECK_FALSE(
      valid_listpack(unhex("090000000100"
                           "fe01ff")));
  CHECK_FALSE(
      valid_listpack(unhex("090000000100"
                           "ff01ff")));  // end before the end
}

TEST_CASE("listpack: every flipped byte and every cut is refused or walks safely") {
  Texts texts = kEdges;
  texts.emplace_back(70, 'x');
  Listpack listpack = of(texts);
  std::string good(listpack.bytes());
  std::mt19937_64 random(5);
  size_t refused = 0;
  for (size_t i = 0; i < good.size() * 256; ++i) {
    std::string bytes = good;
    bytes[i / 256] = static_cast<char>(i % 256);
    if (i % 5 == 0) bytes[random() % bytes.size()] = static_cast<char>(random());
    refused += !valid_listpack(bytes);
  }
  CHECK(refused > good.size() * 50);
  for (size_t size = 0; size < good.size(); ++size) {
    std::string bytes = good.substr(0, size);
    CHECK_FALSE(valid_listpack(bytes));
    if (size < 7) continue;
    bytes[0] = static_cast<char>(size);
    bytes[4] = bytes[5] = '\xff';
    bytes.back() = '\xff';
    valid_listpack(bytes);
  }
}
