#include "tests/sim/list_append.h"

#include <algorithm>
#include <map>

#include "tests/sim/sim_chance.h"

namespace quoll::sim {
namespace {

using Transactions = std::vector<Transaction>;
using Values = std::vector<std::string>;
using Lists = std::map<std::string, Values>;

ListStep append(std::string key, std::string value) {
  return {std::move(key), std::move(value), {}};
}
ListStep read(std::string key, Values values) { return {std::move(key), "", std::move(values)}; }

Transaction done(Nanos invoked, Nanos returned, std::vector<ListStep> steps) {
  return {1, {invoked, returned}, std::move(steps)};
}

bool lists_hold(const Transactions& history) { return !check_list_append(history); }

// Whether the problem found says so.
bool complains(const Transactions& history, std::string_view what) {
  auto problem = check_list_append(history);
  if (problem && problem->find(what) == std::string::npos) MESSAGE(*problem);
  return problem && problem->find(what) != std::string::npos;
}

// Runs a transaction; false when what it read was something else.
bool run(const Transaction& transaction, Lists& lists) {
  for (const ListStep& step : transaction.steps) {
    Values& list = lists[step.key];
    if (step.appends())
      list.push_back(step.appended);
    else if (transaction.interval.known() && list != step.read)
      return false;
  }
  return true;
}

bool any_order(const Transactions& history, std::vector<bool>& taken, const Lists& lists) {
  bool all = true;
  for (size_t i = 0; i < history.size(); ++i)
    all &= taken[i] || history[i].failed || !history[i].interval.known();
  if (all) return true;
  for (size_t i = 0; i < history.size(); ++i) {
    bool next = !taken[i] && !history[i].failed;
    for (size_t j = 0; j < history.size(); ++j)
      next &= taken[j] || history[j].failed || !history[j].interval.before(history[i].interval);
    Lists after = lists;
    if (!next || !run(history[i], after)) continue;
    taken[i] = true;
    if (any_order(history, taken, after)) return true;
    taken[i] = false;
  }
  return false;
}

bool any_order(const Transactions& history) {
  std::vector<bool> taken(history.size());
  return any_order(history, taken, {});
}

// Transactions at a store that does one at a time.
Transactions play(uint64_t seed, int clients, int count, int keys, int64_t unknown_ppm) {
  SimChance chance(seed);
  Transactions history;
  std::vector<Nanos> free(static_cast<size_t>(clients));
  std::vector<std::pair<Nanos, size_t>> moments;
  for (int i = 0; i < count; ++i) {
    auto client = static_cast<size_t>(std::ranges::min_element(free) - free.begin());
    Transaction next{static_cast<int>(client), {}, {}};
    for (int64_t steps = chance.between(1, 4); steps > 0; --steps) {
      std::string key = "l" + std::to_string(chance.between(1, keys));
      bool appends = chance.ppm(500'000);
      next.steps.push_back(
          {key, appends ? std::to_string(i) + "." + std::to_string(steps) : "", {}});
    }
    next.interval.invoked = free[client] + chance.between(1, 50);
    Nanos end = free[client] = next.interval.invoked + chance.between(2, 100);
    bool unknown = chance.ppm(unknown_ppm);
    if (!unknown) next.interval.returned = end;
    if (!unknown || chance.ppm(500'000))
      moments.push_back(
          {chance.between(next.interval.invoked, end + (unknown ? 2'000 : 0)), history.size()});
    history.push_back(std::move(next));
  }
  std::ranges::sort(moments);
  Lists lists;
  for (const auto& [at, index] : moments)
    for (ListStep& step : history[index].steps) {
      if (step.appends())
        lists[step.key].push_back(step.appended);
      else if (history[index].interval.known())
        step.read = lists[step.key];
    }
  return history;
}

// One read in a finished transaction that shows something.
ListStep* some_read(Transactions& history, SimChance& chance) {
  std::vector<ListStep*> reads;
  for (Transaction& transaction : history)
    for (ListStep& step : transaction.steps)
      if (transaction.interval.known() && step.read.size() > 1) reads.push_back(&step);
  return reads.empty() ? nullptr : reads[chance.draw() % reads.size()];
}

}  // namespace

TEST_CASE("list-append: what fits") {
  CHECK(lists_hold({}));
  CHECK(lists_hold({done(0, 10, {append("x", "1"), append("y", "2")}),
                    done(5, 20, {read("x", {}), append("x", "3"), append("y", "4")}),
                    done(30, 40, {read("y", {"4", "2"}), read("x", {"3", "1"})})}));
}

TEST_CASE("list-append: what is known to go wrong") {
  Transaction one = done(0, 10, {append("x", "1")});
  Transaction two = done(0, 10, {append("x", "2")});
  CHECK(complains({one, done(20, 30, {read("x", {})})}, "a lost append: 1"));
  CHECK(complains({one, done(20, 30, {read("x", {"1", "1"})})}, "twice"));
  CHECK(complains({one, done(20, 30, {read("x", {"9", "1"})})}, "never appended"));
  // A split brain: each side has its own list.
  CHECK(complains({one, two, done(5, 30, {read("x", {"1", "2"})}), done(5, 30, {read("x", {"2"})})},
                  "two orders of x"));
  Transaction refused = one;
  refused.failed = true;
  CHECK(complains({refused, done(20, 30, {read("x", {"1"})})}, "an aborted read"));
  Transaction both = done(0, 50, {append("x", "a"), append("x", "b")});
  CHECK(complains({both, done(0, 50, {read("x", {"a"})})}, "a part of a transaction"));
  CHECK(complains({both, two, done(0, 50, {read("x", {"a", "2", "b"})})}, "stands between"));
  CHECK(complains({both, done(0, 50, {read("x", {"b", "a"})})}, "in another order"));
  CHECK(complains({done(0, 9, {append("x", "1"), read("x", {})})}, "what it did"));
  CHECK(complains({done(0, 9, {read("x", {"1"}), append("x", "1")})}, "yet to do"));
  CHECK(complains({done(0, 9, {read("x", {"1"})}), done(10, 20, {append("x", "1")})},
                  "before it was sent"));
}

TEST_CASE("list-append: cycles") {
  // Half a transaction is seen: x before it, y after it.
  Transaction both = done(0, 50, {append("x", "1"), append("y", "2")});
  CHECK(complains({both, done(0, 50, {read("x", {}), read("y", {"2"})})}, "a cycle"));
  // Write skew: each reads without the other's append.
  CHECK(complains({done(0, 50, {read("x", {}), append("y", "2")}),
                   done(0, 50, {read("y", {}), append("x", "1")}),
                   done(60, 70, {read("x", {"1"}), read("y", {"2"})})},
                  "a cycle"));
  // Two appended in the other order than that of time.
  CHECK(complains({done(0, 10, {append("x", "1")}), done(20, 30, {append("x", "2")}),
                   done(40, 50, {read("x", {"2", "1"})})},
                  "rt: "));
  // A read that is older than one that had returned.
  CHECK(complains({done(0, 100, {append("x", "1")}), done(10, 20, {read("x", {"1"})}),
                   done(30, 40, {read("x", {})})},
                  "a cycle"));
}

TEST_CASE("list-append: an unknown outcome counts once it was seen") {
  Transaction unknown = done(0, kNever, {append("x", "1"), append("y", "2")});
  CHECK(lists_hold({unknown, done(20, 30, {read("x", {})})}));
  CHECK(lists_hold({unknown, done(20, 30, {read("x", {})}), done(40, 50, {read("x", {"1"})})}));
  CHECK_FALSE(
      lists_hold({unknown, done(20, 30, {read("x", {"1"})}), done(40, 50, {read("x", {})})}));
  CHECK_FALSE(
      lists_hold({unknown, done(20, 30, {read("x", {"1"})}), done(40, 50, {read("y", {})})}));
}

TEST_CASE("list-append: valid histories pass; most spoilt ones do not") {
  int spoilt = 0;
  int found = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    Transactions history = play(seed, 1 + static_cast<int>(seed % 7), 60, 3, seed % 2 ? 40'000 : 0);
    auto problem = check_list_append(history);
    CHECK_MESSAGE(!problem, problem.value_or(""));
    SimChance chance(seed);
    ListStep* step = some_read(history, chance);
    if (!step) continue;
    ++spoilt;
    switch (seed % 4) {
      case 0:
        step->read.pop_back();
        break;
      case 1:
        std::swap(step->read[0], step->read[1]);
        break;
      case 2:
        step->read.push_back(step->read[0]);
        break;
      case 3:
        step->read.erase(step->read.begin());
        break;
    }
    found += !lists_hold(history);
  }
  CHECK(spoilt > 150);
  CHECK(found > spoilt * 8 / 10);
}

TEST_CASE("list-append: what is found has no order, by trying all") {
  int good = 0;
  int bad = 0;
  int missed = 0;
  for (uint64_t seed = 1; seed <= 4'000; ++seed) {
    CAPTURE(seed);
    Transactions history = play(seed, 3, 6, 2, 150'000);
    SimChance chance(seed);
    for (int64_t wrongs = chance.between(0, 2); wrongs > 0; --wrongs) {
      ListStep* step = some_read(history, chance);
      if (!step) break;
      if (chance.ppm(500'000))
        step->read.pop_back();
      else
        std::swap(step->read.front(), step->read.back());
    }
    bool expected = any_order(history);
    bool answer = lists_hold(history);
    REQUIRE((answer || !expected));  // never a false alarm
    ++(expected ? good : bad);
    missed += answer && !expected;
  }
  CHECK(good > 1'000);
  CHECK(bad > 1'000);
  CHECK(missed < bad / 50);
}

TEST_CASE("list-append: thousands of transactions") {
  CHECK(lists_hold(play(3, 10, 1'500, 20, 5'000)));
}

}  // namespace quoll::sim
