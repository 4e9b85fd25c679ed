// CLUSTER: slots that move to other nodes, in the words of three tools. All of them begin the same
// atomic move (server/slot_moves.h):
//
//   MIGRATESLOTS, GETSLOTMIGRATIONS, CANCELSLOTMIGRATIONS   Valkey 9.0, asked of the source
//   SETSLOT MIGRATING ... NODE                              redis-cli --cluster, slot by slot
//
// While SETSLOT's move runs GETKEYSINSLOT names no keys, so the tool moves none itself; SETSLOT
// NODE is answered when the slot is the node's.
#include <fmt/format.h>

#include "base/text.h"
#include "commands/cluster_family.h"
#include "server/blocked_keys.h"
#include "server/cluster_node.h"
#include "server/server.h"
#include "server/slot_moves.h"

namespace quoll::commands::clusters {

using namespace server;
using cluster::kNoNode;
using cluster::NodeIndex;

namespace {

constexpr base::Millis kOwnerLookMs = 10;
constexpr base::Millis kSetslotMs = 600'000;  // a move may take that long

ClusterNode* moving_node(Call& call) {
  ClusterNode* node = call.server.node();
  if (!node)
    call.reply.error("ERR CLUSTER " +
                     base::to_upper(call.command.spec->name.substr(Bytes("cluster|").size())) +
                     " is not available: the leader serves all slots");
  return node;
}

bool parse_slot(Call& call, size_t i, uint16_t& slot) {
  int64_t number;
  if (base::parse_int(call.arg(i), number) && number >= 0 && number < int64_t{kSlots}) {
    slot = static_cast<uint16_t>(number);
    return true;
  }
  call.reply.error("ERR Invalid or out of range slot");
  return false;
}

bool node_at(Call& call, const ClusterNode& node, size_t i, NodeIndex& index) {
  index = node.topology().index_of(call.arg(i));
  if (index == kNoNode)
    call.reply.error("ERR Unknown node " + std::string(errors::shown(call.arg(i))));
  return index != kNoNode;
}

bool owns(const ClusterNode& node, NodeIndex index, unsigned slot) {
  const cluster::GroupNumber group = cluster::group_of(node.topology(), index);
  return group != cluster::kNoGroup && node.topology().owner(slot) == group;
}

// Answered when the node has the slot: here, or as far as we have heard. Who had it is told when it
// stays; others find that it does not come.
void wait_for_owner(Call& call, ClusterNode& node, uint16_t slot, NodeIndex target) {
  if (owns(node, target, slot)) return call.reply.ok();
  const bool moves = node.moves().moves(slot);
  if (call.resumed() && node.serves() && node.has_slot(slot) && !moves)
    return call.reply.error("ERR The slot was not moved: " + node.moves().failure(slot));
  if (!moves && !node.moves().may_still_come(slot, !call.resumed()))
    return call.reply.error("ERR The slot does not come: its move has failed, or was not begun");
  if (!call.may_block())
    return call.reply.error("ERR The cluster is not changed in transactions and scripts");
  call.block({.keys = {},
              .timeout_ms = kSetslotMs,
              .give_up =
                  [](Session& session) {
                    session.reply().error("ERR The slot was not handed over in time");
                  },
              .try_again_ms = kOwnerLookMs});
}

// In a tool's words: the slot is the node's from now on. Where it has been moved that is so; an
// owner that nobody told to move it begins to.
void setslot_node(Call& call, ClusterNode& node, uint16_t slot, NodeIndex target) {
  if (node.topology().owner(slot) == cluster::kNoGroup)
    return call.reply.error(fmt::format("ERR Slot {} is nobody's: see CLUSTER ADDSLOTS", slot));
  if (!call.resumed() && node.has_slot(slot) && !owns(node, target, slot) &&
      !node.moves().moves(slot)) {
    const auto begun = node.moves().begin({{slot, slot}}, target);
    if (!begun) return call.reply.error(begun.error());
  }
  wait_for_owner(call, node, slot, target);
}

struct Wish {
  cluster::SlotRanges slots;
  NodeIndex target = kNoNode;
};

// SLOTSRANGE start end [start end ...] NODE id, once or more.
bool take_wishes(Call& call, const ClusterNode& node, std::vector<Wish>& wishes) {
  size_t i = 2;
  const auto argc = static_cast<size_t>(call.argc());
  while (i < argc) {
    if (!base::equals_ignoring_case(call.arg(i), "slotsrange")) return call.syntax_error(), false;
    Wish wish;
    for (++i; i + 1 < argc && !base::equals_ignoring_case(call.arg(i), "node"); i += 2) {
      cluster::SlotRange range;
      if (!parse_slot(call, i, range.first) || !parse_slot(call, i + 1, range.last)) return false;
      if (range.first > range.last) {
        call.reply.error(fmt::format("ERR start slot number {} is greater than end slot number {}",
                                     range.first, range.last));
        return false;
      }
      wish.slots.push_back(range);
    }
    if (wish.slots.empty() || i + 1 >= argc) return call.syntax_error(), false;
    if (!node_at(call, node, i + 1, wish.target)) return false;
    i += 2;
    wishes.push_back(std::move(wish));
  }
  return true;
}

const char* state_text(SlotMove::State state) {
  switch (state) {
    case SlotMove::State::copying:
      return "snapshotting";
    case SlotMove::State::holding:
      return "failover-paused";
    case SlotMove::State::releasing:
      return "failover-granted";
    case SlotMove::State::done:
      return "success";
    case SlotMove::State::failed:
      return "failed";
    case SlotMove::State::cancelled:
      return "cancelled";
  }
  return "";
}

void reply_move(wire::ReplyWriter& reply, const ClusterNode& node, const SlotMove& move) {
  std::string ranges;
  for (const cluster::SlotRange& range : move.slots)
    ranges += fmt::format("{}{}-{}", ranges.empty() ? "" : " ", range.first, range.last);
  reply.map(13);
  const auto text = [&](Bytes name, Bytes value) {
    reply.bulk(name);
    reply.bulk(value);
  };
  const auto number = [&](Bytes name, int64_t value) {
    reply.bulk(name);
    reply.integer(value);
  };
  text("name", move.name);
  text("operation", "EXPORT");
  text("slot_ranges", ranges);
  text("target_node", move.target_id);
  text("source_node", node.id());
  number("create_time", move.created / 1000);
  number("last_update_time", move.updated / 1000);
  text("state", state_text(move.state));
  text("message", move.message);
  number("slots_total", static_cast<int64_t>(move.slots_total));
  number("slots_done", static_cast<int64_t>(move.slots_done));
  number("keys_sent", static_cast<int64_t>(move.keys_sent));
  number("longest_pause_ms", move.hold_ms);
}

}  // namespace

void cluster_setslot(Call& call) {
  ClusterNode* node = moving_node(call);
  if (!node) return;
  uint16_t slot;
  NodeIndex other = kNoNode;
  if (!parse_slot(call, 2, slot)) return;
  const std::string what = base::to_lower(call.arg(3));
  if (what == "stable" && call.argc() == 4) {
    if (node->moves().cancel_slot(slot)) return call.reply.ok();
    return call.reply.error("ERR The slot was released already: it will be the other node's");
  }
  const bool known = what == "importing" || what == "migrating" || what == "node";
  if (!known || call.argc() != 5)
    return call.reply.error(
        "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP");
  if (!node_at(call, *node, 4, other)) return;
  if (what == "node") return setslot_node(call, *node, slot, other);
  if (what == "importing") {
    if (node->has_slot(slot))
      return call.reply.error(fmt::format("ERR I'm already the owner of hash slot {}", slot));
    return call.reply.ok();  // what comes is told by who has it
  }
  if (!node->has_slot(slot))
    return call.reply.error(fmt::format("ERR I'm not the owner of hash slot {}", slot));
  if (node->moves().moves(slot)) return call.reply.ok();
  const auto begun = node->moves().begin({{slot, slot}}, other);
  if (!begun) return call.reply.error(begun.error());
  call.reply.ok();
}

void cluster_migrateslots(Call& call) {
  ClusterNode* node = moving_node(call);
  if (!node) return;
  std::vector<Wish> wishes;
  if (!take_wishes(call, *node, wishes)) return;
  std::vector<std::string> begun;
  for (const Wish& wish : wishes) {
    auto one = node->moves().begin(wish.slots, wish.target);
    if (!one) {  // all or none
      for (const std::string& name : begun) node->moves().cancel(name);
      return call.reply.error(one.error());
    }
    begun.push_back(std::move(one.value()));
  }
  call.reply.ok();
}

void cluster_getslotmigrations(Call& call) {
  ClusterNode* node = moving_node(call);
  if (!node) return;
  const auto& moves = node->moves().moves();
  call.reply.array(moves.size());
  for (auto move = moves.rbegin(); move != moves.rend(); ++move)  // the newest first
    reply_move(call.reply, *node, *move);
}

void cluster_cancelslotmigrations(Call& call) {
  ClusterNode* node = moving_node(call);
  if (!node) return;
  if (!node->moves().cancel({})) return call.reply.error("ERR No migrations ongoing");
  call.reply.ok();
}

}  // namespace quoll::commands::clusters
