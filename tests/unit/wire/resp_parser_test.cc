#include "wire/resp_parser.h"

#include <doctest/doctest.h>

#include "base/memory.h"
#include "tests/unit/wire/parser_feeder.h"

using namespace quoll;
using wire::CommandBatch;
using wire::ParserFeeder;
using wire::ParserLimits;
using wire::ParserOutcome;
using wire::RespParser;
using Commands = std::vector<std::vector<std::string>>;
using RespStatus = RespParser::Status;
using namespace std::string_literals;

namespace {

const ParserLimits kLimits;

std::string request(const std::vector<std::string>& args) {
  std::string text = "*" + std::to_string(args.size()) + "\r\n";
  for (const std::string& arg : args) {
    text += "$" + std::to_string(arg.size()) + "\r\n" + arg + "\r\n";
  }
  return text;
}

ParserOutcome feed_whole(const std::string& bytes, const ParserLimits& limits = kLimits,
                         bool authenticated = true) {
  ParserFeeder feeder(limits, bytes.size() + 64, 16);
  feeder.parser().set_authenticated(authenticated);
  feeder.feed(bytes);
  return feeder.outcome();
}

// Every cut in two, and byte by byte, with scratches from useless to ample.
void check_splits(const std::string& bytes, const ParserOutcome& expected,
                  const ParserLimits& limits = kLimits, bool authenticated = true) {
  for (size_t scratch : {2, 3, 70, 4096}) {
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
      ParserFeeder feeder(limits, scratch, 1 + cut % 3);
      feeder.parser().set_authenticated(authenticated);
      feeder.feed(bytes.substr(0, cut));
      feeder.feed(bytes.substr(cut));
      INFO("scratch ", scratch, " cut ", cut, " of ", bytes);
      CHECK(feeder.outcome() == expected);
    }
    ParserFeeder feeder(limits, scratch, 16);
    feeder.parser().set_authenticated(authenticated);
    for (char c : bytes) feeder.feed({&c, 1});
    INFO("scratch ", scratch, " byte by byte ", bytes);
    CHECK(feeder.outcome() == expected);
  }
}

void check_error(const std::string& bytes, const std::string& error, bool authenticated = true,
                 const ParserLimits& limits = kLimits) {
  ParserOutcome outcome = feed_whole("PING\r\n" + bytes, limits, authenticated);
  CHECK(outcome.status == RespStatus::error);
  CHECK(outcome.error == "ERR Protocol error: " + error);
  CHECK(outcome.commands == Commands{{"PING"}});
  if (bytes.size() < 100) check_splits("PING\r\n" + bytes, outcome, limits, authenticated);
}

}  // namespace

TEST_CASE("commands are the same at every split point") {
  struct Case {
    std::string bytes;
    Commands commands;
  };
  const Case cases[] = {
      {request({"GET", "key"}), {{"GET", "key"}}},
      {request({"SET", "key:0000000001", "0123456789"}) + request({"GET", ""}) + request({"PING"}),
       {{"SET", "key:0000000001", "0123456789"}, {"GET", ""}, {"PING"}}},
      {"*-1\r\n*0\r\n\r\n\n*-9223372036854775808\r\nPING\r\n  \r\n*1\r\n$4\r\nQUIT\r\n",
       {{"PING"}, {"QUIT"}}},
      // The two bytes behind a bulk and the byte behind a header's CR are not looked at.
      {"*1\r\r$4\rXPINGab*1\r\n$4\r\nPING\r\n", {{"PING"}, {"PING"}}},
      {request({"SET", "k", "a\r\n*1\r\n$1\r\n\0b"s}) + "PING\r\n",
       {{"SET", "k", "a\r\n*1\r\n$1\r\n\0b"s}, {"PING"}}},
      {"PING\nECHO  a\tb \r\nPING\r\r\nECHO a\vb\r\n\vECHO \f c\r\n",
       {{"PING"}, {"ECHO", "a", "b"}, {"PING"}, {"ECHO", "a\vb"}, {"ECHO", "c"}}},
      {"ECHO \"a\\x41\\n\\q\" 'a\\'b\\n'\r\nECHO a\"b c\" \\x41 ''\r\n\"\"\r\n",
       {{"ECHO", "aA\nq", "a'b\\n"}, {"ECHO", "ab c", "\\x41", ""}, {""}}},
      {request(std::vector<std::string>(30, "argument")),
       {std::vector<std::string>(30, "argument")}},
  };
  for (const Case& each : cases) {
    ParserOutcome outcome = feed_whole(each.bytes);
    CHECK(outcome.status == RespStatus::ok);
    CHECK(outcome.commands == each.commands);
    check_splits(each.bytes, outcome);
  }
}

