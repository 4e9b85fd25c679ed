#include "cluster/node_address.h"

#include <fmt/format.h>

namespace quoll::cluster {

std::string NodeAddress::text() const {
  if (!v6) return fmt::format("{}.{}.{}.{}:{}", bytes[0], bytes[1], bytes[2], bytes[3], port);
  std::string groups;
  for (size_t i = 0; i < bytes.size(); i += 2)
    groups += fmt::format("{}{:x}", i ? ":" : "", bytes[i] << 8 | bytes[i + 1]);
  return fmt::format("[{}]:{}", groups, port);
}

}  // namespace quoll::cluster
