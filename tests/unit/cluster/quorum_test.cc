#include "cluster/quorum.h"

#include <doctest/doctest.h>

#include <array>

namespace quoll::cluster {
namespace {

GroupConfig group_of(size_t members, unsigned write, unsigned read, Durability durability) {
  GroupConfig group;
  group.members = members;
  group.write_quorum = write;
  group.read_quorum = read;
  group.durability = durability;
  return group;
}

bool accepted(size_t members, unsigned write, unsigned read,
              Durability durability = Durability::memory) {
  return check_quorums(group_of(members, write, read, durability)).ok();
}

}  // namespace

TEST_CASE("quorum: those that elect meet those that have a write, confirm a read, or elect") {
  int seen = 0;
  for (size_t n = 1; n <= kMembersMax; ++n)
    for (unsigned w = 1; w <= n; ++w)
      for (unsigned r = 1; r <= n; ++r) {
        if (!accepted(n, w, r, Durability::fsync)) continue;
        ++seen;
        const unsigned elect = election_quorum(n, w, r);
        CAPTURE(n);
        CAPTURE(w);
        CAPTURE(r);
        CHECK(elect + w > n);
        CHECK(elect + r > n);
        CHECK(2 * elect > n);
        CHECK(elect <= n);
        CHECK(w + r > n);
      }
  CHECK(seen == 157);
}

TEST_CASE("quorum: the table of the documentation") {
  CHECK(election_quorum(1, 1, 1) == 1);
  CHECK(election_quorum(3, 2, 2) == 2);
  CHECK(election_quorum(5, 3, 3) == 3);
  CHECK(election_quorum(5, 2, 4) == 4);
  CHECK(election_quorum(3, 3, 1) == 3);
  CHECK(election_quorum(4, 2, 3) == 3);
}

TEST_CASE("quorum: what could lose a write or show old data is refused") {
  CHECK(accepted(1, 1, 1));
  CHECK(accepted(3, 2, 2));
  CHECK(accepted(5, 2, 4));
  CHECK_FALSE(accepted(3, 0, 3));
  CHECK_FALSE(accepted(3, 4, 2));
  CHECK_FALSE(accepted(3, 2, 0));
  CHECK_FALSE(accepted(3, 2, 4));
  CHECK_FALSE(accepted(3, 2, 1));  // a read could miss a write
  CHECK_FALSE(accepted(5, 2, 3));
  CHECK_FALSE(accepted(3, 1, 3, Durability::fsync));  // on one member only
  CHECK_FALSE(accepted(3, 3, 1));                     // any failure stops writes for nothing
  CHECK(accepted(3, 3, 1, Durability::fsync));
  CHECK(accepted(2, 2, 1, Durability::fsync));
  CHECK_FALSE(accepted(2, 2, 1));
}

TEST_CASE("quorum: the value that enough members reach") {
  auto reached = [](std::array<Index, 5> values, unsigned quorum) {
    return reached_by<Index>(values, quorum);
  };
  CHECK(reached({9, 3, 7, 0, 5}, 1) == 9);
  CHECK(reached({9, 3, 7, 0, 5}, 2) == 7);
  CHECK(reached({9, 3, 7, 0, 5}, 3) == 5);
  CHECK(reached({9, 3, 7, 0, 5}, 5) == 0);
  CHECK(reached({9, 3, 7, 0, 5}, 6) == 0);  // more than there are
  CHECK(reached({4, 4, 4, 4, 4}, 4) == 4);
}

}  // namespace quoll::cluster
