// SingleNode: the cluster of a server that has cluster-enabled and no cluster-group: itself. It
// leads, and serves all slots.
#pragma once

#include "server/cluster_view.h"
#include "server/settings.h"

namespace quoll::server {

class SingleNode final : public ClusterView {
 public:
  explicit SingleNode(std::string id) { members_[0].id = std::move(id); }

  const std::vector<ClusterMember>& members() const override { return members_; }
  size_t self() const override { return 0; }
  size_t leader() const override { return 0; }
  bool serves() const override { return true; }
  uint64_t epoch() const override { return 0; }
  void settings_changed(const Settings& now) override {
    auto port = [](int64_t number) { return static_cast<uint16_t>(number); };
    ClusterMember& own = members_[0];
    own.host = now.cluster_announce_ip;
    own.port = port(now.cluster_announce_port ? now.cluster_announce_port : now.port);
    own.tls_port =
        port(now.cluster_announce_tls_port ? now.cluster_announce_tls_port : now.tls_port);
    own.bus_port = port(now.cluster_announce_bus_port ? now.cluster_announce_bus_port
                        : now.cluster_port            ? now.cluster_port
                                                      : own.port + cluster::kBusPortDistance);
  }

 private:
  std::vector<ClusterMember> members_{1};
};

}  // namespace quoll::server
