// CLUSTER PLAN, REBALANCE, LEAVE: where slots and replicas belong, shown before they move, and the
// operator's word that they shall.
#include <fmt/format.h>

#include "base/text.h"
#include "cluster/leave_steps.h"
#include "cluster/replica_plan.h"
#include "commands/cluster_family.h"
#include "commands/cluster_wait.h"
#include "server/cluster_node.h"
#include "server/rebalancer.h"
#include "server/server.h"

namespace quoll::commands::clusters {

using namespace server;
using cluster::GroupNumber;
using cluster::kNoNode;
using cluster::NodeIndex;

namespace {

constexpr Bytes kNothingMoves = "the leader serves all slots";

bool word_at(const Call& call, size_t i, Bytes word) {
  return i < static_cast<size_t>(call.argc()) && base::equals_ignoring_case(call.arg(i), word);
}

// LEAVE id | WEIGHT id weight, as often as one likes. False: the error was replied.
bool take_what_if(Call& call, const ClusterNode& node, cluster::WhatIf& what_if) {
  for (size_t i = 2; i < static_cast<size_t>(call.argc()); i += 2) {
    const bool leaves = word_at(call, i, "leave");
    const bool weighs = word_at(call, i, "weight");
    if ((!leaves && !weighs) || i + (weighs ? 2 : 1) >= static_cast<size_t>(call.argc()))
      return call.syntax_error(), false;
    const NodeIndex index = node.topology().index_of(call.arg(i + 1));
    if (index == kNoNode) {
      call.reply.error("ERR Unknown node " + std::string(errors::shown(call.arg(i + 1))));
      return false;
    }
    if (leaves) {
      what_if.leave.insert(index);
      continue;
    }
    int64_t weight;
    if (!call.integer(i + 2, weight)) return false;
    if (weight < 0 || weight > int64_t{cluster::kWeightMax}) {
      call.reply.error(fmt::format("ERR A weight is between 0 and {}", cluster::kWeightMax));
      return false;
    }
    what_if.weigh[index] = static_cast<uint32_t>(weight);
    ++i;
  }
  return true;
}

// By whom a group is known: its leader, or who would lead.
NodeIndex face_of(const ClusterNode& node, GroupNumber group) {
  const NodeIndex leader = node.leader_node(group);
  return leader == kNoNode ? node.topology().groups().at(group).members[0] : leader;
}

std::string id_of(const ClusterNode& node, NodeIndex index) {
  const cluster::TopologyMember* member = node.topology().find(index);
  return member ? member->id : std::string();
}

std::string name_of(const ClusterNode& node, NodeIndex index) {
  const cluster::TopologyMember* member = node.topology().find(index);
  if (!member) return "?";
  const std::string host = member->bus.unknown() ? "" : member->bus.host();
  return fmt::format("{}:{}", host, member->port);
}

const char* why_text(cluster::PlannedMove::Why why) {
  switch (why) {
    case cluster::PlannedMove::Why::leaves:
      return "leaves";
    case cluster::PlannedMove::Why::no_weight:
      return "no-weight";
    case cluster::PlannedMove::Why::over_share:
      return "over-share";
  }
  return "";
}

void put_text(wire::ReplyWriter& reply, Bytes name, Bytes value) {
  reply.bulk(name);
  reply.bulk(value);
}

void put_number(wire::ReplyWriter& reply, Bytes name, int64_t value) {
  reply.bulk(name);
  reply.integer(value);
}

void reply_planned(wire::ReplyWriter& reply, const ClusterNode& node,
                   const cluster::PlannedMove& move) {
  reply.map(5);
  put_text(reply, "slots", cluster::format_slots(move.slots));
  put_number(reply, "count", move.count);
  put_text(reply, "from", id_of(node, face_of(node, move.from)));
  put_text(reply, "to", id_of(node, face_of(node, move.to)));
  put_text(reply, "why", why_text(move.why));
}

void reply_share(wire::ReplyWriter& reply, const ClusterNode& node,
                 const cluster::SlotShare& share) {
  reply.map(3);
  put_text(reply, "node", id_of(node, face_of(node, share.group)));
  put_number(reply, "slots", share.held);
  put_number(reply, "share", share.share);
}

std::vector<std::string> lines_of(const ClusterNode& node, const cluster::SlotPlan& plan,
                                  const std::set<GroupNumber>& away,
                                  const std::optional<cluster::ReplicaMove>& replica) {
  const auto name = [&node](GroupNumber group) { return name_of(node, face_of(node, group)); };
  std::vector<std::string> lines;
  for (const cluster::PlannedMove& move : plan.moves)
    lines.push_back(cluster::describe(move, plan, name));
  if (replica && replica->empty)
    lines.push_back(fmt::format("empty {}: becomes a replica of {}, in the place of {}",
                                name_of(node, replica->node), name(replica->to),
                                name_of(node, replica->instead)));
  else if (replica)
    lines.push_back(fmt::format("replica {}: {} -> {}, which has no other one left",
                                name_of(node, replica->node), name(replica->from),
                                name(replica->to)));
  if (plan.stuck > 0)
    lines.push_back(fmt::format("{} slots of nodes that leave could go nowhere", plan.stuck));
  for (const GroupNumber group : away)
    lines.push_back(fmt::format("{} is not there: what it has stays as it is", name(group)));
  if (plan.moves.empty() && !replica) lines.emplace_back("nothing moves");
  return lines;
}

void reply_status(Call& call, ClusterNode& node) {
  const Rebalancer::Progress progress = node.rebalancer().progress();
  const bool automatic = call.server.settings().cluster_rebalance == Rebalance::automatic;
  call.reply.map(9);
  put_text(call.reply, "mode", automatic ? "auto" : "manual");
  put_text(call.reply, "ordered", node.rebalancer().ordered() ? "yes" : "no");
  put_text(call.reply, "state", state_name(progress.state));
  put_number(call.reply, "percent", progress.percent);
  put_number(call.reply, "slots_left", progress.slots_left);
  put_number(call.reply, "slots_moved", static_cast<int64_t>(progress.slots_moved));
  put_number(call.reply, "bytes_moved", static_cast<int64_t>(progress.bytes_moved));
  put_number(call.reply, "eta_seconds", progress.eta_ms ? (*progress.eta_ms + 999) / 1000 : -1);
  put_text(call.reply, "waits_for", progress.waits_for);
}

}  // namespace

void cluster_plan(Call& call) {
  ClusterNode* node = node_or_reply(call, kNothingMoves);
  if (!node) return;
  cluster::WhatIf what_if;
  if (!take_what_if(call, *node, what_if)) return;
  const cluster::Topology& topology = node->topology();
  const std::set<GroupNumber> away = node->groups_away();
  const std::optional<cluster::ReplicaMove> replica = node->replica_move();
  std::set<GroupNumber> without_share = away;
  if (replica && replica->empty) without_share.insert(replica->from);
  const cluster::SlotPlan plan = cluster::plan_slots(
      cluster::owners_of(topology), cluster::slot_groups(topology, without_share, what_if));
  wire::ReplyWriter& reply = call.reply;
  reply.map(6);
  put_number(reply, "version", static_cast<int64_t>(topology.version()));
  put_number(reply, "slots_to_move", plan.moved);
  reply.bulk("moves");
  reply.array(plan.moves.size());
  for (const cluster::PlannedMove& move : plan.moves) reply_planned(reply, *node, move);
  reply.bulk("shares");
  reply.array(plan.shares.size());
  for (const cluster::SlotShare& share : plan.shares) reply_share(reply, *node, share);
  reply.bulk("replicas");
  reply.array(replica ? 1 : 0);
  if (replica) {
    reply.map(3);
    put_text(reply, "node", id_of(*node, replica->node));
    put_text(reply, "from", id_of(*node, face_of(*node, replica->from)));
    put_text(reply, "to", id_of(*node, face_of(*node, replica->to)));
  }
  const std::vector<std::string> lines = lines_of(*node, plan, away, replica);
  reply.bulk("text");
  reply.array(lines.size());
  for (const std::string& line : lines) reply.bulk(line);
}

// START holds until every group has its share, whatever node was asked, and through restarts.
void cluster_rebalance(Call& call) {
  ClusterNode* node = node_or_reply(call, kNothingMoves);
  if (!node || concluded(call, *node)) return;
  if (word_at(call, 2, "status")) return reply_status(call, *node);
  const bool start = word_at(call, 2, "start");
  if (!start && !word_at(call, 2, "stop")) return call.syntax_error();
  if (start && node->rebalancer().plan().moved == 0) return call.reply.ok();
  begin_change(call, *node, [start](const cluster::Topology& now) {
    return cluster::next_to_order(now, std::string(kRebalanceOrder), start);
  });
}

// Answered when the topology says so; what follows is shown by CLUSTER INFO and the log.
void cluster_leave(Call& call) {
  ClusterNode* node = node_or_reply(call, kConfiguredMembers);
  if (!node || concluded(call, *node)) return;
  const auto argc = static_cast<size_t>(call.argc());
  const bool stays = argc > 2 && word_at(call, argc - 1, "cancel");
  if (argc > (stays ? 4u : 3u)) return call.syntax_error();
  const bool named = argc == (stays ? 4u : 3u);
  const std::string id = named ? std::string(call.arg(2)) : node->id();
  const NodeIndex index = node->topology().index_of(id);
  if (index == kNoNode)
    return call.reply.error("ERR Unknown node " + std::string(errors::shown(id)));
  if (!stays && node->failed(index))
    return call.reply.error("ERR The node is not there to leave: see CLUSTER FORGET");
  begin_change(call, *node, [node, id, stays](const cluster::Topology& now) {
    return stays ? cluster::next_to_stay(now, id)
                 : cluster::next_to_leave(now, id, node->groups_away());
  });
}

}  // namespace quoll::commands::clusters
