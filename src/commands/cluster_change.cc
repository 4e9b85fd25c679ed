// CLUSTER: who is a member and which slots are whose. Every change is agreed on by the nodes that
// hold the topology before it is answered, so these commands wait; Redis's texts where it has any.
#include <fmt/format.h>

#include "base/text.h"
#include "commands/cluster_family.h"
#include "commands/cluster_wait.h"
#include "server/blocked_keys.h"
#include "server/cluster_node.h"
#include "server/server.h"
#include "server/slot_moves.h"

namespace quoll::commands::clusters {

using namespace server;
using cluster::SlotRanges;

ClusterNode* node_or_reply(Call& call, Bytes why) {
  ClusterNode* node = call.server.node();
  if (!node) {
    const Bytes name = call.command.spec->name.substr(Bytes("cluster|").size());
    call.reply.error("ERR CLUSTER " + base::to_upper(name) +
                     " is not available: " + std::string(why));
  }
  return node;
}

bool concluded(Call& call, ClusterNode& node) {
  return commands::concluded(call, node, [&call] { call.reply.ok(); });
}

namespace {

constexpr Bytes kConfiguredSlots = "the leader serves all slots";

// False: the error was replied.
bool slot_at(Call& call, size_t i, uint16_t& slot) {
  int64_t number;
  if (!base::parse_int(call.arg(i), number) || number < 0 || number >= int64_t{kSlots}) {
    call.reply.error("ERR Invalid or out of range slot");
    return false;
  }
  slot = static_cast<uint16_t>(number);
  return true;
}

bool take_slots(Call& call, bool ranges, SlotRanges& slots) {
  if (ranges && call.argc() % 2 != 0) {
    call.reply.error("ERR wrong number of arguments for '" + std::string(call.command.spec->name) +
                     "' command");
    return false;
  }
  for (size_t i = 2; i < static_cast<size_t>(call.argc()); i += ranges ? 2 : 1) {
    cluster::SlotRange range;
    if (!slot_at(call, i, range.first) || !slot_at(call, ranges ? i + 1 : i, range.last))
      return false;
    if (range.first > range.last) {
      call.reply.error(fmt::format("ERR start slot number {} is greater than end slot number {}",
                                   range.first, range.last));
      return false;
    }
    slots.push_back(range);
  }
  return true;
}

// As Redis looks at them before it changes anything.
bool check_slots(Call& call, const cluster::Topology& topology, const SlotRanges& slots,
                 bool adds) {
  std::vector<bool> seen(kSlots);
  for (const cluster::SlotRange& range : slots)
    for (unsigned slot = range.first; slot <= range.last; ++slot) {
      const bool owned = topology.owner(slot) != cluster::kNoGroup;
      const char* wrong = adds == owned ? (adds ? "already busy" : "already unassigned")
                          : seen[slot]  ? "specified multiple times"
                                        : nullptr;
      if (wrong) {
        call.reply.error(seen[slot] ? fmt::format("ERR Slot {} {}", slot, wrong)
                                    : fmt::format("ERR Slot {} is {}", slot, wrong));
        return false;
      }
      seen[slot] = true;
    }
  return true;
}

// Slots on their way would be lost on it.
bool check_still(Call& call, ClusterNode& node, const SlotRanges& slots) {
  for (const cluster::SlotRange& range : slots)
    for (unsigned slot = range.first; slot <= range.last; ++slot)
      if (node.moves().moves(slot) || node.moves().named(slot)) {
        call.reply.error(fmt::format("ERR Slot {} is being moved", slot));
        return false;
      }
  return true;
}

template <bool kAdds, bool kRanges>
void change_slots(Call& call) {
  ClusterNode* node = node_or_reply(call, kConfiguredSlots);
  if (!node || concluded(call, *node)) return;
  SlotRanges slots;
  if (!take_slots(call, kRanges, slots)) return;
  if (!check_slots(call, node->topology(), slots, kAdds)) return;
  if (!check_still(call, *node, slots)) return;
  begin_change(call, *node, [node, slots = std::move(slots)](const cluster::Topology& now) {
    return kAdds ? cluster::next_to_add_slots(now, node->index(), slots)
                 : cluster::next_to_drop_slots(now, node->index(), slots);
  });
}

bool port_at(Call& call, size_t i, Bytes what, int64_t& port) {
  if (base::parse_int(call.arg(i), port) && port > 0 && port <= 65535) return true;
  call.reply.error(
      fmt::format("ERR Invalid {} port specified: {}", what, errors::shown(call.arg(i))));
  return false;
}

// Not an address in numbers that is wrong.
bool is_host_name(Bytes text) {
  bool letters = false;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '.') return false;
    letters |= letter;
  }
  return letters && text.size() <= cluster::kHostnameBytesMax;
}

}  // namespace

void cluster_addslots(Call& call) { change_slots<true, false>(call); }
void cluster_addslotsrange(Call& call) { change_slots<true, true>(call); }
void cluster_delslots(Call& call) { change_slots<false, false>(call); }
void cluster_delslotsrange(Call& call) { change_slots<false, true>(call); }

