// libFuzzer target for the RDB forms of values. The first bytes of an input choose the type byte,
// the limits of the packed forms, the clock and the size of pieces; the rest is the value.
//
// Checked of what decodes: every reading of the value agrees with its size and with its own
// lookups; its copy is equal; each version that can hold it encodes it in pieces as in one go, and
// decodes to an equal value. Of what does not: the reader says why. As a payload of RESTORE, with
// the footer that belongs to it, with another one and as it came, it is taken or refused likewise.
// Plus whatever the sanitizers see. Seeds: rdb_seeds.cc.
#include <cstdint>
#include <memory>
#include <string>

#include "base/check.h"
#include "persist/dump_payload.h"
#include "store/digest.h"
#include "store/store.h"
#include "tests/fuzz/choices.h"

using namespace quoll;
using fuzz::Choices;
using persist::DecodeOptions;
using store::Digest;

namespace {

constexpr base::Bytes kKey = "key";
constexpr base::Bytes kCopy = "copy";

// A value of at most so many bytes is looked up element by element in forms where a lookup is O(n).
constexpr uint64_t kLookupsMax = 600;

struct Plain {
  explicit Plain(const data::PackedItem& item) : text(item.text(scratch)) {}
  char scratch[base::kIntTextMax];
  base::Bytes text;
};

void check(const data::List& list) {
  uint64_t count = 0;
  std::string scratch;
  list.for_each([&](const data::PackedItem& item) {
    if (count < kLookupsMax) QUOLL_CHECK(Plain(list.at(count, scratch)).text == Plain(item).text);
    ++count;
  });
  QUOLL_CHECK(count == list.size());
  uint64_t back = 0;
  if (count > 0) {
    list.visit(count - 1, count, true, [&](const data::PackedItem&) { return ++back > 0; });
  }
  QUOLL_CHECK(back == count);
}

void check(const data::Set& set) {
  uint64_t count = 0;
  set.for_each([&](const data::PackedItem& member) {
    if (++count <= kLookupsMax) QUOLL_CHECK(set.contains(Plain(member).text));
    return true;
  });
  QUOLL_CHECK(count == set.size());
}

void check(const data::ZSet& zset) {
  uint64_t count = 0;
  double before = 0;
  zset.for_each([&](const data::PackedItem& member, double score) {
    QUOLL_CHECK(score == score && (count == 0 || before <= score));
    before = score;
    if (count < kLookupsMax) {
      auto found = zset.rank_of(Plain(member).text);
      QUOLL_CHECK(found && found->rank == count && found->score == score);
    }
    ++count;
  });
  QUOLL_CHECK(count == zset.size());
}

void check(const data::Hash& hash) {
  uint64_t count = 0;
  base::Millis earliest = data::kHashNoDeadline;
  hash.for_each([&](const data::HashItem& item) {
    earliest = std::min(earliest, item.deadline);
    data::HashItem found;
    if (++count > kLookupsMax) return;
    QUOLL_CHECK(hash.find(Plain(item.field).text, found));
    QUOLL_CHECK(Plain(found.value).text == Plain(item.value).text);
    QUOLL_CHECK(found.deadline == item.deadline);
  });
  QUOLL_CHECK(count == hash.size() && earliest == hash.earliest_deadline());
}

void check(const data::Stream& stream) {
  uint64_t count = 0;
  data::StreamId before{};
  stream.for_each([&](const data::StreamNodeView& node, const data::StreamEntry& entry) {
    QUOLL_CHECK(count == 0 || before < entry.id);
    before = entry.id;
    if (++count <= kLookupsMax) QUOLL_CHECK(stream.contains(entry.id));
    node.for_each_pair(entry, [](const data::PackedItem& field, const data::PackedItem& value) {
      QUOLL_CHECK(Plain(field).text.size() + Plain(value).text.size() < SIZE_MAX);
    });
  });
  QUOLL_CHECK(count == stream.size() && !(stream.facts().last_id < before));
  for (const auto& group : stream.groups()) {
    QUOLL_CHECK(stream.find_group(group->name()) == group.get());
    stream.lag(*group);  // of counters that contradict each other: any number
    uint64_t pending = 0;
    uint64_t owned = 0;
    group->pending().for_each([&](const data::StreamPending& item) {
      QUOLL_CHECK(item.consumer() != nullptr);
      ++pending;
    });
    for (const auto& consumer : group->consumers())
      consumer->pending().for_each([&](const data::StreamPendingId&) { ++owned; });
    QUOLL_CHECK(pending == owned);
  }
}

void check(const store::Entry& entry) {
  char scratch[base::kIntTextMax];
  QUOLL_CHECK(!entry.encoding_name().empty() && entry.footprint() >= entry.block_bytes());
  switch (entry.type()) {
    case data::Type::string:
      QUOLL_CHECK(entry.text(scratch).size() == entry.text_length());
      return;
    case data::Type::list:
      return check(*entry.value<data::List>());
    case data::Type::set:
      return check(*entry.value<data::Set>());
    case data::Type::zset:
      return check(*entry.value<data::ZSet>());
    case data::Type::hash:
      return check(*entry.value<data::Hash>());
    case data::Type::stream:
      return check(*entry.value<data::Stream>());
  }
}

const store::Entry& put(store::Store& store, base::Bytes key, data::Value value) {
  store.commits().begin(store::Origin::load, 0);
  {
    store::Edit edit = store.edit(0, store.ref(key), 0);
    edit.put(std::move(value), store::Ttl::drop());
    edit.done_silently();
  }
  store.commits().close();
  return *store.find(0, store.ref(key), 0);
}

std::string encoded(const store::Entry& entry, wire::RdbType type, size_t piece_bytes,
                    bool compress) {
  std::string out;
  wire::RdbWriter writer(out, compress);
  persist::PieceCursor cursor;
  while (!persist::encode(entry, type, cursor, writer, piece_bytes)) {
  }
  return out;
}

void check_version(const store::Entry& entry, unsigned version, size_t piece_bytes,
                   const DecodeOptions& options) {
  wire::RdbType type;
  if (!persist::rdb_type_of(entry, version, type)) {
    QUOLL_CHECK(version < wire::kRdbVersionReadMax && entry.type() == data::Type::hash);
    return;
  }
  std::string whole = encoded(entry, type, SIZE_MAX, true);
  QUOLL_CHECK(encoded(entry, type, piece_bytes, true) == whole);
  for (bool compress : {true, false}) {
    std::string bytes = compress ? whole : encoded(entry, type, SIZE_MAX, false);
    std::string scratch;
    data::Value value;
    wire::RdbReader in(bytes);
    QUOLL_CHECK(persist::decode(in, type, options, scratch, value) && in.at_end());
    store::Store other(1);
    const store::Entry& again = put(other, kKey, std::move(value));
    check(again);
    QUOLL_CHECK(Digest::of_value(again) == Digest::of_value(entry));
  }
}

persist::PayloadFault read(base::Bytes payload, const DecodeOptions& options, bool verify) {
  // Without room behind the bytes: reading past their end is seen.
  std::unique_ptr<char[]> exact(new char[payload.size()]);
  payload.copy(exact.get(), payload.size());
  std::string scratch;
  data::Value value;
  return persist::read_payload({exact.get(), payload.size()}, options, scratch, value, verify);
}

// `good`: it is a value, to its end.
void check_payload(uint8_t type, const std::string& rest, bool good, const DecodeOptions& options) {
  using persist::PayloadFault;
  const std::string body = static_cast<char>(type) + rest;
  std::string payload = body;
  wire::append_dump_footer(payload, wire::kRdbVersionReadMax);
  QUOLL_CHECK(read(payload, options, true) == (good ? PayloadFault::none : PayloadFault::value));
  payload.back() = static_cast<char>(payload.back() ^ 1);
  QUOLL_CHECK(read(payload, options, true) == PayloadFault::footer);
  QUOLL_CHECK(read(payload, options, false) == (good ? PayloadFault::none : PayloadFault::value));
  read(body, options, true);  // its end may be its footer by chance: zeros are that of zeros
  read(body, options, false);
  std::string newer = body;
  wire::append_dump_footer(newer, wire::kRdbVersionReadMax + 1);
  QUOLL_CHECK(read(newer, options, true) == PayloadFault::footer);
}

}  // namespace

