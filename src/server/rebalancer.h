// Rebalancer: this node's part in giving every group its share of the slots (cluster/slot_plan.h).
//
//   topology -> plan -> moves from our group -> some slots of the first one -> SlotMoves
//                 ^                                                                |
//                 +---------------------- it is over: plan again ------------------+
//
// The leader of each source moves what its group has too much, one move at a time. Nobody directs
// it: the plan is a function of the topology, the same everywhere, and what one source has moved
// changes nothing for the others. Slots move when one of these is so:
//
//   auto      cluster-rebalance auto here, and the cluster has been calm for kCalmMs: nobody came,
//             went, or changed its weight
//   ordered   CLUSTER REBALANCE START: an order in the topology, until all have their shares or
//   STOP leaving   the group leaves: then its own, and only these
//
// An operator who moves slots by hand comes first: a node where that is under way tells all others,
// and nobody begins a move until kHandsOffMs after the last word of it.
//
// Of cluster-rebalance-throttle (bytes a second; 0: no limit) a move takes as many slots as one
// second lets through, going by the one before; the next waits until its bytes are within the rate.
// A move that fails is followed by a pause that doubles, up to kRetryMsMax, and one of fewer slots;
// a slot whose move alone fails is left out for kSetAsideMs.
//
// Cost: a plan (50 us) when the topology or who is there has changed; else some comparisons ten
// times a second.
#pragma once

#include <optional>
#include <string>

#include "cluster/slot_plan.h"
#include "server/slot_moves.h"

namespace quoll::server {

constexpr base::Bytes kRebalanceOrder = "rebalance";
constexpr unsigned kRebalanceSlotsAtOnce = 64;  // of one move: four units
constexpr base::Millis kRebalanceLookMs = 200;
constexpr base::Millis kCalmMs = 5000;
constexpr base::Millis kHandsOffMs = 5000;
constexpr base::Millis kHandsOffTellMs = 1000;
constexpr base::Millis kRetryMs = 1000;
constexpr base::Millis kRetryMsMax = 60'000;
constexpr base::Millis kSetAsideMs = 60'000;

class Rebalancer {
 public:
  enum class State : uint8_t {
    balanced,
    unbalanced,  // and nobody wants it otherwise
    waiting,
    moving,  // here or elsewhere
  };
  struct Progress {
    State state = State::balanced;
    unsigned slots_left = 0;  // of the cluster
    unsigned percent = 100;
    uint64_t slots_moved = 0;  // from here, since the start
    uint64_t bytes_moved = 0;
    std::optional<base::Millis> eta_ms;
    std::string waits_for;  // this node
  };

  Rebalancer(Server& server, ClusterNode& node) : server_(server), node_(node) {}

  void tick();  // ten times a second
  // Somebody moves slots by hand.
  void hands_off();
  const cluster::SlotPlan& plan();
  Progress progress();
  bool ordered() const;

 private:
  struct Run {  // while our group has slots to give
    unsigned total = 0;
    unsigned done = 0;
    uint64_t bytes = 0;
    base::Millis since = 0;
    unsigned told = 0;  // tenths
  };

  base::Millis steady_ms() const;
  bool wanted() const;
  bool may_move(const cluster::PlannedMove& move) const;
  unsigned slots_wanted();
  std::vector<const cluster::PlannedMove*> our_moves();
  void look_whether_calm(base::Millis now);
  void look_how_far(base::Millis now);
  void look_for_operators(base::Millis now);
  const SlotMove* our_move() const;
  void follow_move(base::Millis now);
  void count(const SlotMove& move);
  void move_ended(const SlotMove& move, base::Millis now);
  void fails(const std::string& why, base::Millis now);
  bool still_wanted(const SlotMove& move);
  void consider(base::Millis now);
  void set_aside(unsigned slot, base::Millis now);
  cluster::SlotRanges next_slots(const cluster::PlannedMove& move, base::Millis now);
  std::string what_to_wait_for(const cluster::PlannedMove& move, base::Millis now) const;
  unsigned slots_at_once() const;
  bool throttled(base::Millis now) const;
  void tell_progress(unsigned left, base::Millis now);

  Server& server_;
  ClusterNode& node_;
  cluster::SlotPlan plan_;
  cluster::TopologyVersion planned_for_ = 0;
  std::set<cluster::GroupNumber> planned_away_;
  std::string picture_;  // of who is there, and what they weigh
  base::Millis calm_since_ = 0;
  base::Millis hands_off_until_ = 0;
  base::Millis tell_at_ = 0;
  base::Millis look_at_ = 0;
  base::Millis again_at_ = 0;               // after a failure
  unsigned failures_ = 0;                   // in a row
  std::string error_;                       // of the last one
  std::map<unsigned, base::Millis> aside_;  // slots whose move alone failed, until then
  std::string waits_for_;
  std::string move_;  // the name of ours that is under way
  base::Millis move_since_ = 0;
  uint64_t move_bytes_ = 0;      // of the last one
  uint64_t bytes_per_slot_ = 0;  // the same
  std::optional<Run> run_;
  uint64_t slots_moved_ = 0;
  uint64_t bytes_moved_ = 0;
  // Of the whole cluster, as the topology shows it.
  unsigned whole_ = 0;  // slots that were to move; 0: none are
  base::Millis whole_since_ = 0;
};

const char* state_name(Rebalancer::State state);

}  // namespace quoll::server
