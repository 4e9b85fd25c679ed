#include "tests/sim/simple_checkers.h"

#include <algorithm>
#include <deque>

#include "tests/sim/sim_chance.h"

namespace quoll::sim {
namespace {

using Counts = std::vector<Count>;
using Holds = std::vector<LockHold>;
using Steps = std::vector<QueueStep>;
using Texts = std::vector<std::string>;

Count counted(Nanos invoked, Nanos returned, int64_t result) {
  return {1, {invoked, returned}, result};
}
Count unknown_count(Nanos invoked) { return {1, {invoked, kNever}, 0}; }

LockHold hold(int client, Nanos invoked, Nanos returned, Nanos released, Nanos ttl, int64_t token) {
  return {client, {invoked, returned}, released, ttl, token};
}

QueueStep push(std::string element, Nanos invoked, Nanos returned) {
  return {1, {invoked, returned}, true, std::move(element)};
}
QueueStep pop(std::string element, Nanos invoked, Nanos returned) {
  return {2, {invoked, returned}, false, std::move(element)};
}

bool says(const std::optional<std::string>& problem, std::string_view what) {
  if (problem && problem->find(what) == std::string::npos) MESSAGE(*problem);
  return problem && problem->find(what) != std::string::npos;
}

}  // namespace

TEST_CASE("counter: unique, growing, and no more gaps than unknown outcomes") {
  CHECK_FALSE(check_counter(Counts{}, 0));
  CHECK_FALSE(check_counter(Counts{counted(0, 9, 2), counted(0, 9, 1)}, 2));
  CHECK(says(check_counter(Counts{counted(0, 9, 1), counted(0, 9, 1)}, 2), "the same number"));
  CHECK(says(check_counter(Counts{counted(0, 9, 2), counted(10, 19, 1)}, 2), "went back"));
  CHECK(says(check_counter(Counts{counted(0, 9, 1), counted(10, 19, 2)}, 1), "the total is only"));
  CHECK(says(check_counter(Counts{counted(0, 9, 1)}, 2), "1 were acknowledged"));
  CHECK_FALSE(check_counter(Counts{counted(0, 9, 1), unknown_count(5)}, 1));
  CHECK_FALSE(check_counter(Counts{counted(0, 9, 1), unknown_count(5)}, 2));
  CHECK(says(check_counter(Counts{counted(0, 9, 1), unknown_count(5)}, 3), "the total is 3"));
  // The number that is missing was taken by somebody who had begun.
  CHECK_FALSE(check_counter(Counts{counted(0, 9, 2), unknown_count(5)}, 2));
  CHECK(says(check_counter(Counts{counted(0, 9, 2), unknown_count(15)}, 2), "told nobody"));
}

TEST_CASE("lock: one holder at a time, later tokens higher") {
  CHECK_FALSE(check_lock(Holds{hold(1, 0, 5, 50, 1'000, 1), hold(2, 20, 60, kNever, 1'000, 2)}, 0));
  // Granted while the first still holds it, by what both know.
  CHECK(says(check_lock(Holds{hold(1, 0, 5, 50, 1'000, 1), hold(2, 20, 40, kNever, 1'000, 2)}, 0),
             "two hold the lock"));
  // Its time has run out, or may have, if clocks drift.
  CHECK_FALSE(check_lock(Holds{hold(1, 0, 5, kNever, 100, 1), hold(2, 90, 101, 200, 100, 2)}, 0));
  Holds early = {hold(1, 0, 5, kNever, 100, 1), hold(2, 90, 97, 150, 100, 2)};
  CHECK(says(check_lock(early, 0), "two hold the lock"));
  CHECK_FALSE(check_lock(early, 5));
  CHECK(says(check_lock(Holds{hold(1, 0, 5, 6, 100, 7), hold(2, 9, 12, 20, 100, 7)}, 0),
             "one token"));
  CHECK(says(check_lock(Holds{hold(1, 0, 5, 6, 100, 8), hold(2, 9, 12, 20, 100, 7)}, 0),
             "a lower token"));
  // A reply that came after the time had run out makes nobody a holder, and its token counts.
  CHECK(says(check_lock(Holds{hold(1, 0, 500, kNever, 100, 9), hold(2, 600, 610, 620, 100, 8)}, 0),
             "a lower token"));
}

TEST_CASE("queue: each element once, none lost") {
  Steps both = {push("a", 0, 5), push("b", 6, 9)};
  auto with = [&](std::initializer_list<QueueStep> more) {
    Steps steps = both;
    steps.insert(steps.end(), more);
    return steps;
  };
  CHECK_FALSE(check_queue(both, Texts{"a", "b"}));
  CHECK_FALSE(check_queue(with({pop("a", 10, 12), pop("", 1, 2)}), Texts{"b"}));
  CHECK(says(check_queue(with({pop("a", 10, 12), pop("a", 14, 16)}), Texts{"b"}), "popped twice"));
  CHECK(says(check_queue(with({pop("a", 10, 12)}), Texts{"a", "b"}), "still there"));
  CHECK(says(check_queue(with({pop("c", 10, 12)}), Texts{"a", "b"}), "never went in"));
  CHECK(says(check_queue(both, Texts{"b"}), "1 acknowledged pushes are lost"));
  CHECK(says(check_queue(both, Texts{"b", "b"}), "left twice"));
  CHECK_FALSE(check_queue(with({pop("", 10, kNever)}), Texts{"b"}));
  CHECK(says(check_queue(with({pop("", 10, kNever)}), Texts{}), "2 acknowledged pushes"));
  CHECK_FALSE(check_queue(with({push("c", 10, kNever)}), Texts{"a", "b", "c"}));
  CHECK_FALSE(check_queue(with({push("c", 10, kNever)}), Texts{"a", "b"}));
  CHECK(says(check_queue(Steps{pop("a", 0, 5), push("a", 6, 9)}, Texts{}), "before it was pushed"));
}

TEST_CASE("counter and queue: what a store that does one thing at a time shows passes") {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    SimChance chance(seed);
    Counts counts;
    Steps steps;
    std::deque<std::string> queue;
    int64_t total = 0;
    for (Nanos at = 100; at < 2'100; at += 10) {
      Interval interval{at - chance.between(0, 90), at + chance.between(0, 90)};
      if (chance.ppm(100'000)) interval.returned = kNever;
      bool happens = interval.known() || chance.ppm(500'000);
      counts.push_back({1, interval, happens ? ++total : 0});
      std::string element = "e" + std::to_string(at);
      if (chance.ppm(600'000)) {
        if (happens) queue.push_back(element);
        steps.push_back({1, interval, true, element});
      } else {
        steps.push_back({1, interval, false, ""});
        if (!happens || queue.empty()) continue;
        if (interval.known()) steps.back().element = queue.front();
        queue.pop_front();
      }
    }
    auto problem = check_counter(counts, total);
    CHECK_MESSAGE(!problem, problem.value_or(""));
    problem = check_queue(steps, Texts(queue.begin(), queue.end()));
    CHECK_MESSAGE(!problem, problem.value_or(""));
    // Two with one number are found.
    auto known = [](const Count& count) { return count.interval.known(); };
    auto first = std::ranges::find_if(counts, known);
    auto second = std::find_if(first + 1, counts.end(), known);
    first->result = second->result;
    CHECK(check_counter(counts, total).has_value());
  }
}

}  // namespace quoll::sim
