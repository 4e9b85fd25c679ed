#include "server/group_settings.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cluster/quorum.h"

namespace quoll::server {
namespace {

using base::Error;
using base::Result;

// Every address of the machine, as `bind` may write it.
bool is_wildcard(base::Bytes address) {
  return address == "*" || address == "0.0.0.0" || address == "::*" || address == "::";
}

cluster::OwnAddress own_address(const Settings& settings) {
  cluster::OwnAddress own;
  const int64_t listens = settings.port ? settings.port : settings.tls_port;
  own.port = static_cast<uint16_t>(settings.cluster_announce_port ? settings.cluster_announce_port
                                                                  : listens);
  if (!settings.cluster_announce_hostname.empty())
    own.hosts.push_back(base::to_lower(settings.cluster_announce_hostname));
  if (!settings.cluster_announce_ip.empty()) {
    own.hosts.push_back(base::to_lower(settings.cluster_announce_ip));
    return own;
  }
  for (base::Bytes address : settings.bind) {
    if (address.starts_with('-')) address.remove_prefix(1);
    if (is_wildcard(address)) {
      own.hosts.clear();
      return own;
    }
    own.hosts.push_back(base::to_lower(address));
  }
  return own;
}

Result<size_t> own_place(const Settings& settings) {
  const size_t members = settings.cluster_group.size();
  if (settings.cluster_group_member < 0)
    return cluster::find_own_place(settings.cluster_group, own_address(settings));
  const auto place = static_cast<size_t>(settings.cluster_group_member);
  if (place < members) return place;
  return Error{fmt::format("cluster-group-member is {}, but cluster-group has the places 0 ... {}",
                           place, members - 1)};
}

}  // namespace

Result<cluster::GroupConfig> group_config(const Settings& settings) {
  const cluster::GroupList& list = settings.cluster_group;
  if (list.empty()) return Error{"cluster-group has no members"};
  if (settings.cluster_replicas >= 0 &&
      static_cast<size_t>(settings.cluster_replicas) + 1 != list.size())
    return Error{fmt::format("cluster-replicas {} means {} members, but cluster-group has {}",
                             settings.cluster_replicas, settings.cluster_replicas + 1,
                             list.size())};
  auto place = own_place(settings);
  if (!place) return Error{place.error()};
  cluster::GroupConfig config;
  config.members = list.size();
  config.self = static_cast<cluster::Member>(place.value());
  for (size_t i = 0; i < list.size(); ++i)
    if (list[i].witness) config.witnesses |= 1u << i;
  config.lease = settings.cluster_read_quorum.kind == Quorum::Kind::lease;
  config.write_quorum = settings.cluster_write_quorum.of(list.size());
  config.read_quorum = settings.cluster_read_quorum.of(list.size());
  config.durability = settings.cluster_durability == Durability::fsync
                          ? cluster::Durability::fsync
                          : cluster::Durability::memory;
  config.election_timeout_ms = settings.cluster_election_timeout_ms;
  config.log_keep_bytes = settings.cluster_log_size;
  if (auto checked = cluster::check_quorums(config); !checked) return Error{checked.error()};
  return config;
}

cluster::GroupConfig group_config_alone(const Settings& settings) {
  cluster::GroupConfig config;
  config.durability = settings.cluster_durability == Durability::fsync
                          ? cluster::Durability::fsync
                          : cluster::Durability::memory;
  config.election_timeout_ms = settings.cluster_election_timeout_ms;
  config.log_keep_bytes = settings.cluster_log_size;
  return config;
}

}  // namespace quoll::server
