// The flow of least cost by which a plan gives every node its target of copies (ring_plan.h).
//
//   source -> group -> its places, down the tree -> node -> sink
//
// Every group has its own copies of the places as vertices; how much flows into one follows from
// the group's members, so nothing is stored per arc. Copies that may stay are taken first,
// directly. The rest is the primal-dual algorithm: searches along arcs of reduced cost 0, from one
// group after the other, until none succeeds; then the potentials rise by the shortest distance. A
// group looks for nodes from its place on the ring on, so that fresh plans give a node few peers.
//
// Cost: a search ends at the first node with room, at worst after every arc. Distances are few:
// nearly all plans end after the second. Pure.
#pragma once

#include "cluster/ring_places.h"

namespace quoll::cluster {

// What a copy of a group on a node costs. What was begun is half done; going back to copies that
// are there is never dearer than making one.
constexpr int32_t kCostKept = 0;
constexpr int32_t kCostUndone = 1;       // it is there, though an earlier plan takes it away
constexpr int32_t kCostBegun = 1 << 17;  // an earlier plan wants it, it is not there
constexpr int32_t kCostNew = 1 << 18;
static_assert(kCopiesMax * kGroupsMax < kCostBegun);

// Nodes along the ring within which a group begins to look: bounds the peers of a node.
constexpr uint64_t kScatter = 8;

class RingFlow {
 public:
  struct Offer {
    int node;
    int32_t cost;
  };
  // `offers`: per group, the nodes that cost less than kCostNew.
  RingFlow(const RingPlaces& ring, std::vector<std::vector<Offer>> offers);

  // Every node's target is met. Nodes per group.
  const std::vector<std::vector<int>>& solve();

 private:
  struct Vertex {
    int32_t potential = 0;
    int32_t distance = 0;
    uint32_t seen = 0;  // in which search
    uint32_t from = 0;
  };

  uint32_t vertex_of(size_t group, int place) const {
    return static_cast<uint32_t>(group * ring_.places.size()) + static_cast<uint32_t>(place);
  }
  uint32_t vertex_of_node(int node) const { return first_node_ + static_cast<uint32_t>(node); }
  const RingNode& node(int n) const { return ring_.nodes[static_cast<size_t>(n)]; }
  const RingPlace& place(int p) const { return ring_.places[static_cast<size_t>(p)]; }
  int32_t cost(size_t group, int n) const;
  bool holds(size_t group, int n) const;
  unsigned used(size_t group, int p) const;
  bool has_room(size_t group, int n) const;
  bool lacks(size_t group) const { return copies_[group].size() < ring_.copies; }

  void keep();
  void give_up(int n, std::vector<unsigned>& lost);
  void assign(size_t group, int n);
  void release(size_t group, int n);
  bool search(size_t group);
  uint32_t pass(uint32_t from, uint32_t place);
  bool see(uint32_t from, uint32_t vertex);
  void turn_over(uint32_t last);
  void raise_potentials();
  // Arcs with room behind a vertex, in the order in which they are tried: visit(to, cost), until it
  // returns true.
  template <class Visit>
  void each_arc(uint32_t from, Visit&& visit) const;
  template <class Visit>
  bool each_arc_down(size_t group, int p, Visit&& visit) const;

  const RingPlaces& ring_;
  std::vector<std::vector<Offer>> offers_;
  uint32_t first_node_;
  std::vector<std::vector<int>> copies_;        // per group
  std::vector<std::vector<GroupNumber>> held_;  // per node
  std::vector<Vertex> vertices_;
  uint32_t searches_ = 0;
  // Of a search: nodes to go on from, and all it has seen.
  std::vector<uint32_t> queue_;
  std::vector<uint32_t> seen_;
};

}  // namespace quoll::cluster
