// INFO: what the server is and holds now. Sections server, clients, memory, persistence, cpu,
// modules, cluster and keyspace.
#include "host/supervisor.h"
#include "server/backups.h"
#include "server/cluster_node.h"
#include "server/config_value.h"
#include "server/defragmenter.h"
#include "server/group.h"
#include "server/info_writer.h"
#include "server/memory_limits.h"
#include "server/memory_overview.h"
#include "server/replication.h"
#include "server/script_cache.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"
#include "server/version.h"

namespace quoll::server {
namespace {

constexpr const char* kSupervisors[] = {"no", "systemd", "upstart"};
constexpr base::Millis kDayMs = 86'400'000;

std::string setting(Server& server, base::Bytes name) {
  const std::vector<ConfigEntry> found = server.config().get({&name, 1});
  return found.empty() ? std::string() : found[0].value;
}

void listener_lines(Server& server, InfoWriter& out) {
  const Settings& settings = server.settings();
  int number = 0;
  if (settings.port != 0) {
    std::string addresses;
    for (const std::string& address : settings.bind) addresses += "bind=" + address + ",";
    out.line("listener{}:name=tcp,{}port={}", number++, addresses, server.port());
  }
  if (!settings.unixsocket.empty())
    out.line("listener{}:name=unix,bind={}", number++, settings.unixsocket);
}

}  // namespace

void info_server(Server& server, InfoWriter& out) {
  const Settings& settings = server.settings();
  host::Host& host = server.host();
  const base::Millis uptime = server.now() - server.started_ms();
  out.section("Server");
  out.field("redis_version", kRedisVersion);
  out.field("server_name", "quoll");
  out.field("quoll_version", kQuollVersion);
  out.field("redis_git_sha1", "00000000");
  out.field("redis_git_dirty", 0);
  out.field("redis_build_id", "0000000000000000");
  out.field("redis_mode", server.cluster() ? "cluster" : "standalone");
  out.field("os", host.process.system_name());
  out.field("arch_bits", sizeof(void*) * 8);
  out.field("monotonic_clock", "POSIX clock_gettime");
  out.field("multiplexing_api", "epoll");
  out.field("atomicvar_api", "c11-builtin");
  out.line("gcc_version:{}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
  out.field("process_id", host.process.pid());
  out.field("process_supervised", kSupervisors[static_cast<int>(host::supervisor())]);
  out.field("run_id", server.run_id());
  out.field("tcp_port", server.port());
  out.field("server_time_usec", host.clock.wall_micros());
  out.field("uptime_in_seconds", uptime / 1000);
  out.field("uptime_in_days", uptime / kDayMs);
  out.field("hz", settings.hz);
  out.field("configured_hz", settings.hz);
  out.field("lru_clock", static_cast<uint64_t>(server.now() / 1000) & store::kAccessClockMask);
  out.field("executable", host.process.executable());
  out.field("config_file", server.config().file_path());
  out.field("availability_zone", settings.availability_zone);
  out.field("io_threads_active", 0);
  listener_lines(server, out);
  if (const base::Millis left = server.shut_down_in(); left > 0)
    out.field("shutdown_in_milliseconds", left);
}

void info_clients(Server& server, InfoWriter& out) {
  size_t input_max = 0, output_max = 0, blocked = 0, timed = 0, replicas = 0;
  for (const auto& [id, session] : server.sessions()) {
    input_max = std::max(input_max, session->parser().own_bytes());
    output_max = std::max(output_max, session->out().footprint());
    blocked += session->postponed() != Postponed::no;  // also by a pause
    timed += session->waits_with_timeout();
    replicas += session->is_replica();
  }
  out.section("Clients");
  out.field("connected_clients", server.sessions().size() - replicas);
  out.field("cluster_connections", 0);
  out.field("maxclients", server.settings().maxclients);
  out.field("client_recent_max_input_buffer", input_max);
  out.field("client_recent_max_output_buffer", output_max);
  out.field("blocked_clients", blocked);
  out.field("tracking_clients", server.tracking().sessions());
  out.field("pubsub_clients", server.pubsub().sessions());
  out.field("watching_clients", server.watches().sessions());
  out.field("clients_in_timeout_table", timed);
  out.field("total_watched_keys", server.watches().keys());
  out.field("total_blocking_keys", server.blocked_keys().keys());
  out.field("total_blocking_keys_on_nokey", server.blocked_keys().keys_of_any_change());
}

void info_memory(Server& server, InfoWriter& out) {
  const MemoryOverview view = memory_overview(server);
  out.section("Memory");
  out.memory("used_memory", view.used);
  out.memory("used_memory_rss", view.resident);
  out.memory("used_memory_peak", view.peak);
  out.line("used_memory_peak_perc:{:.2f}%", view.peak_percent());
  out.field("used_memory_overhead", view.overhead);
  out.field("used_memory_startup", view.startup);
  out.field("used_memory_dataset", view.dataset);
  out.line("used_memory_dataset_perc:{:.2f}%", view.dataset_percent());
  out.field("allocator_allocated", view.allocator.allocated);
  out.field("allocator_active", view.allocator.active);
  out.field("allocator_resident", view.allocator.resident);
  out.field("allocator_muzzy", view.allocator.muzzy);
  out.memory("total_system_memory", server.host().process.machine_memory_bytes());
  const ScriptCache& scripts = server.scripts().cache();
  const ScriptLibraries& libraries = server.scripts().libraries();
  out.field("used_memory_vm_eval", scripts.vm_bytes());
  out.memory("used_memory_lua", scripts.vm_bytes());
  out.field("used_memory_scripts_eval", scripts.bytes());
  out.field("number_of_cached_scripts", scripts.scripts());
  out.field("number_of_functions", libraries.functions());
  out.field("number_of_libraries", libraries.libraries().size());
  out.field("used_memory_vm_functions", libraries.vm_bytes());
  out.memory("used_memory_vm_total", scripts.vm_bytes() + libraries.vm_bytes());
  out.field("used_memory_functions", libraries.bytes());
  out.memory("used_memory_scripts", scripts.bytes() + libraries.bytes());
  out.memory("maxmemory", server.settings().maxmemory);
  out.field("maxmemory_policy", setting(server, "maxmemory-policy"));
  out.ratio("allocator_frag_ratio", view.fragmentation_ratio());
  out.field("allocator_frag_bytes", view.fragmentation_bytes());
  out.ratio("allocator_rss_ratio", view.allocator_rss_ratio());
  out.field("allocator_rss_bytes", view.allocator_rss_bytes());
  out.ratio("rss_overhead_ratio", view.rss_overhead_ratio());
  out.field("rss_overhead_bytes", view.rss_overhead_bytes());
  out.ratio("mem_fragmentation_ratio", view.resident_ratio());
  out.field("mem_fragmentation_bytes", view.resident_excess());
  const Replication& replication = server.replication();
  const uint64_t backlog = replication.feed().backlog().footprint();
  const uint64_t buffers = backlog + replication.replicas().buffer_bytes();
  out.field("mem_not_counted_for_evict", server.memory_limits().not_counted());
  out.field("mem_replication_backlog", backlog);
  out.field("mem_total_replication_buffers", buffers);
  out.field("replicas_replication_buffer_size", view.replicas);
  out.field("mem_clients_slaves", view.replicas);
  out.field("mem_clients_normal", view.clients);
  out.zeros("mem_cluster_links");
  out.field("mem_aof_buffer", server.persistence().aof_info().stats.buffer_length);
  out.field("mem_allocator", base::allocator_name());
  out.zeros("mem_overhead_db_hashtable_rehashing");
  out.field("active_defrag_running", server.defragmenter().running());
  out.field("lazyfree_pending_objects", server.store().reclaim_pending());
  out.field("lazyfreed_objects", server.store().counters().freed_entries);
}

void info_persistence(Server& server, InfoWriter& out) {
  out.section("Persistence");
  const Persistence& persistence = server.persistence();
  const Persistence::SaveInfo saves = persistence.save_info();
  out.field("loading", persistence.loading() ? 1 : 0);
  out.field("async_loading", persistence.syncing() && !persistence.loading() ? 1 : 0);
  out.zeros("current_cow_peak", "current_cow_size", "current_cow_size_age");
  const double keys = static_cast<double>(std::max<uint64_t>(saves.keys_total, 1));
  out.ratio("current_fork_perc", 100.0 * static_cast<double>(saves.keys_written) / keys);
  out.field("current_save_keys_processed", saves.keys_written);
  out.field("current_save_keys_total", saves.keys_total);
  out.field("rdb_changes_since_last_save", saves.changes);
  out.field("rdb_bgsave_in_progress", persistence.saving() || persistence.streaming() ? 1 : 0);
  out.field("rdb_last_save_time", saves.last_save_ms / 1000);
  out.field("rdb_last_bgsave_status", saves.last_ok ? "ok" : "err");
  out.field("rdb_last_bgsave_time_sec", saves.last_seconds);
  out.field("rdb_current_bgsave_time_sec", saves.running_seconds);
  out.field("rdb_saves", saves.saves);
  out.zeros("rdb_last_cow_size");
  out.field("rdb_last_load_keys_expired", saves.last_load_expired);
  out.field("rdb_last_load_keys_loaded", saves.last_load_loaded);
  const Persistence::AofInfo aof = persistence.aof_info();
  out.field("aof_enabled", aof.enabled ? 1 : 0);
  out.field("aof_rewrite_in_progress", persistence.rewriting() && !aof.scheduled ? 1 : 0);
  out.field("aof_rewrite_scheduled", aof.scheduled ? 1 : 0);
  out.field("aof_last_rewrite_time_sec", aof.last_seconds);
  out.field("aof_current_rewrite_time_sec", aof.running_seconds);
  out.field("aof_last_bgrewrite_status", aof.last_rewrite_ok ? "ok" : "err");
  out.field("aof_rewrites", aof.rewrites);
  out.field("aof_rewrites_consecutive_failures", aof.failures_in_a_row);
  out.field("aof_last_write_status", aof.last_write_ok ? "ok" : "err");
  out.zeros("aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size");
  if (aof.enabled) {
    out.field("aof_current_size", aof.stats.current_size);
    out.field("aof_base_size", aof.stats.base_size);
    out.zeros("aof_pending_rewrite");
    out.field("aof_buffer_length", aof.stats.buffer_length);
    out.field("aof_pending_bio_fsync", aof.stats.pending_fsync);
    out.field("aof_delayed_fsync", aof.stats.delayed_fsync);
  }
  Backups& backups = server.persistence().backups();
  out.field("backup_in_progress", backups.running() ? 1 : 0);
  out.field("backup_last_status", Backups::name_of(backups.last_outcome()));
  out.field("backup_last_time_sec", backups.last_seconds());
  out.field("backup_upload_in_progress", backups.uploading() ? 1 : 0);
  if (!persistence.loading()) return;
  const Persistence::LoadingInfo load = persistence.loading_info();
  const double loaded = static_cast<double>(load.loaded_bytes);
  const double total = static_cast<double>(std::max<uint64_t>(load.total_bytes, 1));
  const double seconds = static_cast<double>(server.now() - load.start_ms) / 1000;
  out.field("loading_start_time", load.start_ms / 1000);
  out.field("loading_total_bytes", load.total_bytes);
  out.zeros("loading_rdb_used_mem");
  out.field("loading_loaded_bytes", load.loaded_bytes);
  out.ratio("loading_loaded_perc", 100.0 * loaded / total);
  out.field("loading_eta_seconds",
            static_cast<int64_t>(loaded > 0 ? seconds * (total - loaded) / loaded : -1));
}

void info_cpu(Server& server, InfoWriter& out) {
  const auto time = [&](const char* name, int64_t micros) {
    out.line("{}:{}.{:06}", name, micros / 1'000'000, micros % 1'000'000);
  };
  const host::Process::CpuTimes all = server.host().process.cpu_times();
  const host::Process::CpuTimes loop = server.host().process.thread_cpu_times();
  out.section("CPU");
  time("used_cpu_sys", all.system_micros);
  time("used_cpu_user", all.user_micros);
  time("used_cpu_sys_children", 0);
  time("used_cpu_user_children", 0);
  time("used_cpu_sys_main_thread", loop.system_micros);
  time("used_cpu_user_main_thread", loop.user_micros);
}

void info_modules(Server&, InfoWriter& out) { out.section("Modules"); }

// Somebody learns, or the voters are being changed.
static int changing(const cluster::GroupShape& shape) {
  return shape.joint() || shape.members() > shape.now.size() ? 1 : 0;
}

void info_cluster(Server& server, InfoWriter& out) {
  out.section("Cluster");
  out.field("cluster_enabled", server.cluster() ? 1 : 0);
  const ReplicaGroup* group = server.group();
  if (!group || !group->core()) return;
  const cluster::GroupCore& core = *group->core();
  const ReplicaGroup::Counters& counters = group->counters();
  out.field("group_members", group->members().size());
  out.field("group_member", group->self());
  out.field("group_leader",
            group->leader() < group->members().size() ? std::to_string(group->leader()) : "none");
  out.field("group_serving", group->serves() ? 1 : 0);
  out.field("group_intact", core.intact() ? 1 : 0);
  out.field("group_data_stands", core.data_stands() ? 1 : 0);
  out.field("group_epoch", core.epoch());
  out.field("group_log_first", core.log().base().index + 1);
  out.field("group_log_last", core.last().index);
  out.field("group_committed", core.commit());
  out.field("group_applied", core.applied());
  out.field("group_uncommitted_bytes", core.uncommitted_bytes());
  out.field("group_elections_won", counters.elections_won);
  out.field("group_deposed", counters.deposed);
  out.field("group_uncertain_replies", counters.uncertain);
  out.field("group_syncs_sent", counters.syncs_sent);
  out.field("group_syncs_received", counters.syncs_received);
  out.field("group_slots_left_out", counters.slots_left_out);
  out.field("group_keys_repaired", counters.keys_repaired);
  out.field("group_checkpoints", counters.checkpoints);
  out.field("group_checkpoint_in_progress", group->writes_checkpoint() ? 1 : 0);
  out.field("group_voters", core.shape().now.size());
  out.field("group_changing", changing(core.shape()));
  const ClusterNode* node = server.node();
  if (!node || !node->keepers()) return;
  out.field("topology_voters", node->keepers()->now.size());
  out.field("topology_changing", changing(*node->keepers()));
}

// Redis 8's form: "db0_distrib_lists_items:1=3,4=1,1K=2" where a label is the least size of its
// row.
void info_keysizes(Server& server, InfoWriter& out) {
  constexpr struct {
    data::Type type;
    const char* name;
  } kRows[] = {{data::Type::string, "strings_sizes"},
               {data::Type::list, "lists_items"},
               {data::Type::set, "sets_items"},
               {data::Type::zset, "zsets_items"},
               {data::Type::hash, "hashes_items"}};
  constexpr const char* kUnits[] = {"", "K", "M", "G", "T"};
  const store::Store& store = server.store();
  out.section("Keysizes");
  for (store::DbIndex db = 0; db < store.databases(); ++db) {
    const store::KeySizes* sizes = store.key_sizes(db);
    if (!sizes || store.keys(db) == 0) continue;
    for (const auto& row : kRows) {
      std::string places;
      for (unsigned place = 0; place < store::KeySizes::kPlaces; ++place) {
        const uint64_t keys = sizes->count(row.type, place);
        if (keys == 0) continue;
        const unsigned power = place == 0 ? 0 : place - 1;
        const uint64_t least = place == 0 ? 0 : uint64_t{1} << power % 10;
        places +=
            fmt::format("{}{}{}={}", places.empty() ? "" : ",", least, kUnits[power / 10], keys);
      }
      if (!places.empty()) out.line("db{}_distrib_{}:{}", db, row.name, places);
    }
  }
}

void info_keyspace(Server& server, InfoWriter& out) {
  const store::Store& store = server.store();
  out.section("Keyspace");
  for (store::DbIndex db = 0; db < store.databases(); ++db) {
    if (store.keys(db) == 0) continue;
    out.line("db{}:keys={},expires={},avg_ttl={}", db, store.keys(db), store.expires(db),
             store.average_ttl(db, server.now()));
  }
}

}  // namespace quoll::server
