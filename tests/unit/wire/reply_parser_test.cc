#include "wire/reply_parser.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

using namespace quoll;
using wire::Reply;
using wire::ReplyParser;
using ReplyStatus = ReplyParser::Status;
using Type = Reply::Type;

namespace {

// A reply as readable text, so that whole trees compare in one line.
std::string show(const Reply& reply) {
  std::string text;
  if (!reply.attributes.empty()) {
    text += "|";
    for (const Reply& each : reply.attributes) text += show(each) + " ";
    text += "|";
  }
  auto list = [&](const char* open, const char* close) {
    text += open;
    for (size_t i = 0; i < reply.elements.size(); ++i) {
      text += (i > 0 ? " " : "") + show(reply.elements[i]);
    }
    text += close;
  };
  switch (reply.type) {
    case Type::simple:
      return text + "+" + reply.text;
    case Type::error:
      return text + "-" + reply.text;
    case Type::integer:
      return text + std::to_string(reply.integer);
    case Type::bulk:
      return text + "'" + reply.text + "'";
    case Type::null:
      return text + "null";
    case Type::boolean:
      return text + (reply.integer != 0 ? "true" : "false");
    case Type::real:
      return text + "," + std::to_string(reply.real);
    case Type::big_number:
      return text + "(" + reply.text;
    case Type::verbatim:
      return text + reply.format + ":'" + reply.text + "'";
    case Type::blob_error:
      return text + "!" + reply.text;
    case Type::array:
      list("[", "]");
      return text;
    case Type::map:
      list("{", "}");
      return text;
    case Type::set:
      list("~[", "]");
      return text;
    case Type::push:
      list(">[", "]");
      return text;
  }
  return text;
}

std::string show_all(ReplyParser& parser) {
  std::string text;
  Reply reply;
  while (parser.next(reply) == ReplyStatus::ok) text += show(reply) + "\n";
  return text;
}

}  // namespace

TEST_CASE("replies are the same at every split point") {
  const std::string bytes =
      "+OK\r\n-ERR no\r\n:42\r\n:-7\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n"
      "*3\r\n:1\r\n*2\r\n+a\r\n*0\r\n$1\r\nx\r\n_\r\n#t\r\n#f\r\n,1.5\r\n,inf\r\n,-inf\r\n,nan\r\n"
      "(123456789012345678901234567890\r\n=7\r\ntxt:a\nb\r\n!3\r\nERR\r\n"
      "%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n~2\r\n:1\r\n:2\r\n>2\r\n+message\r\n*1\r\n_\r\n\n\n"
      "|1\r\n+ttl\r\n:9\r\n*2\r\n|1\r\n+x\r\n*1\r\n:1\r\n:5\r\n|0\r\n:6\r\n:10\r\n";
  const std::string expected =
      "+OK\n-ERR no\n42\n-7\n'a\r\nbc'\n''\nnull\nnull\n[]\n[1 [+a []] 'x']\nnull\ntrue\nfalse\n"
      ",1.500000\n,inf\n,-inf\n,nan\n(123456789012345678901234567890\ntxt:'a\nb'\n!ERR\n"
      "{+a 1 +b {}}\n~[1 2]\n>[+message [null]]\n|+ttl 9 |[|+x [1] |5 6]\n10\n";
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    ReplyParser parser;
    parser.feed(bytes.substr(0, cut));
    std::string text = show_all(parser);
    parser.feed(bytes.substr(cut));
    text += show_all(parser);
    CHECK(parser.error_text() == "");
    CHECK(text == expected);
    CHECK(parser.pending_bytes() == 0);
  }
  ReplyParser parser;
  std::string text;
  for (char c : bytes) {
    parser.feed({&c, 1});
    text += show_all(parser);
  }
  CHECK(text == expected);
}

TEST_CASE("malformed replies are refused") {
  for (const char* bad : {"?\r\n", "*x\r\n", "*-2\r\n", "$-2\r\n", "$x\r\n", "$1\r\nabc", "#x\r\n",
                          ":x\r\n", ",x\r\n", "_x\r\n", "=3\r\nabc\r\n", "*1\r\n\r\n",
                          "%99999999999\r\n", "$99999999999999\r\n"}) {
    ReplyParser parser;
    parser.feed(":1\r\n");
    parser.feed(bad);
    Reply reply;
    CHECK(parser.next(reply) == ReplyStatus::ok);
    INFO(bad);
    CHECK(parser.next(reply) == ReplyStatus::error);
    CHECK(parser.error_text() != "");
    CHECK(parser.next(reply) == ReplyStatus::error);
  }
  ReplyParser deep;
  for (int i = 0; i <= wire::kReplyDepthMax; ++i) deep.feed("*1\r\n");
  Reply reply;
  CHECK(deep.next(reply) == ReplyStatus::error);
  ReplyParser endless;
  endless.feed(std::string(wire::kReplyLineMax + 1, '+'));
  CHECK(endless.next(reply) == ReplyStatus::error);
}

TEST_CASE("the bytes behind a reply can be taken over") {
  ReplyParser parser;
  parser.feed("+FULLRESYNC abc 1\r\n$EOF:0123\r\nrest");
  Reply reply;
  CHECK(parser.next(reply) == ReplyStatus::ok);
  CHECK(reply.text == "FULLRESYNC abc 1");
  CHECK(parser.take_rest() == "$EOF:0123\r\nrest");
  parser.feed(":1\r\n");
  CHECK(parser.next(reply) == ReplyStatus::ok);
  CHECK(reply.integer == 1);
}
