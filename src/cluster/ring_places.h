// The places of a ring as a tree, with what each may and shall hold; the first step of a plan.
//
//   everything -> data centre -> rack -> host -> node
//
// A host with a single node is left out: the node stands in its rack. Places and nodes are
// numbered in the order of the ring, so that nothing depends on how the members were listed.
// Cost: O(nodes log nodes). Pure.
#pragma once

#include <string>
#include <vector>

#include "cluster/ring_plan.h"

namespace quoll::cluster {

constexpr unsigned kPlaceDepths = 4;  // everything, dc, rack, host
constexpr int kNoPlace = -1;

struct RingPlace {
  int parent = kNoPlace;
  unsigned depth = 0;
  std::string name;
  unsigned hosts = 0;
  uint64_t weight = 0;
  unsigned cap = 0;  // copies of one group
  unsigned held = 0;
  unsigned target = 0;  // copies of all groups
  std::vector<int> places = {};
  std::vector<int> nodes = {};                // that stand in it and in no place below
  std::vector<unsigned> targets_before = {};  // of its nodes: of those before each
};

struct RingNode {
  const RingMember* member = nullptr;
  uint64_t token = 0;
  int place = 0;
  std::array<int, kPlaceDepths> within = {};  // the place at each depth; kNoPlace: left out
  unsigned held = 0;
  unsigned target = 0;
  unsigned by_weight = 0;  // what it would get if there were no places
};

struct RingPlaces {
  std::vector<RingPlace> places;  // the first is everything
  std::vector<RingNode> nodes;    // members that stay, in the order of the ring
  unsigned copies = 0;            // of a group
  std::vector<std::string> warnings;

  int node_of(NodeIndex index) const;  // kNoPlace: it does not stay

 private:
  friend RingPlaces lay_out(const std::vector<RingMember>& members, const RingRules& rules);
  std::vector<int> by_index_;
};

uint64_t ring_token(base::Bytes id);

// The tree and its caps.
RingPlaces lay_out(const std::vector<RingMember>& members, const RingRules& rules);
// Targets for so many groups; `held` of the nodes must be set.
void set_targets(RingPlaces& ring, unsigned groups);

// `total` by weight, nobody over its cap: the rest of the division to those that hold more than
// their whole part already, then to the largest remainders, then to the first. The caps must
// suffice.
struct RingClaim {
  uint64_t weight;
  uint64_t cap;
  uint64_t held;
};
std::vector<uint64_t> apportion(uint64_t total, const std::vector<RingClaim>& claims);

}  // namespace quoll::cluster
