// ReplicaFeed: commits as the replication stream, the bytes a Redis 7 replica applies.
//
//   [SELECT db]              when the database is not the one the stream has selected
//   MULTI                    only around two effects or more
//   effect [SELECT db] effect ...
//   EXEC
//
// Between commits: PING, REPLCONF GETACK and published messages. A message published inside a
// commit is part of its frame. A server that follows another one does not encode: it passes on the
// bytes of its primary (relay), so that offsets are the same along a chain.
//
// Effects are put in words that Redis 7.0 knows (replica_dialect.h). Where there are none the
// stream carries our own words, and foreign_to() says from which offset on replicas of other makes
// cannot follow.
//
// Pure. Cost: one pass per commit into a reused buffer and one copy into the backlog; nothing while
// closed.
#pragma once

#include <optional>
#include <string>

#include "cluster/backlog.h"
#include "store/commit.h"

namespace quoll::cluster {

class ReplicaFeed final : public store::CommitSink {
 public:
  // From now on there is a backlog, beginning at this offset.
  void open(uint64_t offset);
  void close();
  bool is_open() const { return open_; }
  // Whether commits are encoded; else bytes are relayed.
  void set_encoding(bool on);

  void absorb(const store::Commit& commit) override;
  // A key that had expired and is not there any more, outside of commits.
  void erase(store::DbIndex database, base::Bytes key);
  // A message, in the order of commits. `in_commit`: one is open.
  void publish(base::Args line, bool in_commit);
  void ping();
  void ask_for_acks();
  // Bytes of the primary's stream, verbatim.
  void relay(base::Bytes bytes) {
    if (open_)
      backlog_.append(bytes);
    else
      offset_ += bytes.size();
  }
  // What was relayed last holds this command, which only our own kind understands.
  void relayed_foreign(base::Bytes command) {
    foreign_command_ = command;
    foreign_end_ = offset();
  }
  // Messages of a commit that turned out to change nothing.
  void flush_messages();
  // The next effect names its database again.
  void forget_database() { database_.reset(); }
  std::optional<store::DbIndex> database() const { return database_; }

  // Bytes of the stream so far.
  uint64_t offset() const { return open_ ? backlog_.end() : offset_; }
  Backlog& backlog() { return backlog_; }
  const Backlog& backlog() const { return backlog_; }
  // The end of the last effect that only our own kind understands, and its command; 0: none.
  uint64_t foreign_end() const { return foreign_end_; }
  const std::string& foreign_command() const { return foreign_command_; }

 private:
  void select(store::DbIndex database);
  void write(store::DbIndex database, base::Args line);
  void hand_over();

  Backlog backlog_;
  std::string out_;       // reused
  std::string messages_;  // published inside the open commit
  size_t message_count_ = 0;
  std::optional<store::DbIndex> database_;
  uint64_t offset_ = 0;  // while closed
  uint64_t foreign_end_ = 0;
  std::string foreign_command_;
  bool open_ = false;
  bool encoding_ = true;
};

}  // namespace quoll::cluster
