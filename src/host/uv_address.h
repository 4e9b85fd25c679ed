// Socket addresses in the system's form and as the text CLIENT LIST shows.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>

#include "host/host.h"

namespace quoll::host {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

// A numeric IP address or a unix path; nothing when it needs resolving (or the path is too long).
std::optional<SocketAddress> numeric_address(const Endpoint& endpoint);
// Also host names (the first address found), by asking the resolver: blocks, for use at start.
base::Result<SocketAddress> resolve_address(const Endpoint& endpoint);

Endpoint to_endpoint(const SocketAddress& address);
std::string address_text(const Endpoint& endpoint);  // "127.0.0.1:5000", "[::1]:5000", "/path:0"
bool is_loopback_address(const SocketAddress& address);  // 127.0.0.0/8, ::1, unix

}  // namespace quoll::host
