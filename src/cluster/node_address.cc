#include "cluster/node_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <cstring>

namespace quoll::cluster {

std::string NodeAddress::text() const {
  if (!v6) return fmt::format("{}.{}.{}.{}:{}", bytes[0], bytes[1], bytes[2], bytes[3], port);
  std::string groups;
  for (size_t i = 0; i < bytes.size(); i += 2)
    groups += fmt::format("{}{:x}", i ? ":" : "", bytes[i] << 8 | bytes[i + 1]);
  return fmt::format("[{}]:{}", groups, port);
}

std::string NodeAddress::host() const {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), text, sizeof text);
  return text;
}

std::optional<NodeAddress> parse_node_address(const std::string& host, uint16_t port) {
  NodeAddress address{.v6 = host.find(':') != std::string::npos, .port = port};
  if (inet_pton(address.v6 ? AF_INET6 : AF_INET, host.c_str(), address.bytes.data()) != 1)
    return {};
  return address;
}

}  // namespace quoll::cluster
