#include "cluster/run_frames.h"

#include <doctest/doctest.h>

using namespace quoll;
using cluster::CommandLine;
using cluster::CommandLines;
using cluster::RunAnswer;
using cluster::RunQuestion;

TEST_CASE("run_frames: a question is what was asked") {
  CommandLines lines, more;
  lines.add(CommandLine{"SET", "a", std::string_view("\0\r\n", 3)});
  more.add(CommandLine{"GET", "a"});
  lines.add(more);
  const std::string bytes = RunQuestion::encode(RunQuestion::kResp3, "alice", lines);
  const auto question = RunQuestion::decode(bytes);
  REQUIRE(question);
  CHECK(question->flags == RunQuestion::kResp3);
  CHECK(question->user == "alice");
  REQUIRE(question->lines.size() == 2);
  CHECK(question->lines[0][2] == std::string_view("\0\r\n", 3));
  CHECK(question->lines[1] == CommandLine{"GET", "a"});
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK_FALSE(RunQuestion::decode(base::Bytes(bytes).substr(0, size)));
  CHECK_FALSE(RunQuestion::decode(bytes + "x"));
}

TEST_CASE("run_frames: which replies say that nothing ran and somebody else may run it") {
  for (const base::Bytes reply :
       {"-MOVED 1 a:1\r\n", "-TRYAGAIN x\r\n", "-CLUSTERDOWN x\r\n", "-LOADING x\r\n"})
    CHECK(cluster::is_elsewhere(reply));
  for (const base::Bytes reply : {"-UNCERTAIN x\r\n", "-ERR x\r\n", "*1\r\n-MOVED 1 a:1\r\n", ""})
    CHECK_FALSE(cluster::is_elsewhere(reply));
}

TEST_CASE("run_frames: no line, and a line of no words, is no question") {
  CHECK_FALSE(RunQuestion::decode(RunQuestion::encode(0, "u", {})));
  CommandLines empty;
  empty.add(CommandLine{});
  CHECK_FALSE(RunQuestion::decode(RunQuestion::encode(0, "u", empty)));
}

TEST_CASE("run_frames: an answer is what was answered") {
  const std::string ran = RunAnswer::encode(RunAnswer::Kind::ran, "+OK\r\n");
  REQUIRE(RunAnswer::decode(ran));
  CHECK(RunAnswer::decode(ran)->kind == RunAnswer::Kind::ran);
  CHECK(RunAnswer::decode(ran)->reply == "+OK\r\n");
  const std::string waits = RunAnswer::encode_wait(1500, "*-1\r\n", CommandLine{"BLPOP", "a", "2"});
  const auto answer = RunAnswer::decode(waits);
  REQUIRE(answer);
  CHECK(answer->kind == RunAnswer::Kind::waits);
  CHECK(answer->wait_ms == 1500);
  CHECK(answer->reply == "*-1\r\n");
  CHECK(answer->line == CommandLine{"BLPOP", "a", "2"});
  for (size_t size = 0; size < waits.size(); ++size)
    CHECK_FALSE(RunAnswer::decode(base::Bytes(waits).substr(0, size)));
  CHECK_FALSE(RunAnswer::decode("Zx"));
}
