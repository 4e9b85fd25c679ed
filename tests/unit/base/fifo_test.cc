#include "base/fifo.h"

#include <doctest/doctest.h>

#include <deque>
#include <random>

namespace quoll::base {
namespace {

TEST_CASE("a fifo gives what was put in, in order, however long it is") {
  Fifo<int> fifo;
  std::deque<int> model;
  std::mt19937 chance(1);
  int next = 0;
  for (int round = 0; round < 2000; ++round) {
    // Now and then it becomes long, and now and then empty.
    const unsigned in = chance() % (round % 100 == 0 ? 1000 : 8);
    const unsigned out = chance() % (round % 97 == 0 ? 1500 : 8);
    for (unsigned i = 0; i < in; ++i) {
      fifo.push_back(next);
      model.push_back(next++);
    }
    for (unsigned i = 0; i < out && !model.empty(); ++i) {
      REQUIRE(fifo.front() == model.front());
      fifo.pop_front();
      model.pop_front();
    }
    REQUIRE(fifo.size() == model.size());
    REQUIRE(fifo.empty() == model.empty());
    REQUIRE(std::equal(fifo.begin(), fifo.end(), model.begin(), model.end()));
    if (!model.empty()) REQUIRE(fifo[model.size() / 2] == model[model.size() / 2]);
  }
}

TEST_CASE("a fifo that was moved from can be used again") {
  Fifo<int> fifo;
  for (int i = 0; i < 5; ++i) fifo.push_back(i);
  fifo.pop_front();
  Fifo<int> other = std::move(fifo);
  fifo.clear();
  CHECK(fifo.empty());
  fifo.push_back(7);
  CHECK(fifo.front() == 7);
  CHECK(other.size() == 4);
  CHECK(other.front() == 1);
}

}  // namespace
}  // namespace quoll::base
