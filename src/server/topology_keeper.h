// TopologyKeeper: a governor's part in g0, the group whose log entries are changes of the topology:
// applies what is committed there to the topology.
//
//   propose(change) -> entry -> logs on disks -> committed -> Topology::apply -> done
//
// A change that was decided on another version than the one it meets is refused there, the same on
// every governor; who proposed it decides anew. So entries may be applied to a topology that has
// seen them already: they are refused, and nothing is done twice. That makes the node's file
// (node_file.h), which holds the topology as of some entry, the checkpoint of this log.
//
// The topology says who should govern, the log says who does: whoever leads makes the group's shape
// follow. Who comes learns first.
//
// Everything is synced before it counts: changes are rare, and must not be forgotten.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/topology.h"
#include "cluster/topology_change.h"
#include "server/log_member.h"

namespace quoll::server {

constexpr uint64_t kKeeperLogBytes = uint64_t{1} << 20;  // then entries the file covers are dropped

class TopologyKeeper final : public LogMember {
 public:
  // `topology` as of the entry `at`; `changed` is told after every change.
  TopologyKeeper(const host::Host& host, GroupPart part, cluster::Topology& topology,
                 cluster::Position at, host::Task changed);

  bool leads() const {
    return core_ && core_->serves() && core_->applied() == core_->last().index && !ending_;
  }
  // Done when it has been applied; the error says why it was not, or that nobody knows.
  void propose(const cluster::TopologyChange& change, host::OnDone done);
  // We hold it no more: what became of what we proposed nobody will tell us.
  void abandon();
  // The node's file holds the topology as of this entry.
  void saved(cluster::Position at);
  // Some times a second. `goes_on`: with who is there, a shape of ours would.
  void tick(const std::function<bool(const cluster::GroupShape&)>& goes_on);

 private:
  struct Proposal {
    cluster::Position at;
    host::OnDone done;
  };

  void apply() override;
  std::optional<std::string> data() const override { return topology_.encode(); }
  bool take_data(base::Bytes data) override;
  void undone() override { ahead_.reset(); }
  base::Result<> apply(const cluster::Entry& entry);
  bool still_holds(const cluster::TopologyChange& change) const;
  using Settled = std::vector<std::pair<host::OnDone, base::Result<>>>;
  void settle(cluster::Position at, const base::Result<>& result, Settled& settled);

  cluster::Topology& topology_;
  host::Task changed_;
  std::deque<Proposal> proposals_;
  std::optional<cluster::Topology> ahead_;  // with the proposals
};

}  // namespace quoll::server
