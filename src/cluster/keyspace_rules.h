// Keyspace rules: what replies about keys of a prefix wait for beyond their group's quorums. The
// rule of the longest prefix that a key begins with is in force. They are documents of the topology
// (DocumentKind::keyspace), the same on every node.
//
//   document   prefix4 prefix write1 read1 fsync1 timeout4
//
// Pure. Cost of a look-up: one search per length of a prefix that there is.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster/topology_steps.h"

namespace quoll::cluster {

constexpr size_t kPrefixBytesMax = 256;
constexpr size_t kKeyspaceRulesMax = 256;

// How many members of a group: a number, or as many as it takes there. 0: the group's own quorum.
constexpr uint8_t kMajorityOfMembers = 0xfe;
constexpr uint8_t kAllMembers = 0xff;

struct KeyspaceRule {
  std::string prefix;
  uint8_t write = 0;
  uint8_t read = 0;
  bool fsync = false;
  uint32_t timeout_ms = 0;  // 0: the group's

  bool operator==(const KeyspaceRule&) const = default;
  std::string encode() const;
  // Nothing: malformed.
  static std::optional<KeyspaceRule> decode(base::Bytes bytes);
};

// Of a group with so many members.
unsigned members_meant(uint8_t quorum, size_t members);

class KeyspaceRules {
 public:
  void add(const KeyspaceRule& rule);
  bool empty() const { return rules_.empty(); }
  // nullptr: none is for the key.
  const KeyspaceRule* find(base::Bytes key) const;

 private:
  std::map<std::string, KeyspaceRule, std::less<>> rules_;  // by prefix
  std::set<size_t, std::greater<>> lengths_;                // of prefixes, in bytes
};

// Those of the topology, by name.
std::map<std::string, KeyspaceRule> keyspace_rules(const Topology& topology);
NextStep next_to_set_rule(const Topology& topology, const std::string& name,
                          const KeyspaceRule& rule);
NextStep next_to_drop_rule(const Topology& topology, const std::string& name);

}  // namespace quoll::cluster
