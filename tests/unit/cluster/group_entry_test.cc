#include "cluster/group_entry.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

namespace quoll::cluster {
namespace {

std::string entry_of(EntryKind kind, base::Bytes payload) {
  std::string bytes;
  encode_entry({{7, 1234567890123}, 1700000000123, 3, kind}, payload, bytes);
  return bytes;
}

std::string effects_entry() {
  const std::string binary("\0\r\n\xff", 4);
  const base::Bytes first[] = {"SET", "key", binary};
  const base::Bytes second[] = {"DEL", ""};
  const store::Effect effects[] = {{0, first, store::kToAll}, {15, second, store::kToAll}};
  std::string bytes;
  encode_effects({{2, 9}, 5, 0, EntryKind::effects}, effects, bytes);
  Entry entry;
  REQUIRE(decode_entry(bytes, entry) == EntryFault::damaged);
  seal_entry(bytes);
  return bytes;
}

// Effects as text: `database: word|word`.
std::vector<std::string> read_effects(base::Bytes payload, bool& whole) {
  std::vector<std::string> lines;
  whole = each_effect(payload, [&](const EntryEffect& effect) {
    std::string line = std::to_string(effect.db) + ":";
    for (base::Bytes word : effect.words) line += " " + std::string(word) + "|";
    lines.push_back(line);
  });
  CHECK(are_effects(payload) == whole);
  return lines;
}

void put_number(std::string& bytes, size_t at, uint32_t number) {
  std::memcpy(bytes.data() + at, &number, sizeof number);
}

}  // namespace

TEST_CASE("group entry: what is encoded is read back") {
  const std::string bytes = entry_of(EntryKind::noop, "payload");
  CHECK(bytes.size() == kEntryHeaderBytes + 7);
  Entry entry;
  const std::string with_more = bytes + "more";
  REQUIRE(decode_entry(with_more, entry) == EntryFault::none);
  CHECK(entry.header.at == Position{7, 1234567890123});
  CHECK(entry.header.time == 1700000000123);
  CHECK(entry.header.group == 3);
  CHECK(entry.header.kind == EntryKind::noop);
  CHECK(entry.payload == "payload");
  CHECK(entry.bytes == bytes.size());
}

TEST_CASE("group entry: effects of several databases, binary and empty words") {
  Entry entry;
  const std::string bytes = effects_entry();
  REQUIRE(decode_entry(bytes, entry) == EntryFault::none);
  bool whole = false;
  auto lines = read_effects(entry.payload, whole);
  CHECK(whole);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0] == "0: SET| key| " + std::string("\0\r\n\xff", 4) + "|");
  CHECK(lines[1] == "15: DEL| |");
}

TEST_CASE("group entry: a REJOIN names a member and its number") {
  std::string bytes;
  encode_rejoin({{2, 9}, 5, 0, EntryKind::rejoin}, 4, 0x1122334455667788, bytes);
  Entry entry;
  REQUIRE(decode_entry(bytes, entry) == EntryFault::none);
  CHECK(entry.header.kind == EntryKind::rejoin);
  auto rejoin = decode_rejoin(entry.payload);
  REQUIRE(rejoin);
  CHECK(rejoin->member == 4);
  CHECK(rejoin->number == 0x1122334455667788);
  CHECK_FALSE(decode_rejoin(entry.payload.substr(1)));
  CHECK_FALSE(decode_rejoin(std::string(entry.payload) + "x"));
  CHECK_FALSE(decode_rejoin({}));
}

TEST_CASE("group entry: every part of an entry asks for the rest") {
  const std::string bytes = effects_entry();
  Entry entry;
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK(decode_entry(base::Bytes(bytes).substr(0, size), entry) == EntryFault::short_of_bytes);
  }
}

TEST_CASE("group entry: no flipped bit passes") {
  const std::string bytes = effects_entry();
  Entry entry;
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    CAPTURE(bit);
    CHECK(decode_entry(damaged, entry) != EntryFault::none);
  }
}

TEST_CASE("group entry: a hostile length neither reads nor waits beyond the bound") {
  std::string bytes = entry_of(EntryKind::noop, "");
  Entry entry;
  for (uint32_t size :
       {uint32_t{UINT32_MAX}, uint32_t{INT32_MAX}, static_cast<uint32_t>(kEntryBytesMax) + 1}) {
    put_number(bytes, 4, size);
    CHECK(decode_entry(bytes, entry) == EntryFault::damaged);
  }
  put_number(bytes, 4, static_cast<uint32_t>(kEntryBytesMax));
  CHECK(decode_entry(bytes, entry) == EntryFault::short_of_bytes);
}

TEST_CASE("group entry: an unknown kind is damage, whatever its checksum says") {
  Entry entry;
  for (int kind : {0, 6, 255})
    CHECK(decode_entry(entry_of(static_cast<EntryKind>(kind), "x"), entry) == EntryFault::damaged);
}

TEST_CASE("group entry: effects with hostile numbers are refused") {
  Entry entry;
  const std::string bytes = effects_entry();
  REQUIRE(decode_entry(bytes, entry) == EntryFault::none);
  const std::string payload(entry.payload);
  bool whole = true;
  for (size_t size = 0; size < payload.size(); ++size) {
    read_effects(base::Bytes(payload).substr(0, size), whole);
    CAPTURE(size);
    CHECK_FALSE(whole);
  }
  read_effects(payload + "x", whole);
  CHECK_FALSE(whole);
  // The effects' count, the first one's words, its first word's size.
  for (size_t at : {size_t{0}, size_t{8}, size_t{12}})
    for (uint32_t number : {uint32_t{UINT32_MAX}, uint32_t{1} << 21, uint32_t{100}}) {
      std::string hostile = payload;
      put_number(hostile, at, number);
      read_effects(hostile, whole);
      CAPTURE(at);
      CAPTURE(number);
      CHECK_FALSE(whole);
    }
  std::string wordless = payload;
  put_number(wordless, 8, 0);
  read_effects(wordless, whole);
  CHECK_FALSE(whole);
}

}  // namespace quoll::cluster
