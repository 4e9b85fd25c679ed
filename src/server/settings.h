// Every configuration value as a plain member; its initialiser is the default. Names are those of
// the directives with '_' for '-', and with the unit where the directive leaves it out. Code that
// runs per command reads the members directly; changes go through Config only.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cluster/group_list.h"
#include "server/config_value.h"

namespace quoll::server {

struct UserLine {  // `user NAME RULE...` from a configuration file, for the ACL to apply
  std::string name;
  std::vector<std::string> rules;
  bool operator==(const UserLine&) const = default;
};

struct CommandRename {  // `rename-command FROM TO`; an empty `to` removes the command
  std::string from;
  std::string to;
  std::string where;  // "FILE line N", for the error when the command does not exist
  bool operator==(const CommandRename&) const = default;
};

struct Settings {
  // Network
  int64_t port = 6379;
  int64_t admin_port = 0;  // 0: none
  std::string admin_bind = "127.0.0.1";
  std::vector<std::string> bind = {"*", "-::*"};
  std::string bind_source_addr;
  bool io_uring = true;
  std::string unixsocket;
  int64_t unixsocketperm = 0;  // 0: leave to the umask
  std::string unixsocketgroup;
  int64_t tcp_backlog = 511;
  int64_t tcp_keepalive_seconds = 300;
  int64_t timeout_seconds = 0;
  int64_t socket_mark_id = 0;
  bool protected_mode = true;
  int64_t maxclients = 10000;
  int64_t max_new_connections_per_cycle = 10;
  int64_t max_new_tls_connections_per_cycle = 1;
  int64_t proto_max_bulk_len = 512LL << 20;
  int64_t client_query_buffer_limit = 1LL << 30;
  OutputLimits client_output_buffer_limit = {
      {{{0, 0, 0}, {256ULL << 20, 64ULL << 20, 60}, {32ULL << 20, 8ULL << 20, 60}}}};
  int64_t maxmemory_clients = 0;  // bytes; negative: percent of maxmemory

  // Process and log
  int64_t databases = 16;
  std::string dir;  // absolute
  bool daemonize = false;
  Supervision supervised = Supervision::none;
  std::string pidfile;
  std::string logfile;
  LogLevel loglevel = LogLevel::notice;
  LogFormat log_format = LogFormat::text;
  LogTimestamp log_timestamp_format = LogTimestamp::legacy;
  bool syslog_enabled = false;
  std::string syslog_ident = "redis";
  int64_t syslog_facility = 1;  // place in {user, local0 ... local7}
  bool crash_log_enabled = true;
  bool crash_memcheck_enabled = true;
  bool use_exit_on_panic = false;
  bool enable_debug_assert = false;
  bool hide_user_data_from_log = true;
  bool always_show_logo = false;
  bool set_proc_title = true;
  std::string proc_title_template = "{title} {listen-addr} {server-mode}";
  std::string locale_collate;
  std::string ignore_warnings;
  bool disable_thp = true;
  OomScoreAdjust oom_score_adj = OomScoreAdjust::no;
  std::array<int64_t, 3> oom_score_adj_values = {0, 200, 800};
  int64_t hz = 10;
  bool dynamic_hz = true;
  int64_t shutdown_timeout_seconds = 10;
  int64_t shutdown_on_sigint = 0;   // kShutdown* mask
  int64_t shutdown_on_sigterm = 0;  // kShutdown* mask
  int64_t watchdog_period_ms = 0;

  // Access
  std::string requirepass;
  std::string aclfile;
  ChannelDefault acl_pubsub_default = ChannelDefault::reset_channels;
  int64_t acllog_max_len = 128;
  Permission enable_protected_configs = Permission::no;
  Permission enable_debug_command = Permission::no;
  Permission enable_module_command = Permission::no;
  std::vector<UserLine> users;
  std::vector<CommandRename> renamed_commands;

  // Snapshots
  std::vector<SavePoint> save_points = {{3600, 1}, {300, 100}, {60, 10000}};
  bool stop_writes_on_bgsave_error = true;
  bool rdbcompression = true;
  bool rdbchecksum = true;
  Sanitize sanitize_dump_payload = Sanitize::no;
  std::string dbfilename = "dump.rdb";
  bool rdb_del_sync_files = false;
  bool rdb_save_incremental_fsync = true;
  int64_t rdb_version = 11;
  int64_t rdb_key_save_delay_us = 0;  // for tests of slow disks
  int64_t key_load_delay_us = 0;      // for tests of slow disks
  int64_t loading_process_events_interval_bytes = 2LL << 20;

