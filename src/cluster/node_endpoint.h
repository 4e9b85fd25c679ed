// Between the addresses that nodes tell each other and those of the host's sockets.
#pragma once

#include <optional>

#include "cluster/node_address.h"
#include "host/host.h"

namespace quoll::cluster {

host::Endpoint endpoint_of(const NodeAddress& address);
// Nothing: it is no IP address in numbers.
std::optional<NodeAddress> node_address(const host::Endpoint& endpoint);

}  // namespace quoll::cluster
