// The list of a group's members as the configuration gives it, the same text on every member:
//
//   10.0.0.1:6379 [fd00::2]:6379@7000 witness.example:6379/witness
//
// host:port as clients reach the member, @port of the bus (else port + 10000), /witness for a
// member that keeps the log and votes but has no data. A member's place in the list, counted from
// 0, is its number in everything the group says.
//
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace quoll::cluster {

constexpr uint16_t kBusPortDistance = 10000;  // from the port of the clients, as in Redis

struct ListedMember {
  std::string host;  // lower case, without brackets
  uint16_t port = 0;
  uint16_t bus_port = 0;
  bool witness = false;

  bool operator==(const ListedMember&) const = default;
};
using GroupList = std::vector<ListedMember>;

// The error names the word that is wrong.
base::Result<GroupList> parse_group_list(base::Bytes text);
// The shortest text that parses to the list.
std::string format_group_list(const GroupList& list);

// What a server knows of itself before anybody has told it its place.
struct OwnAddress {
  uint16_t port = 0;               // as announced
  std::vector<std::string> hosts;  // addresses and names; empty: every address of the machine
};
// The place of the member with that address; the error says what to write when there is none, or
// more than one.
base::Result<size_t> find_own_place(const GroupList& list, const OwnAddress& own);

}  // namespace quoll::cluster
