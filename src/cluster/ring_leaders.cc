#include "cluster/ring_leaders.h"

#include <algorithm>
#include <cstdint>

#include "base/check.h"

namespace quoll::cluster {
namespace {

constexpr size_t kNone = SIZE_MAX;

class Leaders {
 public:
  Leaders(std::vector<std::vector<int>>& groups, size_t nodes)
      : groups_(groups), least_(nodes), most_(nodes), led_(nodes), by_(nodes) {
    std::vector<size_t> copies(nodes);
    size_t per_group = 1;
    for (const std::vector<int>& group : groups_) {
      per_group = std::max(per_group, group.size());
      for (int n : group) ++copies[static_cast<size_t>(n)];
    }
    for (size_t n = 0; n < nodes; ++n) {
      least_[n] = copies[n] / per_group;
      most_[n] = (copies[n] + per_group - 1) / per_group;
    }
  }

  void choose(const std::vector<bool>& keeps) {
    for (size_t g = 0; g < groups_.size(); ++g)
      if (keeps[g]) lead(g, 0);
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (keeps[g]) continue;
      size_t best = 0;
      for (size_t i = 1; i < groups_[g].size(); ++i)
        if (fuller(node(g, best), node(g, i))) best = i;
      lead(g, best);
    }
  }

  void settle() {
    for (size_t n = 0; n < led_.size(); ++n)
      while (led_[n] > most_[n] && hand_on(n, true)) {
      }
    for (size_t n = 0; n < led_.size(); ++n)
      while (led_[n] < least_[n] && hand_on(n, false)) {
      }
  }

 private:
  size_t node(size_t group, size_t i) const { return static_cast<size_t>(groups_[group][i]); }

  bool fuller(size_t a, size_t b) const {
    return led_[a] * std::max<size_t>(most_[b], 1) > led_[b] * std::max<size_t>(most_[a], 1);
  }

  void lead(size_t group, size_t i) {
    std::swap(groups_[group][0], groups_[group][i]);
    const size_t n = node(group, 0);
    ++led_[n];
    by_[n].push_back(group);
  }

  struct Reached {
    size_t group = 0;  // through which
    size_t from = kNone;
  };

  // One chain that takes a group from `n` (too many), or brings it one (too few).
  bool hand_on(size_t n, bool away) {
    std::vector<Reached> reached(led_.size());
    std::vector<size_t> queue = {n};
    reached[n].from = n;
    const auto reach = [&](size_t from, size_t group, size_t to) {
      if (reached[to].from != kNone) return false;
      reached[to] = {group, from};
      queue.push_back(to);
      return away ? led_[to] < most_[to] : led_[to] > least_[to];
    };
    for (size_t next = 0; next < queue.size(); ++next) {
      const size_t at = queue[next];
      if (away) {
        for (size_t g : by_[at])
          for (size_t i = 1; i < groups_[g].size(); ++i)
            if (reach(at, g, node(g, i))) return turn_over(reached, node(g, i), n, away);
      } else {
        for (size_t g = 0; g < groups_.size(); ++g)
          if (follows(g, at) && reach(at, g, node(g, 0)))
            return turn_over(reached, node(g, 0), n, away);
      }
    }
    return false;
  }

  bool follows(size_t group, size_t n) const {
    const std::vector<int>& members = groups_[group];
    return std::find(members.begin() + 1, members.end(), static_cast<int>(n)) != members.end();
  }

  bool turn_over(const std::vector<Reached>& reached, size_t last, size_t first, bool away) {
    for (size_t at = last; at != first; at = reached[at].from)
      change(reached[at].group, away ? at : reached[at].from);
    return true;
  }

  void change(size_t group, size_t to) {
    const size_t from = node(group, 0);
    std::erase(by_[from], group);
    --led_[from];
    std::vector<int>& members = groups_[group];
    const auto it = std::find(members.begin() + 1, members.end(), static_cast<int>(to));
    QUOLL_CHECK(it != members.end());
    lead(group, static_cast<size_t>(it - members.begin()));
  }

  std::vector<std::vector<int>>& groups_;
  std::vector<size_t> least_, most_, led_;
  std::vector<std::vector<size_t>> by_;  // groups a node leads
};

}  // namespace

void balance_leaders(std::vector<std::vector<int>>& groups, const std::vector<bool>& keeps,
                     size_t nodes) {
  if (groups.empty() || groups[0].empty()) return;
  Leaders leaders(groups, nodes);
  leaders.choose(keeps);
  leaders.settle();
}

}  // namespace quoll::cluster
