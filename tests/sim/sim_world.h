// SimWorld: N simulated hosts on one virtual time line, driven by a seed.
//
//   event queue, ordered by (time, sequence):  {node, seat, life, kind, task} ...
//        |
//        v   one event = one turn of one loop of a node: the main one or the side loop
//   node 0  127.0.0.1   boot(host) -> occupant      node N: the world's own clients
//   node 1  127.0.0.2   boot(host) -> occupant
//
// A node's occupant is whatever boot() builds on its host::Host. crash() destroys it, breaks its
// connections and keeps of its drive what the FaultPlan says; restart() boots again. Everything a
// run does follows from (seed, plan, scenario): transcript_hash() covers every event and every byte
// delivered, and equal inputs give equal hashes.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "host/host.h"
#include "tests/sim/fault_plan.h"
#include "tests/sim/sim_chance.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_loop.h"
#include "tests/sim/sim_network.h"

namespace quoll::sim {

using Boot = std::function<std::shared_ptr<void>(host::Host&)>;
constexpr NodeId kNobody = -1;  // events of the world itself: faults, test drivers
constexpr NodeId kNodesMax = 64;
constexpr size_t kTraceBytesMax = 90;  // of one line of the transcript
constexpr size_t kTailLines = 60;

enum class CrashKind {
  power,   // what was not synced may be lost
  killed,  // the operating system lives on: written bytes stay
};

class SimWorld {
 public:
  SimWorld(uint64_t seed, const FaultPlan& plan);
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;

  // Nodes. All nodes are added before the first crash or partition by plan can happen (time 0).
  NodeId add_node(Boot boot);                                  // boots at once
  void crash(NodeId node, CrashKind kind = CrashKind::power);  // from outside its turns
  // What exit() is to a real server: ends the occupant after its current turn. Callable by it.
  void stop_soon(NodeId node);
  void restart(NodeId node);
  bool running(NodeId node) const { return nodes_.at(node)->running; }
  int node_count() const { return static_cast<int>(nodes_.size()) - 1; }  // without the clients
  host::Host& host(NodeId node);
  SimDrive& drive(NodeId node) { return nodes_.at(node)->drive; }
  static std::string address_of(NodeId node);  // "127.0.0.1" for node 0
  NodeId clients() const { return kClients; }  // the node whose transport the clients use
  void jump_clock(NodeId node, base::Millis by);
  // The node's process stands still, as under SIGSTOP: what is due waits.
  void pause(NodeId node, Nanos time);
  // Only its main loop does, as in a long script; the side loop turns.
  void keep_busy(NodeId node, Nanos time);
  NodeId acting() const { return acting_; }  // whose turn it is; kNobody: the driver's
  // What each look of the node's occupant at the steady clock takes; survives its crashes.
  void set_look_cost(NodeId node, Nanos cost);
  // Called after every received() on the node, with the connection's remote address.
  using OnReceived = std::function<void(const std::string& remote)>;
  void on_received(NodeId node, OnReceived told) { nodes_.at(node)->on_received = std::move(told); }

  // Time.
  Nanos now() const { return now_; }
  bool step();  // the next event; false when there is none
  void run_for(Nanos time);
  // Runs until `done`; false when `limit` of virtual time went by first.
  bool run_until(const std::function<bool()>& done, Nanos limit);
  void after(Nanos delay, host::Task task);  // a step of the test driver, outside any node

  // Faults by plan stop for good: for the "and then everything heals" part of a scenario.
  void calm_down();

  SimNetwork& network() { return network_; }
  SimChance& chance() { return chance_; }
  const FaultPlan& plan() const { return plan_; }
  uint64_t seed() const { return seed_; }

  uint64_t transcript_hash() const { return hash_; }
  uint64_t events_delivered() const { return delivered_; }
  void trace(bool on) { tracing_ = on; }  // prints every event to standard error
  std::string tail() const;               // the last events, as trace() prints them

  // For the parts of the world.
  void schedule(NodeId node, Nanos at, const char* kind, host::Task task, Seat seat = Seat::main);
  void note(const char* what, base::Bytes bytes);  // into the transcript
  // Inside a turn of the node: what reaches its listeners and peers until then is delivered now,
  // and the other nodes go on, and so does its side loop. Its timers, tasks and disk wait, and so
  // do the driver's steps.
  void hear_nested(NodeId node, Nanos until);
  bool hearing_nested(NodeId node) const { return hearing_ == node; }
  void received(NodeId node, const std::string& remote);

 private:
  struct Seats;  // the interfaces of one life of a node
  struct Node {
    SimDrive drive;
    SimOscillator oscillator;
    Boot boot;
    OnReceived on_received;
    Nanos look_cost = kLookCost;
    std::unique_ptr<Seats> seats;
    std::shared_ptr<void> occupant;
    uint64_t life = 0;
    std::array<Nanos, 2> free_at{};  // by seat
    bool running = false;
    Nanos& free(Seat seat) { return free_at[static_cast<size_t>(seat)]; }
  };
  struct Event {
    NodeId node;
    Seat seat;
    uint64_t life;
    const char* kind;
    host::Task task;
  };
  struct Line {  // of the transcript's tail
    Nanos at;
    const char* what;
    uint8_t size;
    char text[kTraceBytesMax];
  };
  using Position = std::pair<Nanos, uint64_t>;

  static std::string text_of(const Line& line);

  static constexpr NodeId kClients = 0x7fff;

  void start(NodeId id);
  void deliver(Position position, Event event);
  void take_turn(NodeId id, Seat seat, const host::Task& task);
  void plan_partition();
  void plan_clock_jump();
  void plan_crash();
  NodeId any_node() { return static_cast<NodeId>(chance_.between(0, node_count() - 1)); }
  Nanos within(int64_t every_ms) { return chance_.between(0, 2 * every_ms) * base::kNanosPerMilli; }

  uint64_t seed_;
  FaultPlan plan_;
  SimChance chance_;
  Nanos now_ = 0;
  uint64_t sequence_ = 0;
  uint64_t delivered_ = 0;
  uint64_t hash_ = 0;
  uint64_t notes_ = 0;
  std::array<Line, kTailLines> tail_;  // a ring
  bool tracing_ = false;
  bool calmed_ = false;
  NodeId acting_ = kNobody;
  NodeId hearing_ = kNobody;  // the node inside whose turn others go on
  std::map<Position, Event> queue_;
  SimNetwork network_;
  std::map<NodeId, std::unique_ptr<Node>> nodes_;
};

}  // namespace quoll::sim
