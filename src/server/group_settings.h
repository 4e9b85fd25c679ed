// What the configuration says of the replica group, as the group's core takes it.
#pragma once

#include "base/result.h"
#include "cluster/group_types.h"
#include "server/settings.h"

namespace quoll::server {

// Our place, quorums and times. The error is for who wrote the configuration: a place that cannot
// be found, numbers that contradict each other, quorums that could lose what was acknowledged.
base::Result<cluster::GroupConfig> group_config(const Settings& settings);
// Of a group of one member, which may grow.
cluster::GroupConfig group_config_alone(const Settings& settings);

}  // namespace quoll::server
