// CLUSTER. A server without cluster support refuses every subcommand, as clients that probe for a
// cluster expect; the rows state what COMMAND shows of them.
#include "commands/families.h"
#include "server/call.h"

namespace quoll::commands {

using namespace server;

namespace {

void cluster_disabled(Call& call) {
  call.reply.error("ERR This instance has cluster support disabled");
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

constexpr CommandSpec subcommand(const Row& row) {
  return {.name = row.name,
          .arity = row.arity,
          .run = cluster_disabled,
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
    subcommand({"cluster|addslots", -3, kSteers, "3.0.0", "Gives slots to this node.", kPerSlot,
                "slot [slot ...]"}),
    subcommand({"cluster|addslotsrange", -4, kSteers, "7.0.0",
                "Gives ranges of slots to this node.", kPerRange,
                "{start-slot end-slot} [{start-slot end-slot} ...]"}),
    subcommand({"cluster|bumpepoch",
                2,
                kSteers,
                "3.0.0",
                "Advances the configuration epoch.",
                "O(1)",
                {},
                kVaries}),
    subcommand({"cluster|count-failure-reports", 3, kLooks, "3.0.0",
                "Counts the reports that a node has failed.",
                "O(N) where N is the number of failure reports", "node-id", kVaries}),
    subcommand({"cluster|countkeysinslot", 3, kReads, "3.0.0", "Counts this node's keys in a slot.",
                "O(1)", "slot"}),
    subcommand({"cluster|delslots", -3, kSteers, "3.0.0", "Takes slots away from this node.",
                kPerSlot, "slot [slot ...]"}),
    subcommand({"cluster|delslotsrange", -4, kSteers, "7.0.0",
                "Takes ranges of slots away from this node.", kPerRange,
                "{start-slot end-slot} [{start-slot end-slot} ...]"}),
    subcommand({"cluster|failover", -2, kSteers, "3.0.0",
                "Makes a replica take over from its master.", "O(1)", "[FORCE | TAKEOVER]"}),
    subcommand({"cluster|flushslots", 2, kSteers, "3.0.0", "Takes all slots away from this node."}),
    subcommand({"cluster|forget", 3, kSteers, "3.0.0", "Removes a node from the known ones.",
                "O(1)", "node-id"}),
    subcommand({"cluster|getkeysinslot", 4, kReads, "3.0.0", "Names this node's keys in a slot.",
                "O(log(N)) where N is the number of requested keys", "slot count", kVaries}),
    subcommand({"cluster|help", 2, kLoading | kStale, "5.0.0", "Explains the subcommands."}),
    subcommand({"cluster|info",
                2,
                kReads,
                "3.0.0",
                "Tells how the cluster is as this node sees it.",
                "O(1)",
                {},
                kVaries}),
    subcommand({"cluster|keyslot", 3, kReads, "3.0.0", "Returns the slot of a key.",
                "O(N) where N is the number of bytes in the key", "key:string"}),
    subcommand({"cluster|links",
                2,
                kReads,
                "7.0.0",
                "Lists the connections to other nodes.",
                kPerNode,
                {},
                kVaries}),
    subcommand({"cluster|meet", -4, kSteers, "3.0.0", "Introduces this node to another.", "O(1)",
                "ip port [cluster_bus_port]"}),
    subcommand({"cluster|myid", 2, kReads, "3.0.0", "Returns the name of this node."}),
    subcommand({"cluster|nodes",
                2,
                kReads,
                "3.0.0",
                "Lists the nodes and what they own.",
                kPerNode,
                {},
                kVaries}),
    subcommand({"cluster|replicas", 3, kLooks, "5.0.0", "Lists the replicas of a node.", "O(1)",
                "node-id", kVaries}),
    subcommand({"cluster|replicate", 3, kSteers, "3.0.0", "Makes this node a replica of another.",
                "O(1)", "node-id"}),
    subcommand(
        {"cluster|reset", -2, kAdmin | kNoScript | kStale, "3.0.0",
         "Makes this node forget its cluster.",
         "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a "
         "side effect.",
         "[HARD | SOFT]"}),
    subcommand(
        {"cluster|saveconfig", 2, kSteers, "3.0.0", "Writes the state of the cluster to disk."}),
    subcommand({"cluster|set-config-epoch", 3, kSteers, "3.0.0",
                "Sets the configuration epoch of a new node.", "O(1)", "config-epoch"}),
    subcommand({"cluster|setslot", -4, kSteers, "3.0.0", "States who owns a slot, or moves it.",
                "O(1)", "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>"}),
    subcommand({"cluster|shards",
                2,
                kReads,
                "7.0.0",
                "Maps ranges of slots to nodes.",
                "O(N) where N is the total number of cluster nodes",
                {},
                kVaries}),
    replaced(subcommand({"cluster|slaves", 3, kLooks, "3.0.0", "Lists the replicas of a node.",
                         "O(1)", "node-id", kVaries}),
             "5.0.0", "`CLUSTER REPLICAS`"),
    replaced(subcommand({"cluster|slots",
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
