#include "tests/sim/scenario.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {

// network_scenarios.cc
void echo_in_order(Run& run);
void echo_through_resets(Run& run);
void one_way_partition(Run& run);
void datagrams_as_planned(Run& run);
void slow_reader(Run& run);
// world_scenarios.cc
void same_seed_same_transcript(Run& run);
void crash_and_restart(Run& run);
void time_passes(Run& run);
void replies_at_any_split(Run& run);
// disk_scenarios.cc
void synced_bytes_survive(Run& run);
void names_need_sync_dir(Run& run);
void failed_sync_keeps_nothing(Run& run);
void full_and_rotten_disk(Run& run);
// aof_log_scenarios.cc
void aof_always(Run& run);
void aof_everysec(Run& run);
void aof_rewrites(Run& run);
void aof_any_policy(Run& run);
void aof_sealed(Run& run);
void aof_keeps_time(Run& run);
// group_wal_scenarios.cc
void group_wal_fsync(Run& run);
void group_wal_memory(Run& run);
void group_wal_rot(Run& run);
// server_model_scenarios.cc
void server_model_keys(Run& run);
void server_model_databases(Run& run);
void server_model_everything(Run& run);
// server_expiry_scenarios.cc
void server_expiry(Run& run);
void server_expiry_crowd(Run& run);
void server_turns(Run& run);
// eviction_scenarios.cc
void server_eviction(Run& run);
void server_eviction_same_seed(Run& run);
// hash_expiry_scenarios.cc
void hash_field_expiry(Run& run);
void hash_field_turns(Run& run);
// server_session_scenarios.cc
void server_slow_reader(Run& run);
void server_resets(Run& run);
void server_half_closed(Run& run);
void server_pause(Run& run);
void server_limits(Run& run);
// server_script_scenarios.cc
void server_busy_script(Run& run);
// server_blocking_scenarios.cc
void server_blocking_queue(Run& run);
void server_blocking_order(Run& run);
// cluster_routes_scenarios.cc
void cluster_routes(Run& run);
void cluster_routes_transactions(Run& run);
void cluster_routes_blocked(Run& run);
void cluster_describes_group(Run& run);
// replication_scenarios.cc
void replication_through_cuts(Run& run);
void replication_changes_parts(Run& run);
// group_workload_scenarios.cc
void workload_of_one(Run& run);
void workload_through_crashes(Run& run);
void workload_finds_loss(Run& run);
// group_servers_scenarios.cc
void group_servers(Run& run);
void group_shutdown_fails(Run& run);
void group_keeps_slots(Run& run);
// cluster_servers_scenarios.cc
void cluster_servers(Run& run);
// cluster_gossip_scenarios.cc
void cluster_gossip_death(Run& run);
void cluster_gossip_busy(Run& run);
void cluster_gossip_secret(Run& run);
void cluster_gossip_tcp(Run& run);
void cluster_gossip_topology(Run& run);
// server_world_scenarios.cc
void server_counters(Run& run);
void server_transfers(Run& run);
void server_locks(Run& run);
void server_scan(Run& run);
void server_same_seed(Run& run);

void Run::fail(std::string_view what) {
  failure_ = what;
  tail_ = last_events();
}

std::string Run::last_events() const {
  if (told_) return told_();
  return world_ ? world_->tail() : "";
}

