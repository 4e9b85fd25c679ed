#include "tests/sim/gossip/gossip_world.h"

#include <xxhash.h>

#include <algorithm>

#include "base/check.h"

namespace quoll::sim {

using cluster::GossipActions;
using cluster::GossipCore;
using cluster::GossipMember;
using cluster::TopologyVersion;

// A tag that fits nobody else's bytes; nothing is hidden. As large as the real one.
class GossipWorld::Seal final : public cluster::GossipSeal {
 public:
  explicit Seal(uint32_t cluster) : seed_(cluster * 0x9e3779b97f4a7c15u) {}
  void seal(base::Bytes head, base::Bytes plain, std::string& out) override {
    out += plain;
    const XXH128_hash_t tag = tag_of(head, plain);
    out.append(reinterpret_cast<const char*>(&tag), sizeof tag);
  }
  bool open(base::Bytes head, base::Bytes sealed, std::string& plain) override {
    XXH128_hash_t tag;
    if (sealed.size() < sizeof tag) return false;
    plain = sealed.substr(0, sealed.size() - sizeof tag);
    std::memcpy(&tag, sealed.data() + plain.size(), sizeof tag);
    return XXH128_isEqual(tag, tag_of(head, plain));
  }

 private:
  XXH128_hash_t tag_of(base::Bytes head, base::Bytes plain) const {
    return XXH3_128bits_withSeed(plain.data(), plain.size(),
                                 seed_ ^ XXH3_64bits(head.data(), head.size()));
  }
  uint64_t seed_;
};

GossipWorld::GossipWorld(uint64_t seed, size_t nodes, const GossipNetwork& network,
                         uint32_t cluster)
    : chance_(seed), cluster_(cluster), network_(network), seal_(std::make_unique<Seal>(cluster)) {
  nodes_.resize(nodes);
  for (size_t n = 0; n < nodes; ++n) {
    nodes_[n].address = new_address();
    addresses_[nodes_[n].address] = static_cast<NodeIndex>(n);
    members_.insert(static_cast<NodeIndex>(n));
  }
  change_topology();
  for (size_t n = 0; n < nodes; ++n) begin(static_cast<NodeIndex>(n), false);
}

// ---- what happens

void GossipWorld::run(Millis time) {
  const Millis end = now_ + time;
  while (!queue_.empty() && queue_.begin()->first <= end) {
    now_ = std::max(now_, queue_.begin()->first);
    std::deque<Event>& events = queue_.begin()->second;
    Event event = std::move(events.front());
    events.pop_front();
    if (events.empty()) queue_.erase(queue_.begin());
    play(event);
  }
  now_ = end;
}

void GossipWorld::play(Event& event) {
  using Kind = Event::Kind;
  if (event.kind == Kind::datagram) {
    deliver(event.to, event.from, event.bytes);
    return;
  }
  Node& node = nodes_[event.node];
  if (!node.lives || node.life != event.life) return;
  switch (event.kind) {
    case Kind::wake:
      if (node.wake != now_) return;  // another one was set
      node.wake = -1;
      if (node.paused) return;
      node.core->tick(now_);
      break;
    case Kind::tcp:
      if (node.paused) return;
      node.core->tcp_answered(static_cast<NodeIndex>(event.number), now_);
      break;
    case Kind::topology:
      if (node.paused) return;
      adopt(event.node, event.number);
      break;
    case Kind::resume:
      node.paused = false;
      for (; !node.inbox.empty(); node.inbox.pop_front())
        node.core->receive(node.inbox.front().first, node.inbox.front().second, now_);
      node.core->tick(now_);
      break;
    case Kind::loop:
      node.core->set_loop_age(static_cast<Millis>(event.number), now_);
      break;
    case Kind::datagram:
      break;
  }
  after(event.node);
}

void GossipWorld::end(NodeIndex n) {
  Node& node = nodes_[n];
  node.lives = false;
  ++node.life;
  node.core.reset();
  node.inbox.clear();
}

void GossipWorld::begin(NodeIndex n, bool elsewhere) {
  Node& node = nodes_[n];
  QUOLL_CHECK(!node.lives);
  if (elsewhere) {
    addresses_.erase(node.address);
    node.address = new_address();
    addresses_[node.address] = n;
  }
  ++node.life;
  node.lives = true;
  node.left = node.paused = node.forgotten = false;
  node.wake = -1;
  node.seen.clear();
  node.core = std::make_unique<GossipCore>(cluster::GossipConfig{.cluster = cluster_,
                                                                 .self = n,
                                                                 .incarnation = 1,
                                                                 .address = node.address,
                                                                 .nonce = chance_.draw()},
                                           *seal_, chance_.draw(), now_);
  node.core->set_wall(chance_.between(-200, 200));
  if (node.version == 0) node.version = topologies_.size();
  adopt(n, node.version);
  after(n);
}

void GossipWorld::pause(NodeIndex n, Millis time) {
  if (!nodes_[n].lives || nodes_[n].paused) return;
  nodes_[n].paused = true;
  post(now_ + time, {.kind = Event::Kind::resume, .node = n, .life = nodes_[n].life});
}

void GossipWorld::keep_busy(NodeIndex n, Millis time) {
  const uint64_t life = nodes_[n].life;
  for (Millis age = kSecond; age < time; age += kSecond)
    post(
        now_ + age,
        {.kind = Event::Kind::loop, .node = n, .life = life, .number = static_cast<uint64_t>(age)});
  post(now_ + time, {.kind = Event::Kind::loop, .node = n, .life = life});
}

void GossipWorld::leave(NodeIndex n) {
  nodes_[n].left = nodes_[n].left_before = true;
  nodes_[n].core->leave(now_);
  after(n);
}

void GossipWorld::move(NodeIndex n) {
  Node& node = nodes_[n];
  addresses_.erase(node.address);
  node.address = new_address();
  addresses_[node.address] = n;
  node.core->move(node.address, now_);
  after(n);
}

NodeIndex GossipWorld::join() {
  const auto n = static_cast<NodeIndex>(nodes_.size());
  nodes_.emplace_back();
  nodes_[n].address = new_address();
  addresses_[nodes_[n].address] = n;
  members_.insert(n);
  change_topology();
  begin(n, false);
  return n;
}

void GossipWorld::forget(NodeIndex n) {
  members_.erase(n);
  inform();
}

void GossipWorld::inform() {
  change_topology();
  for (NodeIndex n : members_)
    if (nodes_[n].lives && !nodes_[n].paused) {
      adopt(n, topologies_.size());
      after(n);
      return;
    }
}

void GossipWorld::split(const std::set<NodeIndex>& part) { part_ = part; }

void GossipWorld::deafen(NodeIndex n, bool deaf) { nodes_[n].deaf = deaf; }

void GossipWorld::change_topology() {
  std::vector<GossipMember> members;
  for (NodeIndex n : members_) {
    GossipMember member{n, nodes_[n].address, 1};
    // An address counts from an incarnation on that is higher than all before.
    for (const GossipMember& last : topologies_.empty() ? members : topologies_.back())
      if (last.index == n)
        member.incarnation = last.incarnation + (last.address == member.address ? 0 : 1);
    for (const Node& node : nodes_)
      if (const auto seen = node.seen.find(n); seen != node.seen.end())
        member.incarnation = std::max(member.incarnation, seen->second + 1);
    members.push_back(member);
  }
  topologies_.push_back(std::move(members));
}

void GossipWorld::adopt(NodeIndex n, TopologyVersion version) {
  Node& node = nodes_[n];
  if (version < node.version) return;
  node.version = version;
  node.core->set_members(topologies_[version - 1], version, now_);
}

void GossipWorld::deliver(const NodeAddress& to, const NodeAddress& from,
                          const std::string& bytes) {
  const int n = node_at(to);
  if (n < 0) return;
  Node& node = nodes_[static_cast<size_t>(n)];
  if (!node.lives || node.deaf) return;
  if (node.paused) {
    node.inbox.emplace_back(from, bytes);
    return;
  }
  node.core->receive(from, bytes, now_);
  after(static_cast<NodeIndex>(n));
}

// ---- what cores want

void GossipWorld::after(NodeIndex n) {
  Node& node = nodes_[n];
  GossipActions actions = node.core->take();
  for (GossipActions::Send& s : actions.sends) send(n, s);
  for (const GossipActions::Change& change : actions.changes) note(n, change);
  for (const GossipActions::TryTcp& probe : actions.tcp) {
    ++counts_.tcp_probes;
    const int target = node_at(probe.address);
    if (!network_.tcp || target != probe.node || !connected(n, probe.node)) continue;
    const Node& other = nodes_[static_cast<size_t>(target)];
    if (other.lives && !other.paused && !other.core->silent())
      post(now_ + 2 * network_.delay_max,
           {.kind = Event::Kind::tcp, .node = n, .life = node.life, .number = probe.node});
  }
  if (actions.pull) {
    ++counts_.pulls;
    const NodeIndex source = actions.pull->from;
    if (nodes_[source].lives && !nodes_[source].paused && connected(n, source))
      post(now_ + 2 * network_.delay_max, {.kind = Event::Kind::topology,
                                           .node = n,
                                           .life = node.life,
                                           .number = nodes_[source].version});
  }
  if (actions.compare) ++counts_.compares;
  if (actions.forgotten) {
    node.forgotten = true;
    if (members_.count(n) && *actions.forgotten >= topologies_.size())
      fail("n" + std::to_string(n) + " is a member, and was told it is forgotten");
  }
  schedule(n);
}

void GossipWorld::schedule(NodeIndex n) {
  Node& node = nodes_[n];
  const Millis wake = std::max(node.core->next_wake(), now_);
  if (node.wake >= 0 && node.wake <= wake) return;
  node.wake = wake;
  post(wake, {.kind = Event::Kind::wake, .node = n, .life = node.life});
}

void GossipWorld::send(NodeIndex from, GossipActions::Send& sent) {
  ++counts_.datagrams;
  counts_.bytes += sent.bytes.size() + kDatagramOverhead;
  nodes_[from].sent_bytes += sent.bytes.size() + kDatagramOverhead;
  if (overheard_) overheard_->push_back(sent.bytes);
  const int to = node_at(sent.to);
  if (to < 0 || !connected(from, static_cast<NodeIndex>(to))) return;
  for (int copies = chance_.ppm(network_.twice_ppm) ? 2 : 1; copies > 0; --copies) {
    if (chance_.ppm(network_.loss_ppm)) continue;
    post(now_ + chance_.between(network_.delay_min, network_.delay_max),
         {.kind = Event::Kind::datagram,
          .node = from,
          .to = sent.to,
          .from = nodes_[from].address,
          .bytes = copies > 1 ? sent.bytes : std::move(sent.bytes)});
  }
}

void GossipWorld::note(NodeIndex n, const GossipActions::Change& change) {
  Node& node = nodes_[n];
  if (change.node >= nodes_.size()) return fail("news of a node that never was");
  cluster::Incarnation& seen = node.seen[change.node];
  if (change.incarnation < seen) fail("an incarnation went back");
  seen = change.incarnation;
  const Node& subject = nodes_[change.node];
  if (!subject.lives || subject.left) return;
  if (change.state == NodeState::suspect) ++counts_.suspicions;
  if (change.state == NodeState::fail) ++counts_.false_deaths;
}

// ---- what is seen

int GossipWorld::node_at(const NodeAddress& address) const {
  const auto it = addresses_.find(address);
  return it == addresses_.end() ? -1 : it->second;
}

NodeAddress GossipWorld::new_address() {
  const uint32_t n = ++addresses_given_;
  return NodeAddress::v4(10, static_cast<uint8_t>(cluster_), static_cast<uint8_t>(n >> 8),
                         static_cast<uint8_t>(n), 16379);
}

std::vector<NodeIndex> GossipWorld::all_living() const {
  std::vector<NodeIndex> living;
  for (size_t n = 0; n < nodes_.size(); ++n)
    if (nodes_[n].lives) living.push_back(static_cast<NodeIndex>(n));
  return living;
}

size_t GossipWorld::living() const { return all_living().size(); }

bool GossipWorld::all_see(NodeIndex node, NodeState state) const {
  for (NodeIndex n : all_living())
    if (n != node && looks_on(n) &&
        (!nodes_[n].core->is_member(node) || nodes_[n].core->state(node) != state))
      return false;
  return true;
}

std::string GossipWorld::difference() const {
  for (NodeIndex n : all_living()) {
    if (!looks_on(n)) continue;
    const GossipCore& core = *nodes_[n].core;
    const std::string who = "n" + std::to_string(n);
    if (core.topology() != topologies_.size()) return who + " has an old topology";
    if (core.nodes() != members_.size()) return who + " counts others than the topology";
    for (NodeIndex m : members_) {
      if (m == n) continue;
      const Node& other = nodes_[m];
      const NodeState state = other.left    ? NodeState::left
                              : other.lives ? NodeState::alive
                                            : NodeState::fail;
      const std::string whom = "n" + std::to_string(m);
      if (!core.is_member(m)) return who + " does not know " + whom;
      // Who left unheard has failed to some; who is gone, and left before, has left to others.
      const bool both_gone = other.left_before && state != NodeState::alive &&
                             (core.state(m) == NodeState::fail || core.state(m) == NodeState::left);
      if (core.state(m) != state && !both_gone)
        return who + " takes " + whom + " for " + std::to_string(static_cast<int>(core.state(m))) +
               ", not " + std::to_string(static_cast<int>(state));
      if (state == NodeState::alive && *core.address(m) != other.address)
        return who + " looks for " + whom + " at " + core.address(m)->text();
    }
  }
  return "";
}

double GossipWorld::most_sent_per_second(Millis since_last) {
  uint64_t most = 0;
  for (Node& node : nodes_) {
    most = std::max(most, node.sent_bytes - node.sent_before);
    node.sent_before = node.sent_bytes;
  }
  return static_cast<double>(most) * kSecond / static_cast<double>(since_last);
}

void GossipWorld::fail(const std::string& what) {
  if (failure_.empty()) failure_ = "at " + std::to_string(now_) + " ms: " + what;
}

}  // namespace quoll::sim
