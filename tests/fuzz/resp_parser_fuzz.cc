// libFuzzer target for the request parser. The first bytes of an input choose how the rest is fed
// (scratch size, batch size, split points, authentication, limits) and what it is: raw bytes, or
// the plan of a request stream, with arguments around the blob threshold, some bytes then spoiled.
//
// Checked: feeding in pieces gives the commands, the status and the error of feeding in one go; an
// unspoiled plan gives exactly the planned commands; nothing stays behind; plus whatever the
// sanitizers see. `make fuzz` runs it for a bounded time.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "tests/fuzz/choices.h"
#include "tests/unit/wire/parser_feeder.h"

using namespace quoll;
using fuzz::Choices;
using wire::ParserFeeder;
using wire::ParserLimits;
using wire::ParserOutcome;
using wire::RespParser;

namespace {

constexpr size_t kStreamBytesMax = 100 * 1024;

struct Plan {
  std::string bytes;
  std::vector<std::vector<std::string>> commands;
};

Plan make_plan(Choices& choices) {
  Plan plan;
  plan.bytes.reserve(kStreamBytesMax);
  while (choices.left() > 0 && plan.bytes.size() < kStreamBytesMax) {
    uint8_t kind = choices.byte();
    if (kind % 8 == 0) {
      constexpr const char* kEmpty[] = {"\r\n", "\n", "*0\r\n", "*-1\r\n", " \t\r\n", "*-77\r\n"};
      plan.bytes += kEmpty[choices.byte() % 6];
      continue;
    }
    std::vector<std::string> args(1 + (kind % 8 == 1 ? choices.below(1100) : choices.byte() % 5));
    for (std::string& arg : args) {
      uint8_t shape = choices.byte();
      size_t size = shape % 64 == 63   ? wire::kBlobThreshold - 8 + choices.byte() % 16
                    : shape % 64 == 62 ? choices.below(65536)
                                       : shape / 4;
      arg.assign(size, static_cast<char>('A' + shape % 26));
      if (kind % 8 == 2 && arg.empty()) arg = "x";
    }
    if (kind % 8 == 2 && args.size() * 70'000 < wire::kInlineBytesMax * 6) {
      std::string line;
      for (const std::string& arg : args) line += (kind & 8 ? "\"" + arg + "\" " : arg + "  ");
      if (line.size() > wire::kInlineBytesMax - 2) continue;
      plan.bytes += line + (kind & 16 ? "\r\n" : "\n");
    } else {
      plan.bytes += "*" + std::to_string(args.size()) + "\r\n";
      for (const std::string& arg : args) {
        plan.bytes += "$" + std::to_string(arg.size()) + "\r\n" + arg + "\r\n";
      }
    }
    plan.commands.push_back(std::move(args));
  }
  return plan;
}

ParserOutcome feed_pieces(ParserFeeder& feeder, const std::string& bytes, uint64_t seed,
                          size_t piece_max) {
  for (base::Bytes rest = bytes; !rest.empty();) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    size_t n = std::min<size_t>(rest.size(), 1 + (seed >> 33) % piece_max);
    feeder.feed(rest.substr(0, n));
    rest.remove_prefix(n);
  }
  return feeder.outcome();
}

}  // namespace

// The default quarantine makes every larger allocation touch fresh pages.
extern "C" const char* __asan_default_options() { return "quarantine_size_mb=4"; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices choices(data, size);
  uint8_t mode = choices.byte();
  uint64_t seed = choices.byte();
  constexpr size_t kScratches[] = {2, 3, 80, 1000, 5000, 16384, 65536, 200'000};
  constexpr size_t kPieces[] = {1, 2, 5, 40, 1000, 20'000, 70'000, 2'000'000};
  size_t scratch = kScratches[seed % 8];
  size_t batch_max = 1 + choices.byte() % 20;
  size_t piece_max = kPieces[choices.byte() % 8];
  bool planned = mode & 1;
  bool authenticated = (mode & 6) != 0;
  bool spoiled = planned && (mode & 8);
  ParserLimits limits;
  limits.bulk_max = mode & 16 ? 40'000 : 100'000;

  Plan plan;
  uint8_t spoils = spoiled ? choices.byte() : 0;
  if (planned) {
    plan = make_plan(choices);
    uint64_t at = seed * 7919 + spoils;
    for (int i = 0; i < spoils % 4 && !plan.bytes.empty(); ++i) {
      at = at * 6364136223846793005u + 1442695040888963407u;
      plan.bytes[(at >> 20) % plan.bytes.size()] ^= static_cast<char>(at >> 57);
    }
  } else {
    plan.bytes = choices.rest();
  }
  // Small pieces are for short streams.
  if (plan.bytes.size() > 5000) piece_max = std::max<size_t>(piece_max, 1000);

  ParserFeeder whole(limits, plan.bytes.size() + 64, 1'000'000);
  whole.parser().set_authenticated(authenticated);
  whole.feed(plan.bytes);
  ParserFeeder split(limits, scratch, batch_max);
  split.parser().set_authenticated(authenticated);
  feed_pieces(split, plan.bytes, seed, piece_max);

  QUOLL_CHECK(split.outcome() == whole.outcome());
  if (whole.outcome().status == RespParser::Status::ok) {
    QUOLL_CHECK(split.parser().pending_bytes() == whole.parser().pending_bytes());
    QUOLL_CHECK(split.outcome().wire_bytes + split.parser().pending_bytes() <= plan.bytes.size());
  }
  if (planned && !spoiled && authenticated && !(mode & 16)) {
    QUOLL_CHECK(whole.outcome().status == RespParser::Status::ok);
    QUOLL_CHECK(whole.outcome().commands == plan.commands);
    QUOLL_CHECK(split.parser().pending_bytes() == 0);
    QUOLL_CHECK(split.parser().own_bytes() == 0);
  }
  return 0;
}
