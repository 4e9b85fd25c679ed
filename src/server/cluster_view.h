// ClusterView: what dispatch and the CLUSTER commands know of the group this server belongs to: its
// members, who leads, whether it serves. A replica group implements it, and so does a server that
// is a cluster of its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quoll::server {

constexpr unsigned kSlots = 16384;

struct ClusterMember {
  std::string id;    // 40 hex digits; "" while nobody has heard of it
  std::string host;  // as clients reach it
  uint16_t port = 0;
  uint16_t bus_port = 0;
  bool witness = false;   // keeps no data: clients are not sent to it
  bool connected = true;  // heard of within the election timeout; ourselves always
  uint64_t position = 0;  // index of the last log entry it is known to hold
};

class ClusterView {
 public:
  virtual ~ClusterView() = default;
  // In the order of the configuration, the same on every member.
  virtual const std::vector<ClusterMember>& members() const = 0;
  virtual size_t self() const = 0;
  // The member that leads as far as we know, ourselves included; members().size(): nobody.
  virtual size_t leader() const = 0;
  // We lead and may serve: the log is complete up to our first entry.
  virtual bool serves() const = 0;
  virtual uint64_t epoch() const = 0;
};

}  // namespace quoll::server
