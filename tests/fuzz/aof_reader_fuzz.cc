// libFuzzer target for the reader of append-only files. The first bytes of an input choose how the
// rest is fed and what it is: raw bytes, or the plan of a file as AofEncoder writes it (commits of
// one and of several effects, databases, timestamps, empty and large arguments), which is then left
// whole, cut, or spoiled.
//
// Checked: feeding in pieces gives what feeding in one go gives; a whole plan reads back clean and
// complete; a cut one is clean or torn, never damaged, and holds exactly the commits that are
// whole; of any input, the part up to valid_bytes reads back clean with the same commands; plus
// whatever the sanitizers see. Sources beside this file: src/persist/aof_{reader,encoder}.cc
// src/base/{check,numbers,text}.cc
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "persist/aof_encoder.h"
#include "tests/fuzz/choices.h"
#include "tests/unit/persist/aof_feeder.h"

using namespace quoll;
using fuzz::Choices;
using persist::AofEnd;
using persist::AofReaderOptions;
using persist::AofSeen;
using persist::read_aof;

namespace {

constexpr size_t kPlanBytesMax = 64 * 1024;
constexpr size_t kWhole = SIZE_MAX / 2;

struct Plan {
  struct Commit {
    size_t end;       // of its bytes
    size_t commands;  // up to its end
  };
  std::string bytes;
  std::vector<std::pair<store::DbIndex, std::vector<std::string>>> commands;
  std::vector<Commit> commits;
};

std::string make_arg(Choices& choices) {
  constexpr const char* kTricky[] = {
      "\r\n*1\r\n$1\r\nx\r\n", "\r\n", "*", "$3\r\n", "#TS:1\r\n", ""};
  const uint8_t shape = choices.byte();
  if (shape >= 250) return kTricky[shape - 250];
  if (shape == 249) return std::string(choices.word() % 9000, 'L');
  return std::string(shape / 4, static_cast<char>('A' + shape % 26));
}

Plan make_plan(Choices& choices) {
  Plan plan;
  persist::AofEncoder encoder;
  store::Seq seq = 0;
  while (choices.left() > 0 && plan.bytes.size() < kPlanBytesMax) {
    const uint8_t kind = choices.byte();
    encoder.set_timestamps(kind & 1);
    if ((kind & 62) == 62) encoder.begin_file();
    const size_t first = plan.commands.size();
    const size_t effects = kind & 2 ? 1 + kind / 64 : 1;
    for (size_t i = 0; i < effects; ++i) {
      std::vector<std::string> args = {"SET" + make_arg(choices)};
      for (size_t n = choices.byte() % 4; n > 0; --n) args.push_back(make_arg(choices));
      plan.commands.push_back({static_cast<store::DbIndex>(kind & 4 ? choices.byte() : 0), args});
    }
    std::vector<std::vector<base::Bytes>> views;
    std::vector<store::Effect> written;
    for (size_t i = first; i < plan.commands.size(); ++i) {
      views.emplace_back(plan.commands[i].second.begin(), plan.commands[i].second.end());
    }
    for (size_t i = 0; i < effects; ++i) {
      written.push_back({plan.commands[first + i].first, views[i]});
    }
    encoder.encode(
        {++seq, static_cast<base::Millis>(seq * 400), store::Origin::client, false, {}, written},
        plan.bytes);
    plan.commits.push_back({plan.bytes.size(), plan.commands.size()});
  }
  return plan;
}

void check_commands(const Plan& plan, const AofSeen& seen, size_t count) {
  QUOLL_CHECK(seen.commands.size() == count);
  for (size_t i = 0; i < count; ++i) {
    QUOLL_CHECK(seen.commands[i].database == plan.commands[i].first);
    QUOLL_CHECK(seen.commands[i].args == plan.commands[i].second);
  }
}

void check_cut(const Plan& plan, const AofSeen& seen, size_t cut) {
  QUOLL_CHECK(seen.end.offset == cut);
  size_t whole = 0;
  size_t end = 0;
  for (const Plan::Commit& commit : plan.commits) {
    if (commit.end > cut) break;
    whole = commit.commands;
    end = commit.end;
  }
  check_commands(plan, seen, whole);
  // A SELECT before the torn commit stands for itself.
  QUOLL_CHECK(seen.end.valid_bytes >= end && seen.end.valid_bytes <= cut);
}

}  // namespace

extern "C" const char* __asan_default_options() { return "quarantine_size_mb=4"; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices choices(data, size);
  const uint8_t mode = choices.byte();
  const uint64_t seed = choices.byte();
  constexpr size_t kPieces[] = {1, 2, 7, 40, 500, 4000, 20'000, kWhole};
  size_t piece_max = kPieces[choices.byte() % 8];
  const size_t place = choices.word();
  const bool planned = mode & 1;
  const bool is_cut = planned && (mode & 2);
  const bool spoiled = planned && (mode & 4);

  Plan plan;
  if (planned) {
    plan = make_plan(choices);
  } else {
    plan.bytes = choices.rest();
  }
  std::string bytes = plan.bytes;
  if (is_cut) bytes.resize(place * 7 % (bytes.size() + 1));
  if (spoiled && !bytes.empty()) {
    bytes[(place * 31 + seed) % bytes.size()] ^= static_cast<char>(1 << (mode >> 5));
  }
  if (bytes.size() > 4000) piece_max = std::max<size_t>(piece_max, 40);

  AofReaderOptions options;
  options.bulk_bytes_max = 100'000;
  options.known = [](base::Args args) { return !args[0].starts_with("Q"); };
  const AofSeen whole = read_aof(bytes, kWhole, options);
  QUOLL_CHECK(read_aof(bytes, piece_max, options, seed).same(whole));
  QUOLL_CHECK(whole.end.valid_bytes <= bytes.size());
  const AofSeen valid =
      read_aof(base::Bytes(bytes).substr(0, whole.end.valid_bytes), kWhole, options);
  QUOLL_CHECK(valid.end.kind == AofEnd::Kind::clean && valid.commands == whole.commands);
  if (!planned || spoiled) return 0;
  if (is_cut) {
    // Cut inside an argument that holds commands, a plan may look damaged: the caution intended.
    const bool tricky = whole.end.kind == AofEnd::Kind::damaged;
    QUOLL_CHECK(!tricky || whole.end.reason.find("whole commands follow") != std::string::npos);
    if (!tricky) check_cut(plan, whole, bytes.size());
  } else {
    QUOLL_CHECK(whole.end.kind == AofEnd::Kind::clean);
    check_commands(plan, whole, plan.commands.size());
  }
  return 0;
}
