// GroupApply: committed entries of a group's log into the store, each as one commit of
// Origin::replica. Between commands, within a budget of time.
#pragma once

#include <functional>
#include <memory>

#include "cluster/group_core.h"
#include "server/replay.h"

namespace quoll::server {

class GroupApply {
 public:
  explicit GroupApply(Server& server) : server_(server) {}

  // Effects for which this is true are left out.
  using Skip = std::function<bool(const cluster::EntryEffect&)>;
  // Applies what is committed, up to `limit`; false: the budget is used up and there is more.
  bool run(cluster::GroupCore& core, cluster::Index limit, const Skip& skip);
  // One effect, as a commit of its own.
  void run_effect(store::DbIndex db, Args words);
  const Command* command(Args words);

 private:
  // What the first of these entries name is fetched from memory.
  void look_ahead(base::Bytes entries, size_t count);
  void apply(const cluster::Entry& entry, const Skip& skip);
  void replay(store::DbIndex db, Args words);
  Replay& replayer();

  Server& server_;
  std::unique_ptr<Replay> replay_;
  cluster::EntryEffect effect_;  // its room is used again
};

}  // namespace quoll::server
