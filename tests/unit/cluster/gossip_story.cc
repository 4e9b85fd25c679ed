#include "tests/unit/cluster/gossip_story.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace quoll::cluster {
namespace {

constexpr uint32_t kStoryCluster = 0x51554f4c;
constexpr base::Millis kQuietMs = 20'000;  // until what all have to tell at first is told

std::string name(NodeIndex n) { return std::string(1, static_cast<char>('a' + n)); }

std::string text(NodeState state) {
  static constexpr const char* kNames[] = {"", "alive", "suspect", "fail", "left"};
  return kNames[static_cast<int>(state)];
}

std::string text(const News& news) {
  std::string all =
      name(news.subject) + " " + text(news.state) + " " + std::to_string(news.incarnation);
  if (news.address) all += " at " + news.address->text();
  if (news.from != news.subject) all += " says " + name(news.from);
  return all;
}

std::string text(const Datagram& datagram) {
  static constexpr const char* kNames[] = {"", "ping", "ack", "ask", "vouch", "nack", "forgotten"};
  std::string all = kNames[static_cast<int>(datagram.type)];
  if (datagram.has_about()) all += " " + name(datagram.about);
  for (const News& news : datagram.news) all += "; " + text(news);
  return all;
}

}  // namespace

GossipStory::GossipStory(size_t nodes) : cipher_({std::string(32, 's')}, "story") {
  std::vector<GossipMember> members;
  for (size_t n = 0; n < nodes; ++n) {
    nodes_.emplace_back().address = new_address();
    members.push_back({static_cast<NodeIndex>(n), nodes_[n].address, 1});
  }
  topologies_.push_back(members);
  for (size_t n = 0; n < nodes; ++n) begin(static_cast<NodeIndex>(n), false);
  run(kQuietMs);
  told_.clear();
}

NodeAddress GossipStory::new_address() { return NodeAddress::v4(10, 0, 0, ++addresses_, 16379); }

NodeIndex GossipStory::add() {
  const auto n = static_cast<NodeIndex>(nodes_.size());
  nodes_.emplace_back().address = new_address();
  return n;
}

void GossipStory::begin(NodeIndex n, bool elsewhere, Incarnation incarnation) {
  Node& node = nodes_[n];
  if (elsewhere) node.address = new_address();
  node.core = std::make_unique<GossipCore>(GossipConfig{.cluster = kStoryCluster,
                                                        .self = n,
                                                        .incarnation = incarnation,
                                                        .address = node.address,
                                                        .nonce = n * 1'000'000u},
                                           cipher_, n + 1, now_);
  node.core->set_members(topologies_[node.version - 1], node.version, now_);
}

void GossipStory::end(NodeIndex n) { nodes_[n].core.reset(); }

void GossipStory::give_topology(const std::vector<NodeIndex>& to,
                                const std::vector<NodeIndex>& members) {
  std::vector<GossipMember> all;
  for (NodeIndex m : members)
    all.push_back({m, nodes_[m].address, nodes_[m].core ? nodes_[m].core->incarnation() : 1});
  topologies_.push_back(all);
  for (NodeIndex n : to) {
    nodes_[n].version = topologies_.size();
    if (nodes_[n].core) core(n).set_members(all, nodes_[n].version, now_);
  }
}

void GossipStory::run(base::Millis time) {
  const base::Millis end = now_ + time;
  for (;;) {
    base::Millis next = end + 1;
    NodeIndex who = 0;
    for (size_t n = 0; n < nodes_.size(); ++n)
      if (nodes_[n].core && nodes_[n].core->next_wake() < next) {
        next = nodes_[n].core->next_wake();
        who = static_cast<NodeIndex>(n);
      }
    if (next > end) break;
    now_ = std::max(now_, next);
    core(who).tick(now_);
    settle(who);
  }
  now_ = end;
}

void GossipStory::settle(NodeIndex n) {
  GossipActions actions = core(n).take();
  for (const auto& change : actions.changes)
    line(name(n), "sees " + name(change.node) + " " + text(change.state));
  for (const auto& move : actions.moves)
    line(name(n), "finds " + name(move.node) + " at " + move.address.text());
  for (NodeIndex blocked : actions.udp_blocked)
    line(name(n), "hears " + name(blocked) + " by TCP only");
  if (actions.forgotten)
    line(name(n), "is forgotten since version " + std::to_string(*actions.forgotten));
  for (auto& send : actions.sends) on_the_way_.push_back({n, send.to, std::move(send.bytes)});
  for (const auto& probe : actions.tcp) {
    line(name(n), "tries " + name(probe.node) + " by TCP");
    const int target = node_at(probe.address);
    if (target < 0 || !tcp_) continue;
    core(n).tcp_answered(probe.node, now_);
    settle(n);
  }
  if (actions.pull) {
    const NodeIndex from = actions.pull->from;
    line(name(n), "asks " + name(from) + " for version " + std::to_string(actions.pull->version));
    nodes_[n].version = nodes_[from].version;
    core(n).set_members(topologies_[nodes_[n].version - 1], nodes_[n].version, now_);
    settle(n);
  }
  deliver();
}

void GossipStory::deliver() {
  while (!on_the_way_.empty()) {
    const Said said = std::move(on_the_way_.front());
    on_the_way_.pop_front();
    Datagram datagram;
    REQUIRE(decode_datagram(said.bytes, kStoryCluster, cipher_, datagram) == DatagramFault::none);
    const int to = node_at(said.to);
    std::string place = said.to.text();
    for (size_t n = 0; n < nodes_.size(); ++n)
      if (nodes_[n].address == said.to) place = name(static_cast<NodeIndex>(n));
    const bool lost = to < 0 || cuts_.count({said.from, static_cast<NodeIndex>(to)});
    line(name(said.from) + (lost ? " -x " : " -> ") + place, text(datagram));
    if (lost) continue;
    nodes_[static_cast<size_t>(to)].core->receive(nodes_[said.from].address, said.bytes, now_);
    settle(static_cast<NodeIndex>(to));
  }
}

int GossipStory::node_at(const NodeAddress& address) const {
  for (size_t n = 0; n < nodes_.size(); ++n)
    if (nodes_[n].core && nodes_[n].address == address) return static_cast<int>(n);
  return -1;
}

void GossipStory::line(const std::string& who, const std::string& what) {
  told_ += who + std::string(who.size() < 8 ? 8 - who.size() : 1, ' ') + what + "\n";
}

std::string GossipStory::told() { return "\n" + std::exchange(told_, {}); }

}  // namespace quoll::cluster
