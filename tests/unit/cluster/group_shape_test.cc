#include "cluster/group_shape.h"

#include <doctest/doctest.h>

#include "cluster/group_wal_format.h"

namespace quoll::cluster {
namespace {

std::string lettered_id(char digit) { return std::string(kMemberIdBytes, digit); }

// Voters at the places 0, 1 ...
GroupShape shape_of(size_t voters) {
  GroupShape shape;
  for (Member m = 0; m < voters; ++m) {
    shape.add(m, lettered_id(static_cast<char>('a' + m % 6)));
    shape.now.places |= 1u << m;
  }
  return shape;
}

std::string fault(const base::Result<>& result) { return result ? "" : result.error(); }

}  // namespace

TEST_CASE("group shape: quorums follow the number of voters") {
  Voters voters{0b11111, {QuorumRule::Kind::majority, 0}, {QuorumRule::Kind::majority, 0}};
  CHECK(voters.write_quorum() == 3);
  CHECK(voters.election_quorum() == 3);
  voters.places = 0b111;
  CHECK(voters.write_quorum() == 2);
  voters.write = {QuorumRule::Kind::all, 0};
  voters.read = {QuorumRule::Kind::number, 1};
  CHECK(voters.write_quorum() == 3);
  CHECK(voters.read_quorum() == 1);
  CHECK(voters.election_quorum() == 3);
}

TEST_CASE("group shape: who learns has a place and does not vote") {
  GroupShape shape = shape_of(3);
  shape.places[2].witness = true;
  shape.add(5, lettered_id('0'));
  CHECK(shape.role(0) == MemberRole::voter);
  CHECK(shape.role(2) == MemberRole::witness);
  CHECK(shape.role(5) == MemberRole::learner);
  CHECK(shape.role(4) == MemberRole::none);
  CHECK(shape.members() == 4);
  CHECK(shape.free_place(false) == Member{3});
  CHECK(shape.free_place(true) == Member{kMembersMax - 1});
  CHECK(shape.place_of(lettered_id('0')) == Member{5});
  CHECK(shape.is(5, lettered_id('0')));
  CHECK_FALSE(shape.is(5, lettered_id('1')));
  CHECK_FALSE(shape.is(4, lettered_id('0')));
}

TEST_CASE("group shape: between two shapes both count, and who leaves is dropped at the end") {
  const GroupShape from = shape_of(3);
  GroupShape to = from;
  to.drop(0);
  to.add(3, lettered_id('9'));
  to.now.places = 0b1110;
  const GroupShape joint = joint_shape(from, to);
  CHECK(joint.joint());
  CHECK(joint.now == from.now);
  CHECK(joint.last() == to.now);
  CHECK(joint.places[0].leaving);
  CHECK(joint.members() == 4);
  CHECK(joint.all_voters() == 0b1111);
  CHECK(settled_shape(joint) == to);
}

TEST_CASE("group shape: encoded and decoded it is the same") {
  GroupShape shape = shape_of(3);
  shape.places[1].witness = true;
  shape.now.write = {QuorumRule::Kind::number, 2};
  GroupShape to = shape;
  to.drop(0);
  to.now.places = 0b110;
  GroupShape with_slots = joint_shape(shape, to);
  with_slots.slots.floor = 9;
  with_slots.slots.leftover = {1, 16383};
  for (const GroupShape& one : {shape, joint_shape(shape, to), GroupShape{}, with_slots}) {
    const std::string bytes = encode_shape(one);
    REQUIRE(decode_shape(bytes).has_value());
    CHECK(*decode_shape(bytes) == one);
    if (one.unknown()) continue;
    CHECK_FALSE(decode_shape(base::Bytes(bytes).substr(0, bytes.size() - 1)).has_value());
  }
  CHECK_FALSE(decode_shape("").has_value());
}

TEST_CASE("group shape: what could not work is refused") {
  GroupShape shape = shape_of(3);
  CHECK(fault(check_shape(shape, Durability::memory)) == "");
  GroupShape twice = shape;
  twice.places[1].id = twice.places[0].id;
  CHECK(fault(check_shape(twice, Durability::memory)) == "a node has one place in a group");
  GroupShape no_data = shape;
  for (Member m = 0; m < 3; ++m) no_data.places[m].witness = true;
  CHECK(fault(check_shape(no_data, Durability::memory)) ==
        "a group needs a voter that has the data");
  GroupShape nobody = shape;
  nobody.now.places |= 1u << 7;
  CHECK(fault(check_shape(nobody, Durability::memory)) == "a place that nobody has cannot vote");
  CHECK(fault(check_shape(GroupShape{}, Durability::memory)) != "");
  GroupShape named = shape;
  named.places[0].id = "x";
  CHECK(fault(check_shape(named, Durability::memory)) == "a node's id has 40 hexadecimal digits");
  CHECK(fault(check_shape(shape_of(2), Durability::memory)) != "");
  CHECK(fault(check_shape(shape_of(2), Durability::fsync)) == "");
}

TEST_CASE("group shape: a place keeps its node, and a node its place, until it has left") {
  const GroupShape from = shape_of(3);
  GroupShape to = from;
  to.places[2].id = lettered_id('9');
  CHECK(fault(check_change(from, to)) ==
        "a place is free for another node once the group is without the one it has");
  to = from;
  to.drop(2);
  to.add(4, from.places[2].id);
  CHECK(fault(check_change(from, to)) == "a node keeps its place while it is in the group");
  to = from;
  to.places[2].witness = true;
  CHECK(fault(check_change(from, to)) ==
        "a member has data or has none as long as it is in the group");
  to = from;
  to.add(4, lettered_id('9'));
  CHECK(fault(check_change(from, to)) == "");
  CHECK(fault(check_change(to, from)) == "");
}

TEST_CASE("group shape: a listed group is one of whoever has the places") {
  GroupConfig group;
  group.members = 3;
  group.write_quorum = 3;
  group.read_quorum = 1;
  group.witnesses = 1u << 2;
  const GroupShape shape = listed_shape(group);
  CHECK(shape.now.places == 0b111);
  CHECK(shape.now.write_quorum() == 3);
  CHECK(shape.now.read_quorum() == 1);
  CHECK(shape.is_witness(2));
  CHECK(shape.is(1, lettered_id('5')));
  CHECK(fault(check_shape(shape, Durability::fsync)) == "");
}

TEST_CASE("group state file: shapes come back, and files without any are read as before") {
  GroupSuperblock block;
  block.state.id = lettered_id('7');
  block.state.epoch = 3;
  CHECK(encode_superblock(block).starts_with("quoll-group-state 1\n"));
  CHECK(decode_superblock(encode_superblock(block)) == block);
  block.state.shape = {{2, 17}, encode_shape(shape_of(3))};
  CHECK(encode_superblock(block).starts_with("quoll-group-state 2\n"));
  CHECK(decode_superblock(encode_superblock(block)) == block);
  block.state.arriving = {{3, 99}, encode_shape(shape_of(5))};
  CHECK(decode_superblock(encode_superblock(block)) == block);
}

}  // namespace quoll::cluster
