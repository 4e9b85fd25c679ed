#include "base/timing_wheel.h"

#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <unordered_set>
#include <vector>

namespace {

using quoll::base::Millis;
using quoll::base::WheelHandle;

struct Timer {
  Millis deadline = 0;
  WheelHandle handle;
  int number = 0;
  bool filed_firing = false;
};

struct TimerTraits {
  using Item = Timer*;
  static Millis deadline(Item item) { return item->deadline; }
  static WheelHandle handle(Item item) { return item->handle; }
  static void set_handle(Item item, WheelHandle handle) { item->handle = handle; }
};

using Wheel = quoll::base::TimingWheel<TimerTraits>;
constexpr size_t kUnlimited = SIZE_MAX;
constexpr Millis kHour = 3'600'000;
constexpr Millis kNow = 1'700'000'000'123;

std::vector<int> fired(Wheel& wheel, Millis now, size_t items_max = kUnlimited) {
  std::vector<int> numbers;
  wheel.advance(now, items_max, [&](Timer* timer) {
    CHECK(timer->deadline <= now);
    CHECK_FALSE(timer->handle);
    numbers.push_back(timer->number);
  });
  return numbers;
}

}  // namespace

TEST_CASE("wheel: fires at the deadline's tick, not before, in order of ticks") {
  Wheel wheel(kNow);
  CHECK(wheel.next_due() == Wheel::kNever);
  std::vector<Timer> timers(5);
  Millis offsets[] = {50'000, 20, kHour, 5'000, 86'400'000};
  for (int i = 0; i < 5; ++i) {
    timers[i] = {kNow + offsets[i], {}, i};
    wheel.add(&timers[i]);
  }
  CHECK(wheel.size() == 5);
  CHECK(fired(wheel, kNow + 19).empty());
  CHECK(fired(wheel, kNow + 20 + Wheel::kTickMs) == std::vector<int>{1});
  CHECK(fired(wheel, kNow + 4'999).empty());
  CHECK(fired(wheel, kNow + 2 * kHour) == std::vector<int>{3, 0, 2});
  CHECK(fired(wheel, kNow + 86'400'000 - 1).empty());
  CHECK(fired(wheel, kNow + 86'400'000 + Wheel::kTickMs) == std::vector<int>{4});
  CHECK(wheel.empty());
  CHECK(wheel.next_due() == Wheel::kNever);
}

TEST_CASE("wheel: sleeping until next_due() is enough to be on time") {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    Millis now = static_cast<Millis>(random() % (Millis{1} << 44));
    Wheel wheel(now);
    unsigned bits = static_cast<unsigned>(random() % 46);
    Timer timer{now + static_cast<Millis>(random() % (uint64_t{1} << bits)), {}, 0};
    wheel.add(&timer);
    int wakes = 0;
    while (!wheel.empty()) {
      Millis due = wheel.next_due();
      CHECK(due < timer.deadline + Wheel::kTickMs);
      now = std::max(now, due);
      fired(wheel, now);
      REQUIRE(++wakes <= 10);
    }
    CHECK(now >= timer.deadline);
    CHECK(now < timer.deadline + Wheel::kTickMs);
  }
}

TEST_CASE("wheel: a deadline in the past fires at the next advance") {
  Wheel wheel(kNow);
  Timer timers[] = {{kNow - kHour, {}, 1}, {0, {}, 2}, {-5, {}, 3}};
  for (Timer& timer : timers) wheel.add(&timer);
  CHECK(wheel.next_due() <= kNow);
  CHECK(fired(wheel, kNow).size() == 3);
}

TEST_CASE("wheel: the far end of 48 bits of milliseconds, and what lies beyond") {
  Wheel wheel(0);
  Millis last = (Millis{1} << 48) - 1;
  Timer end{last, {}, 1};
  Timer beyond{INT64_MAX, {}, 2};
  wheel.add(&end);
  wheel.add(&beyond);
  CHECK(fired(wheel, last - 1).empty());
  CHECK(fired(wheel, last + 1) == std::vector<int>{1});
  CHECK(wheel.size() == 1);
}

TEST_CASE("wheel: a later deadline needs no call, an earlier one needs move()") {
  Wheel wheel(kNow);
  Timer timer{kNow + 1'000, {}, 1};
  wheel.add(&timer);
  for (int i = 1; i <= 100; ++i) {
    Millis now = kNow + i * 900;
    timer.deadline = now + 1'000;  // as a session refreshed by each request
    WheelHandle before = timer.handle;
    wheel.move(&timer);
    CHECK(timer.handle == before);
    CHECK(fired(wheel, now).empty());
  }
  CHECK(fired(wheel, timer.deadline - 1).empty());
  timer.deadline += kHour;
  CHECK(fired(wheel, kNow + kHour).empty());
  Millis now = kNow + kHour;
  timer.deadline = now + 100;
  wheel.move(&timer);
  CHECK(fired(wheel, now + 99).empty());
  timer.deadline = now - 5;
  wheel.move(&timer);
  CHECK(fired(wheel, now + 99) == std::vector<int>{1});
  timer.deadline = now + 500;
  wheel.move(&timer);  // in no wheel: added
  CHECK(wheel.size() == 1);
  CHECK(fired(wheel, now + 516) == std::vector<int>{1});
}

TEST_CASE("wheel: replace() follows a block that moved") {
  Wheel wheel(kNow);
  std::vector<std::unique_ptr<Timer>> timers;
  for (int i = 0; i < 2'000; ++i) {
    timers.push_back(std::make_unique<Timer>(Timer{kNow + 100 + i % 7 * kHour, {}, i}));
    wheel.add(timers.back().get());
  }
  for (auto& timer : timers) {
    auto moved = std::make_unique<Timer>(*timer);
    wheel.replace(timer->handle, moved.get());
    timer = std::move(moved);  // the old block is gone: the sanitizer sees a stale pointer
  }
  for (int i = 0; i < 2'000; i += 2) wheel.remove(timers[i]->handle);
  std::unordered_set<int> seen;
  for (int number : fired(wheel, kNow + 8 * kHour)) CHECK(seen.insert(number).second);
  CHECK(seen.size() == 1'000);
  CHECK(seen.count(0) == 0);
}

TEST_CASE("wheel: fire may free, keep, add again, remove others and clear") {
  Wheel wheel(kNow);
  Timer paused{kNow, {}, 1};
  wheel.add(&paused);
  int calls = 0;
  auto again = [&](Timer* timer) {
    ++calls;
    wheel.add(timer);
  };
  wheel.advance(kNow + kHour, kUnlimited, again);
  CHECK(calls == 1);  // once per advance, though overdue
  CHECK(wheel.advance(kNow + kHour, kUnlimited, again) == 0);
  CHECK(wheel.next_due() <= kNow + kHour + Wheel::kTickMs);
  CHECK(wheel.advance(kNow + kHour + Wheel::kTickMs, kUnlimited, again) == 1);
  CHECK(calls == 2);
  CHECK(wheel.size() == 1);
  wheel.remove(paused.handle);

  Millis now = kNow + 2 * kHour;
  std::vector<Timer> timers(1'000, Timer{now - 1, {}, 0});
  for (Timer& timer : timers) wheel.add(&timer);
  size_t fires = 0;
  wheel.advance(now + Wheel::kTickMs, kUnlimited, [&](Timer*) {  // each takes another one along
    ++fires;
    for (Timer& timer : timers) {
      if (!timer.handle) continue;
      wheel.remove(timer.handle);
      break;
    }
  });
  CHECK(wheel.empty());
  CHECK(fires >= 500);
  CHECK(fires <= 502);

  for (Timer& timer : timers) {
    timer.deadline = now;
    wheel.add(&timer);
  }
  size_t touched = wheel.advance(now + 100, kUnlimited, [&](Timer*) { wheel.clear(); });
  CHECK(touched == 1);
  CHECK(wheel.empty());
  CHECK(wheel.footprint() == 0);
}

TEST_CASE("wheel: removing a none handle does nothing") {
  Wheel wheel(kNow);
  Timer timer{kNow, {}, 1};
  wheel.remove(timer.handle);
  wheel.add(&timer);
  wheel.remove(timer.handle);
  wheel.remove(timer.handle);
  CHECK(wheel.empty());
  CHECK(WheelHandle::unpack(timer.handle.packed()) == timer.handle);
}

TEST_CASE("wheel: a million items of one tick fire in bounded steps at eight bytes each") {
  constexpr int kItems = 1'000'000;
  Wheel wheel(kNow);
  std::vector<Timer> timers(kItems, Timer{kNow + kHour, {}, 0});
  for (Timer& timer : timers) {
    wheel.add(&timer);
    REQUIRE(timer.handle.packed() < (uint64_t{1} << WheelHandle::kBits));
  }
  CHECK(wheel.footprint() < size_t{kItems} * 8 + 64 * 1024);
  Millis now = kNow + kHour + Wheel::kTickMs;
  size_t fires = 0;
  size_t steps = 0;
  while (wheel.next_due() <= now) {
    size_t before = fires;
    size_t touched = wheel.advance(now, 1'000, [&](Timer*) { ++fires; });
    CHECK(touched <= 1'000);
    CHECK(fires - before <= touched);
    REQUIRE(++steps <= 5 * kItems / 1'000);
  }
  CHECK(fires == kItems);
  CHECK(wheel.advance(now, 0, [](Timer*) {}) == 0);
}

TEST_CASE("wheel: many deadlines over a month cost about eight bytes each") {
  constexpr int kItems = 300'000;
  std::mt19937_64 random(3);
  Wheel wheel(kNow);
  std::vector<Timer> timers(kItems);
  for (Timer& timer : timers) {
    timer.deadline = kNow + static_cast<Millis>(random() % (30 * 24 * uint64_t{kHour}));
    wheel.add(&timer);
  }
  CHECK(wheel.footprint() < kItems * 8.8);
  size_t touched = 0;
  size_t fires = 0;
  while (!wheel.empty()) {
    touched += wheel.advance(wheel.next_due(), kUnlimited, [&](Timer*) { ++fires; });
  }
  CHECK(fires == kItems);
  CHECK(touched < size_t{kItems} * 6);
}

TEST_CASE("wheel: clear_some() frees in steps, moved wheels keep their items") {
  Wheel wheel(kNow);
  std::vector<Timer> timers(5'000, Timer{kNow + kHour, {}, 0});
  for (Timer& timer : timers) wheel.add(&timer);
  Wheel other(std::move(wheel));
  CHECK(wheel.empty());
  CHECK(other.size() == 5'000);
  wheel = std::move(other);
  CHECK(wheel.size() == 5'000);
  CHECK_FALSE(wheel.clear_some(4));
  int steps = 1;
  while (!wheel.clear_some(4)) ++steps;
  CHECK(steps == 2);  // ten chunks
  CHECK(wheel.footprint() == 0);
  Timer later{kNow + 10, {}, 9};
  wheel.add(&later);
  CHECK(fired(wheel, kNow + 30) == std::vector<int>{9});
}

TEST_CASE("wheel: a clock that steps back") {
  Wheel wheel(kNow);
  std::vector<Timer> timers(3'000);
  std::mt19937_64 random(11);
  for (size_t i = 0; i < timers.size(); ++i) {
    timers[i] = {kNow + static_cast<Millis>(random() % (10 * uint64_t{kHour})), {}, int(i)};
    wheel.add(&timers[i]);
  }
  size_t fires = fired(wheel, kNow + 5 * kHour).size();
  CHECK(fired(wheel, kNow + 5 * kHour - 500).empty());  // a small step: wait
  Millis back = kNow - 20 * kHour;
  CHECK(fired(wheel, back).empty());
  Timer soon{back + 1'000, {}, -1};
  wheel.add(&soon);
  CHECK(fired(wheel, back + 999).empty());
  CHECK(fired(wheel, back + 1'016) == std::vector<int>{-1});
  Millis now = back;
  while (!wheel.empty()) {  // the others are neither early nor late
    now = std::max(now, wheel.next_due());
    wheel.advance(now, 100, [&](Timer* timer) {
      CHECK(timer->deadline <= now);
      CHECK(now < timer->deadline + Wheel::kTickMs);
      ++fires;
    });
  }
  CHECK(fires == timers.size());
}

namespace {

// Plays random operations on a wheel and on a multimap of deadlines.
class ModelPlay {
 public:
  explicit ModelPlay(uint64_t seed) : random_(seed), now_(Millis(below(1) << below(45))) {
    now_ += static_cast<Millis>(below(uint64_t{1} << 41));
    latest_ = now_;
    wheel_ = std::make_unique<Wheel>(now_);
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
      REQUIRE(wheel_->size() == model_.size());
    }
    while (!model_.empty()) {
      now_ = std::max(now_, wheel_->next_due());
      advance(kUnlimited);
    }
    CHECK(wheel_->empty());
  }

 private:
  uint64_t below(uint64_t limit) { return limit ? random_() % limit : 0; }
  Millis some_deadline() {
    auto distance = static_cast<Millis>(below(uint64_t{1} << below(40)));
    return below(12) == 0 ? now_ - distance : now_ + distance;
  }

  void step() {
    switch (below(10)) {
      case 0:
      case 1:
      case 2:
      case 3:
        for (uint64_t i = below(20); i > 0; --i) add();
        break;
      case 4:
        if (!live_.empty()) erase(live_[below(live_.size())]);
        break;
      case 5:
        if (!live_.empty()) change(live_[below(live_.size())]);
        break;
      case 6:
        if (!live_.empty()) relocate(live_[below(live_.size())]);
        break;
      case 7:
        if (below(20) == 0) now_ -= static_cast<Millis>(below(uint64_t{1} << below(24)));
        break;
      default:
        now_ += static_cast<Millis>(below(uint64_t{1} << below(30)));
        advance(below(3) == 0 ? below(10) : kUnlimited);
    }
  }

  void add() {
    auto* timer = new Timer{some_deadline(), {}, static_cast<int>(live_.size())};
    timer->filed_firing = firing_;
    live_.push_back(timer);
    model_.emplace(timer->deadline, timer);
    wheel_->add(timer);
  }

  void forget(Timer* timer) {
    auto [at, end] = model_.equal_range(timer->deadline);
    while (at != end && at->second != timer) ++at;
    REQUIRE(at != end);
    model_.erase(at);
  }

  void release(Timer* timer) {
    live_.back()->number = timer->number;
    live_[static_cast<size_t>(timer->number)] = live_.back();
    live_.pop_back();
    delete timer;
  }

  void erase(Timer* timer) {
    forget(timer);
    wheel_->remove(timer->handle);
    release(timer);
  }

  void change(Timer* timer) {
    forget(timer);
    Millis before = timer->deadline;
    timer->deadline = some_deadline();
    timer->filed_firing = firing_;
    model_.emplace(timer->deadline, timer);
    if (timer->deadline < before || below(2)) wheel_->move(timer);
  }

  void relocate(Timer* timer) {
    auto* moved = new Timer(*timer);
    forget(timer);
    model_.emplace(moved->deadline, moved);
    live_[static_cast<size_t>(timer->number)] = moved;
    wheel_->replace(timer->handle, moved);
    delete timer;
  }

  void advance(size_t items_max) {
    firing_ = true;
    size_t touched = wheel_->advance(now_, items_max, [&](Timer* timer) {
      REQUIRE(timer->deadline <= now_);
      REQUIRE_FALSE(timer->handle);
      forget(timer);
      if (below(8) == 0) {  // survives with another deadline
        timer->deadline = some_deadline();
        timer->filed_firing = true;
        model_.emplace(timer->deadline, timer);
        wheel_->add(timer);
        return;
      }
      release(timer);
      if (below(8) == 0) add();
      if (below(8) == 0 && !live_.empty()) erase(live_[below(live_.size())]);
      if (below(8) == 0 && !live_.empty()) change(live_[below(live_.size())]);
    });
    firing_ = false;
    REQUIRE(touched <= items_max);
    latest_ = std::max(latest_, now_);
    if (items_max != kUnlimited || now_ < latest_) return;
    // Nothing overdue is left, but for what was filed while firing.
    REQUIRE(wheel_->next_due() > now_ - now_ % Wheel::kTickMs);
    for (auto& [deadline, timer] : model_) {
      if (deadline > now_ - Wheel::kTickMs) break;
      REQUIRE(timer->filed_firing);
    }
    if (model_.empty()) return;
    Millis latest_due = std::max(now_, model_.begin()->first) + Wheel::kTickMs;
    REQUIRE(wheel_->next_due() <= latest_due);
  }

  std::mt19937_64 random_;
  Millis now_;
  Millis latest_ = 0;
  bool firing_ = false;
  std::unique_ptr<Wheel> wheel_;
  std::multimap<Millis, Timer*> model_;
  std::vector<Timer*> live_;
};

}  // namespace

TEST_CASE("wheel: random operations agree with a multimap") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    ModelPlay(seed).run(1'500);
  }
}
