#include "tests/sim/sim_loop.h"

#include "base/check.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {

void SimLoop::post(host::Task task) {
  world_.schedule(node_, now(), "post", std::move(task), seat_);
}

host::TimerId SimLoop::after(Nanos delay, host::Task task) {
  host::TimerId id = ++last_timer_;
  timers_.insert(id);
  auto fire = [this, id, task = std::move(task)] {
    if (timers_.erase(id) != 0) task();
  };
  world_.schedule(node_, now() + (delay > 0 ? delay : 0), "timer", std::move(fire), seat_);
  return id;
}

void SimLoop::hear_nested() {
  QUOLL_CHECK(seat_ == Seat::main);
  world_.hear_nested(node_, now());
}

Nanos SimLoop::turn_start() { return in_turn_ ? turn_start_ : world_.now(); }

Nanos SimLoop::now() const { return in_turn_ ? turn_start_ + spent_ : world_.now(); }

Nanos SimLoop::look() {
  if (in_turn_) spent_ += look_cost_;
  return now();
}

void SimLoop::begin_turn() {
  turn_start_ = world_.now();
  spent_ = 0;
  in_turn_ = true;
}

Nanos SimLoop::end_turn() {
  for (size_t i = 0; i < turn_end_.size(); ++i) turn_end_[i]();
  in_turn_ = false;
  busy_ += spent_ + kTurnCost;
  return turn_start_ + spent_ + kTurnCost;
}

}  // namespace quoll::sim
