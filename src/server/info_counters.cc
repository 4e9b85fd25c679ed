// INFO: what happened since the start or the last CONFIG RESETSTAT. Sections stats, commandstats,
// errorstats, latencystats and quoll.
#include "server/defragmenter.h"
#include "server/directive.h"
#include "server/info_writer.h"
#include "server/memory_limits.h"
#include "server/replication.h"
#include "server/script_cache.h"
#include "server/script_host.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr double kBytesPerKilobyte = 1024;

int64_t micros(base::Nanos nanos) { return nanos / base::kNanosPerMicro; }

base::Nanos command_nanos(Server& server) {
  uint64_t sum = 0;
  for (const auto& command : server.commands().all()) sum += command->counters.nanos;
  return static_cast<base::Nanos>(sum);
}

// A turn's length, from the rates of turns and of time spent in them.
int64_t recent_turn_micros(const Stats& stats) {
  const double turns = stats.turns_rate.per_second();
  return turns > 0 ? static_cast<int64_t>(stats.turn_micros_rate.per_second() / turns) : 0;
}

void rates(const Stats& stats, InfoWriter& out) {
  out.ratio("instantaneous_input_kbps", stats.input_rate.per_second() / kBytesPerKilobyte);
  out.ratio("instantaneous_output_kbps", stats.output_rate.per_second() / kBytesPerKilobyte);
  out.ratio("instantaneous_input_repl_kbps", 0);
  out.ratio("instantaneous_output_repl_kbps", 0);
}

void key_counters(Server& server, InfoWriter& out) {
  const Stats& stats = server.stats();
  const store::StoreCounters& keys = server.store().counters();
  out.field("expired_subkeys", keys.expired_fields);
  out.field("expired_keys", keys.expired_keys);
  out.ratio("expired_stale_perc", 0);  // the wheel finds keys when they are due, not by sampling
  out.field("expired_time_cap_reached_count", stats.expire_time_capped);
  out.field("expire_cycle_cpu_milliseconds", stats.expire_nanos / base::kNanosPerMilli);
  out.field("evicted_keys", keys.evicted_keys);
  out.field("evicted_clients", stats.evicted_clients);
  out.field("evicted_scripts", server.scripts().cache().evicted());
  out.field("total_eviction_exceeded_time", server.memory_limits().exceeded_total_ms());
  out.field("current_eviction_exceeded_time", server.memory_limits().exceeded_ms());
  out.field("keyspace_hits", stats.keyspace_hits);
  out.field("keyspace_misses", stats.keyspace_misses);
}

void loop_counters(Server& server, InfoWriter& out) {
  const Stats& stats = server.stats();
  out.field("eventloop_cycles", stats.turns);
  out.field("eventloop_duration_sum", micros(stats.turn_nanos));
  out.field("eventloop_duration_cmd_sum", micros(command_nanos(server)));
  out.field("instantaneous_eventloop_cycles_per_sec",
            static_cast<int64_t>(stats.turns_rate.per_second()));
  out.field("instantaneous_eventloop_duration_usec", recent_turn_micros(stats));
}

}  // namespace

