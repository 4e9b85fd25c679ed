// What a node of a cluster is known by: its number, and where its bus is reached, an IPv4 or IPv6
// address and a port as bytes. Pure.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace quoll::cluster {

using NodeIndex = uint16_t;  // of a member of the cluster, given once and never again
constexpr NodeIndex kNoNode = 0xffff;

struct NodeAddress {
  bool v6 = false;
  std::array<uint8_t, 16> bytes{};  // an IPv4 address takes the first four; the rest is 0
  uint16_t port = 0;

  auto operator<=>(const NodeAddress&) const = default;
  size_t size() const { return v6 ? 16 : 4; }

  static NodeAddress v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port) {
    return {.bytes = {a, b, c, d}, .port = port};
  }
  // "10.0.0.1:16379"; IPv6 in full, for logs: "[fd00:0:0:0:0:0:0:1]:16379".
  std::string text() const;
  // Without the port, as clients write it: "10.0.0.1", "fd00::1".
  std::string host() const;
  // Nobody knows it yet: 0.0.0.0 or ::.
  bool unknown() const {
    return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
  }
};

// Of an address in numbers; nothing: it is none.
std::optional<NodeAddress> parse_node_address(const std::string& host, uint16_t port);

inline bool contains(const std::vector<NodeIndex>& nodes, NodeIndex node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

}  // namespace quoll::cluster
