// The expected bytes were written by redis-server 7.0.15 for the commands named.
#include "persist/aof_encoder.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <vector>

namespace quoll::persist {
namespace {

struct Line {
  store::DbIndex db;
  std::vector<base::Bytes> args;
};

std::string encode(AofEncoder& encoder, std::initializer_list<Line> lines, bool transaction = false,
                   base::Millis at = 0) {
  std::vector<store::Effect> effects;
  for (const Line& line : lines) effects.push_back({line.db, line.args});
  std::string out;
  encoder.encode({1, at, store::Origin::client, transaction, {}, effects}, out);
  return out;
}

TEST_CASE("the database is named when it changes") {
  AofEncoder encoder;
  CHECK(!encoder.database());
  CHECK(encode(encoder, {{0, {"set", "a", "1"}}}) ==
        "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\n1\r\n");
  CHECK(encode(encoder, {{0, {"set", "x y", ""}}}) == "*3\r\n$3\r\nset\r\n$3\r\nx y\r\n$0\r\n\r\n");
  CHECK(encode(encoder, {{12, {"flushdb"}}}) ==
        "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n*1\r\n$7\r\nflushdb\r\n");
  CHECK(encoder.database() == 12u);
  encoder.begin_file();
  CHECK(encode(encoder, {{12, {"flushdb"}}}) ==
        "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n*1\r\n$7\r\nflushdb\r\n");
}

TEST_CASE("two effects are framed, one is not") {
  AofEncoder encoder;
  encode(encoder, {{3, {"set", "b", "2"}}});
  CHECK(encode(encoder, {{0, {"set", "a", "2"}}}, true) ==
        "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\n2\r\n");
  CHECK(encode(encoder, {{0, {"set", "a", "3"}}, {5, {"set", "z", "1"}}}, true) ==
        "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\n3\r\n"
        "*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n*3\r\n$3\r\nset\r\n$1\r\nz\r\n$1\r\n1\r\n"
        "*1\r\n$4\r\nEXEC\r\n");
  CHECK(encode(encoder, {{0, {"SREM", "s", "2"}}, {0, {"SREM", "s", "1"}}}) ==
        "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*1\r\n$5\r\nMULTI\r\n"
        "*3\r\n$4\r\nSREM\r\n$1\r\ns\r\n$1\r\n2\r\n*3\r\n$4\r\nSREM\r\n$1\r\ns\r\n$1\r\n1\r\n"
        "*1\r\n$4\r\nEXEC\r\n");
  CHECK(encode(encoder, {}, true).empty());
}

TEST_CASE("timestamps stand before a commit whose second is new") {
  AofEncoder encoder;
  encode(encoder, {{0, {"x"}}}, false, 1'700'000'000'500);
  encoder.set_timestamps(true);
  CHECK(encode(encoder, {{0, {"x"}}, {0, {"y"}}}, false, 1'700'000'000'700) ==
        "#TS:1700000000\r\n*1\r\n$5\r\nMULTI\r\n*1\r\n$1\r\nx\r\n*1\r\n$1\r\ny\r\n"
        "*1\r\n$4\r\nEXEC\r\n");
  CHECK(encode(encoder, {{0, {"x"}}}, false, 1'700'000'000'999) == "*1\r\n$1\r\nx\r\n");
  CHECK(encode(encoder, {{0, {"x"}}}, false, 1'700'000'001'000) ==
        "#TS:1700000001\r\n*1\r\n$1\r\nx\r\n");
  CHECK(encode(encoder, {{0, {"x"}}}, false, 1'699'999'999'000) == "*1\r\n$1\r\nx\r\n");
}

}  // namespace
}  // namespace quoll::persist
