// Whole RDB files: pieces of any size, large values at the end, what is wrong and where.
#include "persist/rdb_load.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "base/crc64.h"
#include "persist/rdb_save.h"
#include "tests/unit/givens.h"

namespace quoll::persist {
namespace {

// A file from items; `checksum` as the end of a file has it, or 0.
std::string file_of(const std::string& items, bool checksum = true) {
  std::string file = "REDIS0011" + items + '\xff';
  const uint64_t crc = checksum ? base::crc64(file) : 0;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(crc >> (8 * i));
  return file;
}

std::string text_item(const std::string& key, const std::string& value) {
  std::string item;
  wire::RdbWriter writer(item, false);
  writer.type(wire::RdbType::string);
  writer.string(key);
  writer.string(value);
  return item;
}

struct Loaded {
  explicit Loaded(base::Bytes bytes, size_t piece = SIZE_MAX, LoadOptions options = {})
      : store(4), load(store, with_clock(options)) {
    store.commits().begin(store::Origin::load, kNow);
    base::Result<> fed;
    while (fed && !bytes.empty() && !load.ended()) {
      fed = load.feed(bytes.substr(0, piece));
      bytes.remove_prefix(std::min(piece, bytes.size()));
    }
    if (fed) fed = load.finish();
    if (!fed) error = fed.error();
    store.commits().close();
  }
  static LoadOptions with_clock(LoadOptions options) {
    options.decode.now = kNow;
    return options;
  }
  size_t size_of(base::Bytes key) {
    const store::Entry* entry = store.find(0, store.ref(key), kNow);
    return entry ? entry->text_length() : SIZE_MAX;
  }
  store::Store store;
  RdbLoad load;
  std::string error;
};

struct Names final : RdbVisitor {
  void key(const RdbKey& key) override {
    seen += std::string(key.name) + "@" + std::to_string(key.offset) + "+" +
            std::to_string(key.bytes) + " ";
  }
  void aux(base::Bytes name, base::Bytes value, uint64_t) override {
    seen += std::string(name) + "=" + std::string(value) + " ";
  }
  void select(store::DbIndex db, uint64_t) override { seen += "db" + std::to_string(db) + " "; }
  void function(base::Bytes code, uint64_t) override { seen += std::string(code) + " "; }
  void module_aux(base::Bytes module, uint64_t) override { seen += std::string(module) + " "; }
  std::string seen;
};

}  // namespace

TEST_CASE("rdb load: a large value is whole wherever the pieces end") {
  // Before the last piece arrives there never is twice what was looked at last.
  for (size_t large : {200'000, 800'000, 1'650'000}) {
    const std::string file = file_of(
        text_item("a", "1") + text_item("large", std::string(large, 'L')) + text_item("z", "26"));
    for (size_t piece : {70'000, 512 * 1024, 1 << 24}) {
      Loaded loaded(file, piece);
      CHECK(loaded.error == "");
      CHECK(loaded.load.keys_loaded() == 3);
      CHECK(loaded.size_of("large") == large);
      CHECK(loaded.size_of("z") == 2);
    }
  }
}

TEST_CASE("rdb load: a key that occurs twice is refused, whatever follows") {
  const std::string items =
      text_item("a", "1") + text_item("b", "2") + text_item("a", "3") + text_item("c", "4");
  for (size_t cut : {size_t{0}, size_t{9 + 3}}) {
    std::string file = file_of(items);
    file.resize(file.size() - cut);  // the end of the file and a part of the last item
    Loaded loaded(file);
    CHECK(loaded.error.find("a key that occurs twice") == 0);
  }
  LoadOptions replace;
  replace.refuse_present = false;
  Loaded replaced(file_of(items), 7, replace);
  CHECK(replaced.error == "");
  CHECK(replaced.load.keys_loaded() == 4);
}

TEST_CASE("rdb load: says what is wrong, and where") {
  using Kind = RdbFault::Kind;
  const std::string whole = file_of(text_item("key", "value"));
  const auto fault = [](base::Bytes bytes) {
    Loaded loaded(bytes);
    CHECK(loaded.error != "");
    return loaded.load.fault();
  };
  CHECK(fault("").kind == Kind::short_read);
  CHECK(fault(base::Bytes(whole).substr(0, 12)).offset == 12);
  CHECK(fault(base::Bytes(whole).substr(0, whole.size() - 1)).kind == Kind::short_read);
  CHECK(fault("REDIS0099").kind == Kind::version);
  std::string flipped = whole;
  flipped[16] ^= 1;  // of the value
  CHECK(fault(flipped).kind == Kind::checksum);
  const std::string bad(
      "\x0d\x01h\x05"
      "abcde",
      9);  // a hash that is no ziplist
  const RdbFault in_value = fault(file_of(bad, false));
  CHECK(in_value.kind == Kind::content);
  CHECK(in_value.in_value);
  CHECK(in_value.key == "h");
  CHECK(in_value.reason == "Hash ziplist integrity check failed");
  CHECK(fault(file_of("\x08", false)).reason == "Invalid object type: 8");
}

TEST_CASE("rdb load: a visitor is told of everything and keeps nothing") {
  std::string items;
  wire::RdbWriter writer(items);
  writer.aux("redis-ver", "7.4.0");
  writer.function("#!lua");
  writer.opcode(wire::RdbOpcode::module_aux);
  writer.length(0);
  writer.length(2);  // when: a number
  writer.length(1);
  writer.length(0);
  writer.select_db(70);
  writer.slot_info(3, 1, 0);
  const size_t at = 9 + items.size();
  items += text_item("key", "value");
  for (size_t piece : {size_t{1}, size_t{5}, size_t{SIZE_MAX}}) {
    Names names;
    RdbLoad load(names, {});
    const std::string file = file_of(items);
    for (base::Bytes rest = file; !rest.empty(); rest.remove_prefix(std::min(piece, rest.size())))
      REQUIRE(load.feed(rest.substr(0, piece)));
    REQUIRE(load.finish());
    CHECK(load.ended());
    CHECK(load.has_checksum());
    CHECK(load.offset() == file.size());
    CHECK(names.seen == "redis-ver=7.4.0 #!lua AAAAAAAAA db70 key@" + std::to_string(at) + "+11 ");
    CHECK(load.aux().empty());
  }
}

}  // namespace quoll::persist
