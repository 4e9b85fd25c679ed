// Following: this server as a replica: the link to its primary, from dialing to the stream.
//
//   connect -> connecting -> handshake -> transfer -> connected
//      ^----------------- retry, with growing pauses -----'
//
// The protocol is cluster::PrimaryLink's; this drives it over a host::Peer. All data that come go
// straight into a store as they arrive: into ours after emptying it, or (repl-diskless-load swapdb)
// into a second one that takes its place when complete. A link that breaks during the stream leaves
// data, id and offset as they are: the next one goes on from there.
#pragma once

#include <memory>
#include <string>

#include "cluster/primary_link.h"
#include "host/host.h"
#include "persist/rdb_load.h"
#include "server/replica_stream.h"

namespace quoll::server {

class Replication;
class Server;

class Following final : public cluster::PrimaryLinkEvents, public host::PeerEvents {
 public:
  enum class State : uint8_t { none, connect, connecting, handshake, transfer, connected };

  Following(Server& server, Replication& replication);
  ~Following() override;

  // Follows this server from now on. `failover`: asks it to become the primary in our place.
  void follow(const std::string& host, uint16_t port, bool failover = false);
  void stop();
  bool active() const { return state_ != State::none; }
  State state() const { return state_; }
  bool connected() const { return state_ == State::connected; }
  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  // The database the stream has selected.
  store::DbIndex database() const { return stream_ ? stream_->database() : database_; }
  void set_database(store::DbIndex database) { database_ = database; }

  struct Info {
    int64_t last_io_seconds = -1;
    int64_t down_seconds = -1;
    bool loading = false;     // all data come
    uint64_t sync_total = 0;  // bytes, 0: not known
    uint64_t sync_read = 0;
    base::Millis sync_io_ms = 0;
    base::Millis since_ms = 0;  // of the connection
    uint64_t bytes_in = 0;
    std::string address;  // of the other end
    std::string local_address;
  };
  Info info() const;

  void tick();  // ten times a second
  void end_turn();
  // While the data must not change, the stream waits in the socket.
  void pause_reads(bool paused);
  void drop_link();  // it is made again
  void acknowledge();

  // cluster::PrimaryLinkEvents
  void link_send(std::string bytes) override;
  void link_full_sync(const std::string& replid, uint64_t offset) override;
  void link_rdb_begins(uint64_t bytes) override;
  void link_rdb(base::Bytes bytes) override;
  void link_rdb_ends() override;
  void link_continues(const std::string& replid) override;
  void link_stream(base::Bytes bytes) override;
  void link_failed(const std::string& reason, bool later) override;
  // host::PeerEvents
  std::span<char> receive_buffer() override;
  void received(size_t bytes) override;
  void writable() override;
  void closed(const std::string& reason) override;

 private:
  void connect();
  void dialed(base::Result<std::unique_ptr<host::Peer>> peer);
  cluster::LinkHello hello() const;
  void send_more();
  void disconnect();
  void retry_later();
  template <class Step>
  bool loads(Step&& step);
  void give_up_load(const std::string& reason);
  void stream_begins();

  Server& server_;
  Replication& replication_;
  State state_ = State::none;
  std::string host_;
  uint16_t port_ = 0;
  bool failover_ = false;
  std::unique_ptr<host::Peer> peer_;
  std::unique_ptr<cluster::PrimaryLink> link_;
  // Of links that ended inside one of their own calls, until the turn ends.
  std::unique_ptr<host::Peer> old_peer_;
  std::unique_ptr<cluster::PrimaryLink> old_link_;
  std::unique_ptr<ReplicaStream> old_stream_;
  std::string out_;
  uint64_t attempt_ = 0;  // a dial that was given up answers to an older one
  base::Millis retry_at_ms_ = 0;
  base::Millis pause_ms_ = 0;
  base::Millis io_ms_ = 0;
  base::Millis down_since_ms_ = 0;
  base::Millis connected_ms_ = 0;
  base::Millis told_ms_ = 0;  // ACK, or a sign of life
  uint64_t bytes_in_ = 0;
  // All data.
  std::string sync_id_;
  uint64_t sync_offset_ = 0;
  uint64_t sync_total_ = 0;
  uint64_t sync_read_ = 0;
  std::unique_ptr<store::Store> staging_;
  std::unique_ptr<persist::RdbLoad> load_;
  // The stream.
  std::unique_ptr<ReplicaStream> stream_;
  store::DbIndex database_ = 0;
};

}  // namespace quoll::server
