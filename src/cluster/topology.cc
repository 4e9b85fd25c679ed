#include "cluster/topology.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "cluster/group_frames.h"
#include "cluster/topology_change.h"

namespace quoll::cluster {
namespace {

using base::Bytes;
using base::Error;
using base::Result;

constexpr uint32_t kEncodingVersion = 2;
constexpr uint32_t kEncodingWithoutHanded = 1;  // has no versions of hand-overs

bool is_node_id(Bytes id) {
  return id.size() == kNodeIdBytes && id.find_first_not_of("0123456789abcdef") == Bytes::npos;
}

bool repeats(std::vector<NodeIndex> nodes) {
  std::sort(nodes.begin(), nodes.end());
  return std::adjacent_find(nodes.begin(), nodes.end()) != nodes.end();
}

Result<> check_rules(const RingRules& rules) {
  if (rules.copies < 1 || rules.copies > kCopiesMax)
    return Error{fmt::format("a group has 1 to {} copies", kCopiesMax)};
  if (rules.dc_copies.size() > kDcsMax)
    return Error{fmt::format("at most {} data centres can have copies of their own", kDcsMax)};
  unsigned all = 0;
  std::set<std::string> names;
  for (const RingRules::DcCopies& dc : rules.dc_copies) {
    if (dc.dc.empty() || dc.copies == 0) return Error{"a data centre has a name, and copies"};
    if (!names.insert(dc.dc).second) return Error{"a data centre is named twice"};
    all += dc.copies;
  }
  if (all > kCopiesMax) return Error{fmt::format("a group has 1 to {} copies", kCopiesMax)};
  return {};
}

Result<> check_member(const TopologyMember& member) {
  if (!is_node_id(member.id)) return Error{"a node id has 40 hexadecimal digits"};
  if (member.weight > kWeightMax || member.incarnation > kIncarnationMax ||
      member.hostname.size() > kHostnameBytesMax || member.bus.port == 0 ||
      !parse_location(member.location.text()))
    return Error{"a member is described by what cannot be"};
  return {};
}

}  // namespace

// Applies one change: everything that could refuse it is asked first.
class TopologyApplier {
 public:
  explicit TopologyApplier(Topology& topology) : t_(topology) {}

  Result<> operator()(const FoundCluster& c) {
    if (!t_.cluster_id_.empty()) return Error{"the cluster is founded already"};
    if (!is_node_id(c.cluster_id)) return Error{"a cluster id has 40 hexadecimal digits"};
    if (auto fine = check_rules(c.rules); !fine) return fine;
    t_.cluster_id_ = c.cluster_id;
    t_.rules_ = c.rules;
    return {};
  }

  Result<> operator()(const SetRules& c) {
    if (auto fine = check_rules(c.rules); !fine) return fine;
    t_.rules_ = c.rules;
    return {};
  }

  Result<> operator()(const JoinMember& c) {
    if (auto fine = check_member(c.member); !fine) return fine;
    if (t_.is_forgotten(c.member.id)) return Error{"this node was removed from the cluster"};
    if (t_.index_of(c.member.id) != kNoNode) return Error{"this node is a member already"};
    if (t_.members_.size() == kRingNodesMax) return Error{"the cluster has no room for more"};
    if (t_.next_index_ == kNoNode) return Error{"the cluster has no more indexes to give"};
    t_.members_.emplace(t_.next_index_++, c.member);
    return {};
  }

  Result<> operator()(const MoveMember& c) {
    TopologyMember* member = find(c.index);
    if (!member) return none(c.index);
    if (c.incarnation <= member->incarnation) return Error{"a later word of this node is known"};
    TopologyMember moved = *member;
    moved.bus = c.bus;
    moved.port = c.port;
    moved.tls_port = c.tls_port;
    moved.hostname = c.hostname;
    moved.incarnation = c.incarnation;
    if (auto fine = check_member(moved); !fine) return fine;
    *member = moved;
    return {};
  }

  Result<> operator()(const WeighMember& c) {
    TopologyMember* member = find(c.index);
    if (!member) return none(c.index);
    TopologyMember weighed = *member;
    weighed.weight = c.weight;
    weighed.location = c.location;
    if (auto fine = check_member(weighed); !fine) return fine;
    *member = weighed;
    return {};
  }

  Result<> operator()(const LeaveMember& c) {
    TopologyMember* member = find(c.index);
    if (!member) return none(c.index);
    member->leaves = c.leaves;
    return {};
  }

