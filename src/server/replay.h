// Replay runs the commands of a log against the store: no client, no admission checks, no replies.
//
// Effects need only the keys they name. They are run at a time before all deadlines, for a key that
// has expired meanwhile was alive when the next effect touched it; expiry itself is in the log.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/hash_table.h"
#include "base/result.h"
#include "persist/aof_reader.h"
#include "server/session.h"

namespace quoll::server {

class Server;

class Replay {
 public:
  explicit Replay(Server& server);
  ~Replay();

  // Whether `args` begin with a command.
  bool known(Args args) const;
  // Runs one effect, as a commit of its own. The error is the command's own reply.
  base::Result<> run(store::DbIndex db, Args args);
  // The same inside the commit that is open, if one is; what it changes is journaled again.
  base::Result<> run_in_commit(store::DbIndex db, Args args);
  // The command that `args` begin with; null: there is none.
  const Command* command(Args args) const;
  // Effects that come soon: what they name is on its way from memory while others run. look_ahead()
  // for each of up to kLookAhead, then fetch_ahead(); nothing may change between.
  static constexpr size_t kLookAhead = 16;
  void look_ahead(store::DbIndex db, Args args);
  void fetch_ahead();
  // The same of what a reader reads next; to be called before each command.
  void look_ahead(const persist::AofReader& reader);
  // What is accessed from now on counts as accessed at this time.
  void set_time(base::Millis wall);
  uint64_t commands() const { return commands_; }

 private:
  Command* admitted(store::DbIndex db, Args args, std::string& error) const;
  base::Result<> outcome(uint64_t errors_before);

  struct Ahead {
    const base::Bucket* bucket;
    uint64_t hash;
  };

  Server& server_;
  std::unique_ptr<Session> session_;
  std::array<Ahead, kLookAhead> ahead_;
  size_t ahead_count_ = 0;
  std::string ahead_name_;  // looked up last: effects repeat themselves
  const Command* ahead_command_ = nullptr;
  uint64_t ahead_until_ = 0;  // commands were looked at
  uint64_t commands_ = 0;
};

}  // namespace quoll::server
