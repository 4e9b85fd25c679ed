#include "host/uv_loop.h"

#include <sched.h>
#include <uv.h>

#include <utility>

#include "base/check.h"

namespace quoll::host {

struct UvLoop::Handles {
  uv_loop_t loop;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t idle;
  uv_timer_t timer;
};

namespace {

UvLoop& owner_of(void* data) { return *static_cast<UvLoop*>(data); }

}  // namespace

UvLoop::UvLoop() : handles_(std::make_unique<Handles>()) {
  Handles& h = *handles_;
  QUOLL_CHECK(uv_loop_init(&h.loop) == 0);
  h.loop.data = this;
  uv_prepare_init(&h.loop, &h.prepare);
  uv_check_init(&h.loop, &h.check);
  uv_idle_init(&h.loop, &h.idle);
  uv_timer_init(&h.loop, &h.timer);
  h.prepare.data = h.check.data = h.idle.data = h.timer.data = this;
  uv_prepare_start(&h.prepare, [](uv_prepare_t* p) { owner_of(p->data).end_turn(); });
  uv_check_start(&h.check, [](uv_check_t* c) { owner_of(c->data).run_posted(); });
}

UvLoop::~UvLoop() {
  posted_.clear();  // while what they hold can still close its handles
  ready_.clear();
  timers_.clear();
  turn_end_.clear();
  before_sleep_.clear();
  Handles& h = *handles_;
  uv_handle_t* own[] = {
      reinterpret_cast<uv_handle_t*>(&h.prepare), reinterpret_cast<uv_handle_t*>(&h.check),
      reinterpret_cast<uv_handle_t*>(&h.idle), reinterpret_cast<uv_handle_t*>(&h.timer)};
  for (uv_handle_t* handle : own) uv_close(handle, nullptr);
  uv_run(&h.loop, UV_RUN_DEFAULT);
  QUOLL_CHECK(uv_loop_close(&h.loop) == 0);
}

uv_loop_s* UvLoop::raw() { return &handles_->loop; }

void UvLoop::enter_turn() {
  if (in_turn_) return;
  in_turn_ = true;
  turn_start_ = static_cast<Nanos>(uv_hrtime());
}

Nanos UvLoop::turn_start() {
  enter_turn();
  return turn_start_;
}

void UvLoop::end_turn() {
  enter_turn();
  for (size_t i = 0; i < turn_end_.size(); ++i) turn_end_[i]();
  for (size_t i = 0; i < before_sleep_.size(); ++i) std::exchange(before_sleep_[i], nullptr)();
  before_sleep_.clear();
  in_turn_ = false;
  if (std::exchange(again_, false)) sched_yield();
  while (!posted_.empty()) {
    ready_.push_back(std::move(posted_.front()));
    posted_.pop_front();
  }
  idle(!ready_.empty());
}

void UvLoop::on_turn_end(Task task) { turn_end_.push_back(std::move(task)); }

void UvLoop::post(Task task) {
  posted_.push_back(std::move(task));
  idle(true);  // so that the poll does not sleep
}

void UvLoop::turn_again() {
  again_ = true;
  post([] {});
}

// Runs in check: after the I/O callbacks of the turn that follows the posting one.
void UvLoop::run_posted() {
  if (ready_.empty()) return;
  enter_turn();
  size_t count = ready_.size();
  for (; count > 0 && !ready_.empty(); --count) {
    Task task = std::move(ready_.front());
    ready_.pop_front();
    task();
  }
}

void UvLoop::idle(bool active) {
  if (active == idle_active_) return;
  idle_active_ = active;
  if (active) {
    uv_idle_start(&handles_->idle, [](uv_idle_t*) {});
  } else {
    uv_idle_stop(&handles_->idle);
  }
}

TimerId UvLoop::after(Nanos delay, Task task) {
  if (delay < 0) delay = 0;
  Timer timer{static_cast<Nanos>(uv_hrtime()) + delay, ++last_timer_};
  timers_.emplace(timer, std::move(task));
  deadlines_.emplace(timer.id, timer.deadline);
  arm();
  return timer.id;
}

void UvLoop::cancel(TimerId id) {
  auto found = deadlines_.find(id);
  if (found == deadlines_.end()) return;
  timers_.erase(Timer{found->second, id});
  deadlines_.erase(found);
  if (timers_.empty()) arm();  // otherwise a needless wake-up re-arms itself
}

void UvLoop::arm() {
  Handles& h = *handles_;
  if (timers_.empty()) {
    if (armed_for_ != 0) uv_timer_stop(&h.timer);
    armed_for_ = 0;
    return;
  }
  Nanos earliest = timers_.begin()->first.deadline;
  if (armed_for_ != 0 && armed_for_ <= earliest) return;
  armed_for_ = earliest;
  Nanos delay = earliest - static_cast<Nanos>(uv_hrtime());
  if (delay <= 0) {
    // Due already. libuv would run it within the same timer phase and starve the sockets.
    uv_timer_stop(&h.timer);
    post([this] { run_due_timers(); });
    return;
  }
  uv_update_time(&h.loop);  // libuv counts from its cached time, in whole milliseconds
  uint64_t delay_ms =
      static_cast<uint64_t>((delay + base::kNanosPerMilli - 1) / base::kNanosPerMilli);
  uv_timer_start(
      &h.timer, [](uv_timer_t* t) { owner_of(t->data).run_due_timers(); }, delay_ms, 0);
}

void UvLoop::run_due_timers() {
  enter_turn();
  armed_for_ = 0;
  Nanos now = static_cast<Nanos>(uv_hrtime());
  TimerId newest = last_timer_;  // a timer set by a timer waits for the next turn
  auto next = timers_.begin();
  while (next != timers_.end() && next->first.deadline <= now) {
    Timer timer = next->first;
    if (timer.id > newest) {
      ++next;
      continue;
    }
    Task task = std::move(next->second);
    timers_.erase(next);
    deadlines_.erase(timer.id);
    task();
    next = timers_.upper_bound(timer);  // the task may have set or cancelled timers
  }
  arm();
}

void UvLoop::run() {
  uv_run(&handles_->loop, UV_RUN_DEFAULT);
  if (in_turn_) end_turn();  // stop() left libuv before its prepare phase
}

void UvLoop::stop() { uv_stop(&handles_->loop); }

}  // namespace quoll::host