  Result<> operator()(const RemoveMember& c) {
    TopologyMember* member = find(c.index);
    if (!member) return none(c.index);
    if (contains(t_.governors_, c.index)) return Error{"this node holds part of the topology"};
    for (const auto& [number, group] : t_.groups_)
      if (contains(group.members, c.index) || contains(group.holders, c.index))
        return Error{fmt::format("this node has a copy of group {}", number)};
    t_.tombstones_.insert(member->id);
    t_.members_.erase(c.index);
    return {};
  }

  Result<> operator()(const SetGovernors& c) {
    if (c.nodes.empty() || c.nodes.size() > kGovernorsMax || repeats(c.nodes))
      return Error{fmt::format("the topology is held by 1 to {} nodes", kGovernorsMax)};
    if (auto fine = all_members(c.nodes); !fine) return fine;
    t_.governors_ = c.nodes;
    return {};
  }

  Result<> operator()(const SetGroups& c) {
    std::set<GroupNumber> seen, removed;
    for (const auto& [number, group] : c.groups) {
      if (number >= kGroupsMax) return Error{fmt::format("no group is numbered {}", number)};
      if (!seen.insert(number).second) return Error{"a group is named twice"};
      if (auto fine = check_group(group); !fine) return fine;
      if (group.members.empty()) removed.insert(number);
    }
    for (unsigned slot = 0; !removed.empty() && slot < base::kKeySlots; ++slot)
      if (removed.count(t_.owners_[slot]))
        return Error{fmt::format("group {} has slot {}", t_.owners_[slot], slot)};
    for (const auto& [number, group] : c.groups)
      if (group.members.empty())
        t_.groups_.erase(number);
      else
        t_.groups_[number] = group;
    return {};
  }

  Result<> operator()(const AssignSlots& c) {
    std::vector<bool> seen(base::kKeySlots);
    for (const AssignSlots::Range& range : c.ranges) {
      if (range.first > range.last || range.last >= base::kKeySlots)
        return Error{fmt::format("{}-{} are no slots", range.first, range.last)};
      if (range.to != kNoGroup && !t_.groups_.count(range.to))
        return Error{fmt::format("there is no group {}", range.to)};
      for (unsigned slot = range.first; slot <= range.last; ++slot) {
        if (seen[slot]) return Error{fmt::format("slot {} is named twice", slot)};
        seen[slot] = true;
        if (t_.owners_[slot] != range.from)
          return Error{fmt::format("slot {} is not group {}'s", slot, range.from)};
      }
    }
    for (const AssignSlots::Range& range : c.ranges)
      std::fill(t_.owners_.begin() + range.first, t_.owners_.begin() + range.last + 1, range.to);
    return {};
  }

  Result<> operator()(const HandOverSlots& c) {
    if (c.from == c.to || !t_.groups_.count(c.from) || !t_.groups_.count(c.to))
      return Error{fmt::format("slots cannot go from group {} to group {}", c.from, c.to)};
    if (t_.handed_over(c.from) > c.decided)
      return Error{fmt::format("slots of group {} were handed over since", c.from)};
    size_t slots = 0;
    for (const auto& [first, last] : c.ranges) {
      if (first > last || last >= base::kKeySlots)
        return Error{fmt::format("{}-{} are no slots", first, last)};
      slots += last - first + size_t{1};
      if (slots > base::kKeySlots) return Error{"a slot is named twice"};
      for (unsigned slot = first; slot <= last; ++slot)
        if (t_.owners_[slot] != c.from)
          return Error{fmt::format("slot {} is not group {}'s", slot, c.from)};
    }
    for (const auto& [first, last] : c.ranges)
      std::fill(t_.owners_.begin() + first, t_.owners_.begin() + last + 1, c.to);
    t_.handed_over_[c.from] = t_.version_ + 1;
    return {};
  }

  Result<> operator()(const PutDocument& c) { return (*this)(PutDocuments{{c}}); }

  Result<> operator()(const PutDocuments& c) {
    if (auto fine = t_.check_documents(c.documents); !fine) return fine;
    for (const PutDocument& one : c.documents)
      if (one.bytes.empty())
        t_.documents_.erase({one.kind, one.name});
      else
        t_.documents_[{one.kind, one.name}] = one.bytes;
    t_.documents_version_ = t_.version_ + 1;
    return {};
  }

  Result<> check_group(const RingGroup& group) const {
    if (group.members.size() > kCopiesMax || group.holders.size() > kCopiesMax ||
        repeats(group.members) || repeats(group.holders))
      return Error{fmt::format("a group has up to {} different members", kCopiesMax)};
    if (group.members.empty() && !group.holders.empty())
      return Error{"a group without members has no holders"};
    if (auto fine = all_members(group.members); !fine) return fine;
    return all_members(group.holders);
  }