extern "C" const char* __asan_default_options() { return "quarantine_size_mb=4"; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices choices(data, size);
  const uint8_t type = choices.byte();
  const uint8_t mode = choices.byte();
  if (!wire::is_rdb_type(type)) return 0;
  DecodeOptions options;
  if (mode & 1) options.packing = {3, 10, 4, 1, 3, 3, 10, 3, 10, 60, 3};
  if (mode & 2) options.now = 1'700'000'000'000;
  constexpr size_t kPieces[] = {1, 20, 300, 5000};
  const size_t piece_bytes = kPieces[mode >> 2 & 3];

  // Without room behind the bytes: reading past their end is seen.
  std::string rest = choices.rest();
  std::unique_ptr<char[]> exact(new char[rest.size()]);
  rest.copy(exact.get(), rest.size());
  wire::RdbReader in({exact.get(), rest.size()});
  std::string scratch;
  data::Value value;
  if (!persist::decode(in, static_cast<wire::RdbType>(type), options, scratch, value)) {
    QUOLL_CHECK(in.failure() != wire::RdbFailure::none && in.reason()[0] != '\0');
    check_payload(type, rest, false, options);
    return 0;
  }
  QUOLL_CHECK(in.failure() == wire::RdbFailure::none);
  store::Store store(1);
  const bool empty = value.collection && value.collection.size() == 0 &&
                     value.collection.type() != data::Type::stream;
  check_payload(type, rest, in.at_end() && !empty, options);
  const store::Entry& entry = put(store, kKey, std::move(value));
  check(entry);
  if (entry.type() != data::Type::string) {
    const store::Entry& copy =
        put(store, kCopy, data::Value::of_collection(entry.collection()->copy()));
    QUOLL_CHECK(Digest::of_value(copy) == Digest::of_value(entry));
  }
  for (unsigned version : {10u, 11u, 12u}) check_version(entry, version, piece_bytes, options);
  return 0;
}
