// ServerNode: the complete server on a simulated host, as main.cc builds it, and what a scenario
// wants to see of it from inside.
//
// The hash secret is one per process; a world sets it from its seed when its first server boots,
// so one process holds one world with servers at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/server.h"
#include "tests/sim/scenario.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {

class ServerNode {
 public:
  // `arguments` as on the command line: "--maxclients", "10". `before_start`: of every server that
  // boots here.
  using BeforeStart = std::function<void(server::Server&)>;
  ServerNode(SimWorld& world, std::vector<std::string> arguments = {},
             BeforeStart before_start = {});
  ServerNode(const ServerNode&) = delete;
  ~ServerNode();  // ends the server; the world still stands

  NodeId id() const { return id_; }
  bool up() const { return server_ != nullptr; }
  server::Server& server() const { return *server_; }
  base::Millis wall() const { return world_.host(id_).clock.wall(); }

  // Hears why the server could not start: its process ends then. Unset: it must start.
  std::function<void(const std::string& error)> start_failed;
  // Before and after what the server itself does at the end of a turn.
  std::function<void()> before_turn_end;
  std::function<void()> after_turn_end;
  // Every commit, after the server's own sinks. Set before the commits of interest.
  void on_commit(std::function<void(const store::Commit&)> told);

  // Of all commits seen while on_commit was set: the first that breaks a rule of the house.
  const std::string& broken_commit() const { return broken_commit_; }
  // Of the turns since reset_turns().
  struct Turns {
    uint64_t count = 0;
    Nanos longest = 0;
    uint64_t expired_max = 0;  // keys removed by the wheel in one turn
    uint64_t freed_max = 0;    // entries freed after a flush in one turn
    size_t touches_max = 0;    // of one commit of the wheel
  };
  const Turns& turns() const { return turns_; }
  void reset_turns() { turns_ = Turns{}; }

 private:
  class Occupant;
  void check_commit(const store::Commit& commit);
  void measure_turn(Nanos length);

  SimWorld& world_;
  BeforeStart before_start_;
  std::vector<std::string> arguments_;
  NodeId id_ = kNobody;
  server::Server* server_ = nullptr;
  std::function<void(const store::Commit&)> on_commit_;
  std::function<void(bool)> listen_;
  std::string broken_commit_;
  store::Seq last_seq_ = 0;
  Turns turns_;
  uint64_t expired_before_ = 0;
  uint64_t freed_before_ = 0;
};

}  // namespace quoll::sim
