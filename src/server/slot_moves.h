// SlotMoves: slots on their way from our group to another one, and those that come to ours.
//
//   source                                        target
//   copy      keys of some slots, in batches  ->  written through its group's log; its answer says
//             of what changed meanwhile, again    that they are committed
//   hold      writes wait; our log is committed;
//             what changed last               ->  the same; both count the keys
//   release   the slots are not ours any more, on disk
//   adopt                                     ->  the topology says that they are the target's
//   drop      their keys are removed
//
// Before the release nothing has happened: whatever fails, or is cancelled, the slots stay, and the
// target drops what came. After it there is only forward: a source that starts anew finds what it
// released in its node's file, serves none of it, and asks the target to adopt it until that has.
// So a slot is served by one node at most, and what one acknowledged the other has.
//
// Everything that is said of a unit of slots carries its number, and the target hears only the node
// that has the slots, in the order of its numbers: what was delayed, or came before the target
// started anew, changes nothing any more, and the move ends.
//
// Slots go kMoveSlotsAtOnce at a time, so writes wait for as long as the last changes of these
// take. Between release and adoption who asks for such a slot is told to try again.
//
// Cost: a batch is in memory once on either side; without a move one comparison per turn. While
// slots are copied the names of keys that change in them are kept. A value is written as a whole,
// in one turn, as MIGRATE does; one that does not fit in kNodeFrameBytesMax does not move.
#pragma once

#include <bitset>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cluster/node_bus.h"
#include "cluster/topology_steps.h"
#include "server/cluster_view.h"
#include "server/node_file.h"
#include "server/replay.h"
#include "store/commit.h"

namespace quoll::server {

class ClusterNode;
class Server;

constexpr size_t kMoveSlotsAtOnce = 16;
constexpr size_t kMoveBatchBytes = 256 * 1024;             // of keys and values in one question
constexpr base::Nanos kMoveBudget = base::kNanosPerMilli;  // of a turn: to gather, install, drop
constexpr size_t kFewChanges = 64;        // keys: then writes may wait for the rest
constexpr unsigned kCounts = 20;          // of keys, while some expire here or there
constexpr unsigned kCatchUpRounds = 16;   // then they wait even for more
constexpr base::Millis kHoldMaxMs = 500;  // then writes go on, and a move that is not over ends
constexpr size_t kMovesKept = 64;         // that are over, to be told of

struct SlotMove {
  enum class State : uint8_t { copying, holding, releasing, done, failed, cancelled };
  std::string name;  // 40 hex digits
  cluster::SlotRanges slots;
  cluster::NodeIndex target = cluster::kNoNode;
  std::string target_id;
  State state = State::copying;
  size_t slots_total = 0;
  size_t slots_done = 0;
  uint64_t keys_sent = 0;
  uint64_t bytes_sent = 0;
  base::Millis hold_ms = 0;  // the longest that writes waited
  std::string message;
  base::Millis created = 0;  // wall time
  base::Millis updated = 0;

  bool over() const { return state >= State::done; }
};

class SlotMoves final : public store::CommitSink {
 public:
  SlotMoves(Server& server, ClusterNode& node, NodeRecord& record);
  ~SlotMoves();

  // The slots, which are ours, go to the node's group; the name of the move, or why not.
  base::Result<std::string> begin(const cluster::SlotRanges& slots, cluster::NodeIndex target);
  // False: it is over, or past its release. An empty name: all of them.
  bool cancel(base::Bytes name);
  bool cancel_slot(unsigned slot);
  const std::deque<SlotMove>& moves() const { return moves_; }
  // The slot is in a move that is not over.
  bool moves(unsigned slot) const { return wanted_[slot]; }
  bool released(unsigned slot) const { return released_[slot]; }
  // Only this node knows what it has released: its group stays as it is meanwhile.
  bool busy() const { return wanted_.any() || released_.any(); }

  // Questions of the source; `body` behind the id of the cluster.
  void serve(cluster::Question question, cluster::NodeIndex from, base::Bytes body,
             cluster::NodeBus::OnAnswer answer);
  // The topology has changed, or been read.
  void topology_changed();
  void turn();
  void tick();

  // store::CommitSink
  void absorb(const store::Commit& commit) override;

 private:
  struct Unit;  // slots that go together
  struct Settling {
    cluster::Index index;
    cluster::NodeBus::OnAnswer answer;
  };
  // As target: of a slot that comes.
  struct Coming {
    cluster::NodeIndex from = cluster::kNoNode;
    uint64_t number = 0;
    bool begun = false;  // what was left of an earlier move is gone
  };
  struct Clearing {
    std::vector<uint16_t> slots;
    uint64_t number;
    bool begins;
    cluster::NodeBus::OnAnswer answer;
  };

  base::Millis steady_ms() const;
  bool leads() const;
  SlotMove* current();
  void begin_unit();
  void go_on();
  bool gather(std::string& body);
  void put_key(base::Bytes key, std::string& body);
  void gather_changes(std::string& body);
  void send(std::string body);
  void hold(bool on);
  void check_counts();
  void release();
  void fail(const std::string& why, SlotMove::State state = SlotMove::State::failed);
  void finish_unit();
  void ask_adoption();
  bool drop_keys(unsigned slot, base::Nanos end);
  void drop_some();
  void drop_at_target(bool begins);
  void ask(cluster::Question question, const std::string& body, cluster::NodeBus::OnAnswer done);
  void find_released();

  void clear(cluster::NodeIndex from, base::Bytes body, cluster::NodeBus::OnAnswer answer);
  void clear_some();
  bool comes(unsigned slot, cluster::NodeIndex from, uint64_t number) const;
  base::Result<> install(cluster::NodeIndex from, base::Bytes body);
  std::string count_keys(cluster::NodeIndex from, base::Bytes body) const;
  void forget_coming();
  void answer_when_committed(cluster::NodeBus::OnAnswer answer);
  void adopt(base::Bytes body, cluster::NodeBus::OnAnswer answer);
  void run(std::initializer_list<base::Bytes> words);

  Server& server_;
  ClusterNode& node_;
  NodeRecord& record_;
  Replay replay_;
  std::deque<SlotMove> moves_;  // the first that is not over goes on
  std::unique_ptr<Unit> unit_;
  std::bitset<kSlots> wanted_;     // of moves that are not over
  std::bitset<kSlots> copied_;     // of the unit
  std::bitset<kSlots> released_;   // as record_.released
  std::set<std::string> changed_;  // keys of the unit, since they were sent
  bool held_ = false;
  base::Millis held_since_ = 0;
  bool adopting_ = false;
  base::Millis adopt_at_ = 0;
  uint64_t units_ = 0;  // begun since the start
  // As target.
  std::deque<Settling> settling_;  // until the log is committed up to there
  std::map<uint16_t, Coming> coming_;
  std::deque<Clearing> clearing_;  // the first one's slots are being emptied
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::server
