#include "tests/sim/sim_network.h"

#include <algorithm>

#include "base/check.h"
#include "tests/sim/sim_connection.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {
namespace {

using Family = host::Endpoint::Family;
constexpr const char* kResetText = "Connection reset by peer";

std::string text_of(const host::Endpoint& endpoint) {
  std::string port = ":" + std::to_string(endpoint.port);
  if (endpoint.family == Family::ipv6) return "[" + endpoint.address + "]" + port;
  return endpoint.address + port;
}

}  // namespace

// ---- links

void SimNetwork::block(NodeId from, NodeId to) {
  world_.note("block", std::to_string(from) + ">" + std::to_string(to));
  blocked_.insert({from, to});
}

void SimNetwork::heal(NodeId from, NodeId to) {
  if (blocked_.erase({from, to}) == 0) return;
  world_.note("heal", std::to_string(from) + ">" + std::to_string(to));
  for (auto& weak : connections_) {
    auto connection = weak.lock();
    if (!connection) continue;
    for (int side : {0, 1}) {
      SimSide& sender = connection->sides[side];
      if (!sender.stalled || sender.node != from || connection->sides[1 - side].node != to)
        continue;
      sender.stalled = false;
      plan_piece(connection, side, arrival(from, to));
    }
  }
}

void SimNetwork::heal_all() {
  clogged_until_.clear();
  while (!blocked_.empty()) heal(blocked_.begin()->first, blocked_.begin()->second);
}

void SimNetwork::clog(NodeId from, NodeId to, Nanos until) {
  Nanos& current = clogged_until_[{from, to}];
  current = std::max(current, until);
}

void SimNetwork::reset_streams(NodeId one, NodeId other) {
  for (size_t i = 0; i < connections_.size(); ++i) {
    auto connection = connections_[i].lock();
    if (!connection) continue;
    NodeId a = connection->sides[0].node;
    NodeId b = connection->sides[1].node;
    if ((a == one && b == other) || (a == other && b == one)) reset(connection, kNobody);
  }
}

void SimNetwork::drop_node(NodeId node) {
  std::erase_if(listeners_, [node](const auto& entry) { return entry.first.node == node; });
  std::erase_if(receivers_, [node](const auto& entry) { return entry.first.node == node; });
  for (size_t i = 0; i < connections_.size(); ++i) {
    auto connection = connections_[i].lock();
    if (!connection) continue;
    if (connection->sides[0].node == node || connection->sides[1].node == node) {
      reset(connection, node);
    }
  }
}

Nanos SimNetwork::arrival(NodeId from, NodeId to) {
  const FaultPlan& plan = world_.plan();
  Nanos at = world_.now() + world_.chance().between(plan.latency_min_us, plan.latency_max_us) *
                                base::kNanosPerMicro;
  auto clogged = clogged_until_.find({from, to});
  return clogged == clogged_until_.end() ? at : std::max(at, clogged->second);
}

uint16_t SimNetwork::next_port() {
  last_port_ = last_port_ == 65535 ? 32768 : last_port_ + 1;
  return last_port_;
}

NodeId SimNetwork::node_at(NodeId from, const host::Endpoint& to) const {
  if (to.family != Family::ipv4) return from == world_.clients() ? 0 : from;
  for (NodeId node = 0; node < world_.node_count(); ++node) {
    if (SimWorld::address_of(node) == to.address) return node;
  }
  return to.address == "localhost" ? 0 : kNobody;
}

// ---- connecting

void SimNetwork::dial(NodeId from, const host::Endpoint& to, host::OnDial done) {
  NodeId node = node_at(from, to);
  bool by_path = to.family == Family::unix_path;
  Address at{node, to.family, by_path ? to.address : "", by_path ? uint16_t{0} : to.port};
  if (node == kNobody || blocked(from, node) || blocked(node, from)) {
    world_.schedule(from, world_.now() + kDialTimeout, "dialfail",
                    [done] { done(base::Error{"Connection timed out"}); });
    return;
  }
  // Belongs to the dialler's life: its crash forgets the attempt.
  world_.schedule(from, arrival(from, node), "knock",
                  [this, from, at, to, done] { knock(from, at, to, done); });
}

