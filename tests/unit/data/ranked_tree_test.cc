#include "data/ranked_tree.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

using namespace quoll;
using data::LexBoundary;
using data::LexLimit;
using data::RankedTree;
using data::ScoreBoundary;
using data::ScoredMember;

namespace {

// A tree beside an ordered standard set that says what it should hold.
class Pair {
 public:
  using Key = std::pair<double, std::string>;

  ~Pair() {
    while (tree_.drain([](ScoredMember* member) { ScoredMember::destroy(member); })) {
    }
  }

  RankedTree& tree() { return tree_; }
  size_t size() const { return model_.size(); }

  bool insert(double score, const std::string& name) {
    if (members_.contains(name)) return false;
    ScoredMember* member = ScoredMember::make(name, score);
    tree_.insert(member);
    members_[name] = member;
    model_.insert({score + 0.0, name});
    return true;
  }
  bool erase(const std::string& name) {
    auto found = members_.find(name);
    if (found == members_.end()) return false;
    tree_.erase(found->second);
    model_.erase({found->second->score() + 0.0, name});
    ScoredMember::destroy(found->second);
    members_.erase(found);
    return true;
  }
  void rescore(const std::string& name, double score) {
    ScoredMember* member = members_.at(name);
    model_.erase({member->score() + 0.0, name});
    model_.insert({score + 0.0, name});
    tree_.rescore(member, score);
  }
  void take(uint64_t rank, uint64_t count) {
    auto at = std::next(model_.begin(), static_cast<long>(rank));
    bool same = true;
    tree_.take(rank, count, [&](ScoredMember* member) {
      same &= at->first == member->score() && at->second == member->member();
      members_.erase(at->second);
      at = model_.erase(at);
      ScoredMember::destroy(member);
    });
    REQUIRE(same);
  }
  std::string some(std::mt19937_64& random) const {
    auto at = model_.lower_bound({std::ldexp(static_cast<double>(random()), -40), ""});
    return at == model_.end() ? model_.begin()->second : at->second;
  }

  void compare() const {
    tree_.check();
    REQUIRE(tree_.size() == model_.size());
    bool same = true;
    auto at = model_.begin();
    tree_.visit(0, tree_.size(), false, [&](const ScoredMember* member) {
      same &= at->first == member->score() && at->second == member->member();
      ++at;
    });
    REQUIRE(same);
    auto back = model_.rbegin();
    tree_.visit(tree_.size() - (tree_.size() > 0), tree_.size(), true,
                [&](const ScoredMember* member) {
                  same &= back->second == member->member();
                  ++back;
                });
    REQUIRE(same);
  }
  void compare_ranks(std::mt19937_64& random, int tries) const {
    for (int i = 0; i < tries && !model_.empty(); ++i) {
      uint64_t rank = random() % model_.size();
      auto at = std::next(model_.begin(), static_cast<long>(rank));
      ScoredMember* member = tree_.at(rank);
      REQUIRE(member->member() == at->second);
      REQUIRE(tree_.rank_of(member) == rank);
      auto low = std::distance(model_.begin(), model_.lower_bound({at->first, ""}));
      auto high = std::distance(model_.begin(),
                                model_.lower_bound({std::nextafter(at->first, HUGE_VAL), ""}));
      if (at->first == HUGE_VAL) high = static_cast<long>(model_.size());
      REQUIRE(tree_.rank(ScoreBoundary{at->first, false}) == static_cast<uint64_t>(low));
      REQUIRE(tree_.rank(ScoreBoundary{at->first, true}) == static_cast<uint64_t>(high));
    }
  }

 private:
  RankedTree tree_;
  std::set<Key> model_;
  std::unordered_map<std::string, ScoredMember*> members_;
};

using Scores = double (*)(std::mt19937_64&, int step);

double uniform_score(std::mt19937_64& random, int) {
  return std::ldexp(static_cast<double>(random()), -64);
}
double few(std::mt19937_64& random, int) { return static_cast<double>(random() % 7); }
double ascending(std::mt19937_64&, int step) { return 1.7e12 + step; }
double descending(std::mt19937_64&, int step) { return -0.5 * step; }
double jitter(std::mt19937_64& random, int step) {
  return 1.7e12 + step + static_cast<double>(random() % 100);
}
double extreme(std::mt19937_64& random, int) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  constexpr double kValues[] = {-kInf, kInf, 0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308};
  uint64_t draw = random();
  if (draw % 3 == 0) return kValues[draw / 3 % 7];
  double any = std::ldexp(static_cast<double>(draw >> 12), static_cast<int>(draw % 2000) - 1050);
  return draw & 1024 ? any : -any;
}

constexpr Scores kShapes[] = {uniform_score, few, ascending, descending, jitter, extreme};

