#include "host/uv_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>

namespace quoll::host {

std::optional<SocketAddress> numeric_address(const Endpoint& endpoint) {
  SocketAddress address;
  switch (endpoint.family) {
    case Endpoint::Family::unix_path: {
      auto* path = reinterpret_cast<sockaddr_un*>(&address.storage);
      if (endpoint.address.size() >= sizeof(path->sun_path)) return std::nullopt;
      path->sun_family = AF_UNIX;
      std::memcpy(path->sun_path, endpoint.address.c_str(), endpoint.address.size() + 1);
      address.length = sizeof(sockaddr_un);
      return address;
    }
    case Endpoint::Family::ipv4: {
      auto* ip = reinterpret_cast<sockaddr_in*>(&address.storage);
      ip->sin_family = AF_INET;
      ip->sin_port = htons(endpoint.port);
      address.length = sizeof(sockaddr_in);
      if (inet_pton(AF_INET, endpoint.address.c_str(), &ip->sin_addr) != 1) return std::nullopt;
      return address;
    }
    case Endpoint::Family::ipv6: {
      auto* ip = reinterpret_cast<sockaddr_in6*>(&address.storage);
      ip->sin6_family = AF_INET6;
      ip->sin6_port = htons(endpoint.port);
      address.length = sizeof(sockaddr_in6);
      if (inet_pton(AF_INET6, endpoint.address.c_str(), &ip->sin6_addr) != 1) return std::nullopt;
      return address;
    }
  }
  return std::nullopt;
}

base::Result<SocketAddress> resolve_address(const Endpoint& endpoint) {
  if (auto numeric = numeric_address(endpoint)) return *numeric;
  if (endpoint.family == Endpoint::Family::unix_path) {
    return base::Error{"bind: File name too long"};
  }
  addrinfo hints{};
  hints.ai_family = endpoint.family == Endpoint::Family::ipv4 ? AF_INET : AF_INET6;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  std::string port = std::to_string(endpoint.port);
  int status = getaddrinfo(endpoint.address.c_str(), port.c_str(), &hints, &found);
  if (status != 0) return base::Error{gai_strerror(status)};
  SocketAddress address;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.length = found->ai_addrlen;
  freeaddrinfo(found);
  return address;
}

Endpoint to_endpoint(const SocketAddress& address) {
  Endpoint endpoint;
  char text[INET6_ADDRSTRLEN] = "";
  switch (address.family()) {
    case AF_INET: {
      auto* ip = reinterpret_cast<const sockaddr_in*>(&address.storage);
      inet_ntop(AF_INET, &ip->sin_addr, text, sizeof(text));
      endpoint.family = Endpoint::Family::ipv4;
      endpoint.address = text;
      endpoint.port = ntohs(ip->sin_port);
      break;
    }
    case AF_INET6: {
      auto* ip = reinterpret_cast<const sockaddr_in6*>(&address.storage);
      inet_ntop(AF_INET6, &ip->sin6_addr, text, sizeof(text));
      endpoint.family = Endpoint::Family::ipv6;
      endpoint.address = text;
      endpoint.port = ntohs(ip->sin6_port);
      break;
    }
    default: {
      auto* path = reinterpret_cast<const sockaddr_un*>(&address.storage);
      endpoint.family = Endpoint::Family::unix_path;
      endpoint.address = path->sun_path;  // zeroed storage: always terminated
      break;
    }
  }
  return endpoint;
}

std::string address_text(const Endpoint& endpoint) {
  std::string port = ":" + std::to_string(endpoint.port);
  if (endpoint.family == Endpoint::Family::ipv6) return "[" + endpoint.address + "]" + port;
  return endpoint.address + port;
}

bool is_loopback_address(const SocketAddress& address) {
  switch (address.family()) {
    case AF_INET: {
      auto* ip = reinterpret_cast<const sockaddr_in*>(&address.storage);
      return (ntohl(ip->sin_addr.s_addr) >> 24) == 127;
    }
    case AF_INET6: {
      auto* ip = reinterpret_cast<const sockaddr_in6*>(&address.storage);
      return IN6_IS_ADDR_LOOPBACK(&ip->sin6_addr);
    }
    default:
      return address.family() == AF_UNIX;
  }
}

}  // namespace quoll::host
