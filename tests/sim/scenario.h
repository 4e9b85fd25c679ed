// A scenario: what happens in a world, and what must hold. main.cc runs each under its own fault
// plans for several seeds. The list stands in scenarios.cc; a new scenario is a function there
// declared and one row.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "tests/sim/fault_plan.h"

namespace quoll::sim {

class SimWorld;

class Run {
 public:
  Run(uint64_t seed, const FaultPlan& plan, bool trace, bool full = false)
      : seed(seed), plan(plan), trace(trace), full(full) {}

  const uint64_t seed;
  const FaultPlan plan;
  const bool trace;  // pass on to SimWorld::trace
  const bool full;   // the sizes the product promises, not those of a quick run

  // The world whose last events the report of a failure shows; or what a scenario tells instead.
  void follow(const SimWorld& world) { world_ = &world; }
  void follow(std::function<std::string()> told) { told_ = std::move(told); }
  void unfollow() {
    world_ = nullptr;
    told_ = nullptr;
  }
  std::string last_events() const;
  // Records the first failure; returns `holds` so that a scenario can stop.
  bool check(bool holds, std::string_view what) {
    if (!holds && failure_.empty()) fail(what);
    return holds;
  }
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  const std::string& tail() const { return tail_; }

 private:
  void fail(std::string_view what);

  const SimWorld* world_ = nullptr;
  std::function<std::string()> told_;
  std::string tail_;
  std::string failure_;
};

struct Scenario {
  std::string_view name;
  std::string_view plans;  // separated by spaces
  void (*run)(Run&);
};

extern const Scenario kScenarios[];
extern const size_t kScenarioCount;

}  // namespace quoll::sim
