// The cluster and how this node is announced in it.
#include <charconv>

#include "cluster/group_list.h"
#include "cluster/group_types.h"
#include "cluster/ring_plan.h"
#include "server/directive.h"

namespace quoll::server {

namespace {

constexpr size_t kHostnameMax = 255;  // bytes

constexpr ChoiceName kEndpointTypes[] = {
    {"ip", number(EndpointType::ip)},
    {"hostname", number(EndpointType::hostname)},
    {"unknown-endpoint", number(EndpointType::unknown_endpoint)}};

constexpr ChoiceName kRoutings[] = {{"redirect", number(ClusterRouting::redirect)},
                                    {"proxy", number(ClusterRouting::proxy)}};
constexpr ChoiceName kCrossSlots[] = {{"error", number(CrossSlot::error)},
                                      {"fanout", number(CrossSlot::fanout)}};

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

Result<> check_location(Bytes text) {
  if (text.empty() || cluster::parse_location(text)) return {};
  return base::Error{"argument must be <data centre>/<rack>/<host>"};
}

Result<> check_join(Bytes text) {
  if (text.empty()) return {};
  const auto list = cluster::parse_group_list(text);
  if (list && list.value().size() == 1 && !list.value()[0].witness) return {};
  return base::Error{"argument must be <address or name>:<port> of a node of the cluster"};
}

constexpr ChoiceName kDurabilities[] = {{"memory", number(Durability::memory)},
                                        {"fsync", number(Durability::fsync)}};

constexpr ChoiceName kRebalances[] = {{"manual", number(Rebalance::manual)},
                                      {"auto", number(Rebalance::automatic)}};

// Several lines would be several lists: the last one counts.
Result<> write_group(Settings& settings, Words words, Source) {
  std::string text;
  for (const std::string& word : words) (text += word) += ' ';
  auto list = cluster::parse_group_list(text);
  if (!list) return base::Error{list.error()};
  settings.cluster_group = std::move(list.value());
  return {};
}

std::string read_group(const Settings& settings) {
  return cluster::format_group_list(settings.cluster_group);
}

std::vector<std::string> group_lines(const Settings& settings) {
  if (settings.cluster_group.empty()) return {};
  return {"cluster-group \"" + read_group(settings) + '"'};
}

bool parse_quorum(Bytes text, bool may_lease, Quorum& quorum) {
  quorum = {};
  if (text == "majority") return true;
  if (text == "all") return quorum.kind = Quorum::Kind::all, true;
  if (may_lease && text == "lease") return quorum.kind = Quorum::Kind::lease, true;
  quorum.kind = Quorum::Kind::number;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), quorum.number);
  return error == std::errc() && end == text.data() + text.size() && quorum.number >= 1 &&
         quorum.number <= cluster::kMembersMax;
}

Result<> write_write_quorum(Settings& settings, Words words, Source) {
  if (words.size() == 1 && parse_quorum(words[0], false, settings.cluster_write_quorum)) return {};
  return base::Error{"argument must be a number of members (1 ... 9), majority or all"};
}

Result<> write_read_quorum(Settings& settings, Words words, Source) {
  if (words.size() == 1 && parse_quorum(words[0], true, settings.cluster_read_quorum)) return {};
  return base::Error{"argument must be a number of members (1 ... 9), majority, all or lease"};
}

std::string quorum_text(const Quorum& quorum) {
  switch (quorum.kind) {
    case Quorum::Kind::majority:
      return "majority";
    case Quorum::Kind::all:
      return "all";
    case Quorum::Kind::lease:
      return "lease";
    case Quorum::Kind::number:
      break;
  }
  return std::to_string(quorum.number);
}

constexpr Special kGroup = {.write = write_group, .read = read_group, .lines = group_lines};
constexpr Special kWriteQuorum = {
    .write = write_write_quorum,
    .read = [](const Settings& settings) { return quorum_text(settings.cluster_write_quorum); }};
constexpr Special kReadQuorum = {.write = write_read_quorum, .read = [](const Settings& settings) {
                                   return quorum_text(settings.cluster_read_quorum);
                                 }};

constexpr Bytes kGroupsElect =
    "see cluster-election-timeout, cluster-read-quorum, cluster-write-quorum";
constexpr Bytes kNoBus = "members of a group do not speak the bus of Redis";

