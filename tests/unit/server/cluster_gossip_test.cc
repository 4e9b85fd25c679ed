// The driver of the gossip over a side loop by hand: what it orders, what it reports, what rings.
// Many nodes, faults and the secret's rotation: tests/sim/cluster_gossip_scenarios.cc.
#include "server/cluster_gossip.h"

#include <fmt/format.h>

#include <cstring>
#include <map>

#include "cluster/node_endpoint.h"
#include "host/xoshiro.h"
#include "tests/unit/host/host_fixture.h"

namespace quoll::server {
namespace {

using base::Millis;
using cluster::Datagram;
using cluster::NodeAddress;
using cluster::NodeIndex;
using cluster::NodeState;

const std::string kClusterId = std::string(40, 'c');
const std::string kSecret = "sixteen bytes are";
const std::string kOtherSecret = "sixteen others are";

struct HandClock final : host::Clock {
  base::Nanos at = 1'000'000 * base::kNanosPerMilli;
  base::Millis wall() override { return 1'700'000'000'000 + at / base::kNanosPerMilli; }
  int64_t wall_micros() override { return wall() * 1000; }
  base::Nanos steady() override { return at; }
};

// Both loops by hand: time passes in run(), rings are heard in it.
struct HandSide final : host::SideLoop, host::Loop, host::Datagrams {
  explicit HandSide(HandClock& clock) : clock(clock), seen{clock, *this, *this} {}

  HandClock& clock;
  host::SideHost seen;
  host::SideWork* work = nullptr;
  host::Task rung;
  bool ringing = false;
  bool main_ringing = false;
  bool main_hears = true;
  std::map<base::Nanos, std::pair<host::TimerId, host::Task>> timers;
  host::TimerId last_timer = 0;
  host::OnDatagram on_datagram;
  std::vector<std::pair<host::Endpoint, std::string>> sent;

  base::Result<> start(host::SideWork& given, host::Task task) override {
    if (auto begun = given.begin(seen); !begun) return begun;
    work = &given;
    rung = std::move(task);
    return {};
  }
  void stop() override {
    if (work) std::exchange(work, nullptr)->end();
  }
  void ring() override { ringing = true; }
  void ring_main() override { main_ringing = true; }

  void post(host::Task) override { FAIL("the runner posts nothing"); }
  host::TimerId after(base::Nanos delay, host::Task task) override {
    base::Nanos at = clock.at + delay;
    while (timers.count(at)) ++at;
    timers[at] = {++last_timer, std::move(task)};
    return last_timer;
  }
  void cancel(host::TimerId id) override {
    std::erase_if(timers, [id](const auto& timer) { return timer.second.first == id; });
  }
  void on_turn_end(host::Task) override { FAIL("the runner waits for no turn's end"); }
  void hear_nested() override {}
  base::Nanos turn_start() override { return clock.at; }

  base::Result<> bind(const host::Endpoint& at, host::OnDatagram heard) override {
    if (at.port == 1) return base::Error{"bind: Permission denied"};
    on_datagram = std::move(heard);
    return {};
  }
  void send(const host::Endpoint& to, base::Bytes bytes) override { sent.emplace_back(to, bytes); }

  void hear_rings() {
    if (std::exchange(ringing, false) && work) work->rung();
    const host::Task main = rung;  // which may stop us
    if (main_hears && std::exchange(main_ringing, false) && work) main();
  }
  // Until then; `each` after every step.
  template <class Each>
  void run(Millis time, Each&& each) {
    const base::Nanos end = clock.at + time * base::kNanosPerMilli;
    hear_rings();
    each();
    while (!timers.empty() && timers.begin()->first <= end) {
      clock.at = std::max(clock.at, timers.begin()->first);
      host::Task task = std::move(timers.begin()->second.second);
      timers.erase(timers.begin());
      task();
      hear_rings();
      each();
    }
    clock.at = end;
  }
};

// Node 0 with its driver; node 1 answers its pings when told to.
struct Pair final : ClusterGossipEvents {
  HandClock clock;
  HandSide side{clock};
  host::Xoshiro random{1};
  host::HostFixture real;  // what is not looked at here
  host::Host host{clock,
                  random,
                  real.host.loop,
                  real.host.disk,
                  real.host.transport,
                  real.host.datagrams,
                  real.host.process,
                  side};
  std::unique_ptr<ClusterGossip> gossip;
  cluster::GossipCipher cipher{{kSecret}, kClusterId};
  bool answers = true;
  bool turns = true;  // the main loop does
  uint64_t nonce = 1;
  uint32_t mark = 0;  // of the cluster, as node 0 says
  int acks = 0;       // from node 0
  std::string told;   // events but these:
  int compares = 0;
  bool destroys = false;