void SimNetwork::knock(NodeId from, const Address& at, const host::Endpoint& to,
                       host::OnDial done) {
  auto found = listeners_.find(at);
  Nanos back = arrival(at.node, from);
  if (found == listeners_.end()) {
    world_.schedule(from, back, "dialfail", [done] { done(base::Error{"Connection refused"}); });
    return;
  }
  auto connection = std::make_shared<SimConnection>();
  std::erase_if(connections_, [](const auto& weak) { return weak.expired(); });
  connections_.push_back(connection);
  SimSide& dialled = connection->sides[0];
  SimSide& accepted = connection->sides[1];
  connection->is_unix = at.family == Family::unix_path;
  dialled.node = from;
  accepted.node = at.node;
  dialled.remote = accepted.local = text_of(to);
  host::Endpoint name{at.family, SimWorld::address_of(from), next_port()};
  if (at.family == Family::ipv6) name.address = "::1";
  if (connection->is_unix) name = {at.family, to.address, 0};
  dialled.local = accepted.remote = text_of(name);
  SimListener* listener = found->second;
  if (listener->paused_) {
    listener->waiting_.push_back(connection);
  } else {
    accept(*listener, connection);
  }
  world_.schedule(from, back, "dialled", [this, connection, done] {
    done(std::unique_ptr<host::Peer>(std::make_unique<SimPeer>(*this, connection, 0)));
  });
}

void SimNetwork::accept(SimListener& listener, const Connection& connection) {
  Address at = listener.address_;
  world_.schedule(at.node, world_.now(), "accept", [this, at, connection] {
    auto found = listeners_.find(at);
    if (found != listeners_.end() && world_.hearing_nested(at.node) &&
        !found->second->heard_nested_) {
      world_.schedule(at.node, world_.now(), "waiting", [this, at, connection] {
        auto still = listeners_.find(at);
        if (still != listeners_.end()) accept(*still->second, connection);
      });
      return;
    }
    auto peer = std::make_unique<SimPeer>(*this, connection, 1);
    // A listener closed since then leaves the peer to be destroyed: the dialler sees the end.
    if (found != listeners_.end()) {
      auto on_peer = found->second->on_peer_;
      on_peer(std::move(peer));
    }
  });
}

base::Result<std::unique_ptr<host::Listener>> SimTransport::listen(
    const host::Endpoint& at, const host::ListenOptions& options, host::OnPeer on_peer) {
  host::Endpoint endpoint = at;
  if (at.family != Family::unix_path && at.port == 0) endpoint.port = network_.next_port();
  bool by_path = at.family == Family::unix_path;
  SimNetwork::Address address{node_, at.family, by_path ? at.address : "",
                              by_path ? uint16_t{0} : endpoint.port};
  if (network_.listeners_.count(address) != 0) {
    return base::Error{"bind: Address already in use"};
  }
  auto listener = std::make_unique<SimListener>(network_, address, endpoint, options.heard_nested,
                                                std::move(on_peer));
  network_.listeners_.emplace(address, listener.get());
  return std::unique_ptr<host::Listener>(std::move(listener));
}

void SimTransport::dial(const host::Endpoint& to, host::OnDial done) {
  network_.dial(node_, to, std::move(done));
}

SimListener::~SimListener() {
  auto found = network_.listeners_.find(address_);
  if (found != network_.listeners_.end() && found->second == this) network_.listeners_.erase(found);
}

void SimListener::pause(bool paused) {
  paused_ = paused;
  while (!paused_ && !waiting_.empty()) {
    network_.accept(*this, waiting_.front());
    waiting_.pop_front();
  }
}

// ---- streams

void SimPeer::start(host::PeerEvents& events) {
  SimSide& side = connection_->sides[side_];
  if (side.closed) return;
  side.events = &events;
  network_.plan_hand_over(connection_, side_);
}

void SimPeer::pause_reads(bool paused) {
  SimSide& side = connection_->sides[side_];
  if (side.paused == paused) return;
  side.paused = paused;
  if (!paused) side.end_told = false;  // reading again finds the end again
  network_.plan_hand_over(connection_, side_);
}

size_t SimNetwork::send(const Connection& connection, int side,
                        std::span<const host::Bytes> parts) {
  SimSide& self = connection->sides[side];
  SimSide& other = connection->sides[1 - side];
  if (self.closed || self.sends_ended || connection->broken) return 0;
  const FaultPlan& plan = world_.plan();
  size_t total = 0;
  for (host::Bytes part : parts) total += part.size();
  size_t used = self.in_flight.size() + other.unread.size();
  size_t window = static_cast<size_t>(plan.window_bytes);
  size_t room = std::min(total, window > used ? window - used : 0);
  if (room > 0 && world_.chance().ppm(plan.short_send_ppm)) {
    room = static_cast<size_t>(world_.chance().between(0, static_cast<int64_t>(room)));
  }
  size_t left = room;
  for (host::Bytes part : parts) {
    part = part.substr(0, left);
    self.in_flight.append(part);
    left -= part.size();
  }
  if (room > 0) plan_piece(connection, side, arrival(self.node, other.node));
  if (room < total) {
    self.wants_room = true;
    offer_room(connection, side);
  }
  return room;
}