TEST_CASE("malformed requests get Redis's error texts") {
  const std::string count = "invalid multibulk length";
  for (const char* bad : {"*x\r\n", "*\r\n", "*-0\r\n", "*01\r\n", "*+1\r\n", "* 1\r\n", "*1 \r\n",
                          "*2147483648\r\n", "*9223372036854775808\r\n", "*3\n$4\r\nPING\r\n"}) {
    check_error(bad, count);
  }
  check_error("*" + std::to_string(wire::kArgsMax + 1) + "\r\n", count);
  const std::string size = "invalid bulk length";
  for (const char* bad : {"$-1\r\n", "$x\r\n", "$\r\n", "$04\r\n", "$536870913\r\n",
                          "$99999999999999999999\r\n", "$1x\r\n"}) {
    check_error("*2\r\n$4\r\nECHO\r\n"s + bad, size);
    check_error("*1\r\n"s + bad, size);
  }
  check_error("*1\r\nX\r\n", "expected '$', got 'X'");
  check_error("*1\r\n:1\r\n", "expected '$', got ':'");
  check_error("*1\r\n\r\n\r\n", "expected '$', got ' '");
  check_error("*1\r\n\n\r\n", "expected '$', got ' '");
  check_error("*1\r\n\xff\r\n", "expected '$', got '\xff'");
  check_error("ECHO \"abc\r\n", "unbalanced quotes in request");
  check_error("ECHO 'abc\r\n", "unbalanced quotes in request");
  check_error("ECHO \"a\"b\r\n", "unbalanced quotes in request");
}

TEST_CASE("lines longer than 64 KiB are refused one byte past the limit") {
  const size_t max = wire::kInlineBytesMax;
  struct Case {
    std::string head, error;
    char fill;
  };
  const Case cases[] = {{"", "too big inline request", 'a'},
                        {"*", "too big mbulk count string", '1'},
                        {"*1\r\n$", "too big bulk count string", '1'}};
  for (const Case& each : cases) {
    size_t prefix = each.head.empty() ? 0 : 1;  // the type byte belongs to the line
    std::string fits = each.head + std::string(max - prefix, each.fill);
    CHECK(feed_whole(fits).status == RespStatus::ok);
    check_error(fits + each.fill, each.error);
    ParserFeeder feeder(kLimits, 100, 16);
    for (size_t at = 0; at < fits.size(); at += 777) feeder.feed(base::Bytes(fits).substr(at, 777));
    CHECK(feeder.outcome().status == RespStatus::ok);
    CHECK(feeder.parser().pending_bytes() == fits.size());
    feeder.feed("1");
    CHECK(feeder.outcome().error == "ERR Protocol error: " + each.error);
  }
}

