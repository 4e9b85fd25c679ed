// CLUSTER KEYSPACE SET | LIST | DEL: what replies about keys of a prefix wait for, on every node.
#include <fmt/format.h>

#include "base/text.h"
#include "cluster/keyspace_rules.h"
#include "commands/cluster_family.h"
#include "commands/cluster_wait.h"
#include "server/server.h"

namespace quoll::commands::clusters {

using namespace server;
using base::equals_ignoring_case;
using cluster::KeyspaceRule;

namespace {

// False: the error was replied.
bool refused(Call& call, const std::string& error) {
  call.reply.error("ERR " + error);
  return false;
}

// The members that every group has at least.
size_t least_members(const cluster::Topology& topology) {
  size_t least = cluster::kMembersMax;
  for (const auto& [number, group] : topology.groups())
    least = std::min(least, group.members.size());
  return least;
}

bool take_members(Call& call, size_t i, const char* name, uint8_t& quorum) {
  if (equals_ignoring_case(call.arg(i), "majority")) {
    quorum = cluster::kMajorityOfMembers;
  } else if (equals_ignoring_case(call.arg(i), "all")) {
    quorum = cluster::kAllMembers;
  } else {
    int64_t number;
    if (!base::parse_int(call.arg(i), number) || number < 1)
      return refused(call, fmt::format("{} must be a number of members, majority or all", name));
    if (const size_t least = least_members(call.server.node()->topology());
        number > static_cast<int64_t>(least))
      return refused(call, fmt::format("{} {} is more than the {} members that a group has", name,
                                       number, least));
    quorum = static_cast<uint8_t>(number);
  }
  return true;
}

bool take_timeout(Call& call, size_t i, uint32_t& timeout_ms) {
  int64_t number;
  if (!base::parse_int(call.arg(i), number) || number < 1 || number > INT32_MAX)
    return refused(call, "TIMEOUT must be a number of milliseconds, at least 1");
  timeout_ms = static_cast<uint32_t>(number);
  return true;
}

bool take_word(Call& call, size_t i, Bytes first, Bytes other, bool& is_other) {
  is_other = equals_ignoring_case(call.arg(i), other);
  if (is_other || equals_ignoring_case(call.arg(i), first)) return true;
  return call.syntax_error(), false;
}

// SET name PREFIX prefix [PROFILE strong] [W n] [R n] [DURABILITY memory|fsync] [TIMEOUT ms]
bool take_rule(Call& call, KeyspaceRule& rule) {
  for (size_t i = 4; i < call.argc(); i += 2) {
    auto is = [&](Bytes word) { return equals_ignoring_case(call.arg(i), word); };
    if (i + 1 >= call.argc()) return call.syntax_error(), false;
    bool good = true;
    if (is("prefix")) {
      rule.prefix = call.arg(i + 1);
    } else if (is("profile")) {
      bool eventual;
      good = take_word(call, i + 1, "strong", "eventual", eventual);
      if (good && eventual)
        return refused(call, "PROFILE eventual does not exist yet: all keyspaces are strong");
    } else if (is("w")) {
      good = take_members(call, i + 1, "W", rule.write);
    } else if (is("r")) {
      good = take_members(call, i + 1, "R", rule.read);
    } else if (is("durability")) {
      good = take_word(call, i + 1, "memory", "fsync", rule.fsync);
    } else if (is("timeout")) {
      good = take_timeout(call, i + 1, rule.timeout_ms);
    } else {
      return call.syntax_error(), false;
    }
    if (!good) return false;
  }
  if (rule.prefix.empty() || rule.prefix.size() > cluster::kPrefixBytesMax)
    return refused(
        call, fmt::format("A keyspace needs PREFIX, of 1 to {} bytes", cluster::kPrefixBytesMax));
  return true;
}

void set_keyspace(Call& call, ClusterNode& node) {
  if (call.argc() < 6) return call.syntax_error();
  const std::string name(call.arg(3));
  if (name.empty() || name.size() > cluster::kPrefixBytesMax)
    return call.reply.error("ERR A keyspace is named by 1 to 256 bytes");
  KeyspaceRule rule;
  if (!take_rule(call, rule)) return;
  begin_change(call, node, [name, rule](const cluster::Topology& now) {
    return cluster::next_to_set_rule(now, name, rule);
  });
}

void drop_keyspace(Call& call, ClusterNode& node) {
  if (call.argc() != 4) return call.syntax_error();
  const std::string name(call.arg(3));
  if (!node.topology().documents().count({cluster::DocumentKind::keyspace, name}))
    return call.reply.error("ERR There is no keyspace of this name");
  begin_change(call, node, [name](const cluster::Topology& now) {
    return cluster::next_to_drop_rule(now, name);
  });
}

void reply_members(Call& call, Bytes name, uint8_t quorum) {
  call.reply.bulk(name);
  if (quorum == cluster::kMajorityOfMembers) return call.reply.bulk("majority");
  if (quorum == cluster::kAllMembers) return call.reply.bulk("all");
  if (quorum == 0) return call.reply.bulk("group");
  call.reply.integer(quorum);
}

void list_keyspaces(Call& call, const ClusterNode& node) {
  if (call.argc() != 3) return call.syntax_error();
  const auto rules = cluster::keyspace_rules(node.topology());
  call.reply.array(rules.size());
  for (const auto& [name, rule] : rules) {
    call.reply.map(7);
    call.reply.bulk("name");
    call.reply.bulk(name);
    call.reply.bulk("prefix");
    call.reply.bulk(rule.prefix);
    call.reply.bulk("profile");
    call.reply.bulk("strong");
    reply_members(call, "w", rule.write);
    reply_members(call, "r", rule.read);
    call.reply.bulk("durability");
    call.reply.bulk(rule.fsync ? "fsync" : "group");
    call.reply.bulk("timeout");
    rule.timeout_ms ? call.reply.integer(rule.timeout_ms) : call.reply.bulk("group");
  }
}

}  // namespace

void cluster_keyspace(Call& call) {
  ClusterNode* node = call.server.node();
  if (!node)
    return call.reply.error(
        "ERR CLUSTER KEYSPACE is not available: the members are given by "
        "cluster-group");
  if (commands::concluded(call, *node, [&] { call.reply.ok(); })) return;
  if (equals_ignoring_case(call.arg(2), "set")) return set_keyspace(call, *node);
  if (equals_ignoring_case(call.arg(2), "del")) return drop_keyspace(call, *node);
  if (equals_ignoring_case(call.arg(2), "list")) return list_keyspaces(call, *node);
  call.subcommand_error();
}

}  // namespace quoll::commands::clusters
