// The topology: what the nodes of a cluster agree on, as a pure state machine. It is the data of
// g0.
//
//   founded: cluster id, rules of placement
//   members    index -> id, addresses, location, weight, whether it leaves
//   tombstones ids that were members and will never be again
//   governors  the members that hold g0 itself
//   groups     number -> members as wanted, holders as they are
//   slots      slot -> group, 16384 of them
//   handed     group -> the version in which it last handed slots over (slot_ledger.h)
//   documents  (kind, name) -> bytes: keyspace rules, users, functions
//
// A change (topology_change.h) names the version that it was decided on, and is refused if that is
// not the version it meets: compare and set. An accepted one makes the next version, on every node
// the same. A node that is behind gets the changes since its version, or, when they are no longer
// kept, all of it; the digest tells two nodes of one version that they have the same.
//
// Invariants, checked on every change and on every topology that is decoded:
//   - nobody is a member under two indexes; an index or an id of one that was removed never returns
//   - members and holders of groups, and governors, are members of the cluster
//   - a slot's group exists; a group with slots is not removed; who is in a group is not removed
//
// Cost: 32 KiB and some 200 bytes per member and per group; a change costs its own size, the digest
// and a delta that is applied all of it. At most kHistoryBytesMax of changes are kept.
//
// To be driven by g0's group: its log entries are encoded changes, applied in order on its members;
// gossip announces the version, and others fetch delta() from whoever told them.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"
#include "cluster/gossip_core.h"
#include "cluster/ring_plan.h"

namespace quoll::cluster {

struct TopologyChange;
struct PutDocument;

constexpr GroupNumber kNoGroup = 0xffff;
constexpr size_t kNodeIdBytes = 40;  // hex digits
constexpr size_t kHostnameBytesMax = 255;
constexpr size_t kGovernorsMax = 5;
constexpr size_t kDcsMax = 16;
constexpr size_t kDocumentNameBytesMax = 512;
constexpr size_t kDocumentBytesMax = 16 * 1024 * 1024;
constexpr size_t kDocumentsBytesMax = 32 * 1024 * 1024;  // of all, names included
constexpr size_t kDocumentsMax = 16384;
constexpr size_t kHistoryBytesMax = 4 * 1024 * 1024;

struct TopologyMember {
  std::string id;
  NodeAddress bus;
  uint16_t port = 0;            // for clients, at the address of the bus
  uint16_t tls_port = 0;        // 0: none
  std::string hostname;         // announced to clients; may be empty
  Incarnation incarnation = 1;  // with which it told all this
  Location location;
  uint32_t weight = kWeightDefault;
  bool leaves = false;

  bool operator==(const TopologyMember&) const = default;
};

// An order is what an operator has told the cluster to do until it is done, as "rebalance".
enum class DocumentKind : uint8_t { keyspace = 1, user, function, order, last = order };

class Topology {
 public:
  // Nothing: another change came first, or it cannot be; the error says which.
  base::Result<> apply(const TopologyChange& change);

  TopologyVersion version() const { return version_; }
  const std::string& cluster_id() const { return cluster_id_; }  // "": not founded
  const RingRules& rules() const { return rules_; }
  const std::map<NodeIndex, TopologyMember>& members() const { return members_; }
  const TopologyMember* find(NodeIndex index) const;
  NodeIndex index_of(base::Bytes id) const;  // kNoNode: no member
  bool is_forgotten(base::Bytes id) const { return tombstones_.count(std::string(id)) > 0; }
  const std::vector<NodeIndex>& governors() const { return governors_; }
  const std::map<GroupNumber, RingGroup>& groups() const { return groups_; }
  GroupNumber owner(unsigned slot) const { return owners_[slot]; }
  // The version made when slots of the group were last handed over; 0: never. Kept for ever, so
  // that it also tells what is late of a group whose number another one has now.
  TopologyVersion handed_over(GroupNumber group) const {
    const auto found = handed_over_.find(group);
    return found == handed_over_.end() ? 0 : found->second;
  }
  const std::map<std::pair<DocumentKind, std::string>, std::string>& documents() const {
    return documents_;
  }

  // They are as they were when this was the version, at least as far as this copy knows.
  TopologyVersion documents_version() const { return documents_version_; }
  // Whether these can be put into their places; the error says why not.
  base::Result<> check_documents(const std::vector<PutDocument>& documents) const;

  // As the other cores want it.
  RingTable ring_table() const;  // without groups unless they are numbered from 0 on
  std::vector<RingMember> ring_members() const;
  std::vector<GossipMember> gossip_members() const;

  // The same for the same topology, whatever way it came about.
  base::Sha256 digest() const;
  std::string encode() const;
  static base::Result<Topology> decode(base::Bytes bytes);
  // The changes since a version; nothing: they are not kept, or it is none of ours.
  std::optional<std::string> delta(TopologyVersion since) const;
  // What delta() of another gave for our version; all of it, or nothing and the error.
  base::Result<> apply_delta(base::Bytes delta);

  // Who should hold g0: present governors that are no longer wanted replaced, and as many as there
  // shall be; on racks and hosts of their own as far as possible. `dead`: for too long. They are
  // replaced by the living; where these are too few, they stay: fewer governors than now would lose
  // more with the next one.
  std::vector<NodeIndex> wanted_governors(const std::set<NodeIndex>& dead) const;

  // Everything but the history of changes.
  bool operator==(const Topology& other) const { return encode() == other.encode(); }

 private:
  friend class TopologyApplier;
  base::Result<> check() const;
  base::Result<> check_bytes_of_documents(size_t count, size_t bytes) const;
  size_t bytes_of_documents() const;

  TopologyVersion version_ = 0;
  std::string cluster_id_;
  RingRules rules_;
  NodeIndex next_index_ = 0;
  std::map<NodeIndex, TopologyMember> members_;
  std::set<std::string> tombstones_;
  std::vector<NodeIndex> governors_;
  std::map<GroupNumber, RingGroup> groups_;
  std::array<GroupNumber, base::kKeySlots> owners_ = no_owners();
  std::map<GroupNumber, TopologyVersion> handed_over_;
  std::map<std::pair<DocumentKind, std::string>, std::string> documents_;
  TopologyVersion documents_version_ = 0;
  std::deque<std::string> history_;  // the last changes, encoded; the last one made version_
  size_t history_bytes_ = 0;

  static std::array<GroupNumber, base::kKeySlots> no_owners() {
    std::array<GroupNumber, base::kKeySlots> owners;
    owners.fill(kNoGroup);
    return owners;
  }
};

}  // namespace quoll::cluster
