// Connection: one connected stream socket and what its owner wants of it. UvPeer is the handle the
// owner holds; destroying it closes the connection, also from inside one of its own callbacks.
#pragma once

#include "host/uv_address.h"
#include "host/uv_watch.h"

namespace quoll::host {

class Connection final : public WatchOwner, public std::enable_shared_from_this<Connection> {
 public:
  // `watch` is open. `listened_at` names the local side of a unix socket; empty asks the system.
  Connection(UvLoop& loop, UvWatch watch, const SocketAddress& remote, std::string listened_at);

  void start(PeerEvents& events);
  size_t send(std::span<const Bytes> parts);
  bool can_send() const { return watch_.is_open() && failure_.empty(); }
  // A send of `wanted` bytes gave this (a negative errno where it failed). Returns the bytes taken.
  size_t sent(ssize_t result, size_t wanted);
  void pause_reads(bool paused);
  void close();

  const std::string& remote_text() const { return remote_text_; }
  std::string local_text() const;
  bool is_unix() const { return is_unix_; }
  bool is_loopback() const { return is_loopback_; }
  int descriptor() const { return watch_.descriptor(); }
  void set_keepalive(int seconds);

  void on_ready(unsigned ready) override;

 private:
  void receive();
  void hear_while_paused(unsigned ready);
  void hear_end();                         // the other side sent its last byte
  void finish(const std::string& reason);  // closes, then tells the owner
  void refresh_watch();
  size_t unread_bytes() const;

  UvLoop& loop_;
  UvWatch watch_;
  PeerEvents* events_ = nullptr;  // null before start() and after the end
  std::string remote_text_;
  std::string listened_at_;
  std::string failure_;  // of a send; closed() is on its way
  bool is_unix_;
  bool is_loopback_;
  bool paused_ = false;
  bool half_closed_ = false;  // the other side sent its last byte while reads were paused
  bool wants_writable_ = false;
};

std::unique_ptr<Peer> make_uv_peer(std::shared_ptr<Connection> connection);
// The connection of a peer made so; null: it is another kind.
Connection* connection_of(Peer& peer);

}  // namespace quoll::host
