// The loops and the clocks of one simulated node: the main loop and the side loop. A turn is one
// event of the world delivered to one of them, followed by its turn-end tasks.
//
// Virtual processor time: a turn takes kTurnCost, and every look at the steady clock moves it by
// the look cost (kLookCost unless a scenario sets another). So work that yields by the clock does
// yield, and a task that posts itself for ever lets time pass. Until a turn is over in this sense,
// the node's next events wait.
#pragma once

#include <set>
#include <vector>

#include "host/host.h"

namespace quoll::sim {

class SimWorld;
using NodeId = int;
using base::Nanos;

enum class Seat : uint8_t { main, side };  // which loop of a node

constexpr Nanos kMilli = base::kNanosPerMilli;
constexpr Nanos kSecond = 1'000 * kMilli;

constexpr Nanos kTurnCost = 2 * base::kNanosPerMicro;
constexpr Nanos kLookCost = 500;
constexpr base::Millis kEpoch = 1'700'000'000'000;  // wall time when a world begins

class SimLoop final : public host::Loop {
 public:
  SimLoop(SimWorld& world, NodeId node, Seat seat = Seat::main)
      : world_(world), node_(node), seat_(seat) {}

  void post(host::Task task) override;
  host::TimerId after(Nanos delay, host::Task task) override;
  void cancel(host::TimerId id) override { timers_.erase(id); }
  void on_turn_end(host::Task task) override { turn_end_.push_back(std::move(task)); }
  void hear_nested() override;
  Nanos turn_start() override;

  void begin_turn();
  Nanos end_turn();   // returns when the node is free again
  Nanos now() const;  // in a turn: its start plus the time spent; between turns: the world's time
  Nanos look();       // now(), at its cost
  Nanos busy() const { return busy_ + (in_turn_ ? spent_ : 0); }  // of all turns so far
  void set_look_cost(Nanos cost) { look_cost_ = cost; }
  void spend(Nanos time) { spent_ += in_turn_ ? time : 0; }  // processor time used up

 private:
  SimWorld& world_;
  NodeId node_;
  Seat seat_;
  std::vector<host::Task> turn_end_;
  std::set<host::TimerId> timers_;
  host::TimerId last_timer_ = 0;
  Nanos turn_start_ = 0;
  Nanos spent_ = 0;
  Nanos busy_ = 0;
  Nanos look_cost_ = kLookCost;
  bool in_turn_ = false;
};

// A node's wall clock survives its crashes: drift and jumps belong to the machine.
struct SimOscillator {
  int64_t drift_ppm = 0;
  int64_t offset_us = 0;
};

class SimClock final : public host::Clock {
 public:
  SimClock(SimLoop& loop, const SimOscillator& oscillator) : loop_(loop), oscillator_(oscillator) {}

  base::Millis wall() override { return wall_micros() / 1000; }
  int64_t wall_micros() override {
    int64_t micros = loop_.now() / base::kNanosPerMicro;
    return kEpoch * 1000 + micros + micros / 1'000'000 * oscillator_.drift_ppm +
           oscillator_.offset_us;
  }
  Nanos steady() override { return loop_.look(); }
  Nanos busy() override { return loop_.now(); }

 private:
  SimLoop& loop_;
  const SimOscillator& oscillator_;
};

}  // namespace quoll::sim
