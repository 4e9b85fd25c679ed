#include "cluster/group_steps.h"

#include <doctest/doctest.h>

namespace quoll::cluster {
namespace {

std::string node(char digit) { return std::string(kMemberIdBytes, digit); }

GroupShape alone(char digit) {
  GroupShape shape;
  shape.add(0, node(digit));
  shape.now.places = 1;
  return shape;
}

bool nobody(Member) { return false; }
bool everybody(Member) { return true; }

// Every change there is to make, one behind the other; each must be one that a group may make.
GroupShape follow(GroupShape shape, const WantedMembers& wanted) {
  for (int changes = 0; changes < 100; ++changes) {
    const auto next = next_shape(shape, wanted, everybody);
    if (!next) return shape;
    CHECK(check_change(shape, *next).ok());
    CHECK(check_shape(*next, Durability::fsync).ok());
    shape = *next;
  }
  FAIL("there is no end of changes");
  return shape;
}

constexpr Member kLast = kMembersMax - 1;  // where witnesses are

}  // namespace

TEST_CASE("group steps: who is wanted learns, and votes once all have caught up") {
  const WantedMembers wanted{{node('a')}, {node('b')}, {node('c'), true}};
  GroupShape shape = alone('a');
  shape = *next_shape(shape, wanted, nobody);
  CHECK(shape.role(1) == MemberRole::learner);
  shape = *next_shape(shape, wanted, nobody);
  CHECK(shape.role(kLast) == MemberRole::learner);
  CHECK(shape.is_witness(kLast));
  CHECK(!next_shape(shape, wanted, nobody));
  CHECK(!next_shape(shape, wanted, [](Member m) { return m == 1; }));
  const auto complete = next_shape(shape, wanted, everybody);
  REQUIRE(complete);
  CHECK(complete->now.places == (0b011 | 1u << kLast));
  CHECK(!next_shape(*complete, wanted, everybody));
}

TEST_CASE("group steps: who is replaced votes until the other one has caught up") {
  const GroupShape three = follow(alone('a'), {{node('a')}, {node('b')}, {node('c')}});
  const WantedMembers wanted{{node('a')}, {node('b')}, {node('d')}};
  const auto with_learner = next_shape(three, wanted, nobody);
  REQUIRE(with_learner);
  CHECK(with_learner->now.places == 0b111);
  CHECK(!next_shape(*with_learner, wanted, nobody));
  const auto complete = next_shape(*with_learner, wanted, everybody);
  REQUIRE(complete);
  CHECK(!complete->place_of(node('c')));
  CHECK(complete->now.places == 0b1011);
}

TEST_CASE("group steps: any group becomes any other one") {
  const std::vector<WantedMembers> all{
      {{node('a')}},
      {{node('b')}},
      {{node('a')}, {node('b')}, {node('c'), true}},
      {{node('a')}, {node('b')}, {node('c')}},
      {{node('c')}, {node('d')}, {node('e'), true}},
      {{node('a')}, {node('b')}, {node('c')}, {node('d')}, {node('e')}}};
  for (const WantedMembers& from : all)
    for (const WantedMembers& to : all) {
      const GroupShape shape = follow(follow(alone('a'), from), to);
      CHECK(shape.now.size() == to.size());
      CHECK(shape.members() == to.size());
      for (const WantedMember& one : to) {
        const auto place = shape.place_of(one.id);
        REQUIRE(place);
        CHECK(shape.is_witness(*place) == one.witness);
      }
    }
}

TEST_CASE("group steps: all are replaced at once, though there are no places for all of both") {
  const auto named = [](base::Bytes digits) {
    WantedMembers wanted;
    for (const char digit : digits) wanted.push_back({node(digit)});
    return wanted;
  };
  for (const auto& [from, to] :
       std::vector<std::pair<base::Bytes, base::Bytes>>{{"abcde", "01234"},
                                                        {"abcde", "0123456"},
                                                        {"abcdef0", "0123456"},
                                                        {"abcdef012", "abcdef013"},
                                                        {"abcdef012", "3456789"}}) {
    const GroupShape shape = follow(follow(alone('a'), named(from)), named(to));
    CHECK(shape.now.size() == to.size());
    CHECK(shape.members() == to.size());
    for (const char digit : to) CHECK(shape.place_of(node(digit)));
  }
}

TEST_CASE("group steps: who is not there goes first, and nobody before another one has come") {
  WantedMembers wanted;
  for (const char digit : base::Bytes("01234")) wanted.push_back({node(digit)});
  WantedMembers old;
  for (const char digit : base::Bytes("abcde")) old.push_back({node(digit)});
  GroupShape shape = follow(alone('a'), old);
  for (int i = 0; i < 4; ++i) shape = *next_shape(shape, wanted, nobody);
  CHECK(shape.members() == kMembersMax);
  CHECK(!next_shape(shape, wanted, nobody));
  CHECK(!next_shape(shape, wanted, [](Member m) { return m != 8; }));
  const auto next = next_shape(shape, wanted, [](Member m) { return m != 4 && m != 1; });
  REQUIRE(next);
  CHECK(next->now.places == 0b111101000);
  CHECK(next->used() == next->now.places);
}

TEST_CASE("group steps: a learner that nobody wants any more goes") {
  GroupShape shape = *next_shape(alone('a'), {{node('a')}, {node('b')}, {node('c')}}, nobody);
  shape = *next_shape(shape, {{node('a')}}, nobody);
  CHECK(shape == alone('a'));
}

TEST_CASE("group steps: a shape goes on with a quorum of each of its configurations") {
  const GroupShape one = alone('a');
  const GroupShape three = follow(one, {{node('a')}, {node('b')}, {node('c'), true}});
  const auto there = [](uint32_t places) {
    return [places](Member m) { return (places >> m & 1) != 0; };
  };
  CHECK(goes_on(three, there(0b011)));
  CHECK(!goes_on(three, there(1u << kLast)));
  // While it changes, the one that was alone is needed as well.
  GroupShape joint = three;
  joint.now.places = 0b001;
  joint.next = three.now;
  CHECK(goes_on(joint, there(0b001 | 1u << kLast)));
  CHECK(!goes_on(joint, there(0b010 | 1u << kLast)));
}

}  // namespace quoll::cluster