TEST_CASE("a NUL hides the rest of a line, as in Redis") {
  for (const std::string& bytes : {"ECHO a\0b\r\nPING\r\n"s, "*1\r\n\0abc\r\n"s, "*\0001\r\n"s}) {
    ParserOutcome outcome = feed_whole(bytes);
    CHECK(outcome.status == RespStatus::ok);
    CHECK(outcome.commands.empty());
    check_splits(bytes, outcome);
  }
  CHECK(feed_whole("a\0\r\n"s + std::string(70'000, 'b')).error ==
        "ERR Protocol error: too big inline request");
}

TEST_CASE("an unauthenticated connection may send 10 arguments of 16 KiB") {
  check_error("*11\r\n", "unauthenticated multibulk length", false);
  check_error("*2\r\n$4\r\nECHO\r\n$16385\r\n", "unauthenticated bulk length", false);
  check_error("*2147483648\r\n", "invalid multibulk length", false);
  check_error("*1\r\n$536870913\r\n", "invalid bulk length", false);
  Commands fits = {std::vector<std::string>(10, "a"), {"ECHO", std::string(16384, 'x')}};
  CHECK(feed_whole(request(fits[0]) + request(fits[1]), kLimits, false).commands == fits);

  // The command that authenticates runs before what follows it is judged.
  RespParser parser(kLimits);
  parser.set_authenticated(false);
  std::string bytes = request({"AUTH", "secret"}) + request(std::vector<std::string>(11, "a"));
  std::vector<char> scratch(1000);
  std::memcpy(parser.receive_buffer(scratch).data(), bytes.data(), bytes.size());
  parser.received(bytes.size());
  CommandBatch batch;
  CHECK(parser.parse(batch, 16) == RespStatus::ok);
  CHECK(batch.size() == 1);
  parser.set_authenticated(true);
  CHECK(parser.has_unparsed());
  CHECK(parser.parse(batch, 16) == RespStatus::ok);
  CHECK(batch.size() == 2);
  CHECK(batch.args(1).size() == 11);
}

TEST_CASE("limits follow the configuration") {
  ParserLimits limits;
  limits.bulk_max = 100;
  CHECK(feed_whole(request({std::string(100, 'x')}), limits).commands.size() == 1);
  check_error(request({std::string(101, 'x')}), "invalid bulk length", true, limits);
}

TEST_CASE("a query buffer beyond its limit is reported") {
  ParserLimits limits;
  limits.query_buffer_max = 1 << 20;
  for (size_t bulk : {size_t{2'000'000}, size_t{20'000}}) {
    std::string head = "*1000\r\n";
    std::string arg = "$" + std::to_string(bulk) + "\r\n" + std::string(bulk, 'x') + "\r\n";
    ParserFeeder feeder(limits, 16384, 16);
    feeder.feed(head);
    while (feeder.parser().pending_bytes() + arg.size() <= limits.query_buffer_max)
      feeder.feed(arg);
    feeder.feed(arg.substr(0, limits.query_buffer_max - feeder.parser().pending_bytes()));
    CHECK(feeder.outcome().status == RespStatus::ok);
    CHECK(feeder.parser().pending_bytes() == limits.query_buffer_max);
    CHECK(feeder.parser().own_bytes() < limits.query_buffer_max * 2 + wire::kBlobThreshold);
    feeder.feed("x");
    CHECK(feeder.outcome().status == RespStatus::query_buffer_full);
    CHECK(feeder.outcome().error.empty());
  }
}

TEST_CASE("a session that does not parse still notices a full query buffer") {
  ParserLimits limits;
  limits.query_buffer_max = 1 << 20;
  RespParser parser(limits);
  CommandBatch batch;
  std::vector<char> scratch(16384);
  size_t sent = 0;
  const std::string ping = request({"PING"});
  while (parser.parse(batch, 0) == RespStatus::ok) {
    std::span<char> span = parser.receive_buffer(scratch);
    for (char& c : span) c = ping[sent++ % ping.size()];
    parser.received(span.size());
    CHECK(parser.pending_bytes() == sent);
    REQUIRE(sent <= limits.query_buffer_max + 1);
  }
  CHECK(sent == limits.query_buffer_max + 1);
}

TEST_CASE("large arguments arrive in their own blob") {
  std::string value(100'000, ' ');
  for (size_t i = 0; i < value.size(); ++i) value[i] = static_cast<char>('a' + i % 23);
  std::string edge(wire::kBlobThreshold, 'e');
  Commands commands = {
      {"SET", "k", value}, {"GET", "k"}, {"MSET", "a", edge, "b", value, "c", "short"}, {value}};
  std::string bytes;
  for (const auto& each : commands) bytes += request(each);
  for (size_t piece : {size_t{1}, size_t{7}, size_t{1000}, size_t{16384}, size_t{65536}}) {
    for (size_t scratch : {size_t{2}, size_t{300}, size_t{16384}, size_t{65536}}) {
      ParserFeeder feeder(kLimits, scratch, 16);
      for (size_t at = 0; at < bytes.size(); at += piece) {
        feeder.feed(base::Bytes(bytes).substr(at, piece));
      }
      CHECK(feeder.outcome().commands == commands);
      CHECK(feeder.outcome().wire_bytes == bytes.size());
      CHECK(feeder.blobs() >= 3);
      CHECK(feeder.parser().own_bytes() == 0);
    }
  }
}

TEST_CASE("the receive buffer of a blob ends with its CR LF, and a batch with its command") {
  RespParser parser(kLimits);
  CommandBatch batch;
  std::vector<char> scratch(4096);
  auto feed = [&](const std::string& bytes) {
    std::span<char> span = parser.receive_buffer(scratch);
    REQUIRE(span.size() >= bytes.size());
    std::memcpy(span.data(), bytes.data(), bytes.size());
    parser.received(bytes.size());
    return parser.parse(batch, 16);
  };
  const std::string value(40'000, 'v');
  std::string head = "PING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$40000\r\n";
  CHECK(feed(head + value.substr(0, 1000)) == RespStatus::ok);
  CHECK(batch.size() == 1);
  CHECK(!parser.has_unparsed());
  batch.clear();
  std::span<char> span = parser.receive_buffer(scratch);
  CHECK(span.size() == 39'002);
  CHECK((span.data() < scratch.data() || span.data() >= scratch.data() + scratch.size()));
  parser.received(0);
  CHECK(parser.parse(batch, 16) == RespStatus::ok);
  CHECK(feed(value.substr(1000) + "\r") == RespStatus::ok);
  CHECK(parser.receive_buffer(scratch).size() == 1);
  parser.received(0);
  CHECK(feed("\n") == RespStatus::ok);
  CHECK(batch.size() == 1);
  CHECK(batch.args(0)[2] == value);
  REQUIRE(batch.blob(0, 2) != nullptr);
  CHECK(batch.blob(0, 1) == nullptr);
  base::Blob taken = std::move(*batch.blob(0, 2));
  batch.clear();
  parser.release();
  CHECK(taken.view() == value);
  CHECK(parser.own_bytes() == 0);
  CHECK(parser.receive_buffer(scratch).data() == scratch.data());
}

TEST_CASE("a large argument that lies whole in the scratch stays there") {
  std::string value(50'000, 'v');
  ParserFeeder feeder(kLimits, 65536, 16);
  feeder.feed(request({"SET", "k", value}) + request({"PING"}));
  CHECK(feeder.blobs() == 0);
  CHECK(feeder.outcome().commands == Commands{{"SET", "k", value}, {"PING"}});
}

TEST_CASE("a declared length without bytes behind it takes bounded memory") {
  size_t before = base::memory_used();
  {
    ParserFeeder feeder(kLimits, 16384, 16);
    feeder.feed("*1048576\r\n$536870912\r\n");
    CHECK(feeder.outcome().status == RespStatus::ok);
    CHECK(base::memory_used() - before < wire::kBlobWholeMax * 3 / 2);
    CHECK(feeder.parser().own_bytes() < wire::kBlobWholeMax * 3 / 2);
  }
  CHECK(base::memory_used() == before);
}

TEST_CASE("a blob beyond 1 MiB grows as its bytes arrive") {
  const size_t size = wire::kBlobWholeMax + 5'000'000;
  ParserFeeder feeder(kLimits, 16384, 16);
  feeder.feed("*1\r\n$" + std::to_string(size) + "\r\n");
  std::string piece(1 << 20, 'p');
  size_t sent = 0;
  for (; sent + piece.size() <= size; sent += piece.size()) feeder.feed(piece);
  feeder.feed(piece.substr(0, size - sent) + "\r\n" + request({"PING"}));
  REQUIRE(feeder.outcome().commands.size() == 2);
  CHECK(feeder.outcome().commands[0][0].size() == size);
  CHECK(feeder.outcome().commands[0][0].find_first_not_of('p') == std::string::npos);
  CHECK(feeder.outcome().commands[1][0] == "PING");
}

TEST_CASE("many arguments arrive in pieces and the memory is given back") {
  std::vector<std::string> args(200'000);
  for (size_t i = 0; i < args.size(); ++i) args[i] = std::to_string(i);
  std::string bytes = request(args);
  size_t before = base::memory_used();
  {
    RespParser parser(kLimits);
    CommandBatch batch;
    std::vector<char> scratch(65536);
    for (base::Bytes rest = bytes; !rest.empty();) {
      std::span<char> span = parser.receive_buffer(scratch);
      size_t n = std::min(span.size(), rest.size());
      std::memcpy(span.data(), rest.data(), n);
      parser.received(n);
      rest.remove_prefix(n);
      REQUIRE(parser.parse(batch, 16) == RespStatus::ok);
    }
    REQUIRE(batch.size() == 1);
    REQUIRE(batch.args(0).size() == args.size());
    CHECK(std::equal(args.begin(), args.end(), batch.args(0).begin()));
    batch.clear();
    parser.release();
    scratch = std::vector<char>();
    CHECK(base::memory_used() - before < 16 * 1024);
  }
}

TEST_CASE("a batch stops at its maximum and goes on") {
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes += request({"GET", std::to_string(i)});
  bytes += "*2\r\n$3\r\nGE";
  RespParser parser(kLimits);
  CommandBatch batch;
  std::vector<char> scratch(65536);
  std::memcpy(parser.receive_buffer(scratch).data(), bytes.data(), bytes.size());
  parser.received(bytes.size());
  int next = 0;
  while (parser.has_unparsed()) {
    REQUIRE(parser.parse(batch, wire::kPrefetchBatch) == RespStatus::ok);
    CHECK(batch.size() == (next < 96 ? 16 : 4));
    for (size_t i = 0; i < batch.size(); ++i) CHECK(batch.args(i)[1] == std::to_string(next++));
    batch.clear();
    // Between batches both are allowed: keeping the scratch, or leaving it.
    if (next == 48) parser.release();
  }
  CHECK(next == 100);
  parser.release();
  CHECK(parser.pending_bytes() == 10);
  // What is parked takes about its size, not a read buffer's.
  CHECK(parser.own_bytes() <= 4 * wire::kParkedBytesMax);
}

TEST_CASE("after an error nothing more is parsed") {
  RespParser parser(kLimits);
  CommandBatch batch;
  std::vector<char> scratch(4096);
  std::string bytes = "*x\r\n" + request({"PING"});
  std::memcpy(parser.receive_buffer(scratch).data(), bytes.data(), bytes.size());
  parser.received(bytes.size());
  for (int i = 0; i < 2; ++i) {
    CHECK(parser.parse(batch, 16) == RespStatus::error);
    CHECK(!parser.has_unparsed());
    parser.release();
  }
  CHECK(batch.size() == 0);
}