const Scenario kScenarios[] = {
    {"echo_in_order", "calm choppy choppy,clock", echo_in_order},
    {"echo_through_resets", "resets", echo_through_resets},
    {"one_way_partition", "calm choppy", one_way_partition},
    {"datagrams_as_planned", "calm datagrams", datagrams_as_planned},
    {"slow_reader", "calm choppy", slow_reader},
    {"same_seed_same_transcript", "calm choppy storm", same_seed_same_transcript},
    {"crash_and_restart", "calm choppy", crash_and_restart},
    {"time_passes", "calm clock", time_passes},
    {"replies_at_any_split", "calm", replies_at_any_split},
    {"synced_bytes_survive", "calm disk", synced_bytes_survive},
    {"names_need_sync_dir", "calm", names_need_sync_dir},
    {"failed_sync_keeps_nothing", "calm", failed_sync_keeps_nothing},
    {"full_and_rotten_disk", "calm", full_and_rotten_disk},
    {"aof_always", "calm disk disk,failed_append_ppm=80000,failed_sync_ppm=80000", aof_always},
    {"aof_everysec", "calm disk,failed_sync_ppm=80000 disk,disk_bytes_max=30000", aof_everysec},
    {"aof_rewrites", "calm disk failed_sync_ppm=300000 disk,disk_bytes_max=30000", aof_rewrites},
    {"aof_any_policy", "calm disk disk,failed_append_ppm=80000,failed_sync_ppm=80000",
     aof_any_policy},
    {"aof_sealed",
     "calm disk disk,failed_append_ppm=80000,failed_sync_ppm=80000 disk,disk_bytes_max=40000",
     aof_sealed},
    {"aof_keeps_time", "calm", aof_keeps_time},
    {"group_wal_fsync",
     "calm disk disk,failed_append_ppm=20000,failed_sync_ppm=20000 disk,disk_bytes_max=60000 "
     "disk,flipped_bit_ppm=20000",
     group_wal_fsync},
    {"group_wal_memory",
     "calm disk disk,failed_append_ppm=20000,failed_sync_ppm=20000 disk,disk_bytes_max=60000",
     group_wal_memory},
    {"group_wal_rot", "calm disk", group_wal_rot},
    {"server_model_keys", "calm choppy resets clock choppy,clock", server_model_keys},
    {"server_model_databases", "calm choppy resets", server_model_databases},
    {"server_model_everything", "calm choppy resets", server_model_everything},
    {"server_expiry", "calm drift_ppm=500 clock choppy,window_bytes=60000", server_expiry},
    {"server_expiry_crowd", "calm", server_expiry_crowd},
    {"server_turns", "calm", server_turns},
    {"server_eviction", "calm choppy drift_ppm=500", server_eviction},
    {"server_eviction_same_seed", "calm choppy", server_eviction_same_seed},
    {"hash_field_expiry", "calm drift_ppm=500 clock choppy,window_bytes=60000", hash_field_expiry},
    {"hash_field_turns", "calm", hash_field_turns},
    {"server_slow_reader", "calm", server_slow_reader},
    {"server_resets", "resets resets,clock", server_resets},
    {"server_half_closed", "calm choppy", server_half_closed},
    {"server_pause", "calm choppy", server_pause},
    {"server_busy_script", "calm choppy", server_busy_script},
    {"server_limits", "calm choppy", server_limits},
    {"server_blocking_queue", "calm choppy resets", server_blocking_queue},
    {"server_blocking_order", "calm choppy", server_blocking_order},
    {"cluster_routes", "calm choppy", cluster_routes},
    {"cluster_routes_transactions", "calm choppy", cluster_routes_transactions},
    {"cluster_routes_blocked", "calm choppy", cluster_routes_blocked},
    {"cluster_describes_group", "calm", cluster_describes_group},
    {"cluster_gossip_death", "calm datagram_loss_ppm=30000 clock", cluster_gossip_death},
    {"cluster_gossip_busy", "calm datagram_copy_ppm=100000,datagram_delay_max_us=20000",
     cluster_gossip_busy},
    {"cluster_gossip_secret", "calm datagram_loss_ppm=30000", cluster_gossip_secret},
    {"cluster_gossip_tcp", "calm", cluster_gossip_tcp},
    {"cluster_gossip_topology", "calm datagram_loss_ppm=30000 clock", cluster_gossip_topology},
    {"replication_through_cuts", "calm choppy resets", replication_through_cuts},
    {"replication_changes_parts", "calm choppy resets", replication_changes_parts},
    {"workload_of_one", "calm choppy resets", workload_of_one},
    {"workload_through_crashes", "crash resets,crash,crash_every_ms=3000",
     workload_through_crashes},
    {"workload_finds_loss", "crash,crash_every_ms=2000", workload_finds_loss},
    {"group_servers",
     "calm choppy,reset_ppm=300 disk,failed_append_ppm=300,failed_sync_ppm=500 clock "
     "disk,choppy,flipped_bit_ppm=5000,failed_append_ppm=300,failed_sync_ppm=500",
     group_servers},
    {"group_shutdown_fails", "calm disk,failed_append_ppm=0,failed_sync_ppm=0",
     group_shutdown_fails},
    {"group_keeps_slots", "calm choppy disk,failed_append_ppm=0,failed_sync_ppm=0",
     group_keeps_slots},
    {"cluster_servers", "calm choppy,reset_ppm=300,datagram_loss_ppm=30000 disk clock",
     cluster_servers},
    {"server_counters", "calm choppy resets", server_counters},
    {"server_transfers", "calm choppy resets", server_transfers},
    {"server_locks", "calm choppy resets", server_locks},
    {"server_scan", "calm choppy,window_bytes=60000", server_scan},
    {"server_same_seed", "calm choppy storm,crash_every_ms=0", server_same_seed},
};
const size_t kScenarioCount = sizeof(kScenarios) / sizeof(kScenarios[0]);

}  // namespace quoll::sim
