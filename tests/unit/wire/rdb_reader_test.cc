#include "wire/rdb_reader.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>

#include "base/crc64.h"
#include "base/text.h"
#include "wire/rdb_writer.h"

using namespace quoll;
using namespace quoll::wire;

namespace {

std::string unhex(base::Bytes text) {
  std::string bytes;
  REQUIRE(base::from_hex(text, bytes));
  return bytes;
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kScores[] = {0.1, -1e300, 5e-324, 3.0, kInfinity, -kInfinity};

// Input in a heap block of its exact size, so that a sanitizer sees any step beyond it.
struct Input {
  explicit Input(base::Bytes bytes) : size(bytes.size()), block(new char[size ? size : 1]) {
    bytes.copy(block.get(), size);
  }
  base::Bytes view() const { return {block.get(), size}; }
  size_t size;
  std::unique_ptr<char[]> block;
};

RdbFailure string_failure(base::Bytes hex) {
  Input input(unhex(hex));
  RdbReader reader(input.view());
  RdbString string;
  std::string scratch;
  CHECK_FALSE(reader.string(string, scratch));
  CHECK(reader.position() == 0);
  RdbFailure failure = reader.failure();
  reader.rewind(0);
  CHECK_FALSE((failure == RdbFailure::truncated && reader.skip_string()));
  return failure;
}

}  // namespace

TEST_CASE("rdb reader: lengths come back as written") {
  for (uint64_t length : {uint64_t{0}, uint64_t{63}, uint64_t{64}, uint64_t{16383}, uint64_t{16384},
                          uint64_t{0xffffffff}, uint64_t{0x100000000}, ~uint64_t{0}}) {
    std::string out;
    RdbWriter(out).length(length);
    Input input(out);
    RdbReader reader(input.view());
    uint64_t read = 1;
    REQUIRE(reader.length(read));
    CHECK(read == length);
    CHECK(reader.at_end());
    for (size_t size = 0; size < out.size(); ++size) {
      Input part(base::Bytes(out).substr(0, size));
      RdbReader cut(part.view(), 1000);
      REQUIRE_FALSE(cut.length(read));
      CHECK(cut.failure() == RdbFailure::truncated);
      CHECK(cut.needed_bytes() >= 1);
      CHECK(cut.needed_bytes() <= out.size() - size);
      CHECK(cut.position() == 0);
      CHECK(cut.offset() >= 1000);
    }
  }
}

TEST_CASE("rdb reader: strings in every form") {
  std::string ramp;
  for (int i = 0; i < 5000; ++i) ramp += std::to_string(i % 100);
  for (const std::string& text :
       {std::string(), std::string("x"), std::string("-129"), std::string("65536"),
        std::string("2147483648"), std::string(21, 'a'), std::string(5000, 'b'), ramp}) {
    std::string out;
    RdbWriter(out).string(text);
    RdbReader reader(out);
    RdbString string;
    std::string scratch;
    REQUIRE(reader.string(string, scratch));
    CHECK(string.bytes == text);
    CHECK(string.is_integer == (text == "-129" || text == "65536"));
    if (string.is_integer) CHECK(std::to_string(string.integer) == text);
    CHECK(reader.at_end());
    reader.rewind(0);
    REQUIRE(reader.skip_string());
    CHECK(reader.at_end());
    for (size_t size = 0; size < out.size(); ++size) {
      Input part(base::Bytes(out).substr(0, size));
      RdbReader cut(part.view());
      REQUIRE_FALSE(cut.string(string, scratch));
      REQUIRE(cut.failure() == RdbFailure::truncated);
      cut.rewind(0);
      REQUIRE_FALSE(cut.skip_string());
    }
  }
}

TEST_CASE("rdb reader: hostile strings") {
  CHECK(string_failure("81ffffffffffffffff61") == RdbFailure::truncated);
  CHECK(string_failure("80ffffffff61") == RdbFailure::truncated);
  CHECK(string_failure("82000000") == RdbFailure::malformed);  // unknown length form
  CHECK(string_failure("c4") == RdbFailure::malformed);        // unknown encoding
  CHECK(string_failure("c3c00561") == RdbFailure::malformed);  // encoded length inside LZF
  CHECK(string_failure("c302c00561") == RdbFailure::malformed);
  CHECK(string_failure("c3000561") == RdbFailure::malformed);            // nothing compressed
  CHECK(string_failure("c302000061") == RdbFailure::malformed);          // nothing to expand to
  CHECK(string_failure("c30280ffffffff0061") == RdbFailure::malformed);  // 4 GiB from 2 bytes
  CHECK(string_failure("c381ffffffffffffffff0561") == RdbFailure::malformed);
  CHECK(string_failure("c302050061") == RdbFailure::malformed);      // fewer bytes than stated
  CHECK(string_failure("c3030a20ff0061") == RdbFailure::malformed);  // back before the start
  CHECK(string_failure("c30206e0ff") == RdbFailure::malformed);      // reference cut off
  CHECK(string_failure("c303150161") == RdbFailure::truncated);
}

TEST_CASE("rdb reader: a failure is sticky and names its place") {
  Input input(unhex("05c0"));
  RdbReader reader(input.view(), 100);
  uint64_t length;
  CHECK(reader.length(length));
  CHECK_FALSE(reader.length(length));  // an encoded string
  CHECK(reader.failure() == RdbFailure::malformed);
  CHECK(reader.offset() == 101);
  CHECK(reader.position() == 1);
  CHECK(std::string(reader.reason()) == "an encoded string where a length must be");
  uint8_t byte;
  CHECK_FALSE(reader.byte(byte));
  reader.rewind(0);
  CHECK(reader.byte(byte));
  CHECK(byte == 5);
  CHECK_FALSE(reader.fail("no such key"));
  CHECK(reader.offset() == 101);
  CHECK(reader.failure() == RdbFailure::malformed);
}

TEST_CASE("rdb reader: doubles and times") {
  std::string out;
  RdbWriter writer(out);
  writer.binary_double(-2.5);
  writer.binary_float(0.5F);
  writer.millis(-7);
  writer.seconds(2147483647);
  for (double score : kScores) writer.ascii_double(score);
  writer.ascii_double(NAN);
  RdbReader reader(out);
  double value;
  float small;
  int64_t ms;
  int32_t seconds;
  REQUIRE(reader.binary_double(value));
  CHECK(value == -2.5);
  REQUIRE(reader.binary_float(small));
  CHECK(small == 0.5F);
  REQUIRE(reader.millis(ms));
  CHECK(ms == -7);
  REQUIRE(reader.seconds(seconds));
  CHECK(seconds == 2147483647);
  for (double score : kScores) {
    REQUIRE(reader.ascii_double(value));
    CHECK(value == score);
  }
  REQUIRE(reader.ascii_double(value));
  CHECK(std::isnan(value));
  CHECK(reader.at_end());

  for (base::Bytes bad : {base::Bytes("\x03"
                                      "abc"),
                          base::Bytes("\0", 1),
                          base::Bytes("\x02"
                                      "1x")}) {
    RdbReader wrong(bad);
    CHECK_FALSE(wrong.ascii_double(value));
    CHECK(wrong.failure() == RdbFailure::malformed);
  }
  RdbReader cut(
      "\x05"
      "1.2");
  CHECK_FALSE(cut.ascii_double(value));
  CHECK(cut.failure() == RdbFailure::truncated);
}

TEST_CASE("rdb reader: a file of redis-server 7.0.15") {
  std::string file = unhex(
      "524544495330303130fa0972656469732d76657206372e302e3135fa0a72656469732d62697473c040fa056374"
      "696d65c2b557016bfa08757365642d6d656dc2a0d21300fa08616f662d62617365c000f5404123216c7561206e"
      "616d653d6c0a72656469732e72656769737465725f66756e6374696f6e282766272c66756e6374696f6e282920"
      "72657475726e203120656e6429fe00fb0101fc00d8c32cbb030000f906000161c001fe03fb0100f90500036b65"
      "790576616c7565ffc8a105e7e30477e2");
  RdbReader reader(file);
  unsigned version;
  REQUIRE(reader.header(version));
  CHECK(version == 10);
  std::string seen;
  std::string scratch;
  RdbString string;
  uint64_t number, other;
  int64_t ms;
  for (uint8_t code = 0; code != 255;) {
    REQUIRE(reader.byte(code));
    if (code == static_cast<uint8_t>(RdbOpcode::freq)) {
      REQUIRE(reader.byte(code));
      seen += " freq " + std::to_string(code);
    } else if (is_rdb_type(code)) {
      REQUIRE(code == static_cast<uint8_t>(RdbType::string));
      REQUIRE(reader.string(string, scratch));
      seen += " " + std::string(string.bytes);
      REQUIRE(reader.string(string, scratch));
      seen += "=" + std::string(string.bytes);
    } else {
      switch (static_cast<RdbOpcode>(code)) {
        case RdbOpcode::aux:
          REQUIRE(reader.string(string, scratch));
          REQUIRE(reader.skip_string());
          break;
        case RdbOpcode::function_2:
          REQUIRE(reader.string(string, scratch));
          seen += " function " + std::to_string(string.bytes.size());
          break;
        case RdbOpcode::selectdb:
          REQUIRE(reader.length(number));
          seen += " db " + std::to_string(number);
          break;
        case RdbOpcode::resizedb:
          REQUIRE((reader.length(number) && reader.length(other)));
          seen += " size " + std::to_string(number) + "/" + std::to_string(other);
          break;
        case RdbOpcode::expire_ms:
          REQUIRE(reader.millis(ms));
          seen += " until " + std::to_string(ms);
          break;
        default:
          REQUIRE(code == static_cast<uint8_t>(RdbOpcode::eof));
      }
    }
  }
  CHECK(seen ==
        " function 65 db 0 size 1/1 until 4102444800000 freq 6 a=1 db 3 size 1/0 freq 5 key=value");
  CHECK(reader.left() == kRdbChecksumBytes);
  size_t checked = reader.position();
  REQUIRE(reader.unsigned_64(number));
  CHECK(base::crc64(base::Bytes(file).substr(0, checked)) == number);
}

TEST_CASE("rdb reader: headers that are none") {
  unsigned version;
  for (base::Bytes bad :
       {base::Bytes("RESP"), base::Bytes("REDIS00x1"), base::Bytes("redis0011")}) {
    RdbReader reader(bad);
    CHECK_FALSE(reader.header(version));
    CHECK(reader.failure() == RdbFailure::malformed);
  }
  RdbReader cut("REDIS001");
  CHECK_FALSE(cut.header(version));
  CHECK(cut.failure() == RdbFailure::truncated);
  CHECK(cut.needed_bytes() == 1);
}

TEST_CASE("rdb reader: a module value is skipped and its module named") {
  std::string out;
  RdbWriter writer(out);
  writer.length(1);
  writer.length(300);
  writer.length(2);
  writer.length(1);
  writer.length(3);
  writer.binary_float(1);
  writer.length(4);
  writer.binary_double(1);
  writer.length(5);
  writer.string(std::string(50, 'm'));
  writer.length(0);
  writer.byte('!');
  RdbReader reader(out);
  REQUIRE(reader.skip_module_value());
  CHECK(reader.left() == 1);
  for (size_t size = 0; size < out.size() - 1; ++size) {
    Input part(base::Bytes(out).substr(0, size));
    RdbReader cut(part.view());
    CHECK_FALSE(cut.skip_module_value());
    CHECK(cut.failure() == RdbFailure::truncated);
    CHECK(cut.position() == 0);
  }
  RdbReader wrong("\x06");
  CHECK_FALSE(wrong.skip_module_value());
  CHECK(wrong.failure() == RdbFailure::malformed);

  uint64_t id = 0;  // "ReJSON-RL" in six bits each, then encoding version 3
  constexpr base::Bytes kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (char c : base::Bytes("ReJSON-RL")) id = id << 6 | kLetters.find(c);
  CHECK(rdb_module_name(id << 10 | 3) == "ReJSON-RL");
}

TEST_CASE("rdb reader: footers of DUMP payloads") {
  std::string payload = unhex("00c139300a009d94ea2793fc08b9");
  base::Bytes body;
  REQUIRE(check_dump_footer(payload, 12, body) == DumpFooter::good);
  CHECK(base::to_hex(body) == "00c13930");
  CHECK(check_dump_footer(payload, 9, body) == DumpFooter::version);
  for (size_t size = 0; size < payload.size(); ++size) {
    Input part(base::Bytes(payload).substr(0, size));
    CHECK(check_dump_footer(part.view(), 65535, body) ==
          (size < kRdbDumpFooterBytes ? DumpFooter::too_short : DumpFooter::checksum));
  }
  for (size_t i = 0; i < payload.size() * 8; ++i) {
    std::string flipped = payload;
    flipped[i / 8] = static_cast<char>(flipped[i / 8] ^ 1 << i % 8);
    CHECK(check_dump_footer(flipped, 65535, body) == DumpFooter::checksum);
  }
}

TEST_CASE("rdb reader: random bytes never lead beyond the input") {
  std::mt19937_64 random(20);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes(1 + random() % 40, '\0');
    for (char& c : bytes) {  // mostly bytes that start something
      c = static_cast<char>(random() % 3 ? 0xc0 + random() % 4 : random() % 256);
    }
    Input input(bytes);
    RdbReader reader(input.view());
    RdbString string;
    std::string scratch;
    uint64_t number;
    double score;
    bool ok = true;
    while (ok && !reader.at_end()) {
      size_t before = reader.position();
      switch (random() % 5) {
        case 0:
          ok = reader.length(number);
          break;
        case 1:
          ok = reader.string(string, scratch);
          if (ok) REQUIRE(string.bytes.size() <= bytes.size() * kLzfExpansionMax);
          break;
        case 2:
          ok = reader.skip_string();
          break;
        case 3:
          ok = reader.ascii_double(score);
          break;
        default:
          ok = reader.skip_module_value();
      }
      REQUIRE((ok ? reader.position() > before : reader.position() == before));
      REQUIRE(ok == (reader.failure() == RdbFailure::none));
    }
  }
}

TEST_CASE("rdb format: versions of types") {
  CHECK(rdb_version_of(RdbType::hash_listpack_ex) == 12);
  CHECK(rdb_version_of(RdbType::set_listpack) == 11);
  CHECK(rdb_version_of(RdbType::list_quicklist_2) == 10);
  CHECK(rdb_version_of(RdbType::string) == 6);
  CHECK_FALSE(is_rdb_type(8));
  CHECK_FALSE(is_rdb_type(26));
  CHECK(is_rdb_opcode(244));
  CHECK_FALSE(is_rdb_opcode(243));
}
