// Failover: this primary hands its part to one of its replicas without losing a write (FAILOVER).
//
//   waiting-for-sync       writes wait; until a replica has everything, or the time is over:
//                          then it is given up, or (FORCE) goes on all the same
//   failover-in-progress   we follow the replica and ask it to be the primary (PSYNC ... FAILOVER);
//                          when it agrees we are its replica, else we stay the primary
#pragma once

#include <string>

#include "server/session.h"

namespace quoll::server {

class Replication;

class Failover {
 public:
  enum class State : uint8_t { none, waiting, in_progress };

  Failover(Server& server, Replication& replication) : server_(server), replication_(replication) {}

  struct Wish {
    std::string host;  // "": whichever replica is the first to have everything
    uint16_t port = 0;
    base::Millis timeout_ms = 0;  // 0: none
    bool force = false;
  };
  void begin(Wish wish);
  bool abort();  // false: none is in progress
  State state() const { return state_; }
  const char* state_name() const;
  // While true no PING is fed: the offset must stand still.
  bool holds_stream() const { return state_ != State::none; }

  void tick();
  // The other server has taken over, or does not want to.
  void done();
  void refused(const std::string& reason);

 private:
  void hand_over(const std::string& host, uint16_t port);
  void end();

  Server& server_;
  Replication& replication_;
  State state_ = State::none;
  Wish wish_;
  base::Millis until_ms_ = 0;
};

}  // namespace quoll::server
