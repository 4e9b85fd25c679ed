#include "tests/sim/simple_checkers.h"

#include <algorithm>
#include <map>
#include <set>

namespace quoll::sim {
namespace {

std::string row_of(const Count& count) {
  return timeline_row(
      count.interval, count.client,
      "INCR -> " + (count.interval.known() ? std::to_string(count.result) : "unknown"));
}

std::string row_of(const LockHold& hold) {
  std::string text = "lock, token " + std::to_string(hold.token) + ", for " +
                     std::to_string(hold.time_to_live / base::kNanosPerMilli) + " ms";
  if (hold.released != kNever)
    text += ", given back at " + std::to_string(hold.released / base::kNanosPerMicro) + " us";
  return timeline_row(hold.acquired, hold.client, text);
}

std::string row_of(const QueueStep& step) {
  std::string what = step.pushes              ? "push " + step.element
                     : !step.interval.known() ? "pop"
                     : step.element.empty()   ? "pop -> nothing"
                                              : "pop -> " + step.element;
  return timeline_row(step.interval, step.client,
                      step.interval.known() ? what : what + " -> unknown");
}

template <class... Row>
std::string problem(const std::string& what, const Row&... rows) {
  std::string text = what + "\n";
  ((text += row_of(rows) + "\n"), ...);
  return text;
}

// The latest that had returned before each begins; `later(before, after)` must hold.
template <class Item, class When, class Later>
std::optional<std::string> check_growth(const std::vector<const Item*>& items, When when,
                                        Later later, const std::string& what) {
  std::vector<const Item*> by_return = items;
  std::vector<const Item*> by_invocation = items;
  std::ranges::sort(by_return, {}, [&](const Item* item) { return when(*item).returned; });
  std::ranges::sort(by_invocation, {}, [&](const Item* item) { return when(*item).invoked; });
  const Item* highest = nullptr;
  size_t passed = 0;
  for (const Item* item : by_invocation) {
    while (passed < by_return.size() && when(*by_return[passed]).before(when(*item))) {
      if (!highest || later(*highest, *by_return[passed])) highest = by_return[passed];
      ++passed;
    }
    if (highest && !later(*highest, *item)) return problem(what, *highest, *item);
  }
  return std::nullopt;
}

// Numbers below one's own that nobody got were taken by unknown operations that had begun.
std::optional<std::string> check_gaps(const std::map<int64_t, const Count*>& by_result,
                                      std::vector<Nanos> unknown) {
  std::ranges::sort(unknown);
  Nanos earliest = kNever;  // return among the results from here up
  int64_t heard = static_cast<int64_t>(by_result.size());
  for (auto place = by_result.rbegin(); place != by_result.rend(); ++place, --heard) {
    earliest = std::min(earliest, place->second->interval.returned);
    int64_t missing = place->first - heard;
    int64_t begun = std::ranges::upper_bound(unknown, earliest) - unknown.begin();
    if (missing > begun)
      return problem(std::to_string(missing) + " numbers below this were told nobody, and only " +
                         std::to_string(begun) + " operations of unknown outcome had begun:",
                     *place->second);
  }
  return std::nullopt;
}

// When the client holds the lock whatever the order of events at the server was.
Nanos sure_end(const LockHold& hold, Nanos slack) {
  return std::min(hold.released, hold.acquired.invoked + hold.time_to_live - slack);
}

struct QueueLife {
  const QueueStep* push = nullptr;
  const QueueStep* pop = nullptr;
  bool left = false;
};

using QueueLives = std::map<std::string, QueueLife>;

std::optional<std::string> note_steps(QueueLives& lives, std::span<const QueueStep> steps) {
  for (const QueueStep& step : steps) {
    if (step.element.empty()) continue;
    QueueLife& life = lives[step.element];
    const QueueStep*& end = step.pushes ? life.push : life.pop;
    if (end) return problem(step.pushes ? "pushed twice by the test" : "popped twice", *end, step);
    end = &step;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> check_counter(std::span<const Count> counts, int64_t total) {
  std::map<int64_t, const Count*> by_result;
  std::vector<const Count*> known;
  std::vector<Nanos> unknown;
  for (const Count& count : counts) {
    if (!count.interval.known()) {
      unknown.push_back(count.interval.invoked);
      continue;
    }
    known.push_back(&count);
    auto [place, added] = by_result.emplace(count.result, &count);
    if (!added) return problem("two got the same number", *place->second, count);
    if (count.result < 1) return problem("a number below the first", count);
  }
  if (!by_result.empty() && by_result.rbegin()->first > total)
    return problem("the total is only " + std::to_string(total) + ", below what this one got",
                   *by_result.rbegin()->second);
  auto lowest = static_cast<int64_t>(known.size());
  auto highest = static_cast<int64_t>(counts.size());
  if (total < lowest || total > highest)
    return "the total is " + std::to_string(total) + "; " + std::to_string(lowest) +
           " were acknowledged and " + std::to_string(highest) + " sent\n";
  if (auto gap = check_gaps(by_result, std::move(unknown))) return gap;
  return check_growth(
      known, [](const Count& count) { return count.interval; },
      [](const Count& one, const Count& other) { return one.result < other.result; },
      "the counter went back");
}

std::optional<std::string> check_lock(std::span<const LockHold> holds, Nanos slack) {
  std::vector<const LockHold*> granted;
  for (const LockHold& hold : holds)
    if (hold.acquired.known()) granted.push_back(&hold);
  std::map<int64_t, const LockHold*> by_token;
  for (const LockHold* hold : granted) {
    auto [place, added] = by_token.emplace(hold->token, hold);
    if (!added) return problem("one token for two grants", *place->second, *hold);
  }
  std::vector<const LockHold*> sure;
  for (const LockHold* hold : granted)
    if (hold->acquired.returned < sure_end(*hold, slack)) sure.push_back(hold);
  std::ranges::sort(sure, {}, [](const LockHold* hold) { return hold->acquired.returned; });
  const LockHold* longest = nullptr;
  for (const LockHold* hold : sure) {
    if (longest && sure_end(*longest, slack) > hold->acquired.returned)
      return problem("two hold the lock at " +
                         std::to_string(hold->acquired.returned / base::kNanosPerMicro) + " us",
                     *longest, *hold);
    if (!longest || sure_end(*hold, slack) > sure_end(*longest, slack)) longest = hold;
  }
  return check_growth(
      granted, [](const LockHold& hold) { return hold.acquired; },
      [](const LockHold& one, const LockHold& other) { return one.token < other.token; },
      "a later grant has a lower token");
}

std::optional<std::string> check_queue(std::span<const QueueStep> steps,
                                       std::span<const std::string> left) {
  QueueLives lives;
  if (auto twice = note_steps(lives, steps)) return twice;
  for (const std::string& element : left) {
    QueueLife& life = lives[element];
    if (life.left) return element + " is left twice\n";
    if (life.pop) return problem("popped, and still there", *life.pop);
    life.left = true;
  }
  std::vector<const QueueStep*> lost;
  for (const auto& [element, life] : lives) {
    if (!life.push) return element + " came out and never went in\n";
    if (life.pop && life.pop->interval.before(life.push->interval))
      return problem("popped before it was pushed", *life.pop, *life.push);
    if (life.push->interval.known() && !life.pop && !life.left) lost.push_back(life.push);
  }
  auto unknown = static_cast<size_t>(std::ranges::count_if(
      steps, [](const QueueStep& step) { return !step.pushes && !step.interval.known(); }));
  if (lost.size() > unknown)
    return problem(std::to_string(lost.size()) + " acknowledged pushes are lost, " +
                       std::to_string(unknown) + " pops have an unknown outcome; the last lost:",
                   *lost.back());
  return std::nullopt;
}

}  // namespace quoll::sim
