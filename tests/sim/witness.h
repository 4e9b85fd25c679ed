// Witness: clients of a server whose every reply byte is checked against the model.
//
//   talker.say(command) -> network -> server runs it -> (hook after received, at turn end)
//                                                          |  model runs the same command with the
//                                                          |  server's clock and expects bytes
//   talker gets a reply <- network <- ...                  +-> must be as many as the server wrote
//        must be what the model expects
//
// Commands of all sessions reach the model in the order in which the server ran them: one turn runs
// the commands of one session. That holds as long as no command is postponed (CLIENT PAUSE) and a
// turn's commands stay within Session's budget.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/model.h"
#include "tests/sim/scenario.h"
#include "tests/sim/server_node.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {

class Witness;

// One connection of a talker, from dialling until the server has forgotten it.
struct Line {
  std::string address;       // the client's, once known
  uint64_t session = 0;      // the server's, once known
  std::deque<Words> issued;  // not yet run by the server
};

class Talker {
 public:
  Talker(Witness& witness, NodeId node);

  void say(const std::vector<Words>& commands);  // one pipeline
  void reconnect();
  SimClient& client() { return client_; }
  bool quiet() const;  // every command was run and every expected byte has come

 private:
  friend class Witness;
  void heard(const std::string& raw);

  Witness& witness_;
  std::shared_ptr<Line> line_;
  SimClient client_;
};

class Witness {
 public:
  Witness(Run& run, SimWorld& world, ServerNode& node, bool notifies);
  ~Witness();

  Talker& add_talker();
  std::deque<std::unique_ptr<Talker>>& talkers() { return talkers_; }
  Model& model() { return model_; }
  SimWorld& world() { return world_; }
  uint64_t commands_checked() const { return commands_; }

 private:
  friend class Talker;
  void dialled(const std::shared_ptr<Line>& line);
  void meet_sessions();
  void forget_sessions();
  // Runs in the model what the server ran in this turn for the connection from `address`.
  void catch_up(const std::string& address);
  void check_turn();
  void absorb(const store::Commit& commit);
  void fail(const std::string& what);

  Run& run_;
  SimWorld& world_;
  ServerNode& node_;
  Model model_;
  std::deque<std::unique_ptr<Talker>> talkers_;
  std::vector<std::shared_ptr<Line>> lines_;
  std::deque<std::string> history_;  // the last commands, for the report
  struct Removed {
    unsigned db;
    std::string key;
  };
  std::vector<Removed> removed_;  // found expired by this turn's commands
  uint64_t commands_ = 0;
};

}  // namespace quoll::sim
