#include "cluster/topology_change.h"

#include "cluster/group_frames.h"

namespace quoll::cluster {
namespace {

using base::Bytes;

// Of addresses, as long as their texts are.
void put_bus(const NodeAddress& bus, FieldWriter& out) {
  out.number(static_cast<uint8_t>(bus.v6 ? 6 : 4))
      .bytes(Bytes(reinterpret_cast<const char*>(bus.bytes.data()), bus.size()))
      .number(bus.port);
}

bool take_bus(FieldReader& in, NodeAddress& bus) {
  uint8_t family = 0;
  Bytes bytes;
  bus = {};
  if (!in.number(family) || (family != 4 && family != 6)) return false;
  bus.v6 = family == 6;
  if (!in.bytes(bytes) || bytes.size() != bus.size() || !in.number(bus.port)) return false;
  std::memcpy(bus.bytes.data(), bytes.data(), bytes.size());
  return bus.port != 0;
}

void put_location(const Location& location, FieldWriter& out) { out.bytes(location.text()); }

bool take_location(FieldReader& in, Location& location) {
  Bytes text;
  if (!in.bytes(text)) return false;
  const auto parsed = parse_location(text);
  if (!parsed) return false;
  location = *parsed;
  return true;
}

bool take_flag(FieldReader& in, bool& flag) {
  uint8_t value = 0;
  if (!in.number(value) || value > 1) return false;
  flag = value;
  return true;
}

bool take_incarnation(FieldReader& in, Incarnation& incarnation) {
  return in.number(incarnation) && incarnation <= kIncarnationMax;
}

bool take_weight(FieldReader& in, uint32_t& weight) {
  return in.number(weight) && weight <= kWeightMax;
}

// ---- each kind of change

void put(const FoundCluster& c, FieldWriter& out) {
  out.bytes(c.cluster_id);
  put_rules(c.rules, out);
}
bool take(FieldReader& in, FoundCluster& c) {
  return take_text(in, kNodeIdBytes, c.cluster_id) && take_rules(in, c.rules);
}

void put(const SetRules& c, FieldWriter& out) { put_rules(c.rules, out); }
bool take(FieldReader& in, SetRules& c) { return take_rules(in, c.rules); }

void put(const JoinMember& c, FieldWriter& out) { put_member(c.member, out); }
bool take(FieldReader& in, JoinMember& c) { return take_member(in, c.member); }

void put(const MoveMember& c, FieldWriter& out) {
  out.number(c.index);
  put_bus(c.bus, out);
  out.number(c.port).number(c.tls_port).bytes(c.hostname).number(c.incarnation);
}
bool take(FieldReader& in, MoveMember& c) {
  return in.number(c.index) && take_bus(in, c.bus) && in.number(c.port) && in.number(c.tls_port) &&
         take_text(in, kHostnameBytesMax, c.hostname) && take_incarnation(in, c.incarnation);
}

void put(const WeighMember& c, FieldWriter& out) {
  out.number(c.index).number(c.weight);
  put_location(c.location, out);
}
bool take(FieldReader& in, WeighMember& c) {
  return in.number(c.index) && take_weight(in, c.weight) && take_location(in, c.location);
}

void put(const LeaveMember& c, FieldWriter& out) {
  out.number(c.index).number(static_cast<uint8_t>(c.leaves));
}
bool take(FieldReader& in, LeaveMember& c) { return in.number(c.index) && take_flag(in, c.leaves); }

void put(const RemoveMember& c, FieldWriter& out) { out.number(c.index); }
bool take(FieldReader& in, RemoveMember& c) { return in.number(c.index); }

void put(const SetGovernors& c, FieldWriter& out) { put_nodes(c.nodes, out); }
bool take(FieldReader& in, SetGovernors& c) { return take_nodes(in, c.nodes); }

void put(const SetGroups& c, FieldWriter& out) {
  out.number(static_cast<uint16_t>(c.groups.size()));
  for (const auto& [number, group] : c.groups) {
    out.number(number);
    put_group(group, out);
  }
}
bool take(FieldReader& in, SetGroups& c) {
  uint16_t count = 0;
  if (!in.number(count)) return false;
  for (; count > 0; --count) {
    auto& [number, group] = c.groups.emplace_back();
    if (!in.number(number) || !take_group(in, group)) return false;
  }
  return true;
}

void put(const AssignSlots& c, FieldWriter& out) {
  out.number(static_cast<uint32_t>(c.ranges.size()));
  for (const AssignSlots::Range& range : c.ranges)
    out.number(range.first).number(range.last).number(range.from).number(range.to);
}
bool take(FieldReader& in, AssignSlots& c) {
  uint32_t count = 0;
  if (!in.number(count) || count > base::kKeySlots) return false;
  for (; count > 0; --count) {
    AssignSlots::Range& range = c.ranges.emplace_back();
    if (!in.number(range.first) || !in.number(range.last) || !in.number(range.from) ||
        !in.number(range.to))
      return false;
  }
  return true;
}

void put(const PutDocument& c, FieldWriter& out) {
  out.number(c.kind).bytes(c.name).bytes(c.bytes);
}
bool take(FieldReader& in, PutDocument& c) {
  return in.number(c.kind) && take_text(in, kDocumentNameBytesMax, c.name) &&
         take_text(in, kDocumentBytesMax, c.bytes);
}

void put(const HandOverSlots& c, FieldWriter& out) {
  out.number(c.from).number(c.to).number(c.decided).number(static_cast<uint32_t>(c.ranges.size()));
  for (const auto& [first, last] : c.ranges) out.number(first).number(last);
}
bool take(FieldReader& in, HandOverSlots& c) {
  uint32_t count = 0;
  if (!in.number(c.from) || !in.number(c.to) || !in.number(c.decided) || !in.number(count) ||
      count > base::kKeySlots)
    return false;
  for (; count > 0; --count) {
    auto& [first, last] = c.ranges.emplace_back();
    if (!in.number(first) || !in.number(last)) return false;
  }
  return true;
}

void put(const PutDocuments& c, FieldWriter& out) {
  out.number(static_cast<uint32_t>(c.documents.size()));
  for (const PutDocument& one : c.documents) put(one, out);
}
bool take(FieldReader& in, PutDocuments& c) {
  uint32_t count = 0;
  if (!in.number(count) || count > kDocumentsMax) return false;
  for (; count > 0; --count)
    if (!take(in, c.documents.emplace_back())) return false;
  return true;
}

// Decodes the kind of that number.
template <size_t kKind = 0>
bool take_kind(size_t kind, FieldReader& in, TopologyChange::Body& body) {
  if constexpr (kKind < std::variant_size_v<TopologyChange::Body>) {
    if (kind == kKind) return take(in, body.emplace<kKind>());
    return take_kind<kKind + 1>(kind, in, body);
  }
  return false;
}

}  // namespace

// ---- parts

bool take_text(FieldReader& in, size_t bytes_max, std::string& text) {
  Bytes bytes;
  if (!in.bytes(bytes) || bytes.size() > bytes_max) return false;
  text = bytes;
  return true;
}

void put_nodes(const std::vector<NodeIndex>& nodes, FieldWriter& out) {
  out.number(static_cast<uint8_t>(nodes.size()));
  for (NodeIndex node : nodes) out.number(node);
}

bool take_nodes(FieldReader& in, std::vector<NodeIndex>& nodes) {
  uint8_t count = 0;
  if (!in.number(count)) return false;
  nodes.resize(count);
  for (NodeIndex& node : nodes)
    if (!in.number(node)) return false;
  return true;
}

void put_group(const RingGroup& group, FieldWriter& out) {
  put_nodes(group.members, out);
  put_nodes(group.holders, out);
}

bool take_group(FieldReader& in, RingGroup& group) {
  return take_nodes(in, group.members) && take_nodes(in, group.holders);
}

void put_rules(const RingRules& rules, FieldWriter& out) {
  out.number(static_cast<uint8_t>(rules.copies))
      .number(static_cast<uint8_t>(rules.dc_copies.size()));
  for (const RingRules::DcCopies& dc : rules.dc_copies)
    out.bytes(dc.dc).number(static_cast<uint8_t>(dc.copies));
}

bool take_rules(FieldReader& in, RingRules& rules) {
  uint8_t copies = 0, dcs = 0;
  if (!in.number(copies) || !in.number(dcs)) return false;
  rules.copies = copies;
  rules.dc_copies.resize(dcs);
  for (RingRules::DcCopies& dc : rules.dc_copies) {
    if (!take_text(in, kLocationBytesMax, dc.dc) || !in.number(copies)) return false;
    dc.copies = copies;
  }
  return true;
}

void put_member(const TopologyMember& member, FieldWriter& out) {
  out.bytes(member.id);
  put_bus(member.bus, out);
  out.number(member.port).number(member.tls_port).bytes(member.hostname).number(member.incarnation);
  put_location(member.location, out);
  out.number(member.weight).number(static_cast<uint8_t>(member.leaves));
}

bool take_member(FieldReader& in, TopologyMember& member) {
  return take_text(in, kNodeIdBytes, member.id) && take_bus(in, member.bus) &&
         in.number(member.port) && in.number(member.tls_port) &&
         take_text(in, kHostnameBytesMax, member.hostname) &&
         take_incarnation(in, member.incarnation) && take_location(in, member.location) &&
         take_weight(in, member.weight) && take_flag(in, member.leaves);
}

// ---- changes

std::string TopologyChange::encode() const {
  std::string bytes;
  FieldWriter out(bytes);
  out.number(expected).number(static_cast<uint8_t>(body.index()));
  std::visit([&](const auto& change) { put(change, out); }, body);
  return bytes;
}

std::optional<TopologyChange> TopologyChange::decode(Bytes bytes) {
  FieldReader in(bytes);
  TopologyChange change;
  uint8_t kind = 0;
  if (!in.number(change.expected) || !in.number(kind) || !take_kind(kind, in, change.body) ||
      !in.empty())
    return {};
  return change;
}

}  // namespace quoll::cluster