  Result<> all_members(const std::vector<NodeIndex>& nodes) const {
    for (NodeIndex node : nodes)
      if (!t_.members_.count(node)) return none(node);
    return {};
  }

 private:
  TopologyMember* find(NodeIndex index) {
    const auto it = t_.members_.find(index);
    return it == t_.members_.end() ? nullptr : &it->second;
  }
  static Error none(NodeIndex index) { return Error{fmt::format("n{} is no member", index)}; }

  Topology& t_;
};

Result<> Topology::apply(const TopologyChange& change) {
  if (change.expected != version_)
    return Error{
        fmt::format("decided on version {}, the topology is at {}", change.expected, version_)};
  if (cluster_id_.empty() && !std::holds_alternative<FoundCluster>(change.body))
    return Error{"the cluster is not founded"};
  if (auto applied = std::visit(TopologyApplier(*this), change.body); !applied) return applied;
  ++version_;
  history_.push_back(change.encode());
  history_bytes_ += history_.back().size();
  while (history_bytes_ > kHistoryBytesMax) {
    history_bytes_ -= history_.front().size();
    history_.pop_front();
  }
  return {};
}

size_t Topology::bytes_of_documents() const {
  size_t bytes = 0;
  for (const auto& [name, document] : documents_) bytes += name.second.size() + document.size();
  return bytes;
}

Result<> Topology::check_bytes_of_documents(size_t count, size_t bytes) const {
  if (count > kDocumentsMax)
    return Error{fmt::format("a cluster keeps up to {} users, libraries and rules", kDocumentsMax)};
  if (bytes > kDocumentsBytesMax)
    return Error{fmt::format("the users, libraries and rules of a cluster have up to {} bytes",
                             kDocumentsBytesMax)};
  return {};
}

Result<> Topology::check_documents(const std::vector<PutDocument>& documents) const {
  size_t count = documents_.size(), bytes = bytes_of_documents();
  std::set<std::pair<DocumentKind, std::string>> seen;
  for (const PutDocument& one : documents) {
    if (one.kind < DocumentKind::keyspace || one.kind > DocumentKind::last ||
        one.name.size() > kDocumentNameBytesMax || one.bytes.size() > kDocumentBytesMax)
      return Error{"no such document can be kept"};
    if (!seen.emplace(one.kind, one.name).second) return Error{"a document is named twice"};
    if (const auto known = documents_.find({one.kind, one.name}); known != documents_.end()) {
      --count;
      bytes -= one.name.size() + known->second.size();
    }
    if (one.bytes.empty()) continue;
    ++count;
    bytes += one.name.size() + one.bytes.size();
  }
  return check_bytes_of_documents(count, bytes);
}

// ---- what it says

const TopologyMember* Topology::find(NodeIndex index) const {
  const auto it = members_.find(index);
  return it == members_.end() ? nullptr : &it->second;
}

NodeIndex Topology::index_of(Bytes id) const {
  for (const auto& [index, member] : members_)
    if (member.id == id) return index;
  return kNoNode;
}

RingTable Topology::ring_table() const {
  RingTable table;
  for (const auto& [number, group] : groups_) {
    if (number != table.groups.size()) return {};
    table.groups.push_back(group);
  }
  return table;
}

std::vector<RingMember> Topology::ring_members() const {
  std::vector<RingMember> members;
  for (const auto& [index, member] : members_)
    members.push_back({.index = index,
                       .id = member.id,
                       .location = member.location,
                       .weight = member.weight,
                       .leaves = member.leaves});
  return members;
}

std::vector<GossipMember> Topology::gossip_members() const {
  std::vector<GossipMember> members;
  for (const auto& [index, member] : members_)
    members.push_back({index, member.bus, member.incarnation});
  return members;
}

// ---- as bytes

base::Sha256 Topology::digest() const { return base::sha256(encode()); }

std::string Topology::encode() const {
  std::string bytes;
  FieldWriter out(bytes);
  out.number(kEncodingVersion).number(version_).bytes(cluster_id_);
  put_rules(rules_, out);
  out.number(next_index_).number(static_cast<uint32_t>(members_.size()));
  for (const auto& [index, member] : members_) {
    out.number(index);
    put_member(member, out);
  }
  out.number(static_cast<uint32_t>(tombstones_.size()));
  for (const std::string& id : tombstones_) out.bytes(id);
  put_nodes(governors_, out);
  out.number(static_cast<uint32_t>(groups_.size()));
  for (const auto& [number, group] : groups_) {
    out.number(number);
    put_group(group, out);
  }
  for (GroupNumber owner : owners_) out.number(owner);
  out.number(static_cast<uint32_t>(handed_over_.size()));
  for (const auto& [group, version] : handed_over_) out.number(group).number(version);
  out.number(static_cast<uint32_t>(documents_.size()));
  for (const auto& [name, document] : documents_)
    out.number(name.first).bytes(name.second).bytes(document);
  return bytes;
}

namespace {

// Takes `count4` pieces, each of which must come behind the one before it.
template <class Key, class Take>
bool take_ordered(FieldReader& in, Take&& take) {
  uint32_t count = 0;
  if (!in.number(count)) return false;
  std::optional<Key> last;
  for (; count > 0; --count) {
    std::optional<Key> key = take();
    if (!key || (last && !(*last < *key))) return false;
    last = std::move(key);
  }
  return true;
}

}  // namespace

Result<Topology> Topology::decode(Bytes bytes) {
  Topology t;
  FieldReader in(bytes);
  uint32_t encoding = 0;
  const Error malformed{"this is no topology"};
  if (!in.number(encoding) || encoding < kEncodingWithoutHanded || encoding > kEncodingVersion ||
      !in.number(t.version_) || !take_text(in, kNodeIdBytes, t.cluster_id_) ||
      !take_rules(in, t.rules_) || !in.number(t.next_index_))
    return malformed;
  const bool members = take_ordered<NodeIndex>(in, [&]() -> std::optional<NodeIndex> {
    NodeIndex index = 0;
    TopologyMember member;
    if (!in.number(index) || !take_member(in, member)) return {};
    t.members_.emplace(index, std::move(member));
    return index;
  });
  const bool tombstones = members && take_ordered<std::string>(in, [&] {
                            std::optional<std::string> id(std::in_place);
                            if (take_text(in, kNodeIdBytes, *id))
                              t.tombstones_.insert(*id);
                            else
                              id.reset();
                            return id;
                          });
  if (!tombstones || !take_nodes(in, t.governors_)) return malformed;
  const bool groups = take_ordered<GroupNumber>(in, [&]() -> std::optional<GroupNumber> {
    GroupNumber number = 0;
    RingGroup group;
    if (!in.number(number) || !take_group(in, group)) return {};
    t.groups_.emplace(number, std::move(group));
    return number;
  });
  if (!groups) return malformed;
  for (GroupNumber& owner : t.owners_)
    if (!in.number(owner)) return malformed;
  const bool handed = encoding == kEncodingWithoutHanded ||
                      take_ordered<GroupNumber>(in, [&]() -> std::optional<GroupNumber> {
                        GroupNumber group = 0;
                        TopologyVersion version = 0;
                        if (!in.number(group) || !in.number(version)) return {};
                        t.handed_over_.emplace(group, version);
                        return group;
                      });
  if (!handed) return malformed;
  using Name = std::pair<DocumentKind, std::string>;
  const bool documents = take_ordered<Name>(in, [&]() -> std::optional<Name> {
    Name name;
    std::string document;
    if (!in.number(name.first) || !take_text(in, kDocumentNameBytesMax, name.second) ||
        !take_text(in, kDocumentBytesMax, document) || document.empty())
      return {};
    t.documents_.emplace(name, std::move(document));
    return name;
  });
  if (!documents || !in.empty()) return malformed;
  t.documents_version_ = t.version_;
  if (auto fine = t.check(); !fine) return Error{fine.error()};
  return t;
}

// What apply() would not have let come about.
Result<> Topology::check() const {
  if (version_ == 0 || cluster_id_.empty())
    return *this == Topology() ? Result<>() : Error{"a topology that nobody has founded"};
  if (!is_node_id(cluster_id_)) return Error{"a cluster id has 40 hexadecimal digits"};
  if (auto fine = check_rules(rules_); !fine) return fine;
  if (members_.size() > kRingNodesMax) return Error{"too many members"};
  std::set<std::string> ids;
  for (const auto& [index, member] : members_) {
    if (auto fine = check_member(member); !fine) return fine;
    if (index >= next_index_ || !ids.insert(member.id).second || is_forgotten(member.id))
      return Error{"a member that cannot be one"};
  }
  for (const std::string& id : tombstones_)
    if (!is_node_id(id)) return Error{"a node id has 40 hexadecimal digits"};
  Topology copy = *this;
  const TopologyApplier applier(copy);
  if (governors_.size() > kGovernorsMax || repeats(governors_)) return Error{"too many governors"};
  if (auto fine = applier.all_members(governors_); !fine) return fine;
  for (const auto& [number, group] : groups_) {
    if (number >= kGroupsMax || group.members.empty()) return Error{"a group that cannot be"};
    if (auto fine = applier.check_group(group); !fine) return fine;
  }
  for (GroupNumber owner : owners_)
    if (owner != kNoGroup && !groups_.count(owner)) return Error{"a slot of no group"};
  for (const auto& [group, version] : handed_over_)
    if (group >= kGroupsMax || version == 0 || version > version_)
      return Error{"a hand-over that cannot have been"};
  for (const auto& [name, document] : documents_)
    if (name.first < DocumentKind::keyspace || name.first > DocumentKind::last)
      return Error{"a document of no kind"};
  return check_bytes_of_documents(documents_.size(), bytes_of_documents());
}

std::optional<std::string> Topology::delta(TopologyVersion since) const {
  if (since > version_ || version_ - since > history_.size()) return {};
  std::string bytes;
  FieldWriter out(bytes);
  const auto count = static_cast<size_t>(version_ - since);
  out.bytes(cluster_id_).number(static_cast<uint32_t>(count));
  for (size_t i = history_.size() - count; i < history_.size(); ++i) out.bytes(history_[i]);
  return bytes;
}

Result<> Topology::apply_delta(Bytes delta) {
  FieldReader in(delta);
  std::string cluster;
  uint32_t count = 0;
  if (!take_text(in, kNodeIdBytes, cluster) || !in.number(count))
    return Error{"these are no changes"};
  if (!cluster_id_.empty() && cluster != cluster_id_)
    return Error{"these are another cluster's changes"};
  Topology changed = *this;
  for (; count > 0; --count) {
    Bytes bytes;
    if (!in.bytes(bytes)) return Error{"these are no changes"};
    const auto change = TopologyChange::decode(bytes);
    if (!change) return Error{"one of these is no change"};
    if (auto applied = changed.apply(*change); !applied) return applied;
  }
  if (!in.empty()) return Error{"these are no changes"};
  *this = std::move(changed);
  return {};
}

// ---- who holds it

// One while there are fewer than three nodes, then three; five from ten nodes on, until there are
// fewer than seven. Two living nodes of three that govern are joined by one of the dead.
std::vector<NodeIndex> Topology::wanted_governors(const std::set<NodeIndex>& dead) const {
  std::vector<NodeIndex> able, dead_ones;
  for (const auto& [index, member] : members_)
    if (!member.leaves && !dead.count(index)) able.push_back(index);
  for (const NodeIndex node : governors_)
    if (dead.count(node) && !members_.at(node).leaves) dead_ones.push_back(node);
  const auto present = std::ranges::count_if(
      governors_, [this](NodeIndex node) { return !members_.at(node).leaves; });
  size_t wanted = std::min<size_t>(able.size() + dead_ones.size(), 1);
  if (present >= 3 && able.size() + dead_ones.size() >= 3) wanted = 3;
  if (able.size() >= 3) wanted = 3;
  if (able.size() >= (governors_.size() == kGovernorsMax ? 7 : 10)) wanted = kGovernorsMax;
  std::vector<NodeIndex> chosen;
  const auto shares = [&](NodeIndex node, bool rack) {
    const Location& at = members_.at(node).location;
    return std::any_of(chosen.begin(), chosen.end(), [&](NodeIndex other) {
      const Location& there = members_.at(other).location;
      return at.dc == there.dc && at.rack == there.rack && (rack || at.host == there.host);
    });
  };
  // On racks of their own, else on hosts of their own, else anywhere; present ones before others.
  enum { kRacks, kHosts, kAnywhere };
  for (int apart = kRacks; apart <= kAnywhere; ++apart)
    for (const std::vector<NodeIndex>* from : {&governors_, &std::as_const(able)})
      for (NodeIndex node : *from) {
        if (chosen.size() == wanted) return chosen;
        if (contains(chosen, node) || !contains(able, node)) continue;
        if (apart != kAnywhere && shares(node, apart == kRacks)) continue;
        chosen.push_back(node);
      }
  for (const NodeIndex node : dead_ones)
    if (chosen.size() < wanted) chosen.push_back(node);
  return chosen;
}

}  // namespace quoll::cluster