void cluster_flushslots(Call& call) {
  ClusterNode* node = node_or_reply(call, kConfiguredSlots);
  if (!node || concluded(call, *node)) return;
  if (call.store.keys(0) > 0)
    return call.reply.error("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.");
  begin_change(call, *node, [node](const cluster::Topology& now) {
    const cluster::GroupNumber group = cluster::group_of(now, node->index());
    return cluster::next_to_drop_slots(now, node->index(), cluster::slots_of(now, group));
  });
}

// The node has the data of the other one's group from now on, and none of its own.
void cluster_replicate(Call& call) {
  ClusterNode* node = node_or_reply(call, kConfiguredMembers);
  if (!node || concluded(call, *node)) return;
  const std::string id(call.arg(2));
  if (node->topology().index_of(id) == cluster::kNoNode)
    return call.reply.error("ERR Unknown node " + std::string(errors::shown(id)));
  if (node->serves() && call.store.keys(0) > 0)
    return call.reply.error(
        "ERR To set a master the node must be empty and without assigned slots.");
  begin_change(call, *node, [node, id](const cluster::Topology& now) {
    return cluster::next_to_replicate(now, node->index(), id);
  });
}

// The introduction goes on behind the reply, as in Redis.
void cluster_meet(Call& call) {
  ClusterNode* node = node_or_reply(call, kConfiguredMembers);
  if (!node) return;
  if (call.argc() > 5) return call.reply.error(errors::kSyntax);
  int64_t port, bus_port;
  if (!port_at(call, 3, "base", port)) return;
  bus_port = port + cluster::kBusPortDistance;
  if (call.argc() == 5 && !port_at(call, 4, "bus", bus_port)) return;
  const std::string host(call.arg(2));
  const bool numeric = cluster::parse_node_address(host, 1).has_value();
  if (bus_port > 65535 || !(numeric || is_host_name(host)))
    return call.reply.error(fmt::format("ERR Invalid node address specified: {}:{}",
                                        errors::shown(call.arg(2)), errors::shown(call.arg(3))));
  node->meet(host, static_cast<uint16_t>(bus_port));
  call.reply.ok();
}

// For ever: its id is never taken in again.
void cluster_forget(Call& call) {
  ClusterNode* node = node_or_reply(call, kConfiguredMembers);
  if (!node || concluded(call, *node)) return;
  const std::string id(call.arg(2));
  if (id == node->id()) return call.reply.error("ERR I tried hard but I can't forget myself...");
  if (node->topology().index_of(id) == cluster::kNoNode && !node->topology().is_forgotten(id))
    return call.reply.error("ERR Unknown node " + std::string(errors::shown(id)));
  if (node->leads_others(id))
    return call.reply.error("ERR The node leads others that have its data: CLUSTER FAILOVER first");
  begin_change(call, *node,
               [id](const cluster::Topology& now) { return cluster::next_to_forget(now, id); });
}

void cluster_reset(Call& call) {
  ClusterNode* node = node_or_reply(call, kConfiguredMembers);
  if (!node || concluded(call, *node)) return;
  const bool known = call.argc() == 2 || base::equals_ignoring_case(call.arg(2), "hard") ||
                     base::equals_ignoring_case(call.arg(2), "soft");
  if (!known || call.argc() > 3) return call.reply.error(errors::kSyntax);
  if (node->serves() && call.store.keys(0) > 0)
    return call.reply.error("ERR CLUSTER RESET can't be called with master nodes containing keys");
  if (node->leads_others(node->id()))
    return call.reply.error("ERR The node leads others that have its data: CLUSTER FAILOVER first");
  if (node->alone() && cluster::slots_of(node->topology(), 0).empty()) return call.reply.ok();
  node->begin_reset(call.session);
  call.block({.keys = {}, .give_up = [](Session& session) {
                session.server().node()->cancel(session.id);
                session.reply().error("ERR The cluster could not be changed in time");
              }});
}

// Who leads in which epoch is found by elections; tools that form a cluster give numbers first.
void cluster_set_config_epoch(Call& call) {
  ClusterNode* node = node_or_reply(call, "epochs are counted by elections");
  if (!node) return;
  int64_t epoch;
  if (!call.integer(2, epoch)) return;
  if (epoch < 0)
    return call.reply.error(fmt::format("ERR Invalid config epoch specified: {}", epoch));
  if (!node->alone())
    return call.reply.error(
        "ERR The user can assign a config epoch only when the node does not know any other node.");
  call.reply.ok();
}

void cluster_bumpepoch(Call& call) {
  ClusterNode* node = node_or_reply(call, "epochs are counted by elections");
  if (node) call.reply.simple(fmt::format("STILL {}", node->epoch()));
}

// Everything is saved when it changes.
void cluster_saveconfig(Call& call) {
  if (node_or_reply(call, kConfiguredMembers)) call.reply.ok();
}

void cluster_count_failure_reports(Call& call) {
  ClusterNode* node = node_or_reply(call, "members do not report each other's failures");
  if (!node) return;
  const auto& members = node->members();
  const auto one = std::ranges::find(members, call.arg(2), &ClusterMember::id);
  if (one == members.end())
    return call.reply.error("ERR Unknown node " + std::string(errors::shown(call.arg(2))));
  call.reply.integer(one->liveness == Liveness::alive ? 0 : 1);
}

}  // namespace quoll::commands::clusters
