// CLUSTER MIGRATION: slots that move, asked for at their target, in the words of Redis 8.4. The
// moves are those of MIGRATESLOTS (cluster_moves.cc); STATUS tells of what goes from here
// (operation: migrate) and of what was asked for here (import).
#include <fmt/format.h>

#include "base/text.h"
#include "commands/cluster_family.h"
#include "server/blocked_keys.h"
#include "server/cluster_node.h"
#include "server/server.h"
#include "server/slot_imports.h"

namespace quoll::commands::clusters {

using namespace server;
using cluster::kNoGroup;

namespace {

bool is_said(Call& call, size_t i, Bytes word) {
  return base::equals_ignoring_case(call.arg(i), word);
}

void wrong_arity(Call& call) {
  call.reply.error("ERR wrong number of arguments for 'cluster|migration' command");
}

// ID <name> or ALL at argument 3: the name, "" for all. False: the error was replied.
bool take_which(Call& call, Bytes& name) {
  const bool all = is_said(call, 3, "all");
  if (!all && !is_said(call, 3, "id")) return call.reply.error("ERR unknown argument"), false;
  if (call.argc() != (all ? 4u : 5u)) return wrong_arity(call), false;
  name = all ? Bytes() : call.arg(4);
  return true;
}

bool take_ranges(Call& call, cluster::SlotRanges& slots) {
  for (size_t i = 3; i < call.argc(); i += 2) {
    int64_t first, last;
    if (!base::parse_int(call.arg(i), first) || first < 0 || first >= int64_t{kSlots} ||
        !base::parse_int(call.arg(i + 1), last) || last < 0 || last >= int64_t{kSlots})
      return call.reply.error("ERR Invalid or out of range slot"), false;
    if (first > last) {
      call.reply.error(
          fmt::format("ERR start slot number {} is greater than end slot number {}", first, last));
      return false;
    }
    slots.push_back({static_cast<uint16_t>(first), static_cast<uint16_t>(last)});
  }
  return true;
}

// The one group that has all of them. False: the error was replied.
bool take_source(Call& call, const ClusterNode& node, const cluster::SlotRanges& slots,
                 cluster::NodeIndex& source) {
  cluster::GroupNumber group = kNoGroup;
  for (const cluster::SlotRange& range : slots)
    for (unsigned slot = range.first; slot <= range.last; ++slot) {
      const cluster::GroupNumber owner = node.topology().owner(slot);
      if (owner == kNoGroup)
        return call.reply.error(fmt::format("ERR slot has no owner: {}", slot)), false;
      if (group != kNoGroup && owner != group)
        return call.reply.error("ERR slots belong to different source nodes"), false;
      group = owner;
    }
  if (group == node.own_group()) {
    call.reply.error("ERR this node is already the owner of the slot range");
    return false;
  }
  const size_t leader = node.leader_of(slots[0].first);
  if (leader >= node.members().size())
    return call.reply.error("ERR nobody leads the group that has the slots"), false;
  source = node.index_at(leader);
  return true;
}

void wait_for_nodes(Call& call) {
  call.block({.keys = {}, .give_up = [](Session& session) {
                session.server().node()->imports().forget(session.id);
                session.reply().error("ERR The other node did not answer in time");
              }});
}

// True: this is the second run of the command, and it was answered or waits on.
bool migration_concluded(Call& call, ClusterNode& node, bool counts) {
  if (!call.resumed()) return false;
  const auto outcome = node.imports().take(call.session.id);
  int64_t count = 0;
  if (!outcome) {
    wait_for_nodes(call);
  } else if (!outcome->ok()) {
    const std::string& error = outcome->error();
    call.reply.error(error.starts_with("ERR ") ? error : "ERR " + error);
  } else if (counts) {
    base::parse_int(outcome->value(), count);
    call.reply.integer(count);
  } else {
    call.reply.bulk(outcome->value());
  }
  return true;
}

const char* state_word(SlotMove::State state) {
  switch (state) {
    case SlotMove::State::copying:
      return "send-bulk-and-stream";
    case SlotMove::State::holding:
      return "handoff-prep";
    case SlotMove::State::releasing:
      return "handoff";
    case SlotMove::State::done:
      return "completed";
    case SlotMove::State::failed:
      return "failed";
    case SlotMove::State::cancelled:
      return "canceled";
  }
  return "";
}

// Of a SlotMove or a SlotImport.
template <class Task>
void reply_task(Call& call, const Task& task, Bytes source, Bytes dest, Bytes operation) {
  std::string ranges;
  for (const cluster::SlotRange& range : task.slots) {
    if (!ranges.empty()) ranges += ' ';
    ranges += range.first == range.last ? fmt::format("{}", range.first)
                                        : fmt::format("{}-{}", range.first, range.last);
  }
  const auto text = [&](Bytes name, Bytes value) {
    call.reply.bulk(name);
    call.reply.bulk(value);
  };
  const auto number = [&](Bytes name, int64_t value) {
    call.reply.bulk(name);
    call.reply.integer(value);
  };
  const bool failed = task.state != SlotMove::State::done;
  call.reply.map(12);
  text("id", task.name);
  text("slots", ranges);
  text("source", source);
  text("dest", dest);
  text("operation", operation);
  text("state", state_word(task.state));
  text("last_error", failed ? Bytes(task.message) : Bytes());
  number("retries", 0);
  number("create_time", task.created);
  number("start_time", task.created);
  number("end_time", task.over() ? task.updated : 0);
  number("write_pause_ms", task.hold_ms);
}

void migration_import(Call& call, ClusterNode& node) {
  if (migration_concluded(call, node, false)) return;
  if (call.argc() < 5 || call.argc() % 2 == 0) return wrong_arity(call);
  cluster::SlotRanges slots;
  cluster::NodeIndex source;
  if (!take_ranges(call, slots) || !take_source(call, node, slots, source)) return;
  if (!call.may_block())
    return call.reply.error("ERR The cluster is not changed in transactions and scripts");
  node.imports().begin(call.session, slots, source);
  wait_for_nodes(call);
}

void migration_cancel(Call& call, ClusterNode& node) {
  if (migration_concluded(call, node, true)) return;
  Bytes name;
  if (!take_which(call, name)) return;
  if (!call.may_block())
    return call.reply.error("ERR The cluster is not changed in transactions and scripts");
  node.imports().cancel(call.session, name);
  wait_for_nodes(call);
}

void migration_status(Call& call, ClusterNode& node) {
  Bytes name;
  if (!take_which(call, name)) return;
  const auto& moves = node.moves().moves();
  const auto& imports = node.imports().imports();
  const auto asked = [&](const auto& task) { return name.empty() || task.name == name; };
  call.reply.array(static_cast<size_t>(std::ranges::count_if(moves, asked) +
                                       std::ranges::count_if(imports, asked)));
  for (const SlotImport& import : imports)
    if (asked(import)) reply_task(call, import, import.source_id, node.id(), "import");
  for (const SlotMove& move : moves)
    if (asked(move)) reply_task(call, move, node.id(), move.target_id, "migrate");
}

}  // namespace

void cluster_migration(Call& call) {
  ClusterNode* node = call.server.node();
  if (!node)
    return call.reply.error("ERR CLUSTER MIGRATION is not available: the leader serves all slots");
  if (is_said(call, 2, "import")) return migration_import(call, *node);
  if (is_said(call, 2, "status")) return migration_status(call, *node);
  if (is_said(call, 2, "cancel")) return migration_cancel(call, *node);
  call.reply.error("ERR unknown argument");
}

}  // namespace quoll::commands::clusters
