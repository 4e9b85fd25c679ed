// Addresses as the configuration writes them.
#pragma once

#include "host/host.h"

namespace quoll::server {

// "*" is every IPv4 address of the machine, "::*" every IPv6 one.
inline host::Endpoint tcp_endpoint(base::Bytes address, int64_t port) {
  using Family = host::Endpoint::Family;
  if (address == "*") return {Family::ipv4, "0.0.0.0", static_cast<uint16_t>(port)};
  if (address == "::*") return {Family::ipv6, "::", static_cast<uint16_t>(port)};
  bool ipv6 = address.find(':') != base::Bytes::npos;
  return {ipv6 ? Family::ipv6 : Family::ipv4, std::string(address), static_cast<uint16_t>(port)};
}

}  // namespace quoll::server
