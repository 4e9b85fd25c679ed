// The network between simulated nodes: byte streams and datagrams.
//
// One direction of a stream:
//
//   send() --> in_flight ==(latency, pieces chosen by the seed)==> unread --> receive_buffer()
//              |<------------- together at most window_bytes ------------->|
//
// Bytes of one direction are never reordered or lost unless the connection breaks. A blocked link
// holds them back; healing releases them, as retransmission does. Every node has one address,
// 127.0.0.(id + 1); listening on any loopback or wildcard address means that one.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "host/host.h"
#include "tests/sim/sim_loop.h"

namespace quoll::sim {

class SimWorld;
class SimListener;
struct SimConnection;

constexpr Nanos kDialTimeout = 20'000 * base::kNanosPerMilli;
constexpr int kReceivesPerTurnMax = 4;
constexpr Nanos kPieceGap = 10 * base::kNanosPerMicro;  // between two pieces of one direction

class SimNetwork {
 public:
  explicit SimNetwork(SimWorld& world) : world_(world) {}

  // One-way partition: nothing travels from `from` to `to` until healed.
  void block(NodeId from, NodeId to);
  void heal(NodeId from, NodeId to);
  void heal_all();
  bool blocked(NodeId from, NodeId to) const { return blocked_.count({from, to}) != 0; }
  // The link delivers nothing before `until`.
  void clog(NodeId from, NodeId to, Nanos until);
  // Breaks every stream between the two nodes.
  void reset_streams(NodeId one, NodeId other);

  // For the parts of the world.
  void drop_node(NodeId node);  // crash: listeners vanish, the far sides hear of a reset

 private:
  friend class SimTransport;
  friend class SimDatagrams;
  friend class SimListener;
  friend class SimPeer;

  using Connection = std::shared_ptr<SimConnection>;
  struct Address {
    NodeId node;
    host::Endpoint::Family family;
    std::string path;  // unix sockets only
    uint16_t port;
    auto operator<=>(const Address&) const = default;
  };

  struct Receiver {
    Seat seat;
    host::OnDatagram on_datagram;
  };

  NodeId node_at(NodeId from, const host::Endpoint& to) const;
  Nanos arrival(NodeId from, NodeId to);
  uint16_t next_port();

  void dial(NodeId from, const host::Endpoint& to, host::OnDial done);
  void knock(NodeId from, const Address& at, const host::Endpoint& to, host::OnDial done);
  void accept(SimListener& listener, const Connection& connection);
  size_t send(const Connection& connection, int side, std::span<const host::Bytes> parts);
  void close_side(const Connection& connection, int side);
  void end_sends(const Connection& connection, int side);
  void plan_piece(const Connection& connection, int from_side, Nanos at);
  void deliver_piece(const Connection& connection, int from_side);
  bool delayed_by_link(const Connection& connection, int from_side);
  void hand_over(const Connection& connection, int side);
  void plan_hand_over(const Connection& connection, int side);
  bool deaf_now(NodeId node, const host::PeerEvents& events) const;
  void offer_room(const Connection& connection, int side);
  void hand_room(const Connection& connection, int side);
  void reset(const Connection& connection, NodeId except);
  void send_datagram(NodeId from, const host::Endpoint& sender, const host::Endpoint& to,
                     host::Bytes bytes);

  SimWorld& world_;
  std::set<std::pair<NodeId, NodeId>> blocked_;
  std::map<std::pair<NodeId, NodeId>, Nanos> clogged_until_;
  std::map<Address, SimListener*> listeners_;
  std::map<Address, std::shared_ptr<Receiver>> receivers_;
  std::vector<std::weak_ptr<SimConnection>> connections_;
  uint16_t last_port_ = 40'000;
};

class SimTransport final : public host::Transport {
 public:
  SimTransport(SimNetwork& network, NodeId node) : network_(network), node_(node) {}

  base::Result<std::unique_ptr<host::Listener>> listen(const host::Endpoint& at,
                                                       const host::ListenOptions& options,
                                                       host::OnPeer on_peer) override;
  void dial(const host::Endpoint& to, host::OnDial done) override;

 private:
  SimNetwork& network_;
  NodeId node_;
};

class SimDatagrams final : public host::Datagrams {
 public:
  SimDatagrams(SimNetwork& network, NodeId node, Seat seat = Seat::main)
      : network_(network), node_(node), seat_(seat) {}

  base::Result<> bind(const host::Endpoint& at, host::OnDatagram on_datagram) override;
  void send(const host::Endpoint& to, host::Bytes bytes) override;
  void close();  // what was bound

 private:
  SimNetwork& network_;
  NodeId node_;
  Seat seat_;
  host::Endpoint bound_;
};

}  // namespace quoll::sim