// Tells a sender that was taken short when the window is open again.
void SimNetwork::offer_room(const Connection& connection, int side) {
  SimSide& self = connection->sides[side];
  SimSide& other = connection->sides[1 - side];
  size_t used = self.in_flight.size() + other.unread.size();
  if (!self.wants_room || used >= static_cast<size_t>(world_.plan().window_bytes)) return;
  self.wants_room = false;
  world_.schedule(self.node, arrival(other.node, self.node), "writable",
                  [this, connection, side] { hand_room(connection, side); });
}

void SimNetwork::hand_room(const Connection& connection, int side) {
  SimSide& self = connection->sides[side];
  if (self.events == nullptr) return;
  if (!deaf_now(self.node, *self.events)) return self.events->writable();
  world_.schedule(self.node, world_.now(), "waiting",
                  [this, connection, side] { hand_room(connection, side); });
}

void SimNetwork::close_side(const Connection& connection, int side) {
  SimSide& self = connection->sides[side];
  self.events = nullptr;
  if (self.closed) return;
  self.closed = true;
  if (connection->broken) return;
  self.end_in_flight = true;
  self.unread.clear();
  plan_piece(connection, side, arrival(self.node, connection->sides[1 - side].node));
}

void SimNetwork::end_sends(const Connection& connection, int side) {
  SimSide& self = connection->sides[side];
  if (self.closed || self.sends_ended || connection->broken) return;
  self.sends_ended = true;
  self.end_in_flight = true;
  plan_piece(connection, side, arrival(self.node, connection->sides[1 - side].node));
}

void SimNetwork::plan_piece(const Connection& connection, int from_side, Nanos at) {
  SimSide& sender = connection->sides[from_side];
  if (sender.piece_planned || sender.stalled || connection->broken) return;
  sender.piece_planned = true;
  world_.schedule(connection->sides[1 - from_side].node, at, "piece",
                  [this, connection, from_side] { deliver_piece(connection, from_side); });
}

// True when the link holds the piece back; it is planned anew or waits for heal().
bool SimNetwork::delayed_by_link(const Connection& connection, int from_side) {
  SimSide& sender = connection->sides[from_side];
  NodeId from = sender.node;
  NodeId to = connection->sides[1 - from_side].node;
  if (blocked(from, to)) {
    sender.stalled = true;
    return true;
  }
  const FaultPlan& plan = world_.plan();
  if (world_.chance().ppm(plan.clog_ppm)) {
    clog(from, to,
         world_.now() + world_.chance().between(1, plan.clog_max_ms) * base::kNanosPerMilli);
  }
  auto clogged = clogged_until_.find({from, to});
  if (clogged == clogged_until_.end() || clogged->second <= world_.now()) return false;
  plan_piece(connection, from_side, clogged->second);
  return true;
}

void SimNetwork::deliver_piece(const Connection& connection, int from_side) {
  SimSide& sender = connection->sides[from_side];
  SimSide& receiver = connection->sides[1 - from_side];
  sender.piece_planned = false;
  if (connection->broken || delayed_by_link(connection, from_side)) return;
  const FaultPlan& plan = world_.plan();
  if (world_.chance().ppm(plan.reset_ppm)) return reset(connection, kNobody);
  size_t size = sender.in_flight.size();
  if (plan.chunk_bytes_max > 0 && size > 0) {
    size = std::min(size, static_cast<size_t>(world_.chance().between(1, plan.chunk_bytes_max)));
  }
  if (size > 0 && receiver.closed) return reset(connection, receiver.node);  // nobody listens
  receiver.unread.append(sender.in_flight.front(size));
  sender.in_flight.drop(size);
  if (!sender.in_flight.empty()) {
    plan_piece(connection, from_side, world_.now() + kPieceGap);
  } else if (sender.end_in_flight) {
    receiver.end_arrived = true;
  }
  hand_over(connection, 1 - from_side);
}

void SimNetwork::plan_hand_over(const Connection& connection, int side) {
  SimSide& self = connection->sides[side];
  bool news = (!self.paused && !self.unread.empty()) ||
              (self.end_arrived && self.unread.empty() && !self.end_told) || connection->broken;
  if (!news || self.events == nullptr || self.hand_over_planned) return;
  self.hand_over_planned = true;
  world_.schedule(self.node, world_.now(), "readable", [this, connection, side] {
    connection->sides[side].hand_over_planned = false;
    hand_over(connection, side);
  });
}

// Its node is in the middle of a turn and hears only those who asked for it.
bool SimNetwork::deaf_now(NodeId node, const host::PeerEvents& events) const {
  return world_.hearing_nested(node) && !events.heard_nested();
}

