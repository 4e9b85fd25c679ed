#include "cluster/group_shape.h"

#include "cluster/group_frames.h"

namespace quoll::cluster {
namespace {

using base::Error;
using base::Result;

constexpr uint8_t kShapeFormat = 1;
constexpr uint8_t kShapeFormatSlots = 2;  // with the ledger behind the voters
constexpr uint8_t kWitnessFlag = 1;
constexpr uint8_t kLeavingFlag = 2;
constexpr base::Bytes kHexDigits = "0123456789abcdef";

bool is_id(base::Bytes id) {
  return id.size() == kMemberIdBytes && id.find_first_not_of(kHexDigits) == base::Bytes::npos;
}

void put_rule(FieldWriter& out, const QuorumRule& rule) {
  out.number(rule.kind).number(rule.number);
}

bool take_rule(FieldReader& in, QuorumRule& rule) {
  return in.number(rule.kind) && in.number(rule.number) && rule.kind <= QuorumRule::Kind::number;
}

void put_voters(FieldWriter& out, const Voters& voters) {
  out.number(voters.places);
  put_rule(out, voters.write);
  put_rule(out, voters.read);
}

bool take_voters(FieldReader& in, Voters& voters) {
  return in.number(voters.places) && take_rule(in, voters.write) && take_rule(in, voters.read);
}

bool take_place(FieldReader& in, GroupShape& shape) {
  Member member = 0;
  uint8_t flags = 0;
  base::Bytes id;
  if (!in.number(member) || !in.number(flags) || !in.bytes(id)) return false;
  if (member >= kMembersMax || shape.uses(member)) return false;
  shape.places[member] = {true, (flags & kWitnessFlag) != 0, (flags & kLeavingFlag) != 0,
                          std::string(id)};
  return true;
}

Result<> check_voters(const GroupShape& shape, const Voters& voters, Durability durability) {
  bool data = false;
  for (Member m = 0; m < kMembersMax; ++m) {
    if (!voters.has(m)) continue;
    if (!shape.uses(m)) return Error{"a place that nobody has cannot vote"};
    data |= !shape.is_witness(m);
  }
  if (voters.places >> kMembersMax) return Error{"there are no such places"};
  if (!data) return Error{"a group needs a voter that has the data"};
  return check_quorums(voters.size(), voters.write_quorum(), voters.read_quorum(), durability);
}

}  // namespace

unsigned QuorumRule::of(size_t voters) const {
  const auto n = static_cast<unsigned>(voters);
  switch (kind) {
    case Kind::majority:
      return n / 2 + 1;
    case Kind::all:
      return n;
    case Kind::number:
      break;
  }
  return number;
}

MemberRole GroupShape::role(Member member) const {
  if (!uses(member)) return MemberRole::none;
  if (!votes(member)) return MemberRole::learner;
  return is_witness(member) ? MemberRole::witness : MemberRole::voter;
}

uint32_t GroupShape::used() const {
  uint32_t used = 0;
  for (Member m = 0; m < kMembersMax; ++m)
    if (uses(m)) used |= 1u << m;
  return used;
}

size_t GroupShape::members() const { return static_cast<size_t>(std::popcount(used())); }

bool GroupShape::is(Member member, base::Bytes id) const {
  return uses(member) && (places[member].id.empty() || id.empty() || places[member].id == id);
}

std::optional<Member> GroupShape::place_of(base::Bytes id) const {
  for (Member m = 0; m < kMembersMax; ++m)
    if (uses(m) && places[m].id == id) return m;
  return {};
}

std::optional<Member> GroupShape::free_place(bool witness) const {
  for (Member m = 0; m < kMembersMax; ++m) {
    const Member place = witness ? kMembersMax - 1 - m : m;
    if (!uses(place)) return place;
  }
  return {};
}

GroupShape& GroupShape::add(Member member, base::Bytes id, bool witness) {
  places[member] = {true, witness, false, std::string(id)};
  return *this;
}

GroupShape listed_shape(const GroupConfig& group) {
  GroupShape shape;
  for (Member m = 0; m < group.members; ++m) {
    shape.add(m, {}, group.is_witness(m));
    shape.now.places |= 1u << m;
  }
  auto fixed = [](unsigned quorum) {
    return QuorumRule{QuorumRule::Kind::number, static_cast<uint8_t>(quorum)};
  };
  shape.now.write = fixed(group.write_quorum);
  shape.now.read = fixed(group.read_quorum);
  return shape;
}

Result<> check_shape(const GroupShape& shape, Durability durability) {
  for (Member m = 0; m < kMembersMax; ++m) {
    const GroupShape::Place& place = shape.places[m];
    if (!place.used || place.id.empty()) continue;
    if (!is_id(place.id)) return Error{"a node's id has 40 hexadecimal digits"};
    if (shape.place_of(place.id) != m) return Error{"a node has one place in a group"};
  }
  if (auto checked = check_voters(shape, shape.now, durability); !checked) return checked;
  return shape.next ? check_voters(shape, *shape.next, durability) : Result<>{};
}

Result<> check_change(const GroupShape& from, const GroupShape& to) {
  if (to.joint()) return Error{"a change leads to one set of voters"};
  for (Member m = 0; m < kMembersMax; ++m) {
    if (!from.uses(m)) {
      if (to.uses(m) && !to.places[m].id.empty() && from.place_of(to.places[m].id))
        return Error{"a node keeps its place while it is in the group"};
      continue;
    }
    if (!to.uses(m)) continue;
    if (from.places[m].id != to.places[m].id)
      return Error{"a place is free for another node once the group is without the one it has"};
    if (from.places[m].witness != to.places[m].witness)
      return Error{"a member has data or has none as long as it is in the group"};
  }
  return {};
}

GroupShape joint_shape(const GroupShape& from, const GroupShape& to) {
  GroupShape joint = to;
  for (Member m = 0; m < kMembersMax; ++m) {
    if (!from.uses(m) || to.uses(m)) continue;
    joint.places[m] = from.places[m];
    joint.places[m].leaving = true;
  }
  joint.now = from.now;
  joint.next = to.now;
  return joint;
}

GroupShape settled_shape(const GroupShape& joint) {
  GroupShape settled = joint;
  for (Member m = 0; m < kMembersMax; ++m)
    if (joint.places[m].leaving) settled.drop(m);
  settled.now = joint.last();
  settled.next.reset();
  return settled;
}

std::string encode_shape(const GroupShape& shape) {
  std::string bytes;
  FieldWriter out(bytes);
  const bool slots = !shape.slots.empty();
  out.number(slots ? kShapeFormatSlots : kShapeFormat).number(static_cast<uint8_t>(shape.joint()));
  put_voters(out, shape.now);
  if (shape.next) put_voters(out, *shape.next);
  if (slots) out.bytes(encode_ledger(shape.slots));
  for (Member m = 0; m < kMembersMax; ++m) {
    const GroupShape::Place& place = shape.places[m];
    if (!place.used) continue;
    const int flags = (place.witness ? kWitnessFlag : 0) | (place.leaving ? kLeavingFlag : 0);
    out.number(m).number(static_cast<uint8_t>(flags)).bytes(place.id);
  }
  return bytes;
}

std::optional<GroupShape> decode_shape(base::Bytes bytes) {
  FieldReader in(bytes);
  GroupShape shape;
  uint8_t format = 0, joint = 0;
  if (!in.number(format) || format < kShapeFormat || format > kShapeFormatSlots ||
      !in.number(joint) || !take_voters(in, shape.now))
    return {};
  if (joint && !take_voters(in, shape.next.emplace())) return {};
  if (format == kShapeFormatSlots) {
    base::Bytes ledger;
    if (!in.bytes(ledger)) return {};
    auto slots = decode_ledger(ledger);
    if (!slots) return {};
    shape.slots = std::move(*slots);
  }
  while (!in.empty())
    if (!take_place(in, shape)) return {};
  return shape;
}

}  // namespace quoll::cluster
