#include "cluster/ring_flow.h"

#include <algorithm>
#include <queue>

#include "base/check.h"

namespace quoll::cluster {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014).
uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a * 0x9e3779b97f4a7c15u + b;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

constexpr uint32_t kNowhere = ~uint32_t{0};

}  // namespace

RingFlow::RingFlow(const RingPlaces& ring, std::vector<std::vector<Offer>> offers)
    : ring_(ring),
      offers_(std::move(offers)),
      first_node_(static_cast<uint32_t>(offers_.size() * ring.places.size())),
      copies_(offers_.size()),
      held_(ring.nodes.size()),
      vertices_(first_node_ + ring.nodes.size()) {}

const std::vector<std::vector<int>>& RingFlow::solve() {
  keep();
  for (;;) {
    ++searches_;
    bool complete = true;
    for (size_t g = 0; g < copies_.size(); ++g) {
      while (lacks(g) && search(g)) {
      }
      complete = complete && !lacks(g);
    }
    if (complete) return copies_;
    raise_potentials();
  }
}

// ---- copies and room

int32_t RingFlow::cost(size_t group, int n) const {
  for (const Offer& offer : offers_[group])
    if (offer.node == n) return offer.cost;
  return kCostNew;
}

bool RingFlow::holds(size_t group, int n) const {
  const std::vector<int>& copies = copies_[group];
  return std::find(copies.begin(), copies.end(), n) != copies.end();
}

unsigned RingFlow::used(size_t group, int p) const {
  const unsigned depth = place(p).depth;
  unsigned count = 0;
  for (int n : copies_[group]) count += node(n).within[depth] == p;
  return count;
}

bool RingFlow::has_room(size_t group, int n) const {
  if (holds(group, n)) return false;
  for (int p : node(n).within)
    if (p != kNoPlace && used(group, p) >= place(p).cap) return false;
  return true;
}

void RingFlow::assign(size_t group, int n) {
  copies_[group].push_back(n);
  held_[static_cast<size_t>(n)].push_back(static_cast<GroupNumber>(group));
}

void RingFlow::release(size_t group, int n) {
  std::erase(copies_[group], n);
  std::erase(held_[static_cast<size_t>(n)], static_cast<GroupNumber>(group));
}

// ---- what stays

// All copies that cost nothing, as far as places allow; then every node with too many gives some
// up, of groups that have not lost one if it can be: what a group lost, one newcomer cannot replace
// twice.
void RingFlow::keep() {
  for (size_t g = 0; g < offers_.size(); ++g)
    for (const Offer& offer : offers_[g])
      if (offer.cost == kCostKept && has_room(g, offer.node)) assign(g, offer.node);
  std::vector<unsigned> lost(offers_.size());
  for (size_t g = 0; g < offers_.size(); ++g)
    lost[g] = ring_.copies - static_cast<unsigned>(copies_[g].size());
  for (size_t n = 0; n < ring_.nodes.size(); ++n) give_up(static_cast<int>(n), lost);
}

void RingFlow::give_up(int n, std::vector<unsigned>& lost) {
  const std::vector<GroupNumber>& held = held_[static_cast<size_t>(n)];
  if (held.size() <= node(n).target) return;
  std::vector<GroupNumber> order = held;
  const uint64_t token = node(n).token;
  std::sort(order.begin(), order.end(), [&](GroupNumber a, GroupNumber b) {
    return lost[a] != lost[b] ? lost[a] < lost[b] : mix(token, a) < mix(token, b);
  });
  order.resize(held.size() - node(n).target);
  for (GroupNumber g : order) {
    release(g, n);
    ++lost[g];
  }
}

// ---- the network

template <class Visit>
bool RingFlow::each_arc_down(size_t group, int p, Visit&& visit) const {
  const RingPlace& here = place(p);
  // From where the group stands on the ring, somewhat farther on for each copy of each group.
  const uint64_t chance = mix(group, copies_[group].size());
  const size_t turn = chance % (here.places.size() + 1) + group;
  for (size_t i = 0; i < here.places.size(); ++i) {
    const int below = here.places[(i + turn) % here.places.size()];
    if (used(group, below) < place(below).cap && visit(vertex_of(group, below), 0)) return true;
  }
  if (here.nodes.empty()) return false;
  const size_t window = 1 + kScatter * copies_.size() / ring_.nodes.size();
  const size_t stands = (group + chance % window) % copies_.size();
  const auto home = static_cast<unsigned>(uint64_t{here.target} * stands / copies_.size());
  const auto& before = here.targets_before;
  const size_t first =
      static_cast<size_t>(std::upper_bound(before.begin(), before.end(), home) - before.begin()) -
      1;
  for (size_t i = 0; i < here.nodes.size(); ++i) {
    const int n = here.nodes[(i + first) % here.nodes.size()];
    if (!holds(group, n) && visit(vertex_of_node(n), cost(group, n))) return true;
  }
  return false;
}

