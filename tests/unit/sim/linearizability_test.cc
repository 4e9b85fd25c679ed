#include "tests/sim/linearizability.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <vector>

#include "tests/sim/sim_chance.h"

namespace quoll::sim {
namespace {

using Operations = std::vector<Operation>;
using Text = std::optional<std::string>;

// What a key does, in the plainest way: the reply, and the value afterwards.
Text run(const Operation& operation, Text& value) {
  const Text before = value;
  auto done = [](bool yes) { return Text(yes ? "1" : "0"); };
  switch (operation.verb) {
    case Verb::get:
      return before;
    case Verb::set:
      value = operation.value;
      return "OK";
    case Verb::set_if_absent:
      if (!before) value = operation.value;
      return done(!before);
    case Verb::compare_and_set:
      if (before == operation.expected) value = operation.value;
      return done(before == operation.expected);
    case Verb::get_and_set:
      value = operation.value;
      return before;
    case Verb::increment:
      if (before && before->find_first_not_of("0123456789") != std::string::npos) return "error";
      value = std::to_string(before ? std::stoll(*before) + 1 : 1);
      return value;
    case Verb::erase:
      value.reset();
      return done(before.has_value());
    case Verb::get_and_erase:
      value.reset();
      return before;
  }
  return before;
}

Operation operation(int client, Verb verb, Nanos invoked, Nanos returned, Text result = {},
                    std::string value = "", std::string expected = "") {
  return {client, verb, "k", std::move(value), std::move(expected), {invoked, returned}, result};
}

bool holds(const Operations& history) {
  Linearizability found = check_linearizable(history);
  CHECK(found.verdict != Linearizability::Verdict::undecided);
  return found.holds();
}

// Every order of the operations, with and without those of unknown outcome.
bool any_order(const Operations& history, std::vector<bool>& taken, const Text& value) {
  bool all = true;
  for (size_t i = 0; i < history.size(); ++i) all &= taken[i] || !history[i].interval.known();
  if (all) return true;
  for (size_t i = 0; i < history.size(); ++i) {
    bool next = !taken[i];
    for (size_t j = 0; j < history.size(); ++j)
      next &= taken[j] || !history[j].interval.before(history[i].interval);
    if (!next) continue;
    Text after = value;
    Text result = run(history[i], after);
    if (history[i].interval.known() && result != history[i].result) continue;
    taken[i] = true;
    if (any_order(history, taken, after)) return true;
    taken[i] = false;
  }
  return false;
}

bool any_order(const Operations& history) {
  std::vector<bool> taken(history.size());
  return any_order(history, taken, std::nullopt);
}

struct Habits {
  int clients = 6;
  int keys = 1;
  int operations = 400;
  int64_t unknown_ppm = 0;
  std::vector<Verb> verbs = {Verb::get,           Verb::get,          Verb::set,
                             Verb::set_if_absent, Verb::get_and_set,  Verb::compare_and_set,
                             Verb::erase,         Verb::get_and_erase};
};

// Clients at a store that does one thing at a time, at a random moment between invocation and
// return; what has an unknown outcome happens at any later moment, or never.
class Store {
 public:
  Store(uint64_t seed, Habits habits) : chance_(seed), habits_(std::move(habits)) {}

