// Runs replica groups in GroupWorld.
//   group-sim [--seed S] [--seeds N] [--seconds T] [--trace] [--until-failure]
// Every seed draws its own group and faults. A failure prints the last events and the command that
// repeats it; the last line is "N passed, N failed".
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/sim/group/group_world.h"

using namespace quoll::sim;

namespace {

// Of the run under way, for a broken assertion.
const GroupWorld* current = nullptr;
uint64_t current_seed = 0;

void on_abort(int) {
  std::printf("%sscripts/run-sim --group --seed %llu\n", current->timeline().c_str(),
              static_cast<unsigned long long>(current_seed));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seed = 1, seeds = 0;
  int64_t seconds = 60;
  bool trace = false, until_failure = false;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--trace") {
      trace = true;
    } else if (name == "--until-failure") {
      until_failure = true;
    } else if (i + 1 < argc && (name == "--seed" || name == "--seeds" || name == "--seconds")) {
      const int64_t value = std::atoll(argv[++i]);
      if (name == "--seed") seed = static_cast<uint64_t>(value);
      if (name == "--seeds") seeds = static_cast<uint64_t>(value);
      if (name == "--seconds") seconds = value;
    } else {
      std::fprintf(
          stderr,
          "usage: group-sim [--seed S] [--seeds N] [--seconds T] [--trace] [--until-failure]\n");
      return 2;
    }
  }
  if (seeds == 0) seeds = 1;
  std::signal(SIGABRT, on_abort);
  uint64_t passed = 0, failed = 0;
  GroupWorld::Counts all;
  for (uint64_t s = seed; s < seed + seeds; ++s) {
    GroupWorld world(s, GroupFaults::drawn(s));
    world.trace(trace);
    current = &world;
    current_seed = s;
    const std::string broken = world.run(seconds * kSecondMicros);
    const auto& counts = world.counts();
    all.acknowledged += counts.acknowledged;
    all.reads += counts.reads;
    all.elections += counts.elections;
    all.undone += counts.undone;
    all.syncs += counts.syncs;
    all.rejoins += counts.rejoins;
    all.leased += counts.leased;
    all.changes += counts.changes;
    all.ledgers += counts.ledgers;
    if (broken.empty()) {
      ++passed;
      continue;
    }
    ++failed;
    if (!trace) std::printf("%s", world.timeline().c_str());
    std::printf("FAILED: %s\nscripts/run-sim --group --seed %llu --seconds %lld\n", broken.c_str(),
                static_cast<unsigned long long>(s), static_cast<long long>(seconds));
    std::fflush(stdout);
    if (until_failure) break;
  }
  std::printf(
      "%llu writes acknowledged, %llu reads and %llu by a lease, %llu elections, %llu members "
      "undid "
      "something, "
      "%llu got all data, %llu rejoined, %llu changes of the group, %llu ledgers committed\n",
      static_cast<unsigned long long>(all.acknowledged), static_cast<unsigned long long>(all.reads),
      static_cast<unsigned long long>(all.leased), static_cast<unsigned long long>(all.elections),
      static_cast<unsigned long long>(all.undone), static_cast<unsigned long long>(all.syncs),
      static_cast<unsigned long long>(all.rejoins), static_cast<unsigned long long>(all.changes),
      static_cast<unsigned long long>(all.ledgers));
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(passed),
              static_cast<unsigned long long>(failed));
  return failed ? 1 : 0;
}
