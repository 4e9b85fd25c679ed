// Replicas: the clients that are replicas of this server, from their first REPLCONF on.
//
//   none -> waiting     PSYNC could not go on where it was: all data must be sent
//        -> transfer    the snapshot began: its bytes are sent, the stream's are kept
//        -> settling    all sent; the replica loads, and says so by its first REPLCONF ACK
//        -> online      reads the backlog by offset
//
// Replicas that wait at the same time share one walk over the data and its bytes (RdbTransfer).
//
// A member of a group has no stream for others. Tools that want the RDB alone get it, once what it
// shows is committed.
//
// Bounds: a replica may lag by client-output-buffer-limit replica, RDB and stream taken together;
// beyond it is dropped. It never holds up clients or other replicas and its lag counts for itself.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "server/persistence.h"
#include "server/rdb_transfer.h"
#include "server/session.h"

namespace quoll::server {

class Replication;

struct Replica final : OutSource {
  enum class State : uint8_t { none, waiting, transfer, settling, online };

  Replica(Server& server, Session& session) : server(server), session(session) {}
  ~Replica() override;
  size_t gather(std::span<base::Bytes> parts) override;
  void consumed(size_t bytes) override;
  // Sends text in front of everything else.
  void say(base::Bytes line);
  size_t lag_bytes() const;
  bool awaits_bytes() const;  // of the RDB: it has taken all there are
  bool shown_online() const { return state >= State::settling && !only_rdb; }

  Server& server;
  Session& session;
  State state = State::none;
  // What it told about itself.
  uint16_t listening_port = 0;
  std::string announced_ip;
  bool takes_mark = false;    // capa eof: needs no length beforehand
  bool psync2 = false;        // understands +CONTINUE with a new id
  bool quoll = false;         // understands all our effects and RDB versions
  bool only_rdb = false;      // wants the RDB, not the stream: then its connection ends
  bool no_data = false;       // wants an RDB without keys,
  bool no_functions = false;  // and without libraries
  bool old_sync = false;      // came by SYNC: hears neither offsets nor ids
  unsigned rdb_version = 10;  // the newest it can read
  // Where it is.
  std::string text;
  std::shared_ptr<RdbTransfer> transfer;
  RdbTransfer::Reader reader;
  uint64_t sent = 0;  // of the stream, handed to the transport
  uint64_t acked = 0;
  uint64_t durable = 0;          // of the stream, in its append-only file
  base::Millis since_ms = 0;     // it waits
  base::Millis ack_ms = 0;       // it last acknowledged
  base::Millis progress_ms = 0;  // it last took or acknowledged something
  base::Millis soft_since_ms = 0;

 private:
  enum class Part : uint8_t { none, text, rdb, stream };
  void end_rdb();
  Part part_ = Part::none;
};

class Replicas {
 public:
  Replicas(Server& server, Replication& replication) : server_(server), replication_(replication) {}

  // The replica this session is, or is about to be.
  Replica& of(Session& session);
  Replica* find(const Session& session);
  void forget(const Session& session);

  // It goes on at `offset`, which the backlog holds.
  void go_on(Replica& replica, uint64_t offset, const std::string& replid);
  // It gets all data.
  void synchronize(Replica& replica);
  // They connect again and hear what has changed.
  void disconnect_all();
  // Those who cannot understand what the stream now says.
  void disconnect_foreign(const std::string& command);
  void acknowledge(Replica& replica, uint64_t offset, uint64_t durable);

  bool any() const;  // attached, in whatever state
  size_t count() const;
  size_t online() const;
  size_t acked(uint64_t offset) const;  // how many have so much
  // The same of all that are shown as online: also those that have not answered yet since they got
  // the data. Who wanted an RDB only goes away.
  size_t shown_online() const;
  size_t shown_in_sync(uint64_t offset) const;
  size_t durable(uint64_t offset) const;  // how many have so much in their files
  size_t good(base::Millis max_lag_ms) const;
  uint64_t needed_from() const;  // the backlog must be kept from here on
  size_t buffer_bytes() const;   // waiting for them beside the backlog
  template <class Visit>
  void each(Visit&& visit) const {
    for (const auto& [id, replica] : replicas_)
      if (replica->state != Replica::State::none) visit(*replica);
  }

  void begin_turn_end();  // what the stream got is sent
  void tick();            // ten times a second
  void keep_alive();      // once a second

 private:
  bool sync_due() const;
  void request_snapshot();
  Persistence::Stream begin_transfer();
  unsigned rdb_version_for(const Replica& replica) const;
  void hold_back(const std::shared_ptr<RdbTransfer>& transfer);
  void greet(Replica& replica);
  void send_without_data(Replica& replica);
  void end_transfer(const base::Result<>& result);
  void fail_transfer(const RdbTransfer* transfer, const std::string& reason);
  bool over_limits(Replica& replica);
  void drop_lagging();
  void check_timeout(Replica& replica);

  Server& server_;
  Replication& replication_;
  std::map<SessionId, std::unique_ptr<Replica>> replicas_;
  std::shared_ptr<RdbTransfer> transfer_;  // the walk fills it
  uint64_t sent_offset_ = 0;               // of the stream, when replicas were last woken
  bool requested_ = false;                 // a snapshot
  uint64_t spools_ = 0;
};

}  // namespace quoll::server