  Pair() : gossip(make(17'000)) {
    gossip->set_members(members(), 5);
    REQUIRE(gossip->start().ok());
  }
  std::unique_ptr<ClusterGossip> make(uint16_t port) {
    return std::make_unique<ClusterGossip>(
        host,
        ClusterGossipSetup{.self = 0,
                           .cluster_id = kClusterId,
                           .address = at(0),
                           .binds = {{host::Endpoint::Family::ipv4, "10.0.0.0", port}},
                           .secrets = {kSecret}},
        *this);
  }
  static NodeAddress at(NodeIndex n) {
    return NodeAddress::v4(10, 0, 0, static_cast<uint8_t>(n), 17'000);
  }
  static std::vector<cluster::GossipMember> members() { return {{0, at(0), 1}, {1, at(1), 1}}; }

  void run(Millis time) {
    for (const Millis step = 100; time > 0; time -= step) {
      side.run(step, [this] { answer(); });
      if (turns && gossip) gossip->tick();
    }
  }
  void answer() {
    for (const auto& [to, bytes] : std::exchange(side.sent, {})) {
      if (mark == 0) std::memcpy(&mark, bytes.data() + 4, sizeof mark);
      Datagram heard;
      if (cluster::decode_datagram(bytes, mark, cipher, heard) != cluster::DatagramFault::none)
        continue;
      if (heard.type == Datagram::Type::ack) ++acks;
      if (heard.type != Datagram::Type::ping || !answers) continue;
      say(Datagram::Type::ack, heard.sequence);
    }
  }
  void say(Datagram::Type type, uint16_t sequence = 0, cluster::TopologyVersion topology = 5) {
    Datagram datagram{.type = type,
                      .cluster = mark,
                      .from = 1,
                      .sequence = sequence,
                      .incarnation = 1,
                      .nonce = ++nonce,
                      .topology = topology,
                      .wall = clock.wall() + 5'000,
                      .news = {}};
    side.on_datagram(cluster::endpoint_of(at(1)), cluster::encode_datagram(datagram, cipher));
    side.hear_rings();
  }

  void hear(const std::string& what) {
    told += what + "; ";
    if (destroys) gossip = nullptr;
  }
  void gossip_state(NodeIndex node, NodeState state, NodeIndex from) override {
    static constexpr const char* kNames[] = {"", "alive", "suspect", "fail", "left"};
    hear(fmt::format("{} {} by {}", node, kNames[static_cast<int>(state)], from));
  }
  void gossip_moved(NodeIndex node, const NodeAddress& address, cluster::Incarnation i) override {
    hear(fmt::format("{} at {} since {}", node, address.text(), i));
  }
  void gossip_pull(NodeIndex from, cluster::TopologyVersion version) override {
    hear(fmt::format("pull {} of {}", version, from));
  }
  void gossip_compare(NodeIndex) override { ++compares; }
  void gossip_forgotten(cluster::TopologyVersion version) override {
    hear(fmt::format("forgotten {}", version));
  }
  void gossip_try_tcp(NodeIndex node, const NodeAddress& address) override {
    hear(fmt::format("tcp {} {}", node, address.text()));
  }
  void gossip_udp_blocked(NodeIndex node) override { hear(fmt::format("blocked {}", node)); }
};

}  // namespace

TEST_CASE("cluster gossip: a node is asked, its answers are seen without a ring") {
  Pair p;
  CHECK(p.gossip->state(0) == NodeState::alive);
  CHECK(p.gossip->state(1) == NodeState::alive);
  CHECK(p.gossip->state(7) == NodeState::left);
  CHECK(p.gossip->find(0) == nullptr);
  CHECK(p.gossip->find(1)->pong_received == 0);
  CHECK_FALSE(p.gossip->clock_ahead());
  p.run(40'000);
  const GossipNode* node = p.gossip->find(1);
  REQUIRE(node != nullptr);
  CHECK(node->ping_sent == 0);
  CHECK(node->pong_received > p.clock.wall() - 1'200);
  CHECK(node->pong_received <= p.clock.wall());
  CHECK(p.gossip->counts().sent >= 39);
  CHECK(p.gossip->counts().received >= 39);
  CHECK(p.compares > 0);
  CHECK(p.gossip->clock_ahead() == -5'000);
  CHECK(p.gossip->health() == 0);
  CHECK(p.told == "");
}

TEST_CASE("cluster gossip: who is silent is tried by TCP, suspected, and fails") {
  Pair p;
  p.run(3'000);
  p.answers = false;
  p.run(1'600);
  CHECK(p.told == "tcp 1 10.0.0.1:17000; ");
  CHECK(p.gossip->find(1)->ping_sent > 0);
  p.told.clear();
  p.gossip->tcp_answered(1);
  p.run(1'000);
  CHECK(p.told.find("blocked 1; ") != std::string::npos);
  p.run(20'000);
  CHECK(p.told.find("1 suspect by 0; ") != std::string::npos);
  CHECK(p.told.find("1 fail by 0; ") != std::string::npos);
  CHECK(p.gossip->state(1) == NodeState::fail);
}

TEST_CASE("cluster gossip: of what changed while the main loop was busy, the last is told") {
  Pair p;
  p.run(3'000);
  p.answers = p.turns = p.side.main_hears = false;
  p.run(4'000);  // suspect by now
  CHECK(p.side.main_ringing);
  p.answers = p.turns = p.side.main_hears = true;
  p.told.clear();
  p.run(100);
  CHECK(p.told == "1 suspect by 0; tcp 1 10.0.0.1:17000; ");
}

TEST_CASE("cluster gossip: a main loop that does not turn makes us silent, until it turns") {
  Pair p;
  p.run(1'000);
  p.say(Datagram::Type::ping, 1);
  p.answer();
  CHECK(p.acks == 1);
  p.turns = p.side.main_hears = false;
  p.run(4'500);
  p.say(Datagram::Type::ping, 2);
  p.answer();
  CHECK(p.acks == 2);
  p.run(1'000);
  p.say(Datagram::Type::ping, 3);
  p.answer();
  CHECK(p.acks == 2);
  p.turns = p.side.main_hears = true;
  p.gossip->tick();
  CHECK(p.side.ringing);  // it need not wait for its timer
  p.say(Datagram::Type::ping, 4);
  p.answer();
  CHECK(p.acks == 3);
  p.run(10'000);
  CHECK(p.gossip->state(1) == NodeState::alive);
}

TEST_CASE("cluster gossip: newer topologies are asked for until they are there") {
  Pair p;
  p.run(1'000);
  p.say(Datagram::Type::ping, 1, 9);
  CHECK(p.told == "pull 9 of 1; ");
  p.say(Datagram::Type::forgotten, 1, 9);
  CHECK(p.told.find("forgotten 9; ") != std::string::npos);
  p.told.clear();
  p.gossip->set_members(Pair::members(), 9);
  p.gossip->set_members({}, 8);  // late: not taken
  p.run(1'500);
  p.say(Datagram::Type::ping, 1, 9);
  CHECK(p.told == "");
  CHECK(p.gossip->find(1) != nullptr);
}

TEST_CASE("cluster gossip: the topology's address counts when it is newer, and is no news") {
  Pair p;
  p.run(1'000);
  auto members = Pair::members();
  members[1] = {1, Pair::at(9), 4};
  p.gossip->set_members(members, 6);
  CHECK(p.gossip->find(1)->address == Pair::at(9));
  p.run(1'000);
  CHECK(p.gossip->find(1)->address == Pair::at(9));
  CHECK(p.told == "");
  p.gossip->set_members({{0, Pair::at(0), 1}}, 7);
  CHECK(p.gossip->find(1) == nullptr);
  p.run(1'000);  // reports of it come late
  CHECK(p.gossip->find(1) == nullptr);
}

TEST_CASE(
    "cluster gossip: what another secret sealed is not heard; the secret is changed at work") {
  Pair p;
  p.run(1'000);
  p.cipher.set_secrets({kOtherSecret});
  p.say(Datagram::Type::ping, 1);
  p.run(100);
  CHECK(p.acks == 0);
  CHECK(p.gossip->counts().unauthentic == 1);
  p.gossip->set_secrets({kSecret, kOtherSecret});
  p.run(100);
  p.say(Datagram::Type::ping, 2);
  p.answer();
  CHECK(p.acks == 0);  // heard, but the answer is sealed with the first
  p.gossip->set_secrets({kOtherSecret});
  p.run(100);
  p.say(Datagram::Type::ping, 3);
  p.answer();
  CHECK(p.acks == 1);
  CHECK(p.gossip->counts().unauthentic == 1);
}

TEST_CASE("cluster gossip: moves and farewells are told to others") {
  Pair p;
  p.run(2'000);
  const auto before = p.gossip->incarnation();
  p.gossip->move(Pair::at(5));
  p.run(100);
  CHECK(p.gossip->incarnation() == before + 1);
  p.gossip->leave();
  CHECK(p.gossip->state(0) == NodeState::left);
  p.answers = false;
  p.side.run(100, [] {});
  Datagram heard;
  REQUIRE_FALSE(p.side.sent.empty());
  REQUIRE(cluster::decode_datagram(p.side.sent.back().second, p.mark, p.cipher, heard) ==
          cluster::DatagramFault::none);
  bool says_so = false;
  for (const auto& news : heard.news)
    says_so = says_so || (news.subject == 0 && news.state == NodeState::left);
  CHECK(says_so);
}

TEST_CASE("cluster gossip: an owner may end it from any event, and start again after an error") {
  Pair p;
  p.run(1'000);
  p.destroys = true;
  p.answers = false;
  p.run(3'000);
  CHECK(p.told == "tcp 1 10.0.0.1:17000; ");
  CHECK(p.gossip == nullptr);
  CHECK(p.side.work == nullptr);
  p.destroys = false;
  p.gossip = p.make(1);
  CHECK(p.gossip->start().error() == "bind: Permission denied");
  p.gossip->set_members(Pair::members(), 5);
  p.gossip->tick();
  CHECK(p.gossip->start().error() == "bind: Permission denied");
}

}  // namespace quoll::server
