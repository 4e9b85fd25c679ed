#include "cluster/node_endpoint.h"

#include <arpa/inet.h>

namespace quoll::cluster {

using Family = host::Endpoint::Family;

host::Endpoint endpoint_of(const NodeAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(address.v6 ? AF_INET6 : AF_INET, address.bytes.data(), text, sizeof text);
  return {address.v6 ? Family::ipv6 : Family::ipv4, text, address.port};
}

std::optional<NodeAddress> node_address(const host::Endpoint& endpoint) {
  if (endpoint.family == Family::unix_path) return {};
  NodeAddress address{.v6 = endpoint.family == Family::ipv6, .port = endpoint.port};
  const int family = address.v6 ? AF_INET6 : AF_INET;
  if (inet_pton(family, endpoint.address.c_str(), address.bytes.data()) != 1) return {};
  return address;
}

}  // namespace quoll::cluster
