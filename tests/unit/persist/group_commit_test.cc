#include "persist/group_commit.h"

#include <doctest/doctest.h>

namespace quoll::persist {
namespace {

constexpr base::Nanos kSync = 3 * base::kNanosPerMilli;  // of a disk

// One fsync that ends now.
void sync(GroupCommit& group, size_t synced, size_t waiting, base::Nanos now) {
  group.began(now - kSync);
  group.ended(synced, waiting, now);
}

}  // namespace

TEST_CASE("group commit: the first commits, and those of a single client, never wait") {
  GroupCommit group;
  CHECK(!group.holds(1, 0));
  sync(group, 1, 0, 100);
  CHECK(!group.holds(1, 101));
}

TEST_CASE("group commit: waits for all that were answered") {
  GroupCommit group;
  sync(group, 30, 10, 0);
  CHECK(group.holds(10, 1));
  CHECK(group.holds(39, 2));
  CHECK(!group.holds(40, 3));
  CHECK(!group.holds(0, 4));  // asked once per fsync
  sync(group, 8, 0, 5);
  CHECK(group.holds(1, GroupCommit::kHoldMax));
  CHECK(!group.holds(1, 5 + GroupCommit::kHoldMax));
}

TEST_CASE("group commit: those that never come back in time are waited for once") {
  GroupCommit group;
  sync(group, 64, 0, 0);
  CHECK(group.holds(56, GroupCommit::kHoldMax - 1));
  CHECK(!group.holds(56, GroupCommit::kHoldMax));
  // The next hold ends with as many as came, and then aims at one more.
  sync(group, 64, 0, kSync);
  CHECK(group.holds(55, kSync + 1));
  CHECK(!group.holds(56, kSync + 2));
  sync(group, 64, 0, 2 * kSync);
  CHECK(group.holds(56, 2 * kSync + 1));
  CHECK(!group.holds(57, 2 * kSync + 2));
  CHECK(!group.streaming());
}

TEST_CASE("group commit: where nobody comes back it streams, and tries again later") {
  GroupCommit group;
  base::Nanos now = kSync;
  for (unsigned i = 0; i < GroupCommit::kMissesMax; ++i) {
    CHECK(!group.streaming());
    sync(group, 8, 0, now);
    CHECK(group.holds(1, now));
    now += GroupCommit::kHoldMax;
    CHECK(!group.holds(1, now));
  }
  for (unsigned i = 0; i < GroupCommit::kRestSyncs; ++i) {
    CHECK(group.streaming());
    CHECK(!group.holds(1, now));
    sync(group, 8, 0, now);
  }
  CHECK(!group.streaming());
  CHECK(group.holds(1, now));
}

TEST_CASE("group commit: where an fsync takes less than the way back it streams, too") {
  GroupCommit group;
  base::Nanos now = kSync;
  constexpr base::Nanos kBack = GroupCommit::kHoldMax / 2;
  for (unsigned i = 0; i < GroupCommit::kMissesMax; ++i) {
    CHECK(!group.streaming());
    group.began(now - kBack / 2);
    group.ended(8, 0, now);
    CHECK(group.holds(7, now));
    now += kBack;
    CHECK(!group.holds(8, now));
  }
  CHECK(group.streaming());
}

}  // namespace quoll::persist
