// Replication: the history this server's data belong to, and its part in it: primary, or replica of
// another server.
//
//   a history     an id of 40 hex digits and an offset: how many bytes of its stream the data
//                 contain. Whoever has the same id and offset has the same data.
//   second id     the history this one grew out of, valid up to second_offset(): after a promotion
//                 the other replicas go on with us though their primary was another.
//
//   primary: commit -> ReplicaFeed -> Backlog -> replicas
//   replica: primary -> Following -> ReplicaStream -> commits (Origin::replica)
//                                         '-> relay -> Backlog -> replicas of this replica
//
// Both survive a restart by the RDB file's fields repl-id, repl-offset and repl-stream-db.
//
// replication.cc: history and roles; replicas.*: who follows us; following.*: whom we follow;
// waits.*: WAIT and WAITAOF; failover.*: handing the part over.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "cluster/replica_feed.h"
#include "server/failover.h"
#include "server/following.h"
#include "server/own_keys.h"
#include "server/replicas.h"
#include "server/waits.h"

namespace quoll::server {

class Replication {
 public:
  explicit Replication(Server& server);

  // The data on disk are loaded: begins what the configuration asks for.
  void start();
  // A file's position; before start(), and only once.
  void restore(const std::vector<std::pair<std::string, std::string>>& aux);
  // Adds the position to what a file says about itself.
  void add_position(std::vector<std::pair<std::string, std::string>>& aux) const;

  // REPLICAOF. The first is the whole change of part; the configuration follows.
  void follow(const std::string& host, uint16_t port);
  void promote();
  // The same as follow(), asking the other side to become the primary.
  void hand_over_to(const std::string& host, uint16_t port);
  bool following() const { return following_.active(); }
  bool read_only() const;
  // We follow another server or none, or clients may write or not.
  void part_changed();
  // maxmemory is the primary's business.
  bool ignores_maxmemory() const;

  const std::string& id() const { return id_; }
  const std::string& second_id() const { return second_id_; }
  int64_t second_offset() const { return second_offset_; }  // -1: there is none
  uint64_t offset() const { return feed_.offset(); }
  bool has_history() const { return has_history_; }
  void change_id();

  // PSYNC id offset, and SYNC (id empty).
  void serve(Session& session, base::Bytes id, int64_t next);
  cluster::ReplicaFeed& feed() { return feed_; }
  const cluster::ReplicaFeed& feed() const { return feed_; }
  Replicas& replicas() { return replicas_; }
  const Replicas& replicas() const { return replicas_; }
  Following& link() { return following_; }
  const Following& link() const { return following_; }
  Waits& waits() { return waits_; }
  OwnKeys& own_keys() { return own_keys_; }
  Failover& failover() { return failover_; }
  void publish(base::Args line);
  void ask_for_acks();
  size_t replicas_online() const { return replicas_.shown_online(); }
  size_t replicas_in_sync() const { return replicas_.shown_in_sync(offset()); }
  // Nobody who follows us misses anything.
  bool replicas_caught_up() const;
  void tell_lagging() const;
  // How much of the stream is in our append-only file; nothing: there is none.
  std::optional<uint64_t> durable_offset();

  // The data are old and must not be shown.
  bool stale() const;
  // Asked before every command; almost always false.
  bool restricts() const;
  base::Bytes refusal_of(const Command& command, const Session& session) const;
  // The same of a whole script, before it runs; `flags`: ScriptFlag.
  base::Bytes refusal_of_script(uint32_t flags) const;
  void forget(Session& session);

  void begin_turn_end();
  void end_turn();
  void tick();

  struct Counters {
    uint64_t full = 0;
    uint64_t partial = 0;
    uint64_t partial_refused = 0;
    uint64_t bytes_in = 0;   // of the link to the primary
    uint64_t bytes_out = 0;  // to replicas
  };
  Counters counters;

  // Told by the link to the primary.
  void lose_replicas();  // what they have is no longer ours
  void empty_store();
  void adopt_history(const std::string& id, uint64_t offset);
  void rename_history(const std::string& id);
  void lose_history() { has_history_ = false; }
  void keep_backlog();
  void followed();
  void failover_refused(const std::string& reason) { failover_.refused(reason); }

 private:
  bool go_on(Replica& replica, base::Bytes id, int64_t next);
  bool enough_replicas() const;
  void open_feed();
  void unblock_all();
  void trim_backlog();

  Server& server_;
  std::string id_;
  std::string second_id_;
  int64_t second_offset_ = -1;
  bool has_history_ = true;
  bool started_ = false;
  cluster::ReplicaFeed feed_;
  Replicas replicas_;
  Following following_;
  Waits waits_;
  OwnKeys own_keys_;
  Failover failover_;
  uint64_t foreign_seen_ = 0;
  bool acks_wanted_ = false;
  base::Millis second_ms_ = 0;  // when the work of once a second was last done
  base::Millis ping_ms_ = 0;
  base::Millis alone_since_ms_ = 0;  // the last replica went
  // Commits and where they end in the stream, while the append-only file is behind.
  struct Mark {
    store::Seq seq;
    uint64_t offset;
  };
  std::deque<Mark> marks_;
  uint64_t durable_ = 0;
};

}  // namespace quoll::server
