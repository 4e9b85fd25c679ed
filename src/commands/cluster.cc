// CLUSTER. A server without cluster support refuses every subcommand, as clients that probe for a
// cluster expect. In a group whose members are configured, what would change who belongs to it or
// who has which slot is refused with the reason.
#include <algorithm>

#include "base/crc16.h"
#include "base/text.h"
#include "commands/cluster_family.h"
#include "commands/families.h"
#include "commands/help.h"
#include "commands/words.h"
#include "server/cluster_node.h"
#include "server/group.h"
#include "server/server.h"
#include "server/slot_moves.h"

namespace quoll::commands {

using namespace server;
using namespace clusters;

namespace {

template <Handler Run>
void in_cluster(Call& call) {
  if (!call.server.cluster()) return call.reply.error(errors::kNoClusterSupport);
  Run(call);
}

void cluster_keyslot(Call& call) { call.reply.integer(base::key_slot(call.arg(2))); }

// "g0 e12 i3456", as an UNCERTAIN reply names the entry.
bool entry_argument(Call& call, size_t i, char letter, uint64_t& number) {
  Bytes word = call.arg(i);
  if (word.size() < 2 || word[0] != letter || !base::parse_uint(word.substr(1), number)) {
    call.reply.error("ERR Invalid entry: it is written as in the reply, g0 e<epoch> i<index>");
    return false;
  }
  return true;
}

void cluster_outcome(Call& call) {
  uint64_t group, epoch, index;
  if (!entry_argument(call, 2, 'g', group) || !entry_argument(call, 3, 'e', epoch) ||
      !entry_argument(call, 4, 'i', index))
    return;
  const ReplicaGroup* own = call.server.group();
  if (!own || group != 0) return call.reply.error("ERR There is no such group here");
  const std::string outcome = own->outcome(epoch, index);
  if (outcome.starts_with("ERR")) return call.reply.error(outcome);
  call.reply.simple(outcome);
}

// The leader hands its part to a member that has the whole log.
void cluster_failover(Call& call) {
  ReplicaGroup* own = call.server.group();
  if (!own)
    return call.reply.error("ERR CLUSTER FAILOVER is not available: there is no other member");
  if (call.args.size() > 2)
    return call.reply.error(
        "ERR CLUSTER FAILOVER FORCE and TAKEOVER are not available: they could lose writes");
  if (!own->serves())
    return call.reply.error("ERR CLUSTER FAILOVER is for the leader of the group");
  if (!own->hand_over()) return call.reply.error("ERR No other member is there that could lead");
  call.reply.ok();
}

// CLUSTER RECOVER ACCEPT-LOSS: the parts of this node that may have lost something count again.
void cluster_recover(Call& call) {
  if (call.args.size() != 3 || !same_word(call.arg(2), "accept-loss")) return call.syntax_error();
  std::vector<base::Result<>> parts;
  if (ClusterNode* node = call.server.node())
    parts = node->accept_loss();
  else
    parts.push_back(call.server.group()->accept_loss());
  const auto accepted = std::ranges::count_if(parts, [](const auto& part) { return part.ok(); });
  if (accepted == 0)
    return call.reply.error("ERR Nothing to accept here: " + parts.front().error());
  call.reply.integer(accepted);
}

// False: the error was replied.
bool slot_argument(Call& call, size_t i, int64_t& slot, Bytes error) {
  if (!call.integer(i, slot)) return false;
  if (slot >= 0 && slot < static_cast<int64_t>(kSlots)) return true;
  call.reply.error(error);
  return false;
}

void cluster_countkeysinslot(Call& call) {
  int64_t slot;
  if (!slot_argument(call, 2, slot, "ERR Invalid slot")) return;
  const uint64_t reply_start = call.session.out().end_offset();
  call.reply.integer(static_cast<int64_t>(call.store.keys_in_slot(0, static_cast<unsigned>(slot))));
  call.server.dispatcher().hold_view(call.session, reply_start);
}

void cluster_getkeysinslot(Call& call) {
  constexpr Bytes kInvalid = "ERR Invalid slot or number of keys";
  int64_t number;
  int64_t most;
  if (!call.integer(2, number) || !call.integer(3, most)) return;
  if (!slot_argument(call, 2, number, kInvalid)) return;
  if (most < 0) return call.reply.error(kInvalid);
  const auto slot = static_cast<unsigned>(number);
  uint64_t left = std::min<uint64_t>(most, call.store.keys_in_slot(0, slot));
  // A tool that moves slots moves the keys that it is told of: those of a move go with it.
  if (ClusterNode* node = call.server.node();
      node && (!node->has_slot(slot) || node->moves().moves(slot)))
    left = 0;
  const uint64_t reply_start = call.session.out().end_offset();
  call.reply.array(left);
  if (left > 0)
    call.store.visit_slot(0, slot, [&](const store::Entry* entry) {
      if (left == 0) return false;
      call.reply.bulk(entry->key());
      return --left > 0;
    });
  call.server.dispatcher().hold_view(call.session, reply_start);
}

void cluster_help(Call& call) {
  constexpr Bytes kLines[] = {
      "ADDSLOTS <slot> [<slot> ...]",
      "    Assign slots to this node.",
      "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
      "    Assign slots from <start slot> to <end slot> to this node.",
      "CANCELSLOTMIGRATIONS",
      "    End the moves of slots that are under way.",
      "COUNTKEYSINSLOT <slot>",
      "    Return the number of keys in <slot>.",
      "DELSLOTS <slot> [<slot> ...]",
      "    Take slots away from this node.",
      "DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
      "    Take slots from <start slot> to <end slot> away from this node.",
      "FAILOVER",
      "    Hand the leadership of the group to another member.",
      "FLUSHSLOTS",
      "    Take all slots away from this node.",
      "FORGET <node-id>",
      "    Remove a node from the cluster, for ever.",
      "GETKEYSINSLOT <slot> <count>",
      "    Return the names of at most <count> keys in <slot>.",
      "GETSLOTMIGRATIONS",
      "    Return the moves of slots away from this node.",
      "INFO",
      "    Return information about the cluster.",
      "KEYSLOT <key>",
      "    Return the hash slot of <key>.",
      "LEAVE [<node-id>] [CANCEL]",
      "    Give the slots and parts of this node, or of <node-id>, to others; then it is no "
      "member.",
      "LINKS",
      "    Return the connections to the other members.",
      "MEET <ip> <port> [<bus-port>]",
      "    Join this node and another to one cluster.",
      "MIGRATESLOTS SLOTSRANGE <start slot> <end slot> [...] NODE <node-id>",
      "    Move slots to another node, with their keys.",
      "MIGRATION (IMPORT <start slot> <end slot> [...] | STATUS (ID <id>|ALL) | CANCEL (ID "
      "<id>|ALL))",
      "    Move slots to this node with their keys; tell of moves; end them.",
      "MYID",
      "    Return the id of this member.",
      "MYSHARDID",
      "    Return the id that all members have in common.",
      "NODES",
      "    Return the members and what they own. Output format:",
      "    <id> <ip:port@bus-port[,hostname]> <flags> <master> <pings> <pongs> <epoch> <link> "
      "<slot> ...",
      "OUTCOME g<group> e<epoch> i<index>",
      "    Return what became of a write that was answered UNCERTAIN.",
      "PLAN [LEAVE <node-id> ...] [WEIGHT <node-id> <weight> ...]",
      "    Return which slots and replicas belong elsewhere, and why; also if a node left or "
      "weighed",
      "    as much.",
      "REBALANCE (START|STOP|STATUS)",
      "    Move the slots to where they belong; end that; return how far it is.",
      "RECOVER ACCEPT-LOSS",
      "    Make this node, which may have lost something, count again with what it has.",
      "REPLICAS <node-id>",
      "    Return the members that follow <node-id>.",
      "RESET [HARD|SOFT]",
      "    Leave the cluster; this is a new node then.",
      "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
      "    Move a slot, in steps as tools do.",
      "SHARDS",
      "    Return the slots and the members that serve them.",
      "SLOT-STATS (SLOTSRANGE <start slot> <end slot> | ORDERBY <metric> [LIMIT <limit>] "
      "[ASC|DESC])",
      "    Return what the slots of this node have and cost.",
      "SLOTS",
      "    Return the slots and the addresses that serve them, the leader first.",
  };
  reply_help(call, kLines);
}

constexpr uint32_t kReads = kStale;
constexpr uint32_t kLooks = kAdmin | kStale;
constexpr uint32_t kSteers = kAdmin | kStale | kNoAsyncLoading;
constexpr Bytes kVaries = "nondeterministic_output";
constexpr Bytes kPerSlot = "O(N) where N is the total number of hash slot arguments";
constexpr Bytes kPerRange =
    "O(N) where N is the total number of the slots between the start slot and end slot arguments.";
constexpr Bytes kPerNode = "O(N) where N is the total number of Cluster nodes";

struct Row {
  Bytes name;
  int arity;
  uint32_t flags;
  Bytes since;
  Bytes summary;
  Bytes complexity = "O(1)";
  Bytes syntax = {};
  Bytes tips = {};
};

template <Handler Run>
constexpr CommandSpec subcommand(const Row& row) {
  return {.name = row.name,
          .arity = row.arity,
          .run = in_cluster<Run>,
          .flags = row.flags,
          .group = "cluster",
          .since = row.since,
          .summary = row.summary,
          .complexity = row.complexity,
          .syntax = row.syntax,
          .tips = row.tips};
}

constexpr CommandSpec replaced(CommandSpec spec, Bytes since, Bytes by) {
  spec.deprecated_since = since;
  spec.replaced_by = by;
  return spec;
}

constexpr CommandSpec kClusterCommands[] = {
    {.name = "cluster",
     .arity = -2,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "A container for commands about the cluster.",
     .complexity = "Depends on subcommand."},
    subcommand<cluster_addslots>({"cluster|addslots", -3, kSteers, "3.0.0",
                                  "Gives slots to this node.", kPerSlot, "slot [slot ...]"}),
    subcommand<cluster_addslotsrange>({"cluster|addslotsrange", -4, kSteers, "7.0.0",
                                       "Gives ranges of slots to this node.", kPerRange,
                                       "{start-slot end-slot} [{start-slot end-slot} ...]"}),
    subcommand<cluster_bumpepoch>({"cluster|bumpepoch",
                                   2,
                                   kSteers,
                                   "3.0.0",
                                   "Advances the configuration epoch.",
                                   "O(1)",
                                   {},
                                   kVaries}),
    subcommand<cluster_count_failure_reports>({"cluster|count-failure-reports", 3, kLooks, "3.0.0",
                                               "Counts the reports that a node has failed.",
                                               "O(N) where N is the number of failure reports",
                                               "node-id", kVaries}),
    subcommand<cluster_cancelslotmigrations>({"cluster|cancelslotmigrations", 2, kSteers, "7.4.0",
                                              "Ends the moves of slots that are under way."}),
    subcommand<cluster_countkeysinslot>({"cluster|countkeysinslot", 3, kReads, "3.0.0",
                                         "Counts this node's keys in a slot.", "O(1)", "slot"}),
    subcommand<cluster_delslots>({"cluster|delslots", -3, kSteers, "3.0.0",
                                  "Takes slots away from this node.", kPerSlot, "slot [slot ...]"}),
    subcommand<cluster_delslotsrange>({"cluster|delslotsrange", -4, kSteers, "7.0.0",
                                       "Takes ranges of slots away from this node.", kPerRange,
                                       "{start-slot end-slot} [{start-slot end-slot} ...]"}),
    subcommand<cluster_failover>({"cluster|failover", -2, kSteers, "3.0.0",
                                  "Makes a replica take over from its master.", "O(1)",
                                  "[FORCE | TAKEOVER]"}),
    subcommand<cluster_flushslots>(
        {"cluster|flushslots", 2, kSteers, "3.0.0", "Takes all slots away from this node."}),
    subcommand<cluster_forget>({"cluster|forget", 3, kSteers, "3.0.0",
                                "Removes a node from the known ones.", "O(1)", "node-id"}),
    subcommand<cluster_getkeysinslot>(
        {"cluster|getkeysinslot", 4, kReads, "3.0.0", "Names this node's keys in a slot.",
         "O(log(N)) where N is the number of requested keys", "slot count", kVaries}),
    subcommand<cluster_getslotmigrations>({"cluster|getslotmigrations",
                                           2,
                                           kReads,
                                           "7.4.0",
                                           "Lists the moves of slots away from this node.",
                                           "O(N) where N is the number of moves",
                                           {},
                                           kVaries}),
    subcommand<cluster_help>(
        {"cluster|help", 2, kLoading | kStale, "5.0.0", "Explains the subcommands."}),
    subcommand<cluster_info>({"cluster|info",
                              2,
                              kReads,
                              "3.0.0",
                              "Tells how the cluster is as this node sees it.",
                              "O(1)",
                              {},
                              kVaries}),
    subcommand<cluster_keyslot>({"cluster|keyslot", 3, kReads, "3.0.0",
                                 "Returns the slot of a key.",
                                 "O(N) where N is the number of bytes in the key", "key:string"}),
    subcommand<cluster_keyspace>({"cluster|keyspace", -3, kSteers, "7.4.0",
                                  "Asks more than its group's quorums for the keys of a prefix.",
                                  "O(N) where N is the number of keyspaces",
                                  "<SET name PREFIX prefix [PROFILE profile] [W count] [R count] "
                                  "[DURABILITY level] [TIMEOUT milliseconds] | DEL name | LIST>"}),
    subcommand<cluster_leave>({"cluster|leave", -2, kSteers, "7.4.0",
                               "Makes a node leave the cluster, after others have what it has.",
                               kPerNode, "[node-id] [CANCEL]"}),
    subcommand<cluster_links>({"cluster|links",
                               2,
                               kReads,
                               "7.0.0",
                               "Lists the connections to other nodes.",
                               kPerNode,
                               {},
                               kVaries}),
    subcommand<cluster_meet>({"cluster|meet", -4, kSteers, "3.0.0",
                              "Introduces this node to another.", "O(1)",
                              "ip port [cluster_bus_port]"}),
    subcommand<cluster_migrateslots>(
        {"cluster|migrateslots", -7, kSteers, "7.4.0",
         "Moves slots to other nodes, with their keys.", "O(N) where N is the number of slots",
         "SLOTSRANGE start-slot end-slot [start-slot end-slot ...] NODE node-id [SLOTSRANGE "
         "start-slot end-slot [start-slot end-slot ...] NODE node-id ...]"}),
    subcommand<cluster_migration>(
        {"cluster|migration", -4, kSteers, "8.4.0",
         "Moves slots to this node, and tells of moves and ends them.",
         "O(N) where N is the total number of the slots between the start slot and end slot "
         "arguments.",
         "<IMPORT {start-slot end-slot} [{start-slot end-slot} ...] | CANCEL <ID task-id | ALL> | "
         "STATUS <ID task-id | ALL>>"}),
    subcommand<cluster_myid>(
        {"cluster|myid", 2, kReads, "3.0.0", "Returns the name of this node."}),
    subcommand<cluster_myshardid>(
        {"cluster|myshardid",
         2,
         kReads,
         "7.2.0",
         "Returns the name that all members of this node's group have in common.",
         "O(1)",
         {},
         kVaries}),
    subcommand<cluster_nodes>({"cluster|nodes",
                               2,
                               kReads,
                               "3.0.0",
                               "Lists the nodes and what they own.",
                               kPerNode,
                               {},
                               kVaries}),
    subcommand<cluster_outcome>({"cluster|outcome", 5, kReads, "7.4.0",
                                 "Tells what became of a write that was answered UNCERTAIN.",
                                 "O(log(N))", "g<group> e<epoch> i<index>", kVaries}),
    subcommand<cluster_plan>({"cluster|plan", -2, kReads, "7.4.0",
                              "Tells which slots would move so that all groups have their shares.",
                              "O(N) where N is the number of slots",
                              "[LEAVE node-id ...] [WEIGHT node-id weight ...]", kVaries}),
    subcommand<cluster_rebalance>({"cluster|rebalance", 3, kSteers, "7.4.0",
                                   "Moves slots so that all groups have their shares.",
                                   "O(N) where N is the number of slots", "<START | STOP | STATUS>",
                                   kVaries}),
    subcommand<cluster_recover>({"cluster|recover", 3, kSteers, "7.4.0",
                                 "Makes a member that may have lost something count again.", "O(1)",
                                 "ACCEPT-LOSS"}),
    subcommand<cluster_replicas>({"cluster|replicas", 3, kLooks, "5.0.0",
                                  "Lists the replicas of a node.", "O(1)", "node-id", kVaries}),
    subcommand<cluster_replicate>({"cluster|replicate", 3, kSteers, "3.0.0",
                                   "Makes this node a replica of another.", "O(1)", "node-id"}),
    subcommand<cluster_reset>(
        {"cluster|reset", -2, kAdmin | kNoScript | kStale, "3.0.0",
         "Makes this node forget its cluster.",
         "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a "
         "side effect.",
         "[HARD | SOFT]"}),
    subcommand<cluster_saveconfig>(
        {"cluster|saveconfig", 2, kSteers, "3.0.0", "Writes the state of the cluster to disk."}),
    subcommand<cluster_set_config_epoch>({"cluster|set-config-epoch", 3, kSteers, "3.0.0",
                                          "Sets the configuration epoch of a new node.", "O(1)",
                                          "config-epoch"}),
    subcommand<cluster_setslot>(
        {"cluster|setslot", -4, kSteers, "3.0.0", "States who owns a slot, or moves it.", "O(1)",
         "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>"}),
    subcommand<cluster_shards>({"cluster|shards",
                                2,
                                kReads,
                                "7.0.0",
                                "Maps ranges of slots to nodes.",
                                "O(N) where N is the total number of cluster nodes",
                                {},
                                kVaries}),
    replaced(
        subcommand<cluster_replicas>({"cluster|slaves", 3, kLooks, "3.0.0",
                                      "Lists the replicas of a node.", "O(1)", "node-id", kVaries}),
        "5.0.0", "`CLUSTER REPLICAS`"),
    subcommand<cluster_slot_stats>(
        {"cluster|slot-stats", -4, kReads, "8.2.0", "Returns what this node's slots have and cost.",
         "O(N) where N is the total number of slots based on arguments. O(N*log(N)) with ORDERBY "
         "subcommand.",
         "<SLOTSRANGE start-slot end-slot | ORDERBY metric [LIMIT limit] [ASC | DESC]>", kVaries}),
    replaced(subcommand<cluster_slots>({"cluster|slots",
                                        2,
                                        kReads,
                                        "3.0.0",
                                        "Maps ranges of slots to nodes.",
                                        kPerNode,
                                        {},
                                        kVaries}),
             "7.0.0", "`CLUSTER SHARDS`"),
};
static_assert(well_formed(kClusterCommands));

}  // namespace

Family cluster_commands() { return kClusterCommands; }

}  // namespace quoll::commands
