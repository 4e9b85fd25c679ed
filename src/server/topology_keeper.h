// TopologyKeeper: a governor's part in g0, the group whose log entries are changes of the topology:
// drives the group's core with a log on disk, and applies what is committed to the topology.
//
//   propose(change) -> entry -> log on disk -> committed -> Topology::apply -> done
//
// A change that was decided on another version than the one it meets is refused there, the same on
// every governor; who proposed it decides anew. So entries may be applied to a topology that has
// seen them already: they are refused, and nothing is done twice. That makes the node's file
// (node_file.h), which holds the topology as of some entry, the checkpoint of this log.
//
// Everything is synced before it counts: changes are rare, and must not be forgotten.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/group_core.h"
#include "cluster/group_wal.h"
#include "cluster/topology.h"
#include "cluster/topology_change.h"
#include "host/host.h"

namespace quoll::server {

constexpr base::Nanos kKeeperTick = 20 * base::kNanosPerMilli;
constexpr uint64_t kKeeperLogBytes = uint64_t{1} << 20;  // then entries the file covers are dropped

class TopologyKeeper final : public cluster::GroupWalEvents {
 public:
  // `topology` as of the entry `at`; `changed` is told after every change.
  TopologyKeeper(const host::Host& host, std::string dir, std::string id,
                 cluster::Topology& topology, cluster::Position at, host::Task changed);
  ~TopologyKeeper() override;

  // Reads the log; takes part from then on.
  void start(host::OnDone done);
  // The log is written and synced.
  void end(host::OnDone done);

  bool leads() const { return core_ && core_->serves(); }
  // Of the entry up to which the topology has been changed.
  cluster::Position position() const { return applied_; }
  // Done when it has been applied; the error says why it was not, or that nobody knows.
  void propose(const cluster::TopologyChange& change, host::OnDone done);
  // The node's file holds the topology as of this entry.
  void saved(cluster::Position at);
  void begin_turn_end();

  // cluster::GroupWalEvents
  void wal_written(cluster::Position upto) override;
  void wal_synced(cluster::Position upto) override;
  void wal_failed(const std::string& error) override;
  void wal_again(cluster::Position durable) override;
  void wal_state_failed(const std::string& error) override;

 private:
  struct Proposal {
    cluster::Position at;
    host::OnDone done;
  };

  base::Millis steady_ms() const { return host_.clock.steady() / base::kNanosPerMilli; }
  void log_read(cluster::GroupWal::Recovery recovery, const host::OnDone& done);
  void join(cluster::SavedState state, cluster::Position base);
  void schedule();
  void apply();
  base::Result<> apply(const cluster::Entry& entry);
  using Settled = std::vector<std::pair<host::OnDone, base::Result<>>>;
  void settle(cluster::Position at, const base::Result<>& result, Settled& settled);

  host::Host host_;
  std::string dir_;
  std::string id_;
  cluster::Topology& topology_;
  cluster::Position applied_;
  host::Task changed_;
  std::unique_ptr<cluster::GroupWal> wal_;
  std::unique_ptr<cluster::GroupCore> core_;
  cluster::GroupLog recovered_;
  std::deque<Proposal> proposals_;
  std::optional<cluster::Topology> ahead_;  // with the proposals
  uint64_t log_bytes_ = 0;  // since entries were dropped last
  host::TimerId timer_ = 0;
  bool ending_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::server
