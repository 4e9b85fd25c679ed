// Runs the scenarios of the simulated world.
//   sim-tests [--seed S] [--seeds N] [--plan P] [--scenario NAME] [--full] [--trace] [--list]
// Without --plan every scenario runs under its own plans; --seeds N takes N seeds from S on.
// A failure prints the command that repeats it; the last line is "N passed, N failed".
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/sim/scenario.h"

namespace quoll::sim {
namespace {

constexpr uint64_t kDefaultSeeds = 5;

struct Options {
  uint64_t seed = 1;
  uint64_t seeds = 0;  // 0 = one where a seed is given, otherwise kDefaultSeeds
  bool seed_given = false;
  bool trace = false;
  bool full = false;
  std::string plan;
  std::string scenario;
};

char repeat_command[512];  // of the run under way, ready for a signal handler
const Run* current = nullptr;

// A broken assertion: the world still stands.
void on_abort(int) {
  if (current) std::fprintf(stderr, "%s", current->last_events().c_str());
  std::fprintf(stderr, "%s\n", repeat_command);
  std::fflush(stderr);
}

// Returns false when the scenario did not hold.
bool run_one(const Scenario& scenario, uint64_t seed, const std::string& plan_text,
             const Options& options) {
  std::snprintf(repeat_command, sizeof(repeat_command),
                "run-sim --seed %llu --plan %s --scenario %s%s",
                static_cast<unsigned long long>(seed), plan_text.c_str(),
                std::string(scenario.name).c_str(), options.full ? " --full" : "");
  auto plan = FaultPlan::parse(plan_text);
  if (!plan) {
    std::printf("FAILED %s\n%s\n", plan.error().c_str(), repeat_command);
    return false;
  }
  Run run(seed, plan.value(), options.trace, options.full);
  current = &run;
  scenario.run(run);
  current = nullptr;
  if (!run.failed()) return true;
  std::printf("%sFAILED %s: %s\n%s\n", run.tail().c_str(), std::string(scenario.name).c_str(),
              run.failure().c_str(), repeat_command);
  std::fflush(stdout);
  return false;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    if (name == "--trace" || name == "--full") {
      (name == "--trace" ? options.trace : options.full) = true;
      continue;
    }
    if (i + 1 == argc) return false;
    std::string value = argv[++i];
    if (name == "--seed") {
      options.seed = std::strtoull(value.c_str(), nullptr, 10);
      options.seed_given = true;
    } else if (name == "--seeds") {
      options.seeds = std::strtoull(value.c_str(), nullptr, 10);
    } else if (name == "--plan") {
      options.plan = value;
    } else if (name == "--scenario") {
      options.scenario = value;
    } else {
      return false;
    }
  }
  if (options.seeds == 0) options.seeds = options.seed_given ? 1 : kDefaultSeeds;
  return true;
}

void list() {
  for (size_t i = 0; i < kScenarioCount; ++i) {
    std::printf("%-28s %s\n", std::string(kScenarios[i].name).c_str(),
                std::string(kScenarios[i].plans).c_str());
  }
  std::printf("plans:");
  for (std::string_view name : FaultPlan::names()) std::printf(" %s", std::string(name).c_str());
  std::printf("\n");
}

int run_all(const Options& options) {
  int passed = 0;
  int failed = 0;
  for (size_t i = 0; i < kScenarioCount; ++i) {
    const Scenario& scenario = kScenarios[i];
    if (!options.scenario.empty() && options.scenario != scenario.name) continue;
    std::string plans = options.plan.empty() ? std::string(scenario.plans) : options.plan;
    for (size_t at = 0; at < plans.size();) {
      size_t end = std::min(plans.find(' ', at), plans.size());
      std::string plan = plans.substr(at, end - at);
      at = end + 1;
      for (uint64_t seed = options.seed; seed < options.seed + options.seeds; ++seed) {
        ++(run_one(scenario, seed, plan, options) ? passed : failed);
      }
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace
}  // namespace quoll::sim

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
    quoll::sim::list();
    return 0;
  }
  quoll::sim::Options options;
  if (!quoll::sim::parse(argc, argv, options)) {
    std::fprintf(stderr,
                 "usage: sim-tests [--seed S] [--seeds N] [--plan P] [--scenario NAME] [--full] "
                 "[--trace] [--list]\n");
    return 2;
  }
  std::signal(SIGABRT, quoll::sim::on_abort);
  return quoll::sim::run_all(options);
}
