#include "server/cluster_gossip.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/sha256.h"

namespace quoll::server {

using base::Millis;
using base::Nanos;
using cluster::GossipOrders;
using cluster::GossipReport;
using cluster::NodeIndex;
using cluster::NodeState;

namespace {

constexpr Nanos kStillMax = cluster::kLoopAgeMax * base::kNanosPerMilli;

// What the datagrams of a cluster carry of its id.
uint32_t cluster_mark(base::Bytes id) {
  const base::Sha256 digest = base::sha256(id);
  uint32_t mark;
  std::memcpy(&mark, digest.data(), sizeof mark);
  return mark;
}

}  // namespace

ClusterGossip::ClusterGossip(host::Host& host, ClusterGossipSetup setup,
                             ClusterGossipEvents& events)
    : host_(host), setup_(std::move(setup)), events_(events), incarnation_(setup_.incarnation) {}

ClusterGossip::~ClusterGossip() {
  *alive_ = false;
  if (runner_) host_.side.stop();
}

base::Result<> ClusterGossip::start() {
  QUOLL_CHECK(!runner_);
  stamp();
  cluster::GossipSetup setup{.core = {.cluster = cluster_mark(setup_.cluster_id),
                                      .self = setup_.self,
                                      .incarnation = setup_.incarnation,
                                      .address = setup_.address,
                                      .nonce = host_.process.draw_secret()},
                             .seed = host_.random.draw(),
                             .secrets = setup_.secrets,
                             .cluster_id = setup_.cluster_id,
                             .binds = setup_.binds};
  auto runner = std::make_unique<cluster::GossipRunner>(std::move(setup), desk_, host_.side);
  auto started = host_.side.start(*runner, [this] { collect(); });
  if (started) runner_ = std::move(runner);
  return started;
}

void ClusterGossip::stamp() {
  stamped_ = host_.clock.steady();
  desk_.turned.store(stamped_, std::memory_order_relaxed);
}

void ClusterGossip::tick() {
  const Nanos before = stamped_;
  stamp();
  // It keeps silent, and looks once a second whether it may speak again.
  if (runner_ && stamped_ - before > kStillMax) host_.side.ring();
  collect();
}

// ---- orders

template <class Write>
void ClusterGossip::order(Write&& write) {
  if (desk_.orders.write(true, write) && runner_) host_.side.ring();
}

void ClusterGossip::set_members(std::vector<cluster::GossipMember> members,
                                cluster::TopologyVersion version) {
  if (version < topology_) return;
  topology_ = version;
  std::unordered_map<NodeIndex, GossipNode> next;
  for (const cluster::GossipMember& member : members) {
    if (member.index == setup_.self) continue;
    const auto known = nodes_.find(member.index);
    GossipNode& node = next[member.index];
    if (known != nodes_.end()) node = known->second;
    if (known != nodes_.end() && member.incarnation <= node.address_incarnation) continue;
    node.address = member.address;
    node.address_incarnation = member.incarnation;
    node.incarnation = std::max(node.incarnation, member.incarnation);
  }
  nodes_ = std::move(next);
  order([&](GossipOrders& orders) { orders.members = {std::move(members), version}; });
}

void ClusterGossip::leave() {
  leaving_ = true;
  order([](GossipOrders& orders) { orders.leave = true; });
}

void ClusterGossip::move(const cluster::NodeAddress& address) {
  order([&](GossipOrders& orders) { orders.address = address; });
}

void ClusterGossip::tcp_answered(NodeIndex node) {
  order([node](GossipOrders& orders) {
    if (orders.tcp_answered.size() < cluster::kTcpAnswersWaitingMax)
      orders.tcp_answered.push_back(node);
  });
}

void ClusterGossip::set_secrets(std::vector<std::string> secrets) {
  setup_.secrets = secrets;
  order([&](GossipOrders& orders) { orders.secrets = std::move(secrets); });
}

// ---- reports

// Whoever hears an event may have destroyed us.
void ClusterGossip::collect() {
  const std::optional<GossipReport> report = desk_.reports.take();
  if (!report) return;
  incarnation_ = report->incarnation;
  health_ = report->health;
  clock_ahead_ = report->clock_ahead;
  counts_ = report->counts;
  const std::shared_ptr<bool> alive = alive_;
  for (const auto& [node, seen] : report->nodes)
    if (*alive) learn(node, seen);
  for (const auto& [node, address] : report->try_tcp)
    if (*alive && find(node)) events_.gossip_try_tcp(node, address);
  for (NodeIndex node : report->udp_blocked)
    if (*alive && find(node)) events_.gossip_udp_blocked(node);
  if (*alive && report->pull && report->pull->version > topology_)
    events_.gossip_pull(report->pull->from, report->pull->version);
  if (*alive && report->compare && find(*report->compare)) events_.gossip_compare(*report->compare);
  if (*alive && report->forgotten && *report->forgotten >= topology_)
    events_.gossip_forgotten(*report->forgotten);
}

// Reports on who is no member any more come late.
void ClusterGossip::learn(NodeIndex index, const GossipReport::Seen& seen) {
  const auto found = nodes_.find(index);
  if (found == nodes_.end()) return;
  // The side loop counts as we do, from a moment of its own.
  const Millis wall = host_.clock.wall() - host_.clock.steady() / base::kNanosPerMilli;
  const auto unix_ms = [wall](Millis steady) { return steady ? steady + wall : 0; };
  GossipNode& node = found->second;
  const GossipNode before = node;
  node.state = seen.view.state;
  node.incarnation = std::max(node.incarnation, seen.view.incarnation);
  node.reports = seen.view.reports;
  node.ping_sent = unix_ms(seen.view.pinged_at);
  node.pong_received = unix_ms(seen.view.answered_at);
  if (seen.view.address_incarnation >= node.address_incarnation) {
    node.address = seen.view.address;
    node.address_incarnation = seen.view.address_incarnation;
  }
  const GossipNode now = node;
  const std::shared_ptr<bool> alive = alive_;
  if (now.address != before.address)
    events_.gossip_moved(index, now.address, now.address_incarnation);
  if (*alive && now.state != before.state) events_.gossip_state(index, now.state, seen.from);
}

// ---- queries

const GossipNode* ClusterGossip::find(NodeIndex node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? nullptr : &found->second;
}

NodeState ClusterGossip::state(NodeIndex node) const {
  if (node == setup_.self) return leaving_ ? NodeState::left : NodeState::alive;
  const GossipNode* known = find(node);
  return known ? known->state : NodeState::left;
}

}  // namespace quoll::server
