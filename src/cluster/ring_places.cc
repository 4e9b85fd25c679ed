#include "cluster/ring_places.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "base/check.h"
#include "base/hash.h"

namespace quoll::cluster {
namespace {

unsigned divided_up(unsigned value, unsigned by) { return (value + by - 1) / by; }

// The lowest cap, from `wanted` on, at which places of these sizes hold `copies` together.
unsigned cap_that_suffices(unsigned wanted, unsigned copies, const std::vector<unsigned>& sizes) {
  for (unsigned cap = wanted;; ++cap) {
    unsigned room = 0;
    for (unsigned size : sizes) room += std::min(cap, size);
    if (room >= copies) return cap;
    QUOLL_CHECK(cap <= copies);
  }
}

class Layout {
 public:
  Layout(RingPlaces& ring, const RingRules& rules) : ring_(ring), rules_(rules) {}

  void grow() {
    std::map<Location, unsigned> nodes_on;
    for (const RingNode& node : ring_.nodes) ++nodes_on[node.member->location];
    ring_.places.push_back({.name = "everything"});
    std::map<std::tuple<int, std::string>, int> known;
    for (size_t n = 0; n < ring_.nodes.size(); ++n) {
      RingNode& node = ring_.nodes[n];
      const Location& at = node.member->location;
      const unsigned depth = nodes_on[at] > 1 ? kPlaceDepths - 1 : kPlaceDepths - 2;
      const std::string* names[] = {nullptr, &at.dc, &at.rack, &at.host};
      node.within.fill(kNoPlace);
      node.within[0] = 0;
      int place = 0;
      for (unsigned d = 1; d <= depth; ++d) {
        const auto [it, fresh] = known.try_emplace({place, *names[d]}, -1);
        if (fresh) it->second = add(place, d, *names[d]);
        place = node.within[d] = it->second;
      }
      const bool first_on_host =
          depth < kPlaceDepths - 1 || ring_.places[static_cast<size_t>(place)].nodes.empty();
      for (int p = place; p != kNoPlace; p = ring_.places[static_cast<size_t>(p)].parent) {
        RingPlace& around = ring_.places[static_cast<size_t>(p)];
        around.weight += node.member->weight;
        if (first_on_host) ++around.hosts;
      }
      node.place = place;
      ring_.places[static_cast<size_t>(place)].nodes.push_back(static_cast<int>(n));
    }
  }

  void set_caps() {
    for (RingPlace& place : ring_.places)
      if (place.depth == kPlaceDepths - 1) place.cap = 1;
    RingPlace& everything = ring_.places[0];
    if (rules_.dc_copies.empty()) {
      ring_.copies = copies_on(everything.hosts, rules_.copies, "");
      std::vector<RingPlace*> racks;
      for (RingPlace& place : ring_.places)
        if (place.depth == 2) racks.push_back(&place);
      cap_racks(racks, ring_.copies, "");
      cap_dcs();
    } else {
      for (const RingRules::DcCopies& wanted : rules_.dc_copies) cap_dc(wanted);
      for (int dc : everything.places) ring_.copies += at(dc).cap;
    }
    everything.cap = ring_.copies;
  }

 private:
  RingPlace& at(int place) { return ring_.places[static_cast<size_t>(place)]; }

  int add(int parent, unsigned depth, const std::string& name) {
    const int place = static_cast<int>(ring_.places.size());
    at(parent).places.push_back(place);
    const std::string full = depth > 1 ? at(parent).name + "/" + name : name;
    ring_.places.push_back({.parent = parent, .depth = depth, .name = full});
    return place;
  }

  unsigned copies_on(unsigned hosts, unsigned wanted, const std::string& where) {
    if (hosts < wanted)
      ring_.warnings.push_back(std::to_string(wanted) + " copies are wanted" + where +
                               ", but there are only " + std::to_string(hosts) + " hosts");
    return std::min(hosts, wanted);
  }

  void cap_racks(const std::vector<RingPlace*>& racks, unsigned copies, const std::string& where) {
    if (racks.empty() || copies == 0) return;
    const unsigned wanted = divided_up(copies, static_cast<unsigned>(racks.size()));
    std::vector<unsigned> sizes;
    for (const RingPlace* rack : racks) sizes.push_back(rack->hosts);
    const unsigned cap = cap_that_suffices(wanted, copies, sizes);
    if (cap > wanted)
      ring_.warnings.push_back("a rack" + where + " must hold " + std::to_string(cap) + " of " +
                               std::to_string(copies) + " copies, not " + std::to_string(wanted) +
                               ": other racks have too few hosts");
    for (RingPlace* rack : racks) rack->cap = std::min(cap, rack->hosts);
  }

  unsigned room_in(const RingPlace& dc) {
    unsigned room = 0;
    for (int rack : dc.places) room += at(rack).cap;
    return room;
  }

  void cap_dcs() {
    const std::vector<int>& dcs = ring_.places[0].places;
    const unsigned wanted = divided_up(ring_.copies, static_cast<unsigned>(dcs.size()));
    std::vector<unsigned> sizes;
    for (int dc : dcs) sizes.push_back(room_in(at(dc)));
    const unsigned cap = cap_that_suffices(wanted, ring_.copies, sizes);
    if (cap > wanted)
      ring_.warnings.push_back("a data centre must hold " + std::to_string(cap) + " of " +
                               std::to_string(ring_.copies) + " copies, not " +
                               std::to_string(wanted) + ": others have too few hosts");
    for (size_t i = 0; i < dcs.size(); ++i) at(dcs[i]).cap = std::min(cap, sizes[i]);
  }

