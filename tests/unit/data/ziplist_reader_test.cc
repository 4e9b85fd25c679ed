#include "data/ziplist_reader.h"

#include <doctest/doctest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/text.h"
#include "tests/unit/data/packed_text.h"

using namespace quoll;
using namespace quoll::data;

namespace {

// Accepted by redis-server 7.0.15 as the payload of a list and read back as kElements.
constexpr base::Bytes kZiplistHex =
    "77000000330000000b0000016103f102fd02fe0d03feff03fe7f03c0800004f000800005d0ffff7fff06e0ffffffff"
    "ffffff7f0a404078787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878ff";

std::unique_ptr<char[]> exact_copy(const std::string& bytes) {
  std::unique_ptr<char[]> block(new char[bytes.size() + (bytes.empty() ? 1 : 0)]);
  bytes.copy(block.get(), bytes.size());
  return block;
}
std::vector<std::string> texts(base::Bytes ziplist) {
  std::vector<std::string> result;
  ZiplistReader reader(ziplist);
  char buffer[base::kIntTextMax];
  for (PackedItem item; reader.next(item);) result.emplace_back(item.text(buffer));
  return result;
}

}  // namespace

TEST_CASE("ziplist: every encoding") {
  std::string bytes = unhex(kZiplistHex);
  REQUIRE(ZiplistReader::validate(bytes));
  std::vector<std::string> expected = {"a",
                                       "0",
                                       "12",
                                       "13",
                                       "-1",
                                       "127",
                                       "128",
                                       "32768",
                                       "-8388609",
                                       "9223372036854775807",
                                       std::string(64, 'x')};
  CHECK(texts(bytes) == expected);
  Listpack listpack;
  REQUIRE(append_ziplist(bytes, listpack));
  Listpack direct;
  for (const std::string& text : expected) REQUIRE(direct.append(text));
  CHECK(base::to_hex(listpack.bytes()) == base::to_hex(direct.bytes()));
}

TEST_CASE("ziplist: long previous sizes and the two longer string forms") {
  std::string big(300, 'b'), huge(20000, 'h');
  std::string body;
  body += std::string("\0\x41\x2c", 3) + big;                // 303 bytes
  body += unhex("fe2f010000") + unhex("8000004e20") + huge;  // 20010 bytes
  size_t tail = 10 + body.size();
  body += unhex("fe2a4e0000") + unhex("fe80");  // -128
  std::string bytes = unhex(
                          "00000000"
                          "00000000"
                          "ffff") +
                      body + "\xff";  // count unknown
  auto put = [&](size_t at, size_t value) {
    for (int i = 0; i < 4; ++i) bytes[at + i] = static_cast<char>(value >> 8 * i);
  };
  put(0, bytes.size());
  put(4, tail);
  REQUIRE(ZiplistReader::validate(bytes));
  CHECK(texts(bytes) == std::vector<std::string>{big, huge, "-128"});
  put(4, tail - 1);
  CHECK_FALSE(ZiplistReader::validate(bytes));
}

TEST_CASE("ziplist: empty, and headers that do not fit") {
  CHECK(ZiplistReader::validate(unhex("0b0000000a0000000000ff")));
  CHECK_FALSE(ZiplistReader::validate(unhex("0b0000000a0000000100ff")));  // count
  CHECK_FALSE(ZiplistReader::validate(unhex("0c0000000a0000000000ff")));  // total
  CHECK_FALSE(ZiplistReader::validate(unhex("0b0000000b0000000000ff")));  // tail
  CHECK_FALSE(ZiplistReader::validate(unhex("0b0000000a000000000000")));  // end
  CHECK_FALSE(ZiplistReader::validate(""));
}

TEST_CASE("ziplist: hostile bytes are refused or read within bounds") {
  std::string good = unhex(kZiplistHex);
  std::mt19937_64 random(9);
  size_t accepted = 0;
  for (size_t i = 0; i < good.size() * 256; ++i) {
    std::string bytes = good;
    bytes[i / 256] = static_cast<char>(i % 256);
    if (i % 7 == 0) bytes[random() % bytes.size()] = static_cast<char>(random());
    auto block = exact_copy(bytes);
    base::Bytes foreign(block.get(), bytes.size());
    if (!ZiplistReader::validate(foreign)) continue;
    ++accepted;
    size_t count = texts(foreign).size();
    REQUIRE(count >= 10);
    REQUIRE(count <= 12);
  }
  CHECK(accepted > 256);  // changes within the strings
  for (size_t size = 0; size < good.size(); ++size) {
    std::string bytes = good.substr(0, size);
    if (size >= 4) bytes[0] = static_cast<char>(size);
    if (size > 11) bytes.back() = '\xff';
    auto block = exact_copy(bytes);
    REQUIRE_FALSE(ZiplistReader::validate({block.get(), bytes.size()}));
  }
}