void info_stats(Server& server, InfoWriter& out) {
  const Stats& stats = server.stats();
  out.section("Stats");
  out.field("total_connections_received", stats.connections_received);
  out.field("total_commands_processed", stats.commands);
  out.field("instantaneous_ops_per_sec", static_cast<int64_t>(stats.commands_rate.per_second()));
  out.field("total_net_input_bytes", stats.net_input_bytes);
  out.field("total_net_output_bytes", stats.net_output_bytes);
  const Replication::Counters& syncs = server.replication().counters;
  out.field("total_net_repl_input_bytes", syncs.bytes_in);
  out.field("total_net_repl_output_bytes", syncs.bytes_out);
  rates(stats, out);
  out.field("rejected_connections", stats.connections_rejected);
  out.field("sync_full", syncs.full);
  out.field("sync_partial_ok", syncs.partial);
  out.field("sync_partial_err", syncs.partial_refused);
  key_counters(server, out);
  out.field("pubsub_channels", server.pubsub().channels());
  out.field("pubsub_patterns", server.pubsub().patterns());
  out.field("pubsubshard_channels", server.pubsub().shard_channels());
  out.zeros("latest_fork_usec", "total_forks", "migrate_cached_sockets");
  out.field("slave_expires_tracked_keys", server.replication().own_keys().tracked());
  out.field("active_defrag_hits", stats.defrag_hits);
  out.field("active_defrag_misses", stats.defrag_misses);
  out.field("active_defrag_key_hits", stats.defrag_key_hits);
  out.field("active_defrag_key_misses", stats.defrag_key_misses);
  out.field("total_active_defrag_time", stats.defrag_nanos / base::kNanosPerMilli);
  out.field("current_active_defrag_time",
            server.defragmenter().running_for() / base::kNanosPerMilli);
  out.field("tracking_total_keys", server.tracking().keys());
  out.field("tracking_total_items", server.tracking().items());
  out.field("tracking_total_prefixes", server.tracking().prefixes());
  out.zeros("unexpected_error_replies");
  out.field("total_error_replies", stats.error_replies);
  out.field("dump_payload_sanitizations", 0);
  out.field("total_reads_processed", stats.reads);
  out.field("total_writes_processed", stats.writes);
  out.zeros("io_threaded_reads_processed", "io_threaded_writes_processed",
            "io_threaded_total_prefetch_batches", "io_threaded_total_prefetch_entries");
  out.field("client_query_buffer_limit_disconnections", stats.query_buffer_limit_disconnections);
  out.field("client_output_buffer_limit_disconnections", stats.output_buffer_limit_disconnections);
  out.zeros("reply_buffer_shrinks", "reply_buffer_expands");
  loop_counters(server, out);
  out.field("acl_access_denied_auth", server.acl().refusals().logins);
  out.field("acl_access_denied_cmd", server.acl().refusals().commands);
  out.field("acl_access_denied_key", server.acl().refusals().keys);
  out.field("acl_access_denied_channel", server.acl().refusals().channels);
  if (!server.tls().configured()) return;
  out.field("tls_handshakes", server.tls().stats().handshakes);
  out.field("tls_handshakes_failed", server.tls().stats().failed);
  out.field("tls_handshakes_under_way", server.tls().stats().under_way);
}

void info_commandstats(Server& server, InfoWriter& out) {
  out.section("Commandstats");
  for (const auto& command : server.commands().all()) {
    const CommandCounters& counters = command->counters;
    if (counters.calls + counters.failed + counters.rejected == 0) continue;
    const uint64_t spent = counters.nanos / base::kNanosPerMicro;
    const double each = counters.calls
                            ? static_cast<double>(counters.nanos) /
                                  static_cast<double>(base::kNanosPerMicro * counters.calls)
                            : 0;
    out.line("cmdstat_{}:calls={},usec={},usec_per_call={:.2f},rejected_calls={},failed_calls={}",
             command->name, counters.calls, spent, each, counters.rejected, counters.failed);
  }
}

void info_errorstats(Server& server, InfoWriter& out) {
  out.section("Errorstats");
  for (const auto& [code, count] : server.stats().errors)
    out.line("errorstat_{}:count={}", code, count);
}

void info_latencystats(Server& server, InfoWriter& out) {
  const Settings& settings = server.settings();
  out.section("Latencystats");
  if (!settings.latency_tracking) return;
  for (const auto& command : server.commands().all()) {
    const base::Histogram* latency = command->counters.latency.get();
    if (!latency || latency->empty()) continue;
    std::string values;
    for (double percent : settings.latency_tracking_info_percentiles) {
      if (!values.empty()) values += ',';
      values += fmt::format("p{}={:.3f}", format_percentile(percent),
                            static_cast<double>(latency->percentile(percent)) / 1000);
    }
    out.line("latency_percentiles_usec_{}:{}", command->name, values);
  }
}

void info_quoll(Server& server, InfoWriter& out) {
  const Stats& stats = server.stats();
  out.section("Quoll");
  out.field("quoll_loop_turns", stats.turns);
  out.field("quoll_loop_turn_max_us", micros(stats.turn_max_nanos));
  out.field("quoll_loop_turn_busy_max_us", micros(stats.turn_busy_max_nanos));
  out.field("quoll_expire_lag_p50_us", micros(stats.expire_lag.percentile(50)));
  out.field("quoll_expire_lag_p99_us", micros(stats.expire_lag.percentile(99)));
  out.field("quoll_expire_lag_max_us", micros(stats.expire_lag.max()));
  out.field("quoll_expired_by_wheel", stats.expire_lag.count());
  out.field("quoll_commits", server.store().commits().last_seq());
  out.field("quoll_reclaim_pending", server.store().reclaim_pending());
  out.field("quoll_monitors", server.monitors().count());
  out.field("quoll_slowlog_entries", server.slow_log().entries().size());
}

}  // namespace quoll::server
