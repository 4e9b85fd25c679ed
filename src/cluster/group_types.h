// What the parts of a replica group agree on: members, positions, quorums, what a member keeps on
// disk beside its log.
//
// A group is N members that hold the same log. One of them leads in an epoch: it executes commands,
// appends their effects to the log and sends them on. An entry is committed once W members have it;
// only then does anybody outside hear of it. See group_core.h for the rules.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace quoll::cluster {

using Epoch = uint64_t;  // at most one member leads in an epoch; 0: before the first
using Index = uint64_t;  // of an entry in the log, from 1 on without gaps
using Member = uint8_t;  // place in the group's list of members

constexpr Member kNoMember = 255;
constexpr size_t kMembersMax = 9;

// Of an entry. The greater position is the newer log.
struct Position {
  Epoch epoch = 0;
  Index index = 0;
  auto operator<=>(const Position&) const = default;
};

constexpr size_t kLogKeepBytes = 64 * 1024 * 1024;  // of committed entries, for who comes back

enum class Durability : uint8_t {
  memory,  // acknowledged when the operating system has the bytes; synced every second
  fsync,   // acknowledged when the disk has them
};

// What a member is told at its start. Who is in the group, and W and R, are so only until the log
// says otherwise: see group_shape.h.
struct GroupConfig {
  size_t members = 1;  // N
  Member self = 0;
  uint32_t witnesses = 0;     // bit m: member m votes and keeps the log, but has no data
  unsigned write_quorum = 1;  // W
  unsigned read_quorum = 1;   // R
  Durability durability = Durability::memory;
  base::Millis election_timeout_ms = 1000;  // up to one and a half times as long without a leader
  // Reads are answered under the leader's lease; see group_core.h. Told to all members alike.
  bool lease = false;
  size_t log_keep_bytes = kLogKeepBytes;

  bool is_witness(Member member) const { return witnesses >> member & 1; }
};

constexpr size_t kMemberIdBytes = 40;

// The group's shape (group_shape.h, encoded) as of an entry.
struct SavedShape {
  Position at;
  std::string shape;  // "": none

  bool operator==(const SavedShape&) const = default;
};

// What a member must not forget. Written and synced before it says anything that follows from it.
struct SavedState {
  std::string id;           // this member's name, 40 hex digits, drawn once per data directory
  Epoch epoch = 0;          // the highest it has seen
  Member vote = kNoMember;  // whom it elected in that epoch
  // It may have acknowledged entries that its log no longer holds: the machine went down with
  // unsynced bytes, or the log is damaged. It neither votes nor acknowledges until a leader has
  // committed a REJOIN that carries this number; 0: it is intact.
  uint64_t amnesia = 0;
  // Of the boot of the operating system in which it may have acknowledged unsynced entries; "" when
  // everything acknowledged is synced.
  std::string unsynced_boot;
  SavedShape shape;     // the last one that was committed, or came with all data
  SavedShape arriving;  // of all data that are about to take the place of ours

  bool operator==(const SavedState&) const = default;
};

}  // namespace quoll::cluster
