#include "cluster/fan_out.h"

#include <doctest/doctest.h>

#include "wire/out_queue.h"

using namespace quoll;
using cluster::FanOut;

namespace {

using Words = std::vector<base::Bytes>;

unsigned first_letter(base::Bytes key) { return static_cast<unsigned char>(key[0]); }

std::string merged(const FanOut& fan, const std::vector<std::string>& replies, int protocol = 2) {
  wire::OutQueue out;
  wire::ReplyWriter writer(out);
  writer.set_protocol(protocol);
  fan.merge(replies, writer);
  return out.text();
}

}  // namespace

TEST_CASE("fan_out: MGET is put together in the order of the keys") {
  const Words words{"MGET", "a1", "b1", "a2", "c1", "a1"};
  const auto fan = FanOut::cut("mget", words, first_letter);
  REQUIRE(fan);
  REQUIRE(fan->parts().size() == 3);
  CHECK(fan->parts()[0].line == Words{"MGET", "a1", "a2", "a1"});
  CHECK(fan->parts()[1].line == Words{"MGET", "b1"});
  CHECK(fan->parts()[2].slot == 'c');
  const std::vector<std::string> replies{"*3\r\n$1\r\n1\r\n$1\r\n3\r\n$1\r\n5\r\n", "*1\r\n$-1\r\n",
                                         "*1\r\n$1\r\n4\r\n"};
  CHECK(merged(*fan, replies) == "*5\r\n$1\r\n1\r\n$-1\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n");
  CHECK(merged(*fan, {replies[0], "*1\r\n_\r\n", replies[2]}, 3) ==
        "*5\r\n$1\r\n1\r\n_\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n");
}

TEST_CASE("fan_out: counts are added, MSET keeps keys and values together") {
  const auto removed = FanOut::cut("del", Words{"del", "a", "b"}, first_letter);
  REQUIRE(removed);
  CHECK(merged(*removed, {":1\r\n", ":2\r\n"}) == ":3\r\n");
  const auto set = FanOut::cut("mset", Words{"mset", "a1", "x", "b", "y", "a2", "z"}, first_letter);
  REQUIRE(set);
  CHECK(set->parts()[0].line == Words{"mset", "a1", "x", "a2", "z"});
  CHECK(merged(*set, {"+OK\r\n", "+OK\r\n"}) == "+OK\r\n");
}

TEST_CASE("fan_out: an error is told, first the one that leaves the outcome open") {
  const auto fan = FanOut::cut("unlink", Words{"unlink", "a", "b", "c"}, first_letter);
  REQUIRE(fan);
  CHECK(merged(*fan, {":1\r\n", "-LOADING x\r\n", ":1\r\n"}) == "-LOADING x\r\n");
  CHECK(merged(*fan, {"-LOADING x\r\n", "-UNCERTAIN y\r\n", ":1\r\n"}) == "-UNCERTAIN y\r\n");
  CHECK(merged(*fan, {":1\r\n", "+OK\r\n", ":1\r\n"}).starts_with("-ERR"));
}

TEST_CASE("fan_out: other commands, and odd MSETs, are not cut") {
  CHECK_FALSE(FanOut::cut("get", Words{"get", "a"}, first_letter));
  CHECK_FALSE(FanOut::cut("msetnx", Words{"msetnx", "a", "1"}, first_letter));
  CHECK_FALSE(FanOut::cut("mset", Words{"mset", "a", "1", "b"}, first_letter));
  CHECK_FALSE(FanOut::cut("del", Words{"del"}, first_letter));
}