std::string name(uint64_t number) { return "member:" + std::to_string(number); }

}  // namespace

TEST_CASE("ranked tree: random changes agree with an ordered set") {
  for (Scores scores : kShapes) {
    std::mt19937_64 random(7);
    Pair pair;
    int step = 0;
    for (int round = 0; round < 24; ++round) {
      // Growing and shrinking by turns, through several heights.
      bool growing = round % 6 < 4;
      for (int i = 0; i < 700; ++i) {
        uint64_t draw = random();
        if (draw % 16 == 0 && pair.size() > 0) {
          pair.rescore(pair.some(random), scores(random, ++step));
        } else if (growing ? draw % 8 != 1 : draw % 8 == 1) {
          pair.insert(scores(random, ++step), name(random() % 100000));
        } else if (pair.size() > 0) {
          pair.erase(pair.some(random));
        }
      }
      pair.compare();
      pair.compare_ranks(random, 30);
    }
    while (pair.size() > 0) {
      uint64_t rank = random() % pair.size();
      pair.take(rank, 1 + random() % std::min<uint64_t>(pair.size() - rank, 200));
      pair.tree().check();
    }
    pair.compare();
    CHECK(pair.tree().footprint() == 0);
  }
}

TEST_CASE("ranked tree: erasing from the ends and in the middle keeps it merged") {
  constexpr int kMembers = 20000;
  for (int order = 0; order < 4; ++order) {
    std::mt19937_64 random(11);
    Pair pair;
    for (int i = 0; i < kMembers; ++i)
      pair.insert(uniform_score(random, i), name(static_cast<uint64_t>(i)));
    size_t full = pair.tree().footprint();
    CHECK(full < kMembers * 13);
    for (int i = 0; i < kMembers * 9 / 10; ++i) {
      uint64_t size = pair.size();
      uint64_t rank = order == 0   ? 0
                      : order == 1 ? size - 1
                      : order == 2 ? size / 2
                                   : random() % size;
      pair.take(rank, 1);
    }
    pair.compare();
    CHECK(pair.tree().footprint() < full / 4);
    while (pair.size() > 0) pair.take(order == 1 ? pair.size() - 1 : 0, 1);
    CHECK(pair.tree().footprint() == 0);
  }
}

TEST_CASE("ranked tree: memory per member") {
  constexpr int kMembers = 100000;
  std::mt19937_64 random(3);
  for (Scores scores : {ascending, descending, uniform_score, jitter}) {
    Pair pair;
    for (int i = 0; i < kMembers; ++i)
      pair.insert(scores(random, i), name(static_cast<uint64_t>(i)));
    pair.tree().check();
    double each = static_cast<double>(pair.tree().footprint()) / kMembers;
    MESSAGE("bytes per member: " << each);
    CHECK(each < (scores == uniform_score || scores == jitter ? 12.5 : 9.5));
  }
}

TEST_CASE("ranked tree: a score that keeps its place moves nothing") {
  Pair pair;
  for (int i = 0; i < 100; ++i) pair.insert(10.0 * i, name(static_cast<uint64_t>(i)));
  size_t before = pair.tree().footprint();
  for (int i = 0; i < 100; ++i) pair.rescore(name(static_cast<uint64_t>(i)), 10.0 * i + 5);
  pair.compare();
  CHECK(pair.tree().footprint() == before);
  pair.rescore(name(0), -1e300);
  pair.rescore(name(99), 1e300);
  pair.rescore(name(50), 1e308);
  pair.compare();
}

TEST_CASE("ranked tree: boundaries by bytes") {
  Pair pair;
  for (int i = 0; i < 1000; ++i) {
    std::string text = std::to_string(i);
    pair.insert(0, std::string(3 - std::min<size_t>(3, text.size()), '0') + text);
  }
  auto limit = [](const char* text, bool exclusive) {
    return LexLimit{LexLimit::Kind::member, text, exclusive};
  };
  RankedTree& tree = pair.tree();
  CHECK(tree.rank(LexBoundary::low(limit("100", false))) == 100);
  CHECK(tree.rank(LexBoundary::low(limit("100", true))) == 101);
  CHECK(tree.rank(LexBoundary::high(limit("100", false))) == 101);
  CHECK(tree.rank(LexBoundary::high(limit("100", true))) == 100);
  CHECK(tree.rank(LexBoundary::low(limit("1000", false))) == 101);
  CHECK(tree.rank(LexBoundary::low(limit("", false))) == 0);
  CHECK(tree.rank(LexBoundary::low({LexLimit::Kind::least, {}, true})) == 0);
  CHECK(tree.rank(LexBoundary::high({LexLimit::Kind::greatest, {}, true})) == 1000);
}
