// Waits: the sessions in WAIT and WAITAOF. Each waits until enough replicas have acknowledged the
// stream up to its last write, or have it in their append-only files, and (WAITAOF) until it is in
// ours. The reply tells the numbers reached, at the timeout as well. In a group it is the members
// and the log: WAIT counts those that have the entry, WAITAOF the disks that do.
//
// Cost: nothing while nobody waits; else a look at every waiter per turn.
#pragma once

#include <vector>

#include "server/session.h"

namespace quoll::server {

class Replication;

class Waits {
 public:
  Waits(Server& server, Replication& replication) : server_(server), replication_(replication) {}

  struct Need {
    int64_t replicas = 0;
    int64_t local = 0;
    bool files = false;  // WAITAOF
  };
  // Replies at once, or lets the session wait. 0 ms: for ever.
  void wait(Session& session, const Need& need, base::Millis timeout_ms);
  void forget(const Session& session);
  bool any() const { return !waiters_.empty(); }
  void check();

 private:
  struct Waiter {
    SessionId session;
    Need need;
  };
  bool met(const Session& session, const Need& need) const;
  void reply(Session& session, bool files);

  Server& server_;
  Replication& replication_;
  std::vector<Waiter> waiters_;
};

}  // namespace quoll::server
