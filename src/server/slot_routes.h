// SlotRoutes: whether a command may run on this member of the cluster, and where its client must go
// if not. A command names its keys; they must be of one slot, and the member that leads the group
// with that slot serves it. In Redis's order and words:
//
//   keys of several slots                  -CROSSSLOT
//   nobody has the slot                    -CLUSTERDOWN Hash slot not served
//   the slot is being handed over          -TRYAGAIN
//   a slot is nobody's, and
//   cluster-require-full-coverage          -CLUSTERDOWN The cluster is down
//   nobody leads, or we cannot serve yet   -CLUSTERDOWN The cluster is down
//   it would write, and too few members
//   are there to commit it                 -CLUSTERDOWN NOQUORUM
//   another member leads                   -MOVED slot host:port, unless the session asked for
//                                          READONLY and only reads
//
// Shard channels are with every member that has the data of their slot, whoever leads: a message
// goes to all of them.
//
// Commands without keys run anywhere, but what they write only the leader may write; what the nodes
// of a cluster agree on (libraries) may be changed anywhere.
//
// Cost: nothing without a cluster. Where this member serves, a command of one key is admitted by
// serves() alone; others have the slots of their keys compared.
#pragma once

#include <string>

#include "server/cluster_view.h"
#include "server/transaction.h"

namespace quoll::server {

class Server;
class Session;

enum class Route : uint8_t {
  here,
  crossing,   // keys of several slots
  unbound,    // nobody has the slot
  down,       // nobody serves
  again,      // the slot is on its way to another group
  no_quorum,  // it would write, and that could not be committed
  moved,      // the leader serves
  read_only,  // it would write, has no slot, and somebody else leads
};

class SlotRoutes {
 public:
  explicit SlotRoutes(Server& server) : server_(server) {}

  // Whether we lead and serve what slots we have. What follows is for servers of a cluster.
  bool serves() const;
  bool serves(unsigned slot) const;
  // The slots of a command line. `first_hash`: of args[command.first_key], where it is known.
  SlotUse use_of(const Command& command, Args args, const uint64_t* first_hash = nullptr) const;
  Route find(const Session& session, const Command& command, const SlotUse& use) const;
  // The error reply of a route that does not lead here.
  std::string error(const Session& session, Route route, const SlotUse& use) const;
  // Of Route::no_quorum; `there`: "1 of 2".
  std::string no_quorum(const SlotUse& use, const std::string& there) const;

 private:
  bool goes_on_uncovered() const;
  Route find_elsewhere(const Session& session, const Command& command, const SlotUse& use) const;

  Server& server_;
  mutable std::vector<KeyArg> keys_;
};

}  // namespace quoll::server