  // Encryption of the files of the data, and backups
  std::string data_encryption_key_file;
  std::string backup_dir = "backups";
  int64_t backup_keep = 0;         // finished backups that stay; 0: all
  std::string backup_s3_endpoint;  // "https://host[:port]"; empty: backups are not uploaded
  std::string backup_s3_bucket;
  std::string backup_s3_prefix;
  std::string backup_s3_region = "us-east-1";
  std::string backup_s3_access_key;
  std::string backup_s3_secret_key_file;
  int64_t backup_s3_part_size = 512LL << 20;  // larger files are uploaded in parts

  // Append only file
  bool appendonly = false;
  std::string appendfilename = "appendonly.aof";
  std::string appenddirname = "appendonlydir";
  Fsync appendfsync = Fsync::everysec;
  bool no_appendfsync_on_rewrite = false;
  int64_t auto_aof_rewrite_percentage = 100;
  int64_t auto_aof_rewrite_min_size = 64LL << 20;
  bool aof_load_truncated = true;
  int64_t aof_load_corrupt_tail_max_size = 0;
  bool aof_use_rdb_preamble = true;
  bool aof_timestamp_enabled = false;
  bool aof_rewrite_incremental_fsync = true;
  bool aof_disable_auto_gc = false;

  // Change stream
  uint64_t changes_buffer_size = 0;  // bytes of the window; 0: there is no stream

  // Replication
  ReplicaOf replicaof;
  std::string masterauth;
  std::string masteruser;
  bool replica_serve_stale_data = true;
  bool replica_read_only = true;
  bool replica_announced = true;
  std::string replica_announce_ip;
  int64_t replica_announce_port = 0;
  int64_t replica_priority = 100;
  bool replica_lazy_flush = false;
  bool replica_ignore_maxmemory = true;
  bool replica_ignore_disk_write_errors = false;
  PropagationError propagation_error_behavior = PropagationError::ignore;
  bool repl_diskless_sync = true;
  int64_t repl_diskless_sync_delay_seconds = 5;
  int64_t repl_diskless_sync_max_replicas = 0;
  DisklessLoad repl_diskless_load = DisklessLoad::disabled;
  bool repl_disable_tcp_nodelay = false;
  int64_t repl_ping_replica_period_seconds = 10;
  int64_t repl_timeout_seconds = 60;
  int64_t repl_backlog_size = 1LL << 20;
  int64_t repl_backlog_ttl_seconds = 3600;
  int64_t min_replicas_to_write = 0;
  int64_t min_replicas_max_lag_seconds = 10;

  // Cluster
  bool cluster_enabled = false;
  std::string cluster_config_file = "nodes.conf";
  int64_t cluster_node_timeout_ms = 15000;
  int64_t cluster_ping_interval_ms = 1000;
  int64_t cluster_port = 0;  // 0: port + 10000
  int64_t cluster_replica_validity_factor = 10;
  int64_t cluster_migration_barrier = 1;
  bool cluster_allow_replica_migration = true;
  bool cluster_require_full_coverage = true;
  bool cluster_replica_no_failover = false;
  bool cluster_allow_reads_when_down = false;
  bool cluster_allow_pubsubshard_when_down = true;
  uint64_t cluster_link_sendbuf_limit = 0;
  std::string cluster_announce_hostname;
  std::string cluster_announce_human_nodename;
  std::string cluster_announce_ip;
  int64_t cluster_announce_port = 0;
  int64_t cluster_announce_tls_port = 0;
  int64_t cluster_announce_bus_port = 0;
  EndpointType cluster_preferred_endpoint_type = EndpointType::ip;
  ClusterRouting cluster_routing = ClusterRouting::redirect;
  CrossSlot cluster_cross_slot = CrossSlot::error;
  std::string availability_zone;
  bool cluster_slot_stats_enabled = false;
  cluster::GroupList cluster_group;   // empty: this server is a cluster of its own
  int64_t cluster_group_member = -1;  // our place in it; -1: found by our address
  int64_t cluster_replicas = -1;      // members beside the leader; -1: as many as are listed
  Quorum cluster_write_quorum;
  Quorum cluster_read_quorum;
  Durability cluster_durability = Durability::memory;
  int64_t cluster_write_timeout_ms = 2000;
  int64_t cluster_election_timeout_ms = 1000;
  uint64_t cluster_log_size = uint64_t{64} << 20;
  std::string cluster_location;  // "dc/rack/host"; empty: a host of its own
  int64_t cluster_weight = 100;
  Rebalance cluster_rebalance = Rebalance::manual;
  uint64_t cluster_rebalance_throttle = uint64_t{64} << 20;  // bytes a second; 0: no limit
  int64_t cluster_replace_after = 300;                       // seconds; 0: nobody is replaced
  std::string cluster_join;         // "host:port" of a node whose cluster we join; empty: none
  std::string cluster_secret_file;  // empty: the secret follows from the cluster's id

