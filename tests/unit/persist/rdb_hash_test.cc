#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>

#include "base/memory.h"
#include "persist/value_codec.h"
#include "tests/unit/givens.h"

using namespace quoll;
using data::Hash;
using data::HashItem;
using persist::DecodeOptions;
using persist::PieceCursor;
using wire::RdbReader;
using wire::RdbType;
using wire::RdbWriter;

namespace {

using Contents = std::map<std::string, std::pair<std::string, base::Millis>>;

std::string text(const data::PackedItem& item) {
  char scratch[base::kIntTextMax];
  return std::string(item.text(scratch));
}

Contents contents(const Hash& hash) {
  Contents all;
  hash.for_each([&](const HashItem& item) {
    all[text(item.field)] = {text(item.value), item.deadline};
  });
  CHECK(all.size() == hash.size());
  return all;
}

Hash make_hash(size_t fields, size_t value_bytes, unsigned every_nth_timed,
               const data::Packing& packing) {
  std::mt19937_64 random(fields + value_bytes);
  Hash hash;
  for (size_t i = 0; i < fields; ++i) {
    std::string field = i % 3 ? "field:" + std::to_string(i) : std::to_string(i);
    std::string value =
        i % 4 ? std::string(random() % (value_bytes + 1), static_cast<char>('a' + i % 26))
              : std::to_string(static_cast<int64_t>(random()));
    hash.set(field, value, Hash::Deadline::drop, kNow, packing);
    if (every_nth_timed && i % every_nth_timed == 0)
      hash.set_deadline(field, kNow + 1 + static_cast<base::Millis>(random() % 1'000'000));
  }
  return hash;
}

std::string encoded(const Hash& hash, unsigned version, RdbType& type, size_t piece = SIZE_MAX) {
  std::string out;
  RdbWriter writer(out);
  REQUIRE(persist::rdb_type_of(hash, version, type));
  PieceCursor at;
  size_t pieces = 1;
  while (!persist::encode(hash, type, at, writer, piece)) ++pieces;
  if (piece != SIZE_MAX && !hash.packed()) CHECK(pieces > 1);
  return out;
}

bool decoded(base::Bytes bytes, RdbType type, const DecodeOptions& options, Hash& hash,
             bool to_the_end = true) {
  RdbReader in(bytes);
  bool ok = persist::decode(in, type, options, hash);
  if (ok && to_the_end) CHECK(in.at_end());
  CHECK(ok == (in.failure() == wire::RdbFailure::none));
  return ok;
}

void round_trip(const Hash& hash, unsigned version, RdbType expected,
                const DecodeOptions& options) {
  RdbType type;
  std::string bytes = encoded(hash, version, type);
  CHECK(type == expected);
  Hash back;
  REQUIRE(decoded(bytes, type, options, back));
  CHECK(contents(back) == contents(hash));
  CHECK(back.encoding_name() == hash.encoding_name());
  if (hash.packed() && !hash.timed()) CHECK(back.pack().bytes() == hash.pack().bytes());
  RdbType same;
  Hash pieced;
  REQUIRE(decoded(encoded(hash, version, same, 50), type, options, pieced));
  CHECK(contents(pieced) == contents(hash));
}

// Whatever is cut off or flipped: an error or a value, never harm.
void harm(const std::string& bytes, RdbType type, const DecodeOptions& options) {
  for (size_t size = 0; size < bytes.size(); ++size) {
    Hash hash;
    std::string cut = bytes.substr(0, size);  // its own block, so that a sanitizer sees its end
    CHECK_FALSE(decoded(cut, type, options, hash));
  }
  std::mt19937_64 random(bytes.size());
  for (int i = 0; i < 3000; ++i) {
    std::string flipped = bytes;
    for (uint64_t n = 1 + random() % 3; n > 0; --n)
      flipped[random() % flipped.size()] = static_cast<char>(random());
    Hash hash;
    if (!decoded(flipped, type, options, hash, false)) continue;
    Contents all = contents(hash);
    for (const auto& [field, value] : all) {
      HashItem item;
      CHECK(hash.find(field, item));
    }
  }
}

std::string raw_string(base::Bytes bytes) {
  std::string out;
  RdbWriter(out, false).string(bytes);
  return out;
}

}  // namespace

