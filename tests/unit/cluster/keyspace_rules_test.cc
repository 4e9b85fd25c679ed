#include "cluster/keyspace_rules.h"

#include <doctest/doctest.h>

namespace quoll::cluster {
namespace {

std::string prefix_for(const KeyspaceRules& rules, base::Bytes key) {
  const KeyspaceRule* rule = rules.find(key);
  return rule ? rule->prefix : "-";
}

}  // namespace

TEST_CASE("keyspace rules: the longest prefix that a key begins with") {
  KeyspaceRules rules;
  CHECK(rules.empty());
  for (const char* prefix : {"cart:", "cart:eu:", "c", "session:"}) rules.add({.prefix = prefix});
  CHECK(prefix_for(rules, "cart:eu:1") == "cart:eu:");
  CHECK(prefix_for(rules, "cart:eu:") == "cart:eu:");
  CHECK(prefix_for(rules, "cart:eu") == "cart:");
  CHECK(prefix_for(rules, "cart") == "c");
  CHECK(prefix_for(rules, "c") == "c");
  CHECK(prefix_for(rules, "session") == "-");
  CHECK(prefix_for(rules, "") == "-");
}

TEST_CASE("keyspace rules: quorums of groups of different sizes") {
  CHECK(members_meant(0, 3) == 0);
  CHECK(members_meant(2, 3) == 2);
  CHECK(members_meant(kMajorityOfMembers, 3) == 2);
  CHECK(members_meant(kMajorityOfMembers, 5) == 3);
  CHECK(members_meant(kAllMembers, 5) == 5);
}

TEST_CASE("keyspace rules: as documents of the topology") {
  const KeyspaceRule rule{
      .prefix = "cart:", .write = kAllMembers, .read = 2, .fsync = true, .timeout_ms = 300};
  const std::string bytes = rule.encode();
  CHECK(KeyspaceRule::decode(bytes) == rule);
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK(!KeyspaceRule::decode(base::Bytes(bytes).substr(0, size)));
  Topology t;
  REQUIRE(t.apply({0, FoundCluster{std::string(kNodeIdBytes, 'a'), {}}}).ok());
  const auto set = next_to_set_rule(t, "cart", rule);
  REQUIRE(t.apply(*set.value()).ok());
  CHECK(!next_to_set_rule(t, "cart", rule).value());
  CHECK(keyspace_rules(t).at("cart") == rule);
  CHECK(next_to_set_rule(t, "other", rule).error() == "ERR The keyspace cart has this prefix");
  KeyspaceRule changed = rule;
  changed.prefix = "carts:";
  REQUIRE(t.apply(*next_to_set_rule(t, "cart", changed).value()).ok());
  CHECK(keyspace_rules(t).at("cart").prefix == "carts:");
  REQUIRE(t.apply(*next_to_drop_rule(t, "cart").value()).ok());
  CHECK(!next_to_drop_rule(t, "cart").value());
  CHECK(keyspace_rules(t).empty());
}

}  // namespace quoll::cluster
