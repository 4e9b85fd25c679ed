// ClusterServers: complete servers as the nodes of a cluster in a world: some form it, others come
// later, and an operator works on it while everything goes wrong (tormented_servers.h).
//
//   ClusterServers cluster(run, world, ClusterShape::drawn(run.seed));
//   cluster.form(60 * kSecond);  cluster.torment(20 * kSecond);  cluster.heal();
//   run.check(cluster.differences(60 * kSecond).empty(), ...)
//
// What the operator does: slots move from node to node and moves are given up, nodes come, become
// replicas, leave, replicas are told to take over. And processes end, machines where the disks
// have what counts.
//
// Watched all the time: one leader per epoch of a group.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "server/cluster_node.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/tormented_servers.h"

namespace quoll::sim {

struct ClusterShape {
  size_t nodes = 5;
  size_t masters = 3;   // that form the cluster and share the slots
  size_t replicas = 0;  // of each of them, from the beginning; the other nodes come later
  bool fsync = false;
  base::Millis election_timeout_ms = 1000;
  size_t log_bytes = size_t{64} << 20;  // little: members that were away get all data
  bool rebalances = false;              // slots move by themselves
  unsigned replace_after_s = 0;         // a dead node; 0: never

  static ClusterShape drawn(uint64_t seed);
  std::string text() const;
  std::vector<std::string> arguments() const;
};

class ClusterServers final : public TormentedServers {
 public:
  // `hot`: keys whose slots the operator moves more often than others.
  ClusterServers(Run& run, SimWorld& world, const ClusterShape& shape,
                 const std::vector<std::string>& hot);

  bool form(Nanos limit);
  // Every node is up, all agree on one topology, each slot is served by exactly one node, nothing
  // is on its way, and the members of a group have the same data. "": so it is.
  std::string differences(Nanos limit);

 private:
  std::vector<Fault> faults() override;
  size_t most_important() override { return busiest_; }
  void watch(size_t member) override;
  void failed_to_start(size_t member) override;
  std::string described(size_t member) const override;

  void someone_ends();
  void end(size_t member, CrashKind kind) override;

  void slots_move();
  void moves_are_given_up();
  void someone_comes();
  void someone_leaves();
  void someone_is_to_replicate();
  void someone_is_to_take_over();

  // Tells a node something, and notes what it answers.
  void tell(size_t member, std::vector<std::string> words);
  bool done(size_t member, const std::vector<std::string>& words);
  server::ClusterNode* cluster_of(size_t member) const;  // null: it is down
  const cluster::GroupCore* core(size_t member) const;   // null: the same, or not so far
  bool serves(size_t member, unsigned slot) const;
  bool is_member(size_t member) const;  // of the cluster that has the slots
  std::vector<size_t> with_slots() const;
  std::string unsettled() const;
  std::string different_data();
  std::string different_keys(cluster::GroupNumber group);

  ClusterShape shape_;
  std::set<unsigned> hot_;
  size_t busiest_;  // who has served a hot slot last; members(): nobody
  struct Lead {
    uint64_t epoch = 0;
    bool leads = false;
  };
  std::vector<Lead> leads_;                                     // of each member
  std::map<std::pair<std::string, uint64_t>, size_t> leaders_;  // by group and epoch
  std::vector<std::unique_ptr<SimClient>> told_;                // commands on their way
};

}  // namespace quoll::sim
