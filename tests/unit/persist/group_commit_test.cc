#include "persist/group_commit.h"

#include <doctest/doctest.h>

namespace quoll::persist {

TEST_CASE("group commit: the first commits, and those of a single client, never wait") {
  GroupCommit group;
  CHECK(!group.holds(1, 0));
  group.ended(1, 0, 100);
  CHECK(!group.holds(1, 101));
}

TEST_CASE("group commit: waits for most of those that were answered") {
  GroupCommit group;
  group.ended(30, 10, 0);
  CHECK(group.holds(10, 1));
  CHECK(group.holds(29, 2));
  CHECK(!group.holds(30, 3));
  CHECK(!group.holds(0, 4));  // asked once per fsync
  group.ended(8, 0, 5);
  CHECK(group.holds(1, GroupCommit::kHoldMax));
  CHECK(!group.holds(1, 5 + GroupCommit::kHoldMax));
}

TEST_CASE("group commit: where nobody comes back it streams, and tries again later") {
  GroupCommit group;
  base::Nanos now = 0;
  for (unsigned i = 0; i < GroupCommit::kMissesMax; ++i) {
    CHECK(!group.streaming());
    group.ended(8, 0, now);
    CHECK(group.holds(1, now));
    now += GroupCommit::kHoldMax;
    CHECK(!group.holds(1, now));
  }
  for (unsigned i = 0; i < GroupCommit::kRestSyncs; ++i) {
    CHECK(group.streaming());
    CHECK(!group.holds(1, now));
    group.ended(8, 0, now);
  }
  CHECK(!group.streaming());
  CHECK(group.holds(1, now));
}

}  // namespace quoll::persist
