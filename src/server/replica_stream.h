// ReplicaStream: applies the replication stream of a primary: effects as commits of
// Origin::replica, a MULTI ... EXEC block as one commit. Nothing of an unfinished block is applied.
//
// Bytes that were applied are passed on verbatim to the feed, so that the replicas of this replica
// hear the same stream at the same offsets.
//
// Cost: one copy into the reader's window and one into the backlog.
#pragma once

#include <string>

#include "persist/aof_reader.h"
#include "server/replay.h"

namespace quoll::server {

class ReplicaStream {
 public:
  // `database`: selected by the stream so far.
  ReplicaStream(Server& server, store::DbIndex database);

  // The error ends the link: the bytes are no stream.
  base::Result<> apply(Bytes bytes);
  store::DbIndex database() const { return reader_.database(); }
  // The primary asked for an acknowledgement since the last look.
  bool take_ack_request() { return std::exchange(ack_asked_, false); }

 private:
  void run(const persist::AofCommand& command);
  void run_effect(store::DbIndex database, Args args);
  void pass_on(Bytes bytes, uint64_t applied);
  void complain(Args args, const std::string& error);

  Server& server_;
  Replay replay_;
  persist::AofReader reader_;
  std::string held_;     // read, but not yet applied
  std::string foreign_;  // an effect that Redis has no words for, until its bytes are passed on
  bool ack_asked_ = false;
};

}  // namespace quoll::server