TEST_CASE("rdb hash: round trips in every form around the conversion points") {
  size_t before = base::memory_used();
  DecodeOptions options;
  options.packing.hash_entries = 32;
  options.now = kNow;
  for (size_t fields : {1, 2, 31, 32, 33, 100, 1500}) {
    for (unsigned version : {10u, 11u, 12u}) {
      Hash plain = make_hash(fields, 40, 0, options.packing);
      round_trip(plain, version, fields <= 32 ? RdbType::hash_listpack : RdbType::hash, options);
    }
    Hash timed = make_hash(fields, 40, 3, options.packing);
    round_trip(timed, 12, fields <= 32 ? RdbType::hash_listpack_ex : RdbType::hash_metadata,
               options);
    RdbType type;
    CHECK_FALSE(persist::rdb_type_of(timed, 11, type));
    CHECK_FALSE(persist::rdb_type_of(timed, 10, type));
  }
  round_trip(make_hash(20, 300, 0, options.packing), 11, RdbType::hash, options);
  round_trip(make_hash(20, 9000, 2, options.packing), 12, RdbType::hash_metadata, options);
  CHECK(base::memory_used() == before);
}

TEST_CASE("rdb hash: a hash that lost its deadlines needs no version 12") {
  DecodeOptions options;
  options.packing.hash_entries = 4;
  for (size_t fields : {3, 9}) {
    Hash hash = make_hash(fields, 10, 1, options.packing);
    Contents all = contents(hash);
    for (auto& [field, value] : all) {
      CHECK(hash.drop_deadline(field));
      value.second = data::kHashNoDeadline;
    }
    RdbType type;
    std::string bytes = encoded(hash, 10, type);
    CHECK(type == (fields == 3 ? RdbType::hash_listpack : RdbType::hash));
    Hash back;
    REQUIRE(decoded(bytes, type, options, back));
    CHECK(contents(back) == all);
  }
}

TEST_CASE("rdb hash: fields past their deadline are left out") {
  DecodeOptions options;
  options.packing.hash_entries = 4;
  for (size_t fields : {4, 40}) {
    Hash hash = make_hash(fields, 10, 2, options.packing);
    RdbType type;
    std::string bytes = encoded(hash, 12, type);
    options.now = kNow + 500'000;
    Hash back;
    REQUIRE(decoded(bytes, type, options, back));
    CHECK(back.size() == hash.size() - hash.expired(options.now));
    CHECK(back.expired(options.now) == 0);
    options.now = kNow + 2'000'000;
    REQUIRE(decoded(bytes, type, options, back));
    CHECK(back.size() == fields / 2);
  }
}

