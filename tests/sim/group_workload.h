// GroupWorkload: clients of a replica group (or of one server) that do a bit of everything for
// which there is a checker, whatever happens to the members meanwhile:
//
//   registers  GET, SET, SET NX, SET IFEQ, SET GET, DEL, GETDEL   } linearizability.h
//   numbers    INCR, GET, DEL, GETDEL                             }
//   lists      RPUSH and LRANGE in MULTI or a script              list_append.h
//   counter    INCR                                               } simple_checkers.h
//   lock       SET NX PX, a fencing token, release by its owner   }
//   queue      RPUSH, LPOP                                        }
//
//   GroupWorkload workload(world, {a.id(), b.id(), c.id()});
//   world.run_for(...);  world.calm_down();
//   run.check(workload.finish(30 * kSecond), ...);  run.check(workload.judge().empty(), ...)
//
// Every value is written once in a run; nothing is sent twice. Times are virtual.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/group_client.h"
#include "tests/sim/linearizability.h"
#include "tests/sim/list_append.h"
#include "tests/sim/simple_checkers.h"

namespace quoll::sim {

constexpr Nanos kHealTime = 30 * kSecond;  // until somebody serves again, all being well

struct WorkloadHabits {
  int clients = 8;
  int keys = 4;                                    // registers, and as many numbers
  Nanos pause_max = 20 * base::kNanosPerMilli;     // of a client between two operations
  Nanos backoff_max = 100 * base::kNanosPerMilli;  // after a refusal
  Nanos patience = 5'000 * base::kNanosPerMilli;   // for a reply
  Nanos clock_slack = 10 * base::kNanosPerMilli;   // of a lock's time, for clocks that drift
};

class GroupWorkload {
 public:
  // The clients begin at once.
  GroupWorkload(SimWorld& world, std::vector<NodeId> nodes, WorkloadHabits habits = {});
  ~GroupWorkload();
  GroupWorkload(const GroupWorkload&) = delete;

  // Those that are there from the beginning; and a tag of the lists that follow each other.
  static std::vector<std::string> usual_keys(const WorkloadHabits& habits);

  // No new operations; waits for those under way, then reads everything once more. False when the
  // group did not answer within the limit.
  bool finish(Nanos limit);
  // What does not hold, with its timeline; "": everything holds, or (keys with very many unknown
  // outcomes) nobody can tell. After finish().
  std::string judge() const;

  struct Outcomes {
    uint64_t done = 0;
    uint64_t refused = 0;
    uint64_t unknown = 0;
  };
  const Outcomes& outcomes() const { return outcomes_; }
  // The longest time in which nothing was done, between the first and the last thing done.
  Nanos longest_silence() const { return longest_silence_; }

 private:
  class Client;
  struct Histories {
    std::vector<Operation> operations;
    std::vector<Transaction> transactions;
    std::vector<Count> counts;
    std::vector<LockHold> holds;
    std::vector<QueueStep> steps;
    int64_t total = 0;
    std::vector<std::string> left;
    std::string unexpected;  // the first reply that is none of an operation's
  };

  void note(GroupClient::Outcome outcome);
  std::string fresh(const char* prefix) { return prefix + std::to_string(++values_); }

  SimWorld& world_;
  WorkloadHabits habits_;
  Histories histories_;
  Outcomes outcomes_;
  uint64_t values_ = 0;  // written so far
  bool stopped_ = false;
  Nanos last_done_ = 0;
  Nanos longest_silence_ = 0;
  std::vector<NodeId> nodes_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace quoll::sim
