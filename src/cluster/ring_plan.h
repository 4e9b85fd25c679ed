// The ring: which nodes hold which slots, as a pure function of what was and of who is there.
//
//   slots   0 ........ 255 | 256 ...... 511 | 512 ...... 767 | ...            16384 in all
//   groups        g0       |       g1       |       g2       | ...            G, a power of two
//   copies    n4  n0  n7   |   n4  n2  n7   |   n1  n2  n5   | ...            N each, leader first
//
// A group owns an equal block of slots and has N copies on N hosts: Dynamo's fixed partitions, and
// a virtual node is one copy of one group. Nodes stand on a ring by the hash of their id, groups by
// their number; the ring settles ties and gives the walk of fallbacks.
//
// plan(previous, members, rules) answers in integers and without chance, so that every node that
// asks the same gets the same, in whatever order the members are listed:
//
//   1. Targets: N x G copies go down dc -> rack -> host -> node by weight. Who would get more than
//      its cap gets the cap, the others share the rest; what remains of a division goes to those
//      that hold it already, then to the largest remainders. Per group a node and a host take one
//      copy, a rack ceil(N / racks), a data centre ceil(N / dcs) or what the rules say.
//      Targets within caps can always be met: give every group the share 1/G of every target, and
//      whole numbers follow by flow.
//   2. Copies: a flow of least cost in the network
//          source -N-> group -cap-> (group, dc) -cap-> (group, rack) -1-> (group, host) -1-> node
//          node -target-> sink
//      where a copy that is there costs 0, one that an earlier plan has begun 1, a new one 2. To
//      go back to a node that still holds its copy costs nothing.
//   3. Leaders: every node leads 1/N of its copies, rounded down or up. Moving a leader moves no
//      data, so the leaders come last and follow the copies.
//
// What holds of every plan (ring_plan_test.cc, over random topologies):
//   - a node has exactly its target, and a target is within one of its part of what its place got
//   - the copies of a group are on different hosts, always; when there are fewer hosts than N,
//     there are fewer copies, and a warning
//   - racks and data centres within their caps; when that cannot be, the caps rise by as little as
//     is needed, and a warning says so
//   - no plan with these targets moves less data
//   - planning again moves nothing
//
// Cost, measured with 1,000 nodes and 4,096 groups: fresh 0.1 to 0.8 s, depending on how nodes
// share hosts and racks, one node more or less 0.01 to 0.16 s; 16 bytes per (group, place), a place
// being a dc, a rack, or a host with several nodes. Sources: DeCandia et al., "Dynamo" (2007),
// strategy 3; Riak Core's claim algorithms; Ahuja, Magnanti, Orlin, "Network Flows" (1993), the
// primal-dual algorithm.
//
// Not driven yet: a node holds the data of one group only, so what is placed today is the slots of
// one group per master (slot_plan.h). To be driven by g0's leader, once a node can hold many
// groups, when members join, leave or stay dead: the table is committed as data, so nodes need not
// agree on this code. The number of groups stays what the first plan chose.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/crc16.h"
#include "cluster/location.h"
#include "cluster/node_address.h"

namespace quoll::cluster {

using GroupNumber = uint16_t;

constexpr unsigned kCopiesMax = 9;
constexpr unsigned kRingNodesMax = 4096;
constexpr unsigned kGroupsMin = 64;
constexpr unsigned kGroupsMax = 4096;
constexpr unsigned kCopiesPerNode = 32;  // at least, while there are fewer than kGroupsMax groups
constexpr uint32_t kWeightDefault = 100;
constexpr uint32_t kWeightMax = 1'000'000;

struct RingMember {
  NodeIndex index = kNoNode;
  std::string id;  // its place on the ring
  Location location;
  uint32_t weight = kWeightDefault;
  bool leaves = false;  // it gives up what it has
};

struct RingGroup {
  std::vector<NodeIndex> members;  // as wanted; the leader first
  // Who has the data now, where that differs; empty: the members.
  std::vector<NodeIndex> holders;

  bool operator==(const RingGroup&) const = default;
};

struct RingTable {
  std::vector<RingGroup> groups;

  bool operator==(const RingTable&) const = default;
  unsigned slots_per_group() const {
    return base::kKeySlots / static_cast<unsigned>(groups.size());
  }
  GroupNumber group_of(unsigned slot) const {
    return static_cast<GroupNumber>(slot / slots_per_group());
  }
  unsigned first_slot(GroupNumber group) const { return group * slots_per_group(); }
};

struct RingRules {
  unsigned copies = 3;  // N, of all data centres together
  // Data centres with copies of their own; when there are any, N is their sum and no other data
  // centre gets one.
  struct DcCopies {
    std::string dc;
    unsigned copies;
  };
  std::vector<DcCopies> dc_copies;
};

// A copy that has to be made, or is no longer wanted.
struct RingMove {
  enum class Why : uint8_t {
    missing,       // the group had too few copies (also: a first plan)
    gone,          // `from` is no member any more
    leaves,        // `from` leaves
    shares_host,   // `from` is on the host of another copy
    shares_rack,   // its rack has more of the group than its cap
    shares_dc,     // its data centre has more of the group than its cap
    over_share,    // `from` has more than its share
    makes_room,    // `from` takes another group's copy that could go nowhere else
    surplus,       // the group had more copies than it needs
    planned_back,  // an earlier plan is given up: the copy stays where it still is
  };
  GroupNumber group;
  NodeIndex from;  // kNoNode: a copy more
  NodeIndex to;    // kNoNode: a copy less
  Why why;
};

struct LeaderMove {
  GroupNumber group;
  NodeIndex from;  // kNoNode: none led
  NodeIndex to;
};

struct RingShare {
  NodeIndex node;
  unsigned held;    // copies it had
  unsigned target;  // copies it gets
  unsigned leads;
};

struct RingPlan {
  RingTable table;
  std::vector<RingMove> moves;  // by group
  std::vector<LeaderMove> leader_moves;
  std::vector<RingShare> shares;  // by node index
  std::vector<std::string> warnings;
  unsigned copies = 0;      // that a group has; fewer than N when hosts are few
  unsigned made = 0;        // moves that bring data to a node that has none of it
  unsigned made_least = 0;  // at least that many, whoever plans: what nodes lack of their targets
};

// The number of groups of a first plan: the power of two that gives every node its copies.
unsigned group_count(size_t nodes, unsigned copies);

// `previous` without groups: a first plan. Members need different indexes and ids; no member that
// stays: a table without members, and a warning.
RingPlan plan_ring(const RingTable& previous, const std::vector<RingMember>& members,
                   const RingRules& rules);

// "group 7 (slots 448-511): n3 -> n9, n3 has more than its share (22 of 19)".
std::string describe(const RingMove& move, const RingPlan& plan,
                     const std::vector<RingMember>& members);

// Who stands in for members of the group: the ring clockwise from the group, first nodes on racks
// that have no copy and no stand-in before it, then other hosts; one node per host, `most` at most.
std::vector<NodeIndex> fallbacks(const RingTable& table, GroupNumber group,
                                 const std::vector<RingMember>& members, size_t most);

}  // namespace quoll::cluster
