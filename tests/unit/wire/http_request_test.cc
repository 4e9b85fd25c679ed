#include "wire/http_request.h"

#include <doctest/doctest.h>

#include <string>

using quoll::wire::HttpRequestParser;
using State = HttpRequestParser::State;

TEST_CASE("http request: in pieces, one after the other") {
  HttpRequestParser parser;
  const std::string first = "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string both = first + "HEAD /livez HTTP/1.0\r\n\r\n";
  for (size_t i = 0; i + 1 < first.size(); ++i) {
    REQUIRE(parser.feed(both.substr(i, 1)) == 1);
    REQUIRE(parser.state() == State::more);
  }
  CHECK(parser.begun());
  CHECK(parser.feed(both.substr(first.size() - 1)) == 1);
  CHECK(parser.state() == State::complete);
  CHECK(parser.method() == "GET");
  CHECK(parser.path() == "/metrics");
  CHECK(parser.keep_alive());
  CHECK(parser.feed("more") == 0);

  parser.reset();
  CHECK(parser.feed(both.substr(first.size())) == both.size() - first.size());
  CHECK(parser.state() == State::complete);
  CHECK(parser.is_head());
  CHECK(parser.path() == "/livez");
  CHECK(!parser.keep_alive());
}

TEST_CASE("http request: what is refused, and with which status") {
  const struct {
    std::string bytes;
    int status;
  } cases[] = {
      {"PING\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400},
      {"GET / HTTP/9.9\r\n\r\n", 400},
      {"GET /" + std::string(HttpRequestParser::kTargetMax, 'x') + " HTTP/1.1\r\n\r\n", 414},
      {"GET / HTTP/1.1\r\nX: " + std::string(HttpRequestParser::kRequestMax, 'x') + "\r\n\r\n",
       431},
      {"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 413},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 413},
  };
  for (const auto& one : cases) {
    INFO(one.bytes.substr(0, 60));
    HttpRequestParser parser;
    CHECK(parser.feed(one.bytes) <= HttpRequestParser::kRequestMax);
    CHECK(parser.state() == State::broken);
    CHECK(parser.status() == one.status);
    CHECK(parser.feed("GET / HTTP/1.1\r\n\r\n") == 0);
  }
}