  void cap_dc(const RingRules::DcCopies& wanted) {
    for (int dc : ring_.places[0].places) {
      if (at(dc).name != wanted.dc) continue;
      const std::string where = " in " + wanted.dc;
      const unsigned copies = copies_on(at(dc).hosts, wanted.copies, where);
      std::vector<RingPlace*> racks;
      for (int rack : at(dc).places) racks.push_back(&at(rack));
      cap_racks(racks, copies, where);
      at(dc).cap = copies;
      return;
    }
    copies_on(0, wanted.copies, " in " + wanted.dc);
  }

  RingPlaces& ring_;
  const RingRules& rules_;
};

void share_out(RingPlaces& ring, int number, unsigned groups) {
  RingPlace& place = ring.places[static_cast<size_t>(number)];
  std::vector<RingClaim> claims;
  for (int p : place.places) {
    const RingPlace& below = ring.places[static_cast<size_t>(p)];
    claims.push_back({below.weight, uint64_t{below.cap} * groups, below.held});
  }
  for (int n : place.nodes) {
    const RingNode& node = ring.nodes[static_cast<size_t>(n)];
    claims.push_back({node.member->weight, groups, node.held});
  }
  const std::vector<uint64_t> parts = apportion(place.target, claims);
  size_t next = 0;
  for (int p : place.places)
    ring.places[static_cast<size_t>(p)].target = static_cast<unsigned>(parts[next++]);
  unsigned before = 0;
  for (int n : place.nodes) {
    RingNode& node = ring.nodes[static_cast<size_t>(n)];
    node.target = static_cast<unsigned>(parts[next++]);
    place.targets_before.push_back(before);
    before += node.target;
  }
  for (size_t i = 0; i < place.places.size(); ++i) share_out(ring, place.places[i], groups);
}

}  // namespace

uint64_t ring_token(base::Bytes id) { return base::xxh3(id); }

int RingPlaces::node_of(NodeIndex index) const {
  return index < by_index_.size() ? by_index_[index] : kNoPlace;
}

RingPlaces lay_out(const std::vector<RingMember>& members, const RingRules& rules) {
  QUOLL_CHECK(members.size() <= kRingNodesMax);
  RingPlaces ring;
  for (const RingMember& member : members) {
    if (member.leaves || member.weight == 0) continue;
    QUOLL_CHECK(member.weight <= kWeightMax && member.index != kNoNode);
    ring.nodes.push_back({.member = &member, .token = ring_token(member.id)});
  }
  std::sort(ring.nodes.begin(), ring.nodes.end(), [](const RingNode& a, const RingNode& b) {
    return std::tie(a.token, a.member->id) < std::tie(b.token, b.member->id);
  });
  for (size_t n = 0; n < ring.nodes.size(); ++n) {
    const size_t index = ring.nodes[n].member->index;
    if (ring.by_index_.size() <= index) ring.by_index_.resize(index + 1, kNoPlace);
    QUOLL_CHECK(ring.by_index_[index] == kNoPlace);
    ring.by_index_[index] = static_cast<int>(n);
  }
  Layout layout(ring, rules);
  layout.grow();
  if (!ring.nodes.empty()) layout.set_caps();
  return ring;
}

void set_targets(RingPlaces& ring, unsigned groups) {
  std::vector<RingClaim> flat;
  for (RingNode& node : ring.nodes) {
    flat.push_back({node.member->weight, groups, node.held});
    for (int place : node.within)
      if (place != kNoPlace) ring.places[static_cast<size_t>(place)].held += node.held;
  }
  RingPlace& everything = ring.places[0];
  everything.target = ring.copies * groups;
  share_out(ring, 0, groups);
  // Data centres that get nothing may leave less room among single nodes than there are copies.
  if (ring.copies <= ring.nodes.size()) {
    const std::vector<uint64_t> parts = apportion(everything.target, flat);
    for (size_t n = 0; n < parts.size(); ++n)
      ring.nodes[n].by_weight = static_cast<unsigned>(parts[n]);
  }
}

std::vector<uint64_t> apportion(uint64_t total, const std::vector<RingClaim>& claims) {
  std::vector<uint64_t> parts(claims.size());
  std::vector<bool> capped(claims.size());
  uint64_t left = total, weight = 0;
  // Who is over its cap stays so when the others' parts grow.
  for (bool again = true; again;) {
    again = false;
    weight = 0;
    for (size_t i = 0; i < claims.size(); ++i)
      if (!capped[i]) weight += claims[i].weight;
    const uint64_t divided = left;
    for (size_t i = 0; i < claims.size(); ++i) {
      if (capped[i] || claims[i].weight * divided < claims[i].cap * weight) continue;
      capped[i] = again = true;
      parts[i] = claims[i].cap;
      QUOLL_CHECK(claims[i].cap <= left || claims[i].cap == 0);
      left -= claims[i].cap;
    }
  }
  std::vector<size_t> rest;
  uint64_t given = 0;
  for (size_t i = 0; i < claims.size(); ++i) {
    if (capped[i]) continue;
    parts[i] = claims[i].weight * left / weight;
    given += parts[i];
    if (claims[i].weight * left % weight != 0) rest.push_back(i);
  }
  QUOLL_CHECK(left - given <= rest.size());
  std::stable_sort(rest.begin(), rest.end(), [&](size_t a, size_t b) {
    const bool a_holds = claims[a].held > parts[a], b_holds = claims[b].held > parts[b];
    if (a_holds != b_holds) return a_holds;
    return claims[a].weight * left % weight > claims[b].weight * left % weight;
  });
  for (size_t i = 0; i < left - given; ++i) ++parts[rest[i]];
  return parts;
}

}  // namespace quoll::cluster
