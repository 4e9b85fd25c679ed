// The cluster and how this node is announced in it.
#include "server/directive.h"

namespace quoll::server {

namespace {

constexpr size_t kHostnameMax = 255;  // bytes

constexpr ChoiceName kEndpointTypes[] = {
    {"ip", number(EndpointType::ip)},
    {"hostname", number(EndpointType::hostname)},
    {"unknown-endpoint", number(EndpointType::unknown_endpoint)}};

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

Result<> check_hostname(Bytes name) {
  if (name.size() > kHostnameMax) return base::Error{"Hostnames must be less than 256 characters"};
  for (char c : name) {
    if (!is_alphanumeric(c) && c != '-' && c != '.') {
      return base::Error{"Hostnames may only contain alphanumeric characters, hyphens or dots"};
    }
  }
  return {};
}

// Node names travel in text lines, so they must be printable and without separators.
Result<> check_human_nodename(Bytes name) {
  for (char c : name) {
    if (!is_alphanumeric(c) && c != '-' && c != '.' && c != '_') {
      return base::Error{
          "Announced human node name may only contain alphanumeric characters, hyphens, dots or "
          "underscore"};
    }
  }
  return {};
}

constexpr Directive kRows[] = {
    {.name = "cluster-enabled", .value = Switch{&Settings::cluster_enabled}, .flags = kImmutable},
    {.name = "cluster-config-file",
     .value = Text{&Settings::cluster_config_file, false},
     .flags = kImmutable},
    {.name = "cluster-node-timeout",
     .value = Integer{&Settings::cluster_node_timeout_ms, 0, kInt64Max}},
    {.name = "cluster-ping-interval",
     .value = Integer{&Settings::cluster_ping_interval_ms, 1, kInt32Max},
     .flags = kHidden},
    {.name = "cluster-port",
     .value = Integer{&Settings::cluster_port, 0, kPortMax},
     .flags = kImmutable},
    {.name = "cluster-replica-validity-factor",
     .alias = "cluster-slave-validity-factor",
     .value = Integer{&Settings::cluster_replica_validity_factor, 0, kInt32Max}},
    {.name = "cluster-migration-barrier",
     .value = Integer{&Settings::cluster_migration_barrier, 0, kInt32Max}},
    {.name = "cluster-allow-replica-migration",
     .value = Switch{&Settings::cluster_allow_replica_migration}},
    {.name = "cluster-require-full-coverage",
     .value = Switch{&Settings::cluster_require_full_coverage}},
    {.name = "cluster-replica-no-failover",
     .alias = "cluster-slave-no-failover",
     .value = Switch{&Settings::cluster_replica_no_failover}},
    {.name = "cluster-allow-reads-when-down",
     .value = Switch{&Settings::cluster_allow_reads_when_down}},
    {.name = "cluster-allow-pubsubshard-when-down",
     .value = Switch{&Settings::cluster_allow_pubsubshard_when_down}},
    {.name = "cluster-link-sendbuf-limit", .value = Memory{&Settings::cluster_link_sendbuf_limit}},
    {.name = "cluster-announce-hostname",
     .value = Text{&Settings::cluster_announce_hostname, true, check_hostname}},
    {.name = "cluster-announce-human-nodename",
     .value = Text{&Settings::cluster_announce_human_nodename, true, check_human_nodename}},
    {.name = "cluster-announce-ip", .value = Text{&Settings::cluster_announce_ip}},
    {.name = "cluster-announce-port",
     .value = Integer{&Settings::cluster_announce_port, 0, kPortMax}},
    {.name = "cluster-announce-tls-port",
     .value = Integer{&Settings::cluster_announce_tls_port, 0, kPortMax}},
    {.name = "cluster-announce-bus-port",
     .value = Integer{&Settings::cluster_announce_bus_port, 0, kPortMax}},
    {.name = "cluster-preferred-endpoint-type",
     .value = choice<&Settings::cluster_preferred_endpoint_type>(kEndpointTypes)},
    {.name = "cluster-slot-stats-enabled",
     .value = Switch{&Settings::cluster_slot_stats_enabled},
     .flags = kHidden},
};

}  // namespace

std::span<const Directive> cluster_directives() { return kRows; }

}  // namespace quoll::server
