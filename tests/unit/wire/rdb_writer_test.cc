#include "wire/rdb_writer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "base/crc64.h"
#include "base/text.h"

using namespace quoll;
using namespace quoll::wire;

namespace {

std::string length_hex(uint64_t length) {
  std::string out;
  RdbWriter(out).length(length);
  return base::to_hex(out);
}
std::string string_hex(base::Bytes text, bool compress = true) {
  std::string out;
  RdbWriter(out, compress).string(text);
  return base::to_hex(out);
}
// A whole DUMP payload of a string, as redis-server 7.0.15 makes it.
std::string dump_hex(base::Bytes text) {
  std::string out;
  RdbWriter writer(out);
  writer.type(RdbType::string);
  writer.string(text);
  append_dump_footer(out, 10);
  return base::to_hex(out);
}
std::string ascii_double(double value) {
  std::string out;
  RdbWriter(out).ascii_double(value);
  return out;
}

}  // namespace

TEST_CASE("rdb writer: a length takes the shortest form") {
  CHECK(length_hex(0) == "00");
  CHECK(length_hex(63) == "3f");
  CHECK(length_hex(64) == "4040");
  CHECK(length_hex(16383) == "7fff");
  CHECK(length_hex(16384) == "8000004000");
  CHECK(length_hex(0xffffffff) == "80ffffffff");
  CHECK(length_hex(0x100000000) == "810000000100000000");
  CHECK(length_hex(~uint64_t{0}) == "81ffffffffffffffff");
}

TEST_CASE("rdb writer: DUMP payloads of strings equal those of redis-server") {
  CHECK(dump_hex("") == "00000a005d9b5c400f7fa2da");
  CHECK(dump_hex("12345") == "00c139300a009d94ea2793fc08b9");
  CHECK(dump_hex("-129") == "00c17fff0a001760822854808480");
  CHECK(dump_hex("127") == "00c07f0a000db5eb315254c514");
  CHECK(dump_hex("-128") == "00c0800a009966326d2f0c5bd9");
  CHECK(dump_hex("2147483648") == "000a323134373438333634380a00e7b129a34c1d76ee");
  CHECK(dump_hex("-2147483648") == "00c2000000800a00c74f873e33558187");
  CHECK(dump_hex(std::string(20, 'a')) ==
        "001461616161616161616161616161616161616161610a0083b46b5e1b11acf1");
  CHECK(dump_hex(std::string(21, 'a')) == "00c30615016161e00a000a00fd0cb36807413f68");
  CHECK(dump_hex(std::string(100, 'a')) == "00c3094064016161e057000161610a00e8a3b507b06df271");
  CHECK(dump_hex("abcdefghijklmnopqrstu") ==
        "00156162636465666768696a6b6c6d6e6f7071727374750a00ad1c23029a10e306");
}

TEST_CASE("rdb writer: texts that only look like integers stay texts") {
  CHECK(string_hex("007") == "03303037");
  CHECK(string_hex("-0") == "022d30");
  CHECK(string_hex("+1") == "022b31");
  CHECK(string_hex("1 ") == "023120");
  CHECK(string_hex("2147483647") == "c2ffffff7f");
  CHECK(string_hex("-2147483649") == "0b" + base::to_hex("-2147483649"));
}

TEST_CASE("rdb writer: integers without a detour over text") {
  for (int64_t value : {int64_t{0}, int64_t{-1}, int64_t{128}, int64_t{-32769}, int64_t{1} << 31,
                        std::numeric_limits<int64_t>::min()}) {
    std::string out;
    RdbWriter(out).integer_string(value);
    CHECK(base::to_hex(out) == string_hex(std::to_string(value)));
  }
}

TEST_CASE("rdb writer: compression is optional and leaves what came before alone") {
  std::string text(100, 'a');
  CHECK(string_hex(text, false) == "4064" + base::to_hex(text));
  std::string out = "before";
  RdbWriter writer(out);
  writer.string(text);
  writer.byte('!');
  CHECK(base::to_hex(out) == base::to_hex("before") + "c3094064016161e0570001616121");
}

TEST_CASE("rdb writer: numbers and times") {
  std::string out;
  RdbWriter writer(out);
  writer.binary_double(-2.5);
  writer.binary_float(1.0F);
  writer.millis(4102444800000);
  writer.seconds(-2);
  CHECK(base::to_hex(out) ==
        "00000000000004c0"
        "0000803f"
        "00d8c32cbb030000"
        "feffffff");
  CHECK(ascii_double(0.1) ==
        "\x13"
        "0.10000000000000001");
  CHECK(ascii_double(std::numeric_limits<double>::quiet_NaN()) == "\xfd");
  CHECK(ascii_double(std::numeric_limits<double>::infinity()) == "\xfe");
  CHECK(ascii_double(-std::numeric_limits<double>::infinity()) == "\xff");
}

TEST_CASE("rdb writer: a file equals the one redis-server saved") {
  std::string out;
  RdbWriter writer(out);
  writer.header(10);
  writer.aux("redis-ver", "7.0.15");
  writer.aux("redis-bits", "64");
  writer.function("#!lua name=l\nredis.register_function('f',function() return 1 end)");
  writer.select_db(0);
  writer.resize_db(1, 1);
  writer.expire_ms(4102444800000);
  writer.freq(6);
  writer.type(RdbType::string);
  writer.string("a");
  writer.string("1");
  writer.opcode(RdbOpcode::eof);
  writer.checksum(base::crc64(out));
  std::string expected;
  REQUIRE(base::from_hex(
      "524544495330303130fa0972656469732d76657206372e302e3135fa0a72656469732d62697473c040f54041"
      "23216c7561206e616d653d6c0a72656469732e72656769737465725f66756e6374696f6e282766272c66756e"
      "6374696f6e28292072657475726e203120656e6429fe00fb0101fc00d8c32cbb030000f906000161c001ff",
      expected));
  CHECK(base::to_hex(base::Bytes(out).substr(0, out.size() - 8)) == base::to_hex(expected));
  CHECK(base::crc64(out) == 0);  // a CRC over bytes and their CRC leaves nothing
  out.clear();
  writer.idle(70);
  writer.slot_info(16383, 2, 1);
  CHECK(base::to_hex(out) ==
        "f84046"
        "f47fff0201");
}
