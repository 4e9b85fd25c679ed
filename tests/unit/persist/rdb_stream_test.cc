// Streams through their RDB forms: round trips, payloads of other versions, truncation, damage.
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "persist/value_codec.h"

namespace quoll::persist {
namespace {

using data::Stream;
using data::StreamGroup;
using data::StreamId;
using wire::RdbType;

Stream sample(uint64_t entries) {
  Stream stream;
  data::Packing packing;
  packing.stream_node_entries = 20;
  for (uint64_t i = 1; i <= entries; ++i) {
    std::string value = "value " + std::to_string(i);
    std::vector<base::Bytes> pairs = {i % 5 ? "name" : "other", value, "n", "17"};
    stream.append({i, i % 3}, pairs, packing);
  }
  for (uint64_t i = 7; i <= entries; i += 11) stream.erase({i, i % 3});
  for (const char* name : {"first", "second"}) {
    StreamGroup& group = *stream.add_group(name, {entries / 2, 0}, name[0] == 'f' ? 5 : -1);
    auto& alice = group.add_consumer("alice", 1111);
    auto& bob = group.add_consumer("bob", 2222);
    alice.active_ms = 3333;
    for (uint64_t i = 1; i <= entries / 2; ++i)
      group.deliver({i, i % 3}, i % 4 ? alice : bob, static_cast<base::Millis>(1000 + i), i);
  }
  stream.add_group("empty", {}, 0);
  return stream;
}

std::string encoded(const Stream& stream, unsigned version, size_t bytes_max = SIZE_MAX) {
  RdbType type;
  REQUIRE(rdb_type_of(stream, version, type));
  std::string out;
  wire::RdbWriter writer(out);
  PieceCursor at;
  for (int i = 0; !encode(stream, type, at, writer, bytes_max); ++i) REQUIRE(i < 1'000'000);
  return out;
}

bool decoded(base::Bytes bytes, RdbType type, Stream& stream) {
  wire::RdbReader reader(bytes);
  bool ok = decode(reader, type, {}, stream);
  REQUIRE(ok == (reader.failure() == wire::RdbFailure::none));
  return ok;
}

// Everything that can be asked of a decoded stream, damaged or not.
void visit(Stream& stream) {
  uint64_t entries = 0;
  stream.for_each([&](const data::StreamNodeView& node, const data::StreamEntry& entry) {
    node.for_each_pair(entry, [](const auto&, const auto&) {});
    ++entries;
  });
  REQUIRE(entries == stream.size());
  for (const auto& group : stream.groups()) {
    uint64_t pending = 0;
    for (const auto& consumer : group->consumers()) {
      consumer->pending().for_each([&](const data::StreamPendingId& item) {
        REQUIRE(group->pending().find(item.id)->consumer() == consumer.get());
      });
      pending += consumer->pending().size();
    }
    REQUIRE(pending == group->pending().size());
    stream.lag(*group);
  }
  stream.trim({.by = data::StreamTrim::By::length, .length = stream.size() / 2});
  stream.erase(stream.last_entry_id());
}

}  // namespace

TEST_CASE("rdb stream: what is written is read again, in pieces of any size") {
  for (uint64_t entries : {0, 1, 20, 21, 500}) {
    Stream stream = sample(entries);
    for (unsigned version : {10, 11, 12}) {
      std::string whole = encoded(stream, version);
      for (size_t piece : {size_t{1}, size_t{100}, size_t{5000}})
        CHECK(encoded(stream, version, piece) == whole);
      RdbType type;
      rdb_type_of(stream, version, type);
      CHECK(type == (version == 10 ? RdbType::stream_listpacks_2 : RdbType::stream_listpacks_3));
      Stream other;
      REQUIRE(decoded(whole, type, other));
      CHECK(encoded(other, 10) == encoded(stream, 10));
      if (version > 10) CHECK(encoded(other, version) == whole);
    }
  }
}

TEST_CASE("rdb stream: payloads of redis-server 7.0.15") {
  // XGROUP CREATE x g $ MKSTREAM, XADD x 1-1 f v, XREADGROUP GROUP g Alice STREAMS x >
  const char bytes[] =
      "\x01\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x1D\x1D\x00\x00\x00"
      "\x0A\x00\x01\x01\x00\x01\x01\x01\x81\x66\x02\x00\x01\x02\x01\x00\x01\x00\x01\x81\x76\x02\x04"
      "\x01\xFF\x01\x01\x01\x01\x01\x00\x00\x01\x01\x01\x67\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00"
      "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\xF5\x5A\x71\xC7\x84\x01\x00\x00\x01\x01\x05\x41\x6C"
      "\x69\x63\x65\xF5\x5A\x71\xC7\x84\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"
      "\x00\x00\x00\x00\x01";
  base::Bytes payload(bytes, sizeof(bytes) - 1);
  Stream stream;
  REQUIRE(decoded(payload, RdbType::stream_listpacks_2, stream));
  CHECK(stream.size() == 1);
  CHECK(stream.facts().last_id == StreamId{1, 1});
  CHECK(stream.facts().entries_added == 1);
  const StreamGroup& group = *stream.find_group("g");
  CHECK(group.entries_read == 1);
  const auto& alice = *group.find_consumer("Alice");
  CHECK(alice.seen_ms == alice.active_ms);
  CHECK(alice.pending().size() == 1);
  CHECK(encoded(stream, 10) == payload);
}

TEST_CASE("rdb stream: the first form has no counters; they are told from the entries") {
  Stream stream;
  base::Bytes pairs[] = {"f", "v"};
  for (uint64_t i = 1; i <= 3; ++i) stream.append({i, 0}, pairs, {});
  const auto& slot = *stream.nodes().at(stream.nodes().first());
  char key[data::kStreamIdBytes];
  slot.id.store(key);
  std::string out;
  wire::RdbWriter writer(out);
  writer.length(1);
  writer.string({key, sizeof(key)});
  writer.string(data::Listpack::bytes_of(slot.block));
  for (uint64_t number : {3, 3, 0, 1}) writer.length(number);  // length, last ID, groups
  writer.string("g");
  for (uint64_t number : {3, 0, 0, 0}) writer.length(number);  // last ID, pending, consumers
  Stream read;
  REQUIRE(decoded(out, RdbType::stream_listpacks, read));
  CHECK(read.facts().entries_added == 3);
  CHECK(read.facts().first_id == StreamId{1, 0});
  CHECK(read.find_group("g")->entries_read == 3);
}

TEST_CASE("rdb stream: every truncation is told") {
  std::string whole = encoded(sample(60), 12);
  for (size_t size = 0; size < whole.size(); ++size) {
    wire::RdbReader reader(base::Bytes(whole).substr(0, size));
    Stream stream;
    REQUIRE(!decode(reader, RdbType::stream_listpacks_3, {}, stream));
    REQUIRE(reader.failure() == wire::RdbFailure::truncated);
    REQUIRE(stream.size() == 0);
  }
}

TEST_CASE("rdb stream: damage is found or harmless") {
  std::mt19937_64 random(11);
  for (uint64_t entries : {1, 30}) {
    for (unsigned version : {10, 12}) {
      Stream source = sample(entries);
      RdbType type;
      rdb_type_of(source, version, type);
      std::string whole = encoded(source, version);
      for (unsigned i = 0; i < 5000; ++i) {
        std::string damaged = whole;
        for (unsigned flips = 1 + random() % 3; flips > 0; --flips)
          damaged[random() % damaged.size()] = static_cast<char>(random());
        Stream stream;
        if (decoded(damaged, type, stream)) visit(stream);
      }
    }
  }
}

TEST_CASE("rdb stream: inconsistent groups are refused") {
  // A group with one pending entry and `consumers` who claim IDs.
  auto payload = [](std::vector<std::vector<StreamId>> consumers, const char* second_name) {
    std::string out;
    wire::RdbWriter writer(out);
    writer.length(0);
    for (uint64_t number : {0, 9, 9, 0, 0, 0, 0, 0, 1}) writer.length(number);
    writer.string("g");
    for (uint64_t number : {9, 9, 0, 1}) writer.length(number);
    auto raw = [&](const StreamId& id) {
      char bytes[data::kStreamIdBytes];
      id.store(bytes);
      writer.raw({bytes, sizeof(bytes)});
    };
    raw({1, 1});
    writer.millis(5);
    writer.length(1);
    writer.length(consumers.size());
    for (size_t i = 0; i < consumers.size(); ++i) {
      writer.string(i == 0 ? "c" : second_name);
      writer.millis(7);
      writer.length(consumers[i].size());
      for (const StreamId& id : consumers[i]) raw(id);
    }
    return out;
  };
  auto accepted = [&](const std::string& bytes) {
    Stream stream;
    return decoded(bytes, RdbType::stream_listpacks_2, stream);
  };
  CHECK(accepted(payload({{{1, 1}}}, "")));
  CHECK(accepted(payload({{{1, 1}}, {}}, "d")));
  CHECK(!accepted(payload({}, "")));
  CHECK(!accepted(payload({{}}, "")));
  CHECK(!accepted(payload({{{1, 2}}}, "")));
  CHECK(!accepted(payload({{{1, 1}, {1, 1}}}, "")));
  CHECK(!accepted(payload({{{1, 1}}, {{1, 1}}}, "d")));
  CHECK(!accepted(payload({{{1, 1}}, {}}, "c")));
}

}  // namespace quoll::persist
