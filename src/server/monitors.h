// Monitors: the sessions that asked, by MONITOR, to see every command that runs.
//
//   +1700000000.123456 [0 127.0.0.1:51234] "set" "key" "value"
//
// The database is the one selected after the command. Secrets were already replaced by the caller.
// Cost without monitors: none; commands are told on the path of slow commands (Server::note_slow).
#pragma once

#include <vector>

#include "server/session.h"

namespace quoll::server {

class Monitors {
 public:
  bool any() const { return !sessions_.empty(); }
  size_t count() const { return sessions_.size(); }
  bool has(const Session& session) const;
  // False when it was one already.
  bool add(Session& session);
  void drop(const Session& session);

  // Tells every monitor which command `session` has run.
  // The same for any line.
  void show(const Session& session, Args args, int64_t wall_micros);
  void tell(const Session& session, const Command& command, Args args, int64_t wall_micros);

 private:
  std::vector<Session*> sessions_;
};

}  // namespace quoll::server