void SimNetwork::hand_over(const Connection& connection, int side) {
  SimSide& self = connection->sides[side];
  bool received = false;
  if (self.events != nullptr && deaf_now(self.node, *self.events)) {
    world_.schedule(self.node, world_.now(), "waiting",
                    [this, connection, side] { hand_over(connection, side); });
    return;
  }
  for (int i = 0; i < kReceivesPerTurnMax; ++i) {
    if (self.events == nullptr || self.paused || self.unread.empty() || connection->broken) break;
    std::span<char> buffer = self.events->receive_buffer();
    QUOLL_CHECK(!buffer.empty());
    host::Bytes bytes = self.unread.front(buffer.size());
    std::copy(bytes.begin(), bytes.end(), buffer.begin());
    world_.note("bytes", bytes);
    size_t count = bytes.size();
    self.unread.drop(count);
    received = true;
    self.events->received(count);
    world_.received(self.node, self.remote);
  }
  offer_room(connection, 1 - side);
  if (self.events == nullptr) return;
  // The end comes in a turn of its own, so replies to the last bytes can still be sent.
  bool ended = self.end_arrived && self.unread.empty() && !received;
  if (!ended && !connection->broken) return plan_hand_over(connection, side);
  if (!connection->broken) {
    if (self.end_told) return;
    self.end_told = self.events->ended();
    if (self.end_told || self.events == nullptr) return;
  }
  host::PeerEvents* events = self.events;
  close_side(connection, side);
  events->closed(connection->broken ? kResetText : "");
}

// Breaks the connection; both sides hear of it but the one on node `except`.
void SimNetwork::reset(const Connection& connection, NodeId except) {
  if (connection->broken) return;
  connection->broken = true;
  world_.note("reset", connection->sides[0].local);
  for (int side : {0, 1}) {
    SimSide& self = connection->sides[side];
    self.in_flight.clear();
    if (self.node == except) {
      self.events = nullptr;
      self.closed = true;
    } else if (world_.running(self.node)) {
      world_.schedule(self.node, arrival(connection->sides[1 - side].node, self.node), "broken",
                      [this, connection, side] { hand_over(connection, side); });
    }
  }
}

// ---- datagrams

base::Result<> SimDatagrams::bind(const host::Endpoint& at, host::OnDatagram on_datagram) {
  if (at.family == Family::unix_path) return base::Error{"datagrams need an IP address"};
  host::Endpoint endpoint = at;
  if (endpoint.port == 0) endpoint.port = network_.next_port();
  SimNetwork::Address address{node_, at.family, "", endpoint.port};
  auto receiver = std::make_shared<SimNetwork::Receiver>(seat_, std::move(on_datagram));
  if (!network_.receivers_.emplace(address, std::move(receiver)).second) {
    return base::Error{"bind: Address already in use"};
  }
  if (bound_.port == 0) bound_ = {at.family, SimWorld::address_of(node_), endpoint.port};
  return {};
}

void SimDatagrams::close() {
  std::erase_if(network_.receivers_, [this](const auto& entry) {
    return entry.first.node == node_ && entry.second->seat == seat_;
  });
  bound_ = {};
}

void SimDatagrams::send(const host::Endpoint& to, host::Bytes bytes) {
  if (bound_.port == 0) bound_ = {to.family, SimWorld::address_of(node_), network_.next_port()};
  network_.send_datagram(node_, bound_, to, bytes);
}

void SimNetwork::send_datagram(NodeId from, const host::Endpoint& sender, const host::Endpoint& to,
                               host::Bytes bytes) {
  const FaultPlan& plan = world_.plan();
  NodeId node = node_at(from, to);
  int copies = world_.chance().ppm(plan.datagram_copy_ppm) ? 2 : 1;
  for (; copies > 0; --copies) {
    if (node == kNobody || blocked(from, node)) continue;
    if (world_.chance().ppm(plan.datagram_loss_ppm)) continue;
    Nanos at = arrival(from, node) +
               world_.chance().between(0, plan.datagram_delay_max_us) * base::kNanosPerMicro;
    Address address{node, to.family, "", to.port};
    if (!world_.running(node)) continue;
    auto bound = receivers_.find(address);
    if (bound == receivers_.end()) continue;
    auto arrive = [this, address, sender, text = std::string(bytes)] {
      auto found = receivers_.find(address);
      if (found == receivers_.end()) return;
      world_.note("bytes", text);
      auto receiver = found->second;
      receiver->on_datagram(sender, text);
    };
    world_.schedule(node, at, "datagram", std::move(arrive), bound->second->seat);
  }
}

}  // namespace quoll::sim