  // Memory, eviction, freeing
  uint64_t maxmemory = 0;  // in force, whether given as a number or as "auto"
  bool maxmemory_auto = false;
  uint64_t memory_for_auto = 0;  // what "auto" means here; see memory_limits.h
  EvictionPolicy maxmemory_policy = EvictionPolicy::noeviction;
  int64_t maxmemory_samples = 5;
  uint64_t script_memory_max = uint64_t{1} << 30;  // bytes of one Lua VM
  int64_t maxmemory_eviction_tenacity = 10;
  int64_t lfu_log_factor = 10;
  int64_t lfu_decay_time_minutes = 1;
  int64_t active_expire_effort = 1;
  bool lazyfree_lazy_eviction = false;
  bool lazyfree_lazy_expire = false;
  bool lazyfree_lazy_server_del = false;
  bool lazyfree_lazy_user_del = false;
  bool lazyfree_lazy_user_flush = false;
  int64_t tracking_table_max_keys = 1'000'000;
  bool activerehashing = true;
  bool activedefrag = false;
  int64_t active_defrag_ignore_bytes = 100LL << 20;
  int64_t active_defrag_threshold_lower = 10;
  int64_t active_defrag_threshold_upper = 100;
  int64_t active_defrag_cycle_min = 1;
  int64_t active_defrag_cycle_max = 25;
  int64_t active_defrag_max_scan_fields = 1000;
  bool jemalloc_bg_thread = true;
  int64_t io_threads = 1;
  bool io_threads_do_reads = false;
  std::string server_cpulist;
  std::string bio_cpulist;
  std::string aof_rewrite_cpulist;
  std::string bgsave_cpulist;

  // Encodings
  int64_t hash_max_listpack_entries = 512;
  int64_t hash_max_listpack_value = 64;
  int64_t list_max_listpack_size = -2;
  int64_t list_compress_depth = 0;
  int64_t set_max_intset_entries = 512;
  int64_t set_max_listpack_entries = 128;
  int64_t set_max_listpack_value = 64;
  int64_t zset_max_listpack_entries = 128;
  int64_t zset_max_listpack_value = 64;
  int64_t hll_sparse_max_bytes = 3000;
  int64_t stream_node_max_bytes = 4096;
  int64_t stream_node_max_entries = 100;

  // Scripts, slow log, latency, events
  int64_t busy_reply_threshold_ms = 5000;
  bool lua_enable_deprecated_api = false;
  int64_t slowlog_log_slower_than_us = 10000;  // negative: off
  int64_t slowlog_max_len = 128;
  int64_t commandlog_request_larger_than = 1 << 20;  // bytes; negative: off
  int64_t commandlog_reply_larger_than = 1 << 20;    // bytes; negative: off
  int64_t commandlog_large_request_max_len = 128;
  int64_t commandlog_large_reply_max_len = 128;
  int64_t latency_monitor_threshold_ms = 0;  // 0: off
  bool latency_tracking = true;
  std::vector<double> latency_tracking_info_percentiles = {50, 99, 99.9};
  uint32_t notify_keyspace_events = 0;  // notify::k* mask

  // TLS
  int64_t tls_port = 0;
  std::string tls_cert_file;
  std::string tls_key_file;
  std::string tls_key_file_pass;
  std::string tls_client_cert_file;
  std::string tls_client_key_file;
  std::string tls_client_key_file_pass;
  std::string tls_dh_params_file;
  std::string tls_ca_cert_file;
  std::string tls_ca_cert_dir;
  TlsClientAuth tls_auth_clients = TlsClientAuth::yes;
  bool tls_replication = false;
  bool tls_cluster = false;
  TlsClientUser tls_auth_clients_user = TlsClientUser::off;
  std::string tls_protocols;
  std::string tls_ciphers;
  std::string tls_ciphersuites;
  bool tls_prefer_server_ciphers = false;
  bool tls_session_caching = true;
  int64_t tls_session_cache_size = 20480;
  int64_t tls_session_cache_timeout_seconds = 300;

  // Values of directives that other servers know and this one only remembers.
  std::map<std::string, std::string, std::less<>> remembered;
};

}  // namespace quoll::server