template <class Visit>
void RingFlow::each_arc(uint32_t from, Visit&& visit) const {
  if (from >= first_node_) {
    const auto n = static_cast<int>(from - first_node_);
    for (GroupNumber g : held_[static_cast<size_t>(n)])
      if (visit(vertex_of(g, node(n).place), -cost(g, n))) return;
    return;
  }
  const size_t group = from / ring_.places.size();
  const auto p = static_cast<int>(from % ring_.places.size());
  if (each_arc_down(group, p, visit)) return;
  const int up = place(p).parent;
  if (up != kNoPlace && used(group, p) > 0) visit(vertex_of(group, up), 0);
}

// Along arcs of reduced cost 0 to a node with room. What a search that fails has seen leads nowhere
// until the potentials rise. Places are passed through at once, so that a short way is found before
// the places of every group on the way are looked at.
bool RingFlow::search(size_t group) {
  seen_.clear();
  queue_.clear();
  uint32_t found = pass(kNowhere, vertex_of(group, 0));
  for (size_t next = 0; next < queue_.size() && found == kNowhere; ++next) {
    const uint32_t at = queue_[next];
    each_arc(at, [&](uint32_t to, int32_t cost) {
      if (cost + vertices_[at].potential == vertices_[to].potential) found = pass(at, to);
      return found != kNowhere;
    });
  }
  if (found == kNowhere) return false;
  for (uint32_t vertex : seen_) vertices_[vertex].seen = 0;
  turn_over(found);
  return true;
}

// A place, and those that follow from it; their nodes are queued. The first of them with room.
uint32_t RingFlow::pass(uint32_t from, uint32_t place) {
  if (!see(from, place)) return kNowhere;
  uint32_t found = kNowhere;
  each_arc(place, [&](uint32_t to, int32_t cost) {
    if (cost + vertices_[place].potential != vertices_[to].potential) return false;
    if (to < first_node_) {
      found = pass(place, to);
    } else if (see(place, to)) {
      queue_.push_back(to);
      const size_t n = to - first_node_;
      if (vertices_[to].potential == 0 && held_[n].size() < ring_.nodes[n].target) found = to;
    }
    return found != kNowhere;
  });
  return found;
}

bool RingFlow::see(uint32_t from, uint32_t vertex) {
  if (vertices_[vertex].seen == searches_) return false;
  vertices_[vertex].seen = searches_;
  vertices_[vertex].from = from;
  seen_.push_back(vertex);
  return true;
}

// Along the path that search() found: a node takes what the path brings, and gives up what it
// leads on to.
void RingFlow::turn_over(uint32_t last) {
  uint32_t next = kNowhere;
  for (uint32_t at = last; at != kNowhere; next = at, at = vertices_[at].from) {
    if (at < first_node_) continue;
    const auto n = static_cast<int>(at - first_node_);
    if (next != kNowhere) release(next / ring_.places.size(), n);
    assign(vertices_[at].from / ring_.places.size(), n);
  }
}

// Dijkstra's distances from all groups that lack a copy, as far as the nearest node with room. The
// sink's potential stays 0, so what lies farther off than it is left as it is.
void RingFlow::raise_potentials() {
  ++searches_;
  using Reached = std::pair<int32_t, uint32_t>;
  std::priority_queue<Reached, std::vector<Reached>, std::greater<>> open;
  std::vector<uint32_t> settled;
  int32_t nearest = INT32_MAX;
  const auto reach = [&](uint32_t vertex, int32_t distance) {
    Vertex& at = vertices_[vertex];
    if (distance >= nearest || (at.seen == searches_ && at.distance <= distance)) return;
    at.seen = searches_;
    at.distance = distance;
    open.push({distance, vertex});
    if (vertex < first_node_) return;
    const size_t n = vertex - first_node_;
    if (held_[n].size() < ring_.nodes[n].target)
      nearest = std::min(nearest, distance + at.potential);
  };
  for (size_t g = 0; g < copies_.size(); ++g)
    if (lacks(g)) reach(vertex_of(g, 0), 0);
  while (!open.empty()) {
    const auto [distance, vertex] = open.top();
    open.pop();
    if (distance >= nearest || distance > vertices_[vertex].distance) continue;
    settled.push_back(vertex);
    const int32_t here = distance + vertices_[vertex].potential;
    each_arc(vertex, [&](uint32_t to, int32_t cost) {
      reach(to, here + cost - vertices_[to].potential);
      return false;
    });
  }
  QUOLL_CHECK(nearest != INT32_MAX);
  for (uint32_t vertex : settled)
    vertices_[vertex].potential += vertices_[vertex].distance - nearest;
}

}  // namespace quoll::cluster
