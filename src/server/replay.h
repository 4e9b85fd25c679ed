// Replay runs the commands of a log against the store: no client, no admission checks, no replies.
//
// Effects need only the keys they name. They are run at a time before all deadlines, for a key that
// has expired meanwhile was alive when the next effect touched it; expiry itself is in the log.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "server/session.h"

namespace quoll::server {

class Server;

class Replay {
 public:
  explicit Replay(Server& server);
  ~Replay();

  // Whether `args` begin with a command.
  bool known(Args args) const;
  // Runs one effect. The error is the command's own reply.
  base::Result<> run(store::DbIndex db, Args args);
  uint64_t commands() const { return commands_; }

 private:
  Server& server_;
  std::unique_ptr<Session> session_;
  uint64_t commands_ = 0;
};

}  // namespace quoll::server
