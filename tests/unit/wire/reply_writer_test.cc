#include "wire/reply_writer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace quoll;
using wire::OutQueue;
using wire::ReplyWriter;

namespace {

std::string take(OutQueue& queue) {
  std::vector<base::Bytes> parts(1024);
  size_t used = queue.gather(parts, queue.end_offset());
  std::string all;
  for (size_t i = 0; i < used; ++i) all += parts[i];
  queue.consume(all.size());
  return all;
}

template <class Write>
void check_reply(const std::string& resp2, const std::string& resp3, Write write) {
  OutQueue queue;
  ReplyWriter reply(queue);
  CHECK(reply.protocol() == 2);
  write(reply);
  CHECK(take(queue) == resp2);
  reply.set_protocol(3);
  write(reply);
  CHECK(take(queue) == resp3);
}

template <class Write>
void check_reply(const std::string& both, Write write) {
  check_reply(both, both, write);
}

}  // namespace

TEST_CASE("values in RESP2 and RESP3") {
  check_reply("+OK\r\n", [](ReplyWriter& r) { r.ok(); });
  check_reply("+a  b \r\n", [](ReplyWriter& r) { r.simple("a\r\nb\n"); });
  check_reply("-ERR x  y\r\n", [](ReplyWriter& r) { r.error("ERR x\r\ny\r\n"); });
  check_reply("$-1\r\n", "_\r\n", [](ReplyWriter& r) { r.null(); });
  check_reply("*-1\r\n", "_\r\n", [](ReplyWriter& r) { r.null_array(); });
  check_reply("*3\r\n", [](ReplyWriter& r) { r.array(3); });
  check_reply("*0\r\n", [](ReplyWriter& r) { r.array(0); });
  check_reply("*6\r\n", "%3\r\n", [](ReplyWriter& r) { r.map(3); });
  check_reply("*12\r\n", "~12\r\n", [](ReplyWriter& r) { r.set(12); });
  check_reply("*2\r\n", ">2\r\n", [](ReplyWriter& r) { r.push(2); });
  check_reply(":1\r\n", "#t\r\n", [](ReplyWriter& r) { r.boolean(true); });
  check_reply(":0\r\n", "#f\r\n", [](ReplyWriter& r) { r.boolean(false); });
  check_reply("$3\r\n123\r\n", "(123\r\n", [](ReplyWriter& r) { r.big_number("123"); });
  check_reply("$4\r\na\nbc\r\n", "=8\r\ntxt:a\nbc\r\n",
              [](ReplyWriter& r) { r.verbatim("a\nbc"); });
  check_reply("$0\r\n\r\n", "=4\r\nmkd:\r\n", [](ReplyWriter& r) { r.verbatim("", "mkd"); });
  check_reply(":1\r\n", [](ReplyWriter& r) { r.raw(":1\r\n"); });
  OutQueue queue;
  ReplyWriter reply(queue);
  reply.set_protocol(3);
  reply.attribute(1);
  CHECK(take(queue) == "|1\r\n");
}

TEST_CASE("integers of every length") {
  std::vector<int64_t> values = {0, INT64_MAX, INT64_MIN, -1};
  for (int64_t power = 1; power < INT64_MAX / 10; power *= 10) {
    for (int64_t near : {power - 1, power, power + 1, -power, -power - 1}) values.push_back(near);
  }
  for (int64_t value : values) {
    std::string text = std::to_string(value);
    check_reply(":" + text + "\r\n", [&](ReplyWriter& r) { r.integer(value); });
    check_reply("$" + std::to_string(text.size()) + "\r\n" + text + "\r\n",
                [&](ReplyWriter& r) { r.bulk_integer(value); });
  }
}

TEST_CASE("bulks of every size class") {
  for (size_t size : {0, 1, 9, 10, 99, 100, 2047, 2048, 2049, 8192, 16383, 16384, 100'000}) {
    std::string bytes(size, 'b');
    check_reply("$" + std::to_string(size) + "\r\n" + bytes + "\r\n",
                [&](ReplyWriter& r) { r.bulk(bytes); });
  }
}

TEST_CASE("doubles as redis-server 7.0 prints them") {
  struct Case {
    double value;
    std::string text;
  };
  const double inf = std::numeric_limits<double>::infinity();
  const Case cases[] = {{0, "0"},
                        {-0.0, "-0"},
                        {1, "1"},
                        {-3, "-3"},
                        {1.5, "1.5"},
                        {3.141, "3.141"},
                        {0.1, "0.10000000000000001"},
                        {3.14159, "3.1415899999999999"},
                        {1e-5, "1.0000000000000001e-05"},
                        {0.0001, "0.0001"},
                        {1234567.25, "1234567.25"},
                        {1e16, "10000000000000000"},
                        {99999999999999999.0, "1e+17"},
                        {1e20, "1e+20"},
                        {123456789012345678.0, "1.2345678901234568e+17"},
                        {1e300, "1.0000000000000001e+300"},
                        {5e-324, "4.9406564584124654e-324"},
                        {1.7976931348623157e308, "1.7976931348623157e+308"},
                        {inf, "inf"},
                        {-inf, "-inf"},
                        {std::copysign(NAN, 1), "nan"},
                        {std::copysign(NAN, -1), "-nan"}};
  for (const Case& each : cases) {
    check_reply("$" + std::to_string(each.text.size()) + "\r\n" + each.text + "\r\n",
                "," + each.text + "\r\n", [&](ReplyWriter& r) { r.real(each.value); });
  }
}

TEST_CASE("long texts are cleaned of line ends and errors are counted") {
  std::string text = "ERR " + std::string(5000, 'x') + "\r\n" + std::string(5000, 'y');
  std::string clean = text;
  for (char& c : clean) c = c == '\r' || c == '\n' ? ' ' : c;
  OutQueue queue;
  ReplyWriter reply(queue);
  reply.error(text + "\n\n");
  CHECK(take(queue) == "-" + clean + "\r\n");
  reply.simple(text);
  CHECK(take(queue) == "+" + clean + "\r\n");
  reply.error("WRONGTYPE no");
  CHECK(reply.errors() == 2);
}

TEST_CASE("a deferred collection gets its length afterwards") {
  for (size_t size : {size_t{10}, size_t{3000}, size_t{20'000}}) {
    std::string item(size, 'i');
    std::string bulk = "$" + std::to_string(size) + "\r\n" + item + "\r\n";
    auto write = [&](ReplyWriter& r) {
      r.ok();
      r.begin_deferred();
      r.bulk(item);
      r.begin_deferred();
      r.bulk(item);
      r.bulk(item);
      r.end_deferred(ReplyWriter::Kind::map, 1);
      r.begin_deferred();
      r.end_deferred(ReplyWriter::Kind::set, 0);
      r.integer(7);
      r.end_deferred(ReplyWriter::Kind::array, 4);
      r.begin_deferred();
      r.end_deferred(ReplyWriter::Kind::push, 0);
      r.ok();
    };
    check_reply("+OK\r\n*4\r\n" + bulk + "*2\r\n" + bulk + bulk + "*0\r\n:7\r\n*0\r\n+OK\r\n",
                "+OK\r\n*4\r\n" + bulk + "%1\r\n" + bulk + bulk + "~0\r\n:7\r\n>0\r\n+OK\r\n",
                write);
  }
}
