#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <vector>

#include "base/text.h"
#include "server/info.h"
#include "server/server.h"

namespace quoll::server {
namespace {

using base::Bytes;

// INFO's fields whose metric has another name in redis_exporter (its documentation, version 1.45).
struct Renamed {
  Bytes field;
  Bytes metric;
};
constexpr Renamed kRenamed[] = {
    {"active_defrag_hits", "defrag_hits"},
    {"active_defrag_key_hits", "defrag_key_hits"},
    {"active_defrag_key_misses", "defrag_key_misses"},
    {"active_defrag_misses", "defrag_misses"},
    {"allocator_active", "allocator_active_bytes"},
    {"allocator_allocated", "allocator_allocated_bytes"},
    {"allocator_resident", "allocator_resident_bytes"},
    {"aof_base_size", "aof_base_size_bytes"},
    {"aof_current_rewrite_time_sec", "aof_current_rewrite_duration_sec"},
    {"aof_current_size", "aof_current_size_bytes"},
    {"aof_last_cow_size", "aof_last_cow_size_bytes"},
    {"aof_last_rewrite_time_sec", "aof_last_rewrite_duration_sec"},
    {"client_recent_max_input_buffer", "client_recent_max_input_buffer_bytes"},
    {"client_recent_max_output_buffer", "client_recent_max_output_buffer_bytes"},
    {"evicted_keys", "evicted_keys_total"},
    {"expired_keys", "expired_keys_total"},
    {"expired_stale_perc", "expired_stale_percentage"},
    {"expired_time_cap_reached_count", "expired_time_cap_reached_total"},
    {"keyspace_hits", "keyspace_hits_total"},
    {"keyspace_misses", "keyspace_misses_total"},
    {"loading", "loading_dump_file"},
    {"maxclients", "config_maxclients"},
    {"maxmemory", "memory_max_bytes"},
    {"mem_not_counted_for_evict", "mem_not_counted_for_eviction_bytes"},
    {"migrate_cached_sockets", "migrate_cached_sockets_total"},
    {"rdb_current_bgsave_time_sec", "rdb_current_bgsave_duration_sec"},
    {"rdb_last_bgsave_time_sec", "rdb_last_bgsave_duration_sec"},
    {"rdb_last_cow_size", "rdb_last_cow_size_bytes"},
    {"rdb_last_save_time", "rdb_last_save_timestamp_seconds"},
    {"rejected_connections", "rejected_connections_total"},
    {"repl_backlog_active", "repl_backlog_is_active"},
    {"repl_backlog_histlen", "repl_backlog_history_bytes"},
    {"repl_backlog_size", "replication_backlog_bytes"},
    {"sync_full", "replica_resyncs_full"},
    {"sync_partial_err", "replica_partial_resync_denied"},
    {"sync_partial_ok", "replica_partial_resync_accepted"},
    {"total_commands_processed", "commands_processed_total"},
    {"total_connections_received", "connections_received_total"},
    {"total_net_input_bytes", "net_input_bytes_total"},
    {"total_net_output_bytes", "net_output_bytes_total"},
    {"total_system_memory", "total_system_memory_bytes"},
    {"used_cpu_sys", "cpu_sys_seconds_total"},
    {"used_cpu_sys_children", "cpu_sys_children_seconds_total"},
    {"used_cpu_sys_main_thread", "cpu_sys_main_thread_seconds_total"},
    {"used_cpu_user", "cpu_user_seconds_total"},
    {"used_cpu_user_children", "cpu_user_children_seconds_total"},
    {"used_cpu_user_main_thread", "cpu_user_main_thread_seconds_total"},
    {"used_memory", "memory_used_bytes"},
    {"used_memory_dataset", "memory_used_dataset_bytes"},
    {"used_memory_lua", "memory_used_lua_bytes"},
    {"used_memory_overhead", "memory_used_overhead_bytes"},
    {"used_memory_peak", "memory_used_peak_bytes"},
    {"used_memory_rss", "memory_used_rss_bytes"},
    {"used_memory_scripts", "memory_used_scripts_bytes"},
    {"used_memory_startup", "memory_used_startup_bytes"},
};
static_assert(std::ranges::is_sorted(kRenamed, {}, &Renamed::field));

// Numbers that are names, or that stand in other metrics.
constexpr Bytes kNotMeasured[] = {"arch_bits",
                                  "master_replid",
                                  "master_replid2",
                                  "run_id",
                                  "gcc_version",
                                  "latest_fork_usec",
                                  "redis_git_dirty",
                                  "redis_git_sha1",
                                  "redis_build_id",
                                  "server_time_usec",
                                  "tcp_port",
                                  "master_port",
                                  "slave_repl_offset",
                                  "master_last_io_seconds_ago",
                                  "master_sync_in_progress"};

bool is_number(Bytes text) {
  double value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string label(Bytes name, Bytes value) {
  std::string text = fmt::format("{}=\"", name);
  for (char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    if (c == '\n')
      text += "\\n";
    else
      text += c;
  }
  return text + '"';
}

// The families in the order of their names; all samples of one stand together.
class MetricsWriter {
 public:
  void add(const std::string& family, Bytes labels, Bytes value, Bytes suffix = {}) {
    std::string& samples = families_[family].samples;
    samples += family;
    samples += suffix;
    if (!labels.empty()) samples += fmt::format("{{{}}}", labels);
    samples += fmt::format(" {}\n", value);
  }
  void add(const std::string& family, Bytes labels, double value, Bytes suffix = {}) {
    add(family, labels, fmt::format("{:.12g}", value), suffix);
  }
  void type(const std::string& family, Bytes type) { families_[family].type = type; }
  std::string take() {
    std::string text;
    for (const auto& [name, family] : families_) {
      Bytes type = family.type;
      const bool grows = name.ends_with("_total") && name != "redis_current_save_keys_total";
      if (type.empty()) type = grows ? "counter" : "gauge";
      text += fmt::format("# TYPE {} {}\n{}", name, type, family.samples);
    }
    return text;
  }

 private:
  struct Family {
    std::string type;
    std::string samples;
  };
  std::map<std::string, Family> families_;
};

// "calls=1,usec=2": the value of a name; empty when it is not there.
Bytes part(Bytes line, Bytes name) {
  while (!line.empty()) {
    const size_t end = line.find(',');
    const Bytes one = line.substr(0, end);
    if (one.size() > name.size() && one.starts_with(name) && one[name.size()] == '=')
      return one.substr(name.size() + 1);
    if (end == Bytes::npos) break;
    line.remove_prefix(end + 1);
  }
  return {};
}

double number_of(Bytes text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

using Fields = std::map<std::string, std::string, std::less<>>;

void plain_field(MetricsWriter& out, Bytes field, Bytes value) {
  if (value == "ok" || value == "err") value = value == "ok" ? "1" : "0";
  if (!is_number(value) || std::ranges::find(kNotMeasured, field) != std::end(kNotMeasured)) return;
  if (field.starts_with("quoll_")) return out.add(std::string(field), {}, value);
  const auto at = std::ranges::lower_bound(kRenamed, field, {}, &Renamed::field);
  const bool renamed = at != std::end(kRenamed) && at->field == field;
  out.add(fmt::format("redis_{}", renamed ? at->metric : field), {}, value);
}

void command_field(MetricsWriter& out, Bytes command, Bytes line) {
  constexpr double kMicro = 1e-6;
  const std::string which = label("cmd", command);
  out.add("redis_commands_total", which, part(line, "calls"));
  out.add("redis_commands_duration_seconds_total", which, number_of(part(line, "usec")) * kMicro);
  out.add("redis_commands_rejected_calls_total", which, part(line, "rejected_calls"));
  out.add("redis_commands_failed_calls_total", which, part(line, "failed_calls"));
}

void latency_field(MetricsWriter& out, Bytes command, Bytes line, const Fields& fields) {
  const std::string family = "redis_latency_percentiles_usec";
  const std::string which = label("cmd", command);
  out.type(family, "summary");
  while (!line.empty()) {
    const Bytes one = line.substr(0, line.find(','));
    line.remove_prefix(std::min(one.size() + 1, line.size()));
    const size_t equals = one.find('=');
    if (equals == Bytes::npos || !one.starts_with('p')) continue;
    out.add(family, which + "," + label("quantile", one.substr(1, equals - 1)),
            one.substr(equals + 1));
  }
  const auto stats = fields.find(fmt::format("cmdstat_{}", command));
  if (stats == fields.end()) return;
  out.add(family, which, part(stats->second, "usec"), "_sum");
  out.add(family, which, part(stats->second, "calls"), "_count");
}

void replica_field(MetricsWriter& out, Bytes line) {
  const std::string which = label("slave_ip", part(line, "ip")) + "," +
                            label("slave_port", part(line, "port")) + "," +
                            label("slave_state", part(line, "state"));
  out.add("redis_connected_slave_offset_bytes", which, part(line, "offset"));
  out.add("redis_connected_slave_lag_seconds", which, part(line, "lag"));
}

void database_field(MetricsWriter& out, Bytes name, Bytes line) {
  const std::string which = label("db", name);
  out.add("redis_db_keys", which, part(line, "keys"));
  out.add("redis_db_keys_expiring", which, part(line, "expires"));
  out.add("redis_db_avg_ttl_seconds", which, number_of(part(line, "avg_ttl")) / 1000);
}

// Fields that stand for one thing each with others: labels of one another.
void joined_fields(MetricsWriter& out, const Fields& fields) {
  const auto get = [&](Bytes name) -> std::string {
    const auto at = fields.find(name);
    return at == fields.end() ? std::string() : at->second;
  };
  std::string instance;
  for (Bytes name : {"role", "redis_version", "redis_build_id", "redis_mode", "os",
                     "maxmemory_policy", "tcp_port", "run_id", "process_id", "quoll_version"})
    instance += (instance.empty() ? "" : ",") + label(name, get(name));
  out.add("redis_instance_info", instance, "1");
  out.add("redis_up", {}, "1");
  if (get("role") != "slave") return;
  const std::string primary =
      label("master_host", get("master_host")) + "," + label("master_port", get("master_port"));
  out.add("redis_slave_info", primary + "," + label("read_only", get("slave_read_only")), "1");
  out.add("redis_master_link_up", primary, get("master_link_status") == "up" ? "1" : "0");
  for (Bytes name : {"master_last_io_seconds_ago", "master_sync_in_progress", "slave_repl_offset"})
    out.add(fmt::format("redis_{}", name), primary, get(name));
}

void beyond_info(MetricsWriter& out, Server& server) {
  constexpr double kNano = 1e-9;
  out.add("redis_start_time_seconds", {}, static_cast<double>(server.started_ms() / 1000));
  out.add("redis_config_maxmemory", {}, std::to_string(server.settings().maxmemory));
  out.add("redis_config_io_threads", {}, std::to_string(server.settings().io_threads));
  out.add("redis_latest_fork_seconds", {}, "0");
  const auto& slow = server.slow_log().entries();
  out.add("redis_slowlog_length", {}, std::to_string(slow.size()));
  out.add("redis_slowlog_last_id", {}, std::to_string(slow.empty() ? 0 : slow.front().id));
  out.add("redis_last_slow_execution_duration_seconds", {},
          slow.empty() ? 0.0 : static_cast<double>(slow.front().micros) * 1e-6);
  const Stats& stats = server.stats();
  const std::string lag = "quoll_expire_lag_seconds";
  out.type(lag, "histogram");
  stats.expire_lag.each_power_of_two([&](uint64_t limit_us, uint64_t keys) {
    out.add(lag, label("le", fmt::format("{:.6f}", static_cast<double>(limit_us) * 1e-6)),
            std::to_string(keys), "_bucket");
  });
  const std::string all = std::to_string(stats.expire_lag.count());
  out.add(lag, label("le", "+Inf"), all, "_bucket");
  out.add(lag, {}, static_cast<double>(stats.expire_lag_nanos) * kNano, "_sum");
  out.add(lag, {}, all, "_count");
}

}  // namespace

std::string metrics_text(Server& server) {
  constexpr Bytes kEverything[] = {"everything"};
  const std::string info = info_text(server, InfoSections::named(kEverything));
  MetricsWriter out;
  Fields fields;
  Bytes rest = info;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find("\r\n"), rest.size());
    const Bytes line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 2, rest.size()));
    const size_t colon = line.find(':');
    if (line.starts_with('#') || colon == Bytes::npos) continue;
    fields.emplace(line.substr(0, colon), line.substr(colon + 1));
  }
  const auto behind = [](Bytes name, Bytes prefix) {
    return name.starts_with(prefix) ? name.substr(prefix.size()) : Bytes();
  };
  for (const auto& [name, value] : fields) {
    if (const Bytes command = behind(name, "cmdstat_"); !command.empty())
      command_field(out, command, value);
    else if (const Bytes timed = behind(name, "latency_percentiles_usec_"); !timed.empty())
      latency_field(out, timed, value, fields);
    else if (const Bytes code = behind(name, "errorstat_"); !code.empty())
      out.add("redis_errors_total", label("err", code), part(value, "count"));
    else if (value.starts_with("keys=") && name.starts_with("db"))
      database_field(out, name, value);
    else if (value.starts_with("ip=") && name.starts_with("slave"))
      replica_field(out, value);
    else
      plain_field(out, name, value);
  }
  joined_fields(out, fields);
  beyond_info(out, server);
  return out.take();
}

}  // namespace quoll::server
