// The two sides of one simulated stream, and the handles their owners hold.
#pragma once

#include <deque>
#include <utility>

#include "tests/sim/sim_network.h"

namespace quoll::sim {

// Bytes in order; taking from the front is cheap.
class SimBytes {
 public:
  void append(base::Bytes bytes) { bytes_.append(bytes); }
  size_t size() const { return bytes_.size() - begin_; }
  bool empty() const { return size() == 0; }
  base::Bytes front(size_t count) const { return base::Bytes(bytes_).substr(begin_, count); }
  void drop(size_t count) {
    begin_ += count;
    if (begin_ * 2 < bytes_.size()) return;
    bytes_.erase(0, begin_);
    begin_ = 0;
  }
  void clear() { drop(size()); }

 private:
  std::string bytes_;
  size_t begin_ = 0;
};

struct SimSide {
  NodeId node = 0;
  std::string local;  // as address texts
  std::string remote;
  host::PeerEvents* events = nullptr;  // while open and started
  SimBytes in_flight;                  // sent by this side, not yet arrived
  SimBytes unread;                     // arrived at this side
  bool closed = false;                 // by its owner, or the owner has heard of the end
  bool end_in_flight = false;
  bool end_arrived = false;  // the other side will send nothing more
  bool end_told = false;     // and the owner said that it goes on sending
  bool sends_ended = false;  // by its owner, who still reads
  bool piece_planned = false;
  bool hand_over_planned = false;
  bool stalled = false;  // the next piece waits for a blocked link
  bool wants_room = false;
  bool paused = false;
};

struct SimConnection {
  SimSide sides[2];  // 0 dialled, 1 accepted
  bool is_unix = false;
  bool broken = false;
};

class SimPeer final : public host::Peer {
 public:
  SimPeer(SimNetwork& network, std::shared_ptr<SimConnection> connection, int side)
      : network_(network), connection_(std::move(connection)), side_(side) {}
  ~SimPeer() override { close(); }

  void start(host::PeerEvents& events) override;
  size_t send(std::span<const host::Bytes> parts) override {
    return network_.send(connection_, side_, parts);
  }
  void pause_reads(bool paused) override;
  void close() override { network_.close_side(connection_, side_); }
  // No more will be sent, but what comes is still read: shutdown(SHUT_WR).
  void end_sends() { network_.end_sends(connection_, side_); }
  std::string remote_address() const override { return connection_->sides[side_].remote; }
  std::string local_address() const override { return connection_->sides[side_].local; }
  bool is_unix() const override { return connection_->is_unix; }
  bool is_loopback() const override { return true; }
  int descriptor() const override { return -1; }
  void set_keepalive(int) override {}

 private:
  SimNetwork& network_;
  std::shared_ptr<SimConnection> connection_;
  int side_;
};

class SimListener final : public host::Listener {
 public:
  SimListener(SimNetwork& network, SimNetwork::Address address, host::Endpoint endpoint,
              bool heard_nested, host::OnPeer on_peer)
      : network_(network),
        address_(std::move(address)),
        endpoint_(std::move(endpoint)),
        on_peer_(std::move(on_peer)),
        heard_nested_(heard_nested) {}
  ~SimListener() override;

  host::Endpoint endpoint() const override { return endpoint_; }
  void pause(bool paused) override;

 private:
  friend class SimNetwork;

  SimNetwork& network_;
  SimNetwork::Address address_;
  host::Endpoint endpoint_;
  host::OnPeer on_peer_;
  bool heard_nested_;
  std::deque<std::shared_ptr<SimConnection>> waiting_;  // while paused
  bool paused_ = false;
};

}  // namespace quoll::sim
