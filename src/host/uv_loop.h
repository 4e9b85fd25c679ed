// UvLoop: turns, posted tasks and timers on one libuv loop.
//
//   libuv iteration:  timers -> idle -> prepare -> poll (sleeps, then I/O callbacks) -> check
//   turn:             begins with the first callback after the sleep, ends in prepare
//
// A turn therefore is: I/O callbacks, posted tasks (in check), timers, then the turn-end tasks and
// what is left for before_sleep() (in prepare). libuv gives no hook between waking and the first
// I/O callback, so every callback calls enter_turn() first; only the first one of a turn reads the
// clock.
//
// Timers: one libuv timer armed for the earliest deadline of an ordered map. An after()/cancel()
// costs one map operation and no system call. Resolution: libuv's 1 ms, never early.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "host/host.h"

struct uv_loop_s;

namespace quoll::host {

struct WatchState;  // of a UvWatch

class UvLoop final : public Loop {
 public:
  UvLoop();
  // Drops pending tasks and timers, then waits for closing handles and requests in flight.
  ~UvLoop() override;
  UvLoop(const UvLoop&) = delete;

  void post(Task task) override;
  void turn_again() override;
  TimerId after(Nanos delay, Task task) override;
  void cancel(TimerId id) override;
  void on_turn_end(Task task) override;
  // Asks the descriptors directly, for libuv cannot run inside itself. O(watches that are heard).
  void hear_nested() override;
  Nanos turn_start() override;

  void run();   // until stop(); the last turn is completed, its turn-end tasks included
  void stop();  // from a callback: leaves run() at the end of the turn

  void enter_turn();
  // Runs the task once, after the turn-end tasks of this turn: what they left is complete then.
  void before_sleep(Task task) { before_sleep_.push_back(std::move(task)); }
  uv_loop_s* raw();
  // The watches that hear_nested() asks; UvWatch keeps them up to date.
  std::vector<WatchState*>& heard_nested() { return heard_nested_; }

 private:
  struct Handles;
  struct Timer {
    Nanos deadline;
    TimerId id;
    auto operator<=>(const Timer&) const = default;
  };

  void end_turn();
  void run_posted();
  void run_due_timers();
  void arm();  // the libuv timer for the earliest deadline
  void idle(bool active);

  std::unique_ptr<Handles> handles_;
  std::vector<Task> turn_end_;
  std::vector<Task> before_sleep_;
  std::vector<WatchState*> heard_nested_;
  std::deque<Task> posted_;  // during this turn
  std::deque<Task> ready_;   // posted in the turn before
  std::map<Timer, Task> timers_;
  std::unordered_map<TimerId, Nanos> deadlines_;  // of the pending timers
  TimerId last_timer_ = 0;
  Nanos armed_for_ = 0;  // deadline the libuv timer waits for; 0 = none
  Nanos turn_start_ = 0;
  bool in_turn_ = false;
  bool idle_active_ = false;
  bool again_ = false;  // turn_again()
};

}  // namespace quoll::host