TEST_CASE("rdb hash: older forms") {
  DecodeOptions options;
  options.now = kNow;
  Hash hash;
  // ziplist ["a", "1", 5, "x"]
  const char ziplist[] =
      "\x15\x00\x00\x00\x11\x00\x00\x00\x04\x00"
      "\x00\x01"
      "a"
      "\x03\xf2\x02\xf6\x02\x01"
      "x\xff";
  REQUIRE(
      decoded(raw_string({ziplist, sizeof(ziplist) - 1}), RdbType::hash_ziplist, options, hash));
  CHECK(contents(hash) ==
        Contents{{"a", {"1", data::kHashNoDeadline}}, {"5", {"x", data::kHashNoDeadline}}});
  CHECK(hash.encoding_name() == "listpack");
  // zipmap {"f": "v", "long": 70 bytes}
  std::string zipmap = std::string("\x02\x01") + "f" + std::string("\x01\x00", 2) + "v" + "\x04" +
                       "long" + std::string("\x46\x00", 2) + std::string(70, 'y') + "\xff";
  REQUIRE(decoded(raw_string(zipmap), RdbType::hash_zipmap, options, hash));
  CHECK(contents(hash) == Contents{{"f", {"v", data::kHashNoDeadline}},
                                   {"long", {std::string(70, 'y'), data::kHashNoDeadline}}});
  CHECK(hash.encoding_name() == "hashtable");
  // Deadlines as the release candidates of 7.4 wrote them: in full, and unordered is accepted.
  std::string pre_ga;
  RdbWriter writer(pre_ga);
  writer.length(2);
  writer.length(static_cast<uint64_t>(kNow) + 5);
  writer.string("a");
  writer.string("1");
  writer.length(0);
  writer.string("b");
  writer.string("2");
  REQUIRE(decoded(pre_ga, RdbType::hash_metadata_pre_ga, options, hash));
  CHECK(contents(hash) == Contents{{"a", {"1", kNow + 5}}, {"b", {"2", data::kHashNoDeadline}}});
  data::Listpack triples;
  for (base::Bytes element : {"b", "2", "0", "a", "1", "1700000000007", "c", "3", "1700000000006"})
    REQUIRE(triples.append(element));
  REQUIRE(decoded(raw_string(triples.bytes()), RdbType::hash_listpack_ex_pre_ga, options, hash));
  CHECK(contents(hash) == Contents{{"a", {"1", kNow + 7}},
                                   {"b", {"2", data::kHashNoDeadline}},
                                   {"c", {"3", kNow + 6}}});
  CHECK(hash.earliest_deadline() == kNow + 6);
}

TEST_CASE("rdb hash: what Redis refuses is refused") {
  DecodeOptions options;
  Hash hash;
  auto refused = [&](const std::string& bytes, RdbType type) {
    CHECK_FALSE(decoded(bytes, type, options, hash));
  };
  auto listpack = [&](std::initializer_list<base::Bytes> elements) {
    data::Listpack made;
    for (base::Bytes element : elements) REQUIRE(made.append(element));
    return raw_string(made.bytes());
  };
  refused(listpack({"a", "1", "b"}), RdbType::hash_listpack);
  refused(listpack({"a", "1", "a", "2"}), RdbType::hash_listpack);
  refused(listpack({"5", "1", "5", "2"}), RdbType::hash_listpack);
  refused(listpack({"a", "1", "0", "a", "2", "0"}), RdbType::hash_listpack_ex_pre_ga);
  refused(listpack({"a", "1", "0", "b", "2"}), RdbType::hash_listpack_ex_pre_ga);
  refused(listpack({"a", "1", "x"}), RdbType::hash_listpack_ex_pre_ga);
  refused(listpack({"a", "1", "-1"}), RdbType::hash_listpack_ex_pre_ga);
  refused(listpack({"a", "1", "281474976710655"}), RdbType::hash_listpack_ex_pre_ga);
  std::string twice;
  RdbWriter writer(twice);
  writer.length(2);
  for (base::Bytes word : {"a", "1", "a", "2"}) writer.string(word);
  refused(twice, RdbType::hash);
  std::string many;
  RdbWriter(many).length(uint64_t{1} << 60);
  refused(many, RdbType::hash);
  std::string late;
  RdbWriter late_writer(late);
  late_writer.millis(1);
  late_writer.length(1);
  late_writer.length(uint64_t{1} << 48);
  late_writer.string("f");
  late_writer.string("v");
  refused(late, RdbType::hash_metadata);
  refused("", RdbType::set);
}

TEST_CASE("rdb hash: truncated and damaged payloads") {
  size_t before = base::memory_used();
  DecodeOptions options;
  options.packing.hash_entries = 8;
  options.now = kNow;
  for (size_t fields : {5, 30}) {
    for (unsigned every : {0u, 2u}) {
      RdbType type;
      std::string bytes = encoded(make_hash(fields, 20, every, options.packing), 12, type);
      harm(bytes, type, options);
    }
  }
  RdbType type = RdbType::hash_zipmap;
  harm(raw_string(std::string("\x02\x01") + "f" + std::string("\x01\x00", 2) + "v" + "\x01g" +
                  std::string("\x02\x00", 2) + "ww" + "\xff"),
       type, options);
  CHECK(base::memory_used() == before);
}
