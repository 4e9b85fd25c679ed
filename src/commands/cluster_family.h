// What the files of the CLUSTER family share.
//
//   cluster.cc          the rows, and what concerns slots and keys
//   cluster_members.cc  INFO NODES SLOTS SHARDS REPLICAS LINKS MYID MYSHARDID: the cluster as
//                       ClusterView shows it
//   cluster_change.cc   what changes who is a member, and which slots are whose
//   cluster_moves.cc    slots that move with their keys
//   cluster_plan.cc     PLAN REBALANCE LEAVE: where slots belong, and what brings them there
//   cluster_migration.cc   the same in the words of another tool
//   cluster_slot_stats.cc  what slots have and cost
#pragma once

#include "server/call.h"

namespace quoll::server {
class ClusterNode;
}

namespace quoll::commands::clusters {

using server::Bytes;
using server::Call;
using server::ClusterNode;

constexpr Bytes kConfiguredMembers = "the members are given by cluster-group";

// In cluster_change.cc. The node; nullptr: the members are configured, and the error was replied.
ClusterNode* node_or_reply(Call& call, Bytes why);
// True: this is the second run of the command, and it was answered or waits on.
bool concluded(Call& call, ClusterNode& node);

void cluster_addslots(Call& call);
void cluster_addslotsrange(Call& call);
void cluster_bumpepoch(Call& call);
void cluster_cancelslotmigrations(Call& call);
void cluster_count_failure_reports(Call& call);
void cluster_delslots(Call& call);
void cluster_delslotsrange(Call& call);
void cluster_flushslots(Call& call);
void cluster_forget(Call& call);
void cluster_getslotmigrations(Call& call);
void cluster_info(Call& call);
void cluster_keyspace(Call& call);
void cluster_leave(Call& call);
void cluster_links(Call& call);
void cluster_meet(Call& call);
void cluster_migrateslots(Call& call);
void cluster_migration(Call& call);
void cluster_myid(Call& call);
void cluster_myshardid(Call& call);
void cluster_nodes(Call& call);
void cluster_plan(Call& call);
void cluster_rebalance(Call& call);
void cluster_replicas(Call& call);
void cluster_replicate(Call& call);
void cluster_reset(Call& call);
void cluster_saveconfig(Call& call);
void cluster_set_config_epoch(Call& call);
void cluster_setslot(Call& call);
void cluster_shards(Call& call);
void cluster_slot_stats(Call& call);
void cluster_slots(Call& call);

}  // namespace quoll::commands::clusters