  Operations play() {
    std::vector<Nanos> free(static_cast<size_t>(habits_.clients));
    for (int i = 0; i < habits_.operations; ++i) {
      auto client = static_cast<size_t>(std::ranges::min_element(free) - free.begin());
      invoke(static_cast<int>(client), free[client]);
    }
    std::ranges::sort(moments_);
    for (const auto& [at, index] : moments_) {
      Operation& operation = history_[index];
      // What it expects is what a client may have read by now.
      if (operation.verb == Verb::compare_and_set && chance_.ppm(700'000))
        operation.expected = values_[operation.key].value_or("none");
      Text result = run(operation, values_[operation.key]);
      if (operation.interval.known()) operation.result = result;
    }
    return history_;
  }

 private:
  void invoke(int client, Nanos& free) {
    Operation operation;
    operation.client = client;
    operation.verb = habits_.verbs[static_cast<size_t>(
        chance_.between(0, static_cast<int64_t>(habits_.verbs.size()) - 1))];
    operation.key = "k" + std::to_string(chance_.between(1, habits_.keys));
    operation.value = "v" + std::to_string(history_.size());
    operation.expected = "v" + std::to_string(chance_.between(0, habits_.operations));
    operation.interval.invoked = free + chance_.between(1, 50);
    Nanos end = operation.interval.invoked + chance_.between(2, 100);
    free = end;
    const size_t index = history_.size();
    if (!chance_.ppm(habits_.unknown_ppm)) {
      operation.interval.returned = end;
      moments_.push_back({chance_.between(operation.interval.invoked, end), index});
    } else if (chance_.ppm(600'000)) {
      moments_.push_back({operation.interval.invoked + chance_.between(0, 3'000), index});
    }
    history_.push_back(operation);
  }

  SimChance chance_;
  Habits habits_;
  Operations history_;
  std::vector<std::pair<Nanos, size_t>> moments_;
  std::map<std::string, Text> values_;
};

}  // namespace

TEST_CASE("linearizability: what fits, and what does not") {
  const Text none;
  CHECK(holds({}));
  CHECK(holds({operation(1, Verb::get, 1, 2, none)}));
  // A write and two reads during it: the first may see it and the second must then.
  Operation write = operation(1, Verb::set, 0, 100, "OK", "a");
  CHECK(holds({write, operation(2, Verb::get, 10, 20, "a"), operation(2, Verb::get, 30, 40, "a")}));
  CHECK(
      holds({write, operation(2, Verb::get, 10, 20, none), operation(2, Verb::get, 30, 40, "a")}));
  CHECK_FALSE(
      holds({write, operation(2, Verb::get, 10, 20, "a"), operation(2, Verb::get, 30, 40, none)}));
  // A stale read after the write returned; a read of what nobody wrote.
  CHECK_FALSE(holds({write, operation(2, Verb::get, 101, 102, none)}));
  CHECK_FALSE(holds({write, operation(2, Verb::get, 10, 20, "b")}));
}

TEST_CASE("linearizability: conditions") {
  Operation first = operation(1, Verb::set_if_absent, 0, 10, "1", "a");
  CHECK(holds({first, operation(2, Verb::set_if_absent, 5, 20, "0", "b")}));
  CHECK_FALSE(holds({first, operation(2, Verb::set_if_absent, 5, 20, "1", "b")}));
  CHECK_FALSE(holds({operation(2, Verb::set_if_absent, 5, 20, "0", "b")}));
  // Of two that compare with the same value only one may win.
  Operation begin = operation(1, Verb::set, 0, 10, "OK", "a");
  Operation one = operation(1, Verb::compare_and_set, 20, 40, "1", "b", "a");
  CHECK(holds({begin, one, operation(2, Verb::compare_and_set, 20, 40, "0", "c", "a")}));
  CHECK_FALSE(holds({begin, one, operation(2, Verb::compare_and_set, 20, 40, "1", "c", "a")}));
  // GETDEL hands a value out once.
  Operation take = operation(1, Verb::get_and_erase, 20, 40, "a");
  CHECK(holds({begin, take, operation(2, Verb::get_and_erase, 20, 40, std::nullopt)}));
  CHECK_FALSE(holds({begin, take, operation(2, Verb::get_and_erase, 20, 40, "a")}));
  CHECK(holds({begin, take, operation(2, Verb::erase, 30, 50, "0")}));
  CHECK(holds({begin, operation(1, Verb::get_and_set, 20, 30, "a", "b"),
               operation(1, Verb::get, 40, 50, "b")}));
}

TEST_CASE("linearizability: INCR") {
  Operation one = operation(1, Verb::increment, 0, 10, "1");
  CHECK(holds({one, operation(2, Verb::increment, 0, 10, "2")}));
  CHECK_FALSE(holds({one, operation(2, Verb::increment, 0, 10, "1")}));  // a duplicate
  CHECK_FALSE(holds({one, operation(2, Verb::increment, 0, 10, "3")}));  // a gap
  CHECK(holds(
      {operation(3, Verb::increment, 0, kNever), one, operation(2, Verb::increment, 20, 30, "3")}));
  CHECK_FALSE(holds({one, operation(2, Verb::increment, 20, 30, "3"),
                     operation(3, Verb::increment, 40, kNever)}));
  CHECK(holds(
      {operation(1, Verb::set, 0, 1, "OK", "word"), operation(1, Verb::increment, 2, 3, "error")}));
  CHECK(holds(
      {operation(1, Verb::set, 0, 1, "OK", "41"), operation(1, Verb::increment, 2, 3, "42")}));
}

TEST_CASE("linearizability: an unknown outcome may come late, once, or never") {
  Operation unknown = operation(1, Verb::set, 0, kNever, {}, "a");
  Operation other = operation(2, Verb::set, 10, 20, "OK", "b");
  auto read = [](Nanos at, Text value) { return operation(3, Verb::get, at, at + 5, value); };
  CHECK(holds({unknown, other, read(30, "b"), read(90, "b")}));
  CHECK(holds({unknown, other, read(30, "b"), read(90, "a")}));  // late
  CHECK(holds({unknown, read(5, "a"), other, read(30, "b")}));
  CHECK_FALSE(holds({unknown, other, read(30, "a"), read(40, "b")}));  // b would be back
  CHECK_FALSE(holds({unknown, read(5, "a"), other, read(30, "b"), read(40, "a")}));  // twice
  // Two steps of unknown outcome in front of one that shows them.
  CHECK(holds({operation(1, Verb::erase, 15, kNever),
               operation(1, Verb::set_if_absent, 16, kNever, {}, "c"), other, read(30, "c")}));
}

TEST_CASE("linearizability: valid histories pass, with unknown outcomes as well") {
  int decided = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    Habits habits;
    habits.clients = 1 + static_cast<int>(seed % 9);
    habits.unknown_ppm = seed % 3 == 0 ? 0 : 10'000;
    if (seed % 2 == 0)
      habits.verbs = {Verb::get, Verb::increment, Verb::increment, Verb::get_and_erase,
                      Verb::erase};
    Linearizability found = check_linearizable(Store(seed, habits).play());
    CHECK(found.verdict != Linearizability::Verdict::violated);
    decided += found.holds();
  }
  CHECK(decided >= 55);  // the others: nine clients at one number, several unknown INCRs and DELs
}

TEST_CASE("linearizability: thousands of operations take a moment") {
  Habits habits{.clients = 10, .keys = 8, .operations = 20'000, .unknown_ppm = 3'000};
  Operations history = Store(7, habits).play();
  Linearizability found = check_linearizable(history);
  CHECK(found.holds());
  CHECK(found.states_most < 2'000);
}

TEST_CASE("linearizability: the same answer as trying all orders") {
  constexpr std::array kVerbs = {Verb::get,           Verb::set,       Verb::set_if_absent,
                                 Verb::get_and_set,   Verb::increment, Verb::compare_and_set,
                                 Verb::get_and_erase, Verb::erase};
  SimChance chance(11);
  int good = 0;
  int bad = 0;
  for (int round = 0; round < 10'000; ++round) {
    CAPTURE(round);
    Operations history;
    auto some = [&] { return std::to_string(chance.between(1, 3)); };
    for (int64_t left = chance.between(2, 6); left > 0; --left) {
      Operation next =
          operation(static_cast<int>(left), kVerbs[chance.draw() % kVerbs.size()], 0, 0);
      next.value = some();
      next.expected = some();
      next.interval.invoked = chance.between(0, 40);
      if (chance.ppm(700'000)) {
        next.interval.returned = next.interval.invoked + chance.between(1, 30);
        if (next.verb == Verb::set)
          next.result = "OK";
        else if (next.verb == Verb::set_if_absent || next.verb == Verb::compare_and_set ||
                 next.verb == Verb::erase)
          next.result = chance.ppm(500'000) ? "1" : "0";
        else if (next.verb == Verb::increment || chance.ppm(600'000))
          next.result = some();
      } else {
        next.interval.returned = kNever;
      }
      history.push_back(next);
    }
    bool expected = any_order(history);
    ++(expected ? good : bad);
    REQUIRE(holds(history) == expected);
  }
  CHECK(good > 1'000);
  CHECK(bad > 1'000);
}

TEST_CASE("linearizability: most spoilt histories are found, and shown") {
  constexpr int kRounds = 100;
  int found = 0;
  for (uint64_t seed = 1; seed <= kRounds; ++seed) {
    Habits habits{.operations = 120, .unknown_ppm = 10'000};
    Operations history = Store(seed, habits).play();
    // A reply is that of another read, or a write that was acknowledged never was.
    SimChance chance(seed);
    std::vector<size_t> reads;
    for (size_t i = 0; i < history.size(); ++i)
      if (history[i].verb == Verb::get && history[i].interval.known()) reads.push_back(i);
    Operation& spoilt = history[reads[chance.draw() % reads.size()]];
    Operation& other = history[reads[chance.draw() % reads.size()]];
    if (spoilt.result == other.result) {
      ++found;  // nothing was spoilt
      continue;
    }
    spoilt.result = other.result;
    Linearizability report = check_linearizable(history);
    if (report.holds()) continue;
    ++found;
    CHECK(report.explanation.find("<-- fits in no order") != std::string::npos);
    CHECK(std::ranges::count(report.explanation, '\n') <= 43);
  }
  CHECK(found > kRounds * 8 / 10);
}

TEST_CASE("linearizability: the explanation reads like what happened") {
  Operations history = {operation(1, Verb::set, 1'000'000, 2'000'000, "OK", "a"),
                        operation(1, Verb::set, 3'000'000, 4'000'000, "OK", "b"),
                        operation(2, Verb::get, 5'000'000, 6'500'000, "a")};
  CHECK(check_linearizable(history).explanation ==
        "key k is not linearizable. At 4000 us it held a value that no "
        "reply shows; before the last reply below it held a value that no reply shows.\n"
        "     1.000 ..      2.000 ms  client 1  SET k a -> OK\n"
        "     3.000 ..      4.000 ms  client 1  SET k b -> OK\n"
        "     5.000 ..      6.500 ms  client 2  GET k -> a   <-- fits in no order\n");
}

}  // namespace quoll::sim
