#include "wire/reply_counter.h"

#include <doctest/doctest.h>

#include <string>

using namespace quoll;
using Ends = std::vector<uint64_t>;

TEST_CASE("reply_counter: every kind of reply ends where it ends") {
  for (const std::string reply : {"+OK\r\n",
                                  "-ERR no\r\n",
                                  ":-12\r\n",
                                  "$3\r\na\r\n\r\n",
                                  "$0\r\n\r\n",
                                  "$-1\r\n",
                                  "*-1\r\n",
                                  "*0\r\n",
                                  "*2\r\n:1\r\n$2\r\nab\r\n",
                                  "*1\r\n*2\r\n+a\r\n*0\r\n",
                                  "_\r\n",
                                  "#t\r\n",
                                  ",1.5\r\n",
                                  "(123\r\n",
                                  "%1\r\n+k\r\n*1\r\n:1\r\n",
                                  "~2\r\n:1\r\n:2\r\n",
                                  "=5\r\ntxt:a\r\n",
                                  "!4\r\nERR \r\n",
                                  ">1\r\n+x\r\n",
                                  "|1\r\n+ttl\r\n:1\r\n$1\r\na\r\n",
                                  "*2\r\n|1\r\n+k\r\n+v\r\n:1\r\n:2\r\n"}) {
    CAPTURE(reply);
    const Ends once{reply.size()};
    const Ends twice{reply.size(), 2 * reply.size()};
    wire::ReplyCounter whole;
    CHECK(whole.feed(reply + reply));
    CHECK(whole.ends() == twice);
    wire::ReplyCounter bytewise;
    for (size_t i = 0; i < reply.size(); ++i) {
      CHECK(bytewise.ends().empty());
      CHECK(bytewise.feed(base::Bytes(reply).substr(i, 1)));
    }
    CHECK(bytewise.ends() == once);
  }
}

TEST_CASE("reply_counter: what is no reply stays refused") {
  for (const std::string bytes :
       {"hello\r\n", "*x\r\n", "$9999999999999\r\n", "\r\n", "%-99x\r\n"}) {
    CAPTURE(bytes);
    wire::ReplyCounter counter;
    CHECK_FALSE(counter.feed(bytes));
    CHECK_FALSE(counter.feed("+OK\r\n"));
    CHECK(counter.ends().empty());
  }
}

TEST_CASE("reply_counter: collections nest so deep and no deeper") {
  std::string deep;
  for (int i = 0; i < 64; ++i) deep += "*1\r\n";
  wire::ReplyCounter fine, much;
  CHECK(fine.feed(deep + ":1\r\n"));
  CHECK(fine.ends().size() == 1);
  CHECK_FALSE(much.feed(deep + "*1\r\n:1\r\n"));
}
