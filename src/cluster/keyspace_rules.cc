#include "cluster/keyspace_rules.h"

#include <fmt/format.h>

#include "cluster/group_frames.h"

namespace quoll::cluster {

using base::Error;

std::string KeyspaceRule::encode() const {
  std::string bytes;
  FieldWriter(bytes)
      .bytes(prefix)
      .number(write)
      .number(read)
      .number(static_cast<uint8_t>(fsync))
      .number(timeout_ms);
  return bytes;
}

std::optional<KeyspaceRule> KeyspaceRule::decode(base::Bytes bytes) {
  KeyspaceRule rule;
  FieldReader in(bytes);
  uint8_t fsync = 0;
  if (!take_text(in, kPrefixBytesMax, rule.prefix) || !in.number(rule.write) ||
      !in.number(rule.read) || !in.number(fsync) || !in.number(rule.timeout_ms) || !in.empty() ||
      fsync > 1)
    return {};
  rule.fsync = fsync;
  return rule;
}

unsigned members_meant(uint8_t quorum, size_t members) {
  if (quorum == kAllMembers) return static_cast<unsigned>(members);
  if (quorum == kMajorityOfMembers) return static_cast<unsigned>(members / 2 + 1);
  return quorum;
}

void KeyspaceRules::add(const KeyspaceRule& rule) {
  rules_[rule.prefix] = rule;
  lengths_.insert(rule.prefix.size());
}

const KeyspaceRule* KeyspaceRules::find(base::Bytes key) const {
  for (const size_t length : lengths_) {
    if (length > key.size()) continue;
    const auto found = rules_.find(key.substr(0, length));
    if (found != rules_.end()) return &found->second;
  }
  return nullptr;
}

std::map<std::string, KeyspaceRule> keyspace_rules(const Topology& topology) {
  std::map<std::string, KeyspaceRule> rules;
  for (const auto& [key, bytes] : topology.documents()) {
    if (key.first != DocumentKind::keyspace) continue;
    if (const auto rule = KeyspaceRule::decode(bytes)) rules.emplace(key.second, *rule);
  }
  return rules;
}

NextStep next_to_set_rule(const Topology& topology, const std::string& name,
                          const KeyspaceRule& rule) {
  const auto rules = keyspace_rules(topology);
  const auto known = rules.find(name);
  if (known != rules.end() && known->second == rule) return std::optional<TopologyChange>();
  if (known == rules.end() && rules.size() >= kKeyspaceRulesMax)
    return Error{fmt::format("ERR a cluster has up to {} keyspace rules", kKeyspaceRulesMax)};
  for (const auto& [other, one] : rules)
    if (other != name && one.prefix == rule.prefix)
      return Error{fmt::format("ERR The keyspace {} has this prefix", other)};
  PutDocument document{DocumentKind::keyspace, name, rule.encode()};
  if (auto fine = topology.check_documents({document}); !fine) return Error{"ERR " + fine.error()};
  return std::optional(TopologyChange{topology.version(), std::move(document)});
}

NextStep next_to_drop_rule(const Topology& topology, const std::string& name) {
  if (!topology.documents().count({DocumentKind::keyspace, name}))
    return std::optional<TopologyChange>();
  return std::optional(
      TopologyChange{topology.version(), PutDocument{DocumentKind::keyspace, name, {}}});
}

}  // namespace quoll::cluster
