// Changes of the topology, and their bytes: what g0's log holds, and what nodes that are behind
// get.
//
//   change:  expected8 kind1 body
//   found      cluster id, rules        leave      index2 leaves1
//   rules      rules                    remove     index2
//   join       member                   governors  count2 index2...
//   move       index2 bus port2 ...     groups     count2 then number2 members holders
//   weigh      index2 weight4 location  slots      count4 then first2 last2 from2 to2
//   document   kind1 name bytes         documents  count4 then documents
//   hand over  from2 to2 decided8 count4 then first2 last2
//
// Texts have their size before them, numbers are little-endian; what is not exactly so is refused.
// Pure.
#pragma once

#include <variant>

#include "cluster/topology.h"

namespace quoll::cluster {

// The cluster begins. Once.
struct FoundCluster {
  std::string cluster_id;  // kNodeIdBytes
  RingRules rules;
};
struct SetRules {
  RingRules rules;
};
// It gets the next index.
struct JoinMember {
  TopologyMember member;
};
// It is reached elsewhere; only with a higher incarnation.
struct MoveMember {
  NodeIndex index;
  NodeAddress bus;
  uint16_t port;
  uint16_t tls_port;
  std::string hostname;
  Incarnation incarnation;
};
struct WeighMember {
  NodeIndex index;
  uint32_t weight;
  Location location;
};
// It gives up what it has, or stays after all.
struct LeaveMember {
  NodeIndex index;
  bool leaves;
};
// For ever; it must be in no group and hold no part of g0.
struct RemoveMember {
  NodeIndex index;
};
struct SetGovernors {
  std::vector<NodeIndex> nodes;
};
// Groups as wanted and as they are. Without members: the group is removed.
struct SetGroups {
  std::vector<std::pair<GroupNumber, RingGroup>> groups;
};
// Slots that now belong to another group: all that the ranges say is so, or nothing changes.
struct AssignSlots {
  struct Range {
    uint16_t first;
    uint16_t last;     // included
    GroupNumber from;  // kNoGroup: nobody's
    GroupNumber to;
  };
  std::vector<Range> ranges;
};
// Empty: it is removed.
struct PutDocument {
  DocumentKind kind;
  std::string name;
  std::string bytes;
};
// All of them, or nothing changes.
struct PutDocuments {
  std::vector<PutDocument> documents;
};

// Slots of one group that it has released go to another; `decided` on the topology of this version,
// which must not be older than its last hand-over.
struct HandOverSlots {
  GroupNumber from = 0;
  GroupNumber to = 0;
  TopologyVersion decided = 0;
  std::vector<std::pair<uint16_t, uint16_t>> ranges;  // first, last included
};

struct TopologyChange {
  using Body = std::variant<FoundCluster, SetRules, JoinMember, MoveMember, WeighMember,
                            LeaveMember, RemoveMember, SetGovernors, SetGroups, AssignSlots,
                            PutDocument, HandOverSlots, PutDocuments>;
  TopologyVersion expected = 0;
  Body body;

  std::string encode() const;
  // Nothing: malformed.
  static std::optional<TopologyChange> decode(base::Bytes bytes);
};

class FieldWriter;
class FieldReader;

// Of the parts that a topology has as a whole, too.
void put_rules(const RingRules& rules, FieldWriter& out);
void put_member(const TopologyMember& member, FieldWriter& out);
void put_group(const RingGroup& group, FieldWriter& out);
void put_nodes(const std::vector<NodeIndex>& nodes, FieldWriter& out);
bool take_rules(FieldReader& in, RingRules& rules);
bool take_member(FieldReader& in, TopologyMember& member);
bool take_group(FieldReader& in, RingGroup& group);
bool take_nodes(FieldReader& in, std::vector<NodeIndex>& nodes);
bool take_text(FieldReader& in, size_t bytes_max, std::string& text);

}  // namespace quoll::cluster