constexpr Directive kClusterRows[] = {
    {.name = "cluster-enabled", .value = Switch{&Settings::cluster_enabled}, .flags = kImmutable},
    {.name = "cluster-config-file",
     .value = Text{&Settings::cluster_config_file, false},
     .flags = kImmutable},
    {.name = "cluster-node-timeout",
     .value = Integer{&Settings::cluster_node_timeout_ms, 0, kInt64Max},
     .no_effect = kGroupsElect},
    {.name = "cluster-ping-interval",
     .value = Integer{&Settings::cluster_ping_interval_ms, 1, kInt32Max},
     .flags = kHidden,
     .no_effect = kGroupsElect},
    {.name = "cluster-port",
     .value = Integer{&Settings::cluster_port, 0, kPortMax},
     .flags = kImmutable},
    {.name = "cluster-replica-validity-factor",
     .alias = "cluster-slave-validity-factor",
     .value = Integer{&Settings::cluster_replica_validity_factor, 0, kInt32Max},
     .no_effect = kGroupsElect},
    {.name = "cluster-migration-barrier",
     .value = Integer{&Settings::cluster_migration_barrier, 0, kInt32Max}},
    {.name = "cluster-allow-replica-migration",
     .value = Switch{&Settings::cluster_allow_replica_migration}},
    {.name = "cluster-require-full-coverage",
     .value = Switch{&Settings::cluster_require_full_coverage}},
    {.name = "cluster-replica-no-failover",
     .alias = "cluster-slave-no-failover",
     .value = Switch{&Settings::cluster_replica_no_failover},
     .no_effect = kGroupsElect},
    {.name = "cluster-allow-reads-when-down",
     .value = Switch{&Settings::cluster_allow_reads_when_down},
     .no_effect = kGroupsElect},
    {.name = "cluster-allow-pubsubshard-when-down",
     .value = Switch{&Settings::cluster_allow_pubsubshard_when_down}},
    {.name = "cluster-link-sendbuf-limit",
     .value = Memory{&Settings::cluster_link_sendbuf_limit},
     .no_effect = kNoBus},
    {.name = "cluster-announce-hostname",
     .value = Text{&Settings::cluster_announce_hostname, true, check_hostname}},
    {.name = "cluster-announce-human-nodename",
     .value = Text{&Settings::cluster_announce_human_nodename, true, check_human_nodename},
     .no_effect = kNoBus},
    {.name = "cluster-announce-ip", .value = Text{&Settings::cluster_announce_ip}},
    {.name = "cluster-announce-port",
     .value = Integer{&Settings::cluster_announce_port, 0, kPortMax}},
    {.name = "cluster-announce-tls-port",
     .value = Integer{&Settings::cluster_announce_tls_port, 0, kPortMax},
     .no_effect = kNoBus},
    {.name = "cluster-announce-bus-port",
     .value = Integer{&Settings::cluster_announce_bus_port, 0, kPortMax}},
    {.name = "cluster-preferred-endpoint-type",
     .value = choice<&Settings::cluster_preferred_endpoint_type>(kEndpointTypes)},
    {.name = "availability-zone", .value = Text{&Settings::availability_zone}, .flags = kHidden},
    {.name = "cluster-slot-stats-enabled",
     .value = Switch{&Settings::cluster_slot_stats_enabled},
     .flags = kHidden},
    {.name = "cluster-group", .value = &kGroup, .flags = kOwn | kImmutable | kMultiArgument},
    {.name = "cluster-group-member",
     .value = Integer{&Settings::cluster_group_member, -1, cluster::kMembersMax - 1},
     .flags = kOwn | kImmutable},
    {.name = "cluster-replicas",
     .value = Integer{&Settings::cluster_replicas, -1, cluster::kMembersMax - 1},
     .flags = kOwn | kImmutable},
    {.name = "cluster-write-quorum", .value = &kWriteQuorum, .flags = kOwn | kImmutable},
    {.name = "cluster-read-quorum", .value = &kReadQuorum, .flags = kOwn | kImmutable},
    {.name = "cluster-durability",
     .value = choice<&Settings::cluster_durability>(kDurabilities),
     .flags = kOwn | kImmutable},
    {.name = "cluster-write-timeout",
     .value = Integer{&Settings::cluster_write_timeout_ms, 1, kInt32Max}},
    {.name = "cluster-election-timeout",
     .value = Integer{&Settings::cluster_election_timeout_ms, 10, 600'000},
     .flags = kOwn | kImmutable},
    {.name = "cluster-routing",
     .value = choice<&Settings::cluster_routing>(kRoutings),
     .flags = kOwn},
    {.name = "cluster-cross-slot",
     .value = choice<&Settings::cluster_cross_slot>(kCrossSlots),
     .flags = kOwn},
    {.name = "cluster-location",
     .value = Text{&Settings::cluster_location, true, check_location},
     .flags = kOwn | kImmutable},
    {.name = "cluster-weight", .value = Integer{&Settings::cluster_weight, 0, cluster::kWeightMax}},
    {.name = "cluster-rebalance", .value = choice<&Settings::cluster_rebalance>(kRebalances)},
    {.name = "cluster-rebalance-throttle", .value = Memory{&Settings::cluster_rebalance_throttle}},
    {.name = "cluster-replace-after",
     .value = Integer{&Settings::cluster_replace_after, 0, kInt32Max}},
    {.name = "cluster-join",
     .value = Text{&Settings::cluster_join, true, check_join},
     .flags = kOwn | kImmutable},
    {.name = "cluster-log-size",
     .value = Memory{&Settings::cluster_log_size},
     .flags = kOwn | kImmutable},
    {.name = "cluster-secret-file",
     .value = Text{&Settings::cluster_secret_file},
     .flags = kProtected},
};

}  // namespace

std::span<const Directive> cluster_directives() { return kClusterRows; }

}  // namespace quoll::server
