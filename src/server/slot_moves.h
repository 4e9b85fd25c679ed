// SlotMoves: slots on their way from our group to another one, and those that come to ours. All of
// it is done by who leads the group; what must outlive that is in the group's log, as a SlotLedger
// (cluster/slot_ledger.h).
//
//   source's leader                               target's leader
//   begin     some slots                      ->  ledger: they come; what is left of them here goes
//   copy      their keys, in batches          ->  written through its group's log; its answer says
//             of what changed meanwhile, again    that they are committed
//   sync                                      ->  what came is on the disks of its group
//   hold      writes wait; our log is committed;
//             what changed last               ->  the same; both count the keys; on its disks
//   release   ledger: they are not ours
//   adopt     once that is on our disks       ->  ledger: they are being adopted; once that is on
//                                                 its disks the topology says that they are its
//                                                 group's; ledger: they do not come any more
//   drop      ledger: leftovers; their keys are removed; ledger: they are gone
//
// Until RELEASE is committed nothing has happened: whatever fails, or is cancelled, or whoever of
// the two leaders is deposed, the slots stay, and the target drops what came: as the source says,
// or whoever leads that group, which is asked when nothing more comes. Behind it whoever leads the
// source serves none of the slots, and asks whoever leads the target to adopt them; that one goes
// on with it by itself once it was asked. A leader that is deposed before it hears of its RELEASE
// knows nothing; the log decides.
//
// One side may be gone for good. Who has not heard of the other for kGoneMs calls the unit off in
// the topology (next_to_call_off() of cluster/topology_steps.h): from then on it is never adopted,
// so the source serves its slots again, and the target drops what came of them. The same when the
// target says that it does not know what was released.
//
// Why nothing that was acknowledged is lost, and no slot is served twice:
//   1. A slot that the ledger in force withholds is not served. RELEASE is in force for the leader
//      that proposes it, so none of its own writes follows; and for every later leader, if it is
//      committed. Before that nobody asks for an adoption.
//   2. The keys that were sent are committed in the target's log before they are answered; RELEASE
//      is proposed only when writes are held, all that was executed is committed in the source's
//      log, nothing has changed since it was sent, and both have as many keys in each slot. So
//      every write that was acknowledged is in the target's log before RELEASE is in the source's.
//   3. The target keeps what came under the name that its ledger has for it since before the first
//      key: nothing but the failure of that unit, told by a leader of the source in whose log it is
//      not released, or by a later unit of the same source, or the topology takes it away.
//      Adopting, only the topology ends it.
//   4. The slots become the target's in the topology by compare and set, from the source's and only
//      for a unit that is not older than the source's last hand-over: what was delayed, or was
//      called off, does nothing.
//   5. Whoever leads serves by a topology that is not older than the ledger's floor, so not by one
//      from before its group gave a slot away, or before it removed the slot's keys.
//   6. The source keeps its keys until the topology says that the slots are the target's, and that
//      is asked for only when what it says is on as many disks as a commit needs members, on either
//      side. So both groups may lose their power, and the last second of their logs, at any time.
//
// Everything that is said of a unit of slots carries its number; the target takes keys only of the
// unit that it has begun itself in the epoch in which it leads. So a move ends with either leader,
// unless it is released.
//
// Slots go kMoveSlotsAtOnce at a time, so writes wait for as long as the last changes of these
// take. Between release and adoption who asks for such a slot is told to try again.
//
// A target that is full may evict what has come: it keeps the names of such keys until the unit is
// over, and counts them as if they were there.
//
// Cost: three entries of some hundred bytes in either log per unit, and four syncs in all, of which
// writes wait for one; a batch is in memory once on either side; without a move some comparisons
// per turn. While slots are copied the names of keys that change in them are kept. A value is
// written as a whole, in one turn, as MIGRATE does; one that does not fit in kNodeFrameBytesMax
// does not move.
#pragma once

#include <bitset>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cluster/group_core.h"
#include "cluster/node_bus.h"
#include "cluster/slot_ledger.h"
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
constexpr size_t kFewChanges = 64;         // keys: then writes may wait for the rest
constexpr unsigned kCounts = 20;           // of keys, while some expire here or there
constexpr base::Millis kCountAgainMs = 5;  // later they are counted again
constexpr unsigned kCatchUpRounds = 16;    // then they wait even for more
constexpr base::Millis kHoldMaxMs = 500;   // then writes go on, and a move that is not over ends
constexpr base::Bytes kOver = "OVER";      // is said of a unit
constexpr base::Bytes kNotBegun =
    "the target does not know of this move: another node leads it, perhaps";
constexpr size_t kMovesKept = 64;          // that are over, to be told of
constexpr size_t kLeftoverMax = 256;       // slots; then no more are released
constexpr size_t kArrivalsMax = 256;       // words of sources that wait for our log
constexpr base::Millis kAwaitMs = 30'000;  // a slot that is not even coming is waited for so long
constexpr base::Millis kSilentMs = 2000;   // then a source is asked whether its unit is over
constexpr base::Millis kBeginMs = 5000;    // as long a target that says "soon" is asked again
constexpr base::Millis kGoneMs = 30'000;   // who is not heard of for so long may never be again
constexpr base::Millis kAdoptAgainMs = 200;
constexpr base::Millis kAdoptAnswerMs = 1000;  // then who waits for an adoption hears "soon"

struct SlotMove {
  enum class State : uint8_t { copying, holding, releasing, done, failed, cancelled };
  std::string name;  // 40 hex digits
  cluster::SlotRanges slots;
  cluster::GroupNumber target = cluster::kNoGroup;
  std::string target_id;  // of the node that was named
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

  // The slots, which are ours, go to the node's group, whoever leads that; the name of the move, or
  // why not.
  base::Result<std::string> begin(const cluster::SlotRanges& slots, cluster::NodeIndex target);
  // False: it is over, or past its release. An empty name: all of them.
  bool cancel(base::Bytes name);
  bool cancel_slot(unsigned slot);
  const std::deque<SlotMove>& moves() const { return moves_; }
  // The slot is in a move that is not over.
  bool moves(unsigned slot) const { return wanted_[slot]; }
  // Why the last move of the slot came to nothing; "": none has.
  std::string failure(unsigned slot) const;
  // Somebody waits for the slot to be this group's, and `begins` to. False: it has not come for too
  // long.
  bool may_still_come(unsigned slot, bool begins);
  // The slot is withheld by the group's ledger: it is not served here.
  bool named(unsigned slot) const { return named_[slot]; }
  // Slots are on their way here: their keys are not ours to remove.
  bool any_coming() const { return !ledger().coming.empty(); }
  // The group's ledger knows of a newer topology than we do: nothing is served here.
  bool behind() const { return behind_; }

  // Questions of the source; `body` behind the id of the cluster.
  void serve(cluster::Question question, cluster::NodeIndex from, base::Bytes body,
             cluster::NodeBus::OnAnswer answer);
  // The topology has changed, or been read.
  void topology_changed();
  void turn();
  // The group's log may have changed the ledger.
  void follow_ledger();
  // Something is to be done once the log is committed, or on disk.
  bool waits_for_commit() const {
    return unit_ || !settling_.empty() || !arrivals_.empty() || !ledger().names_nothing();
  }
  void tick();

  // store::CommitSink
  void absorb(const store::Commit& commit) override;

 private:
  struct Unit;  // slots that go together
  struct Settling {
    cluster::Index index;
    cluster::NodeBus::OnAnswer answer;
  };
  // As target: a unit that the topology is asked for.
  struct Adoption {
    struct Waiting {
      cluster::NodeBus::OnAnswer answer;
      base::Millis until;
    };
    cluster::UnitNumber number;
    cluster::Index at = 0;  // to be on disk before
    bool asking = false;
    base::Millis again_at = 0;
    std::string error = "the log is not on disk yet";  // or that of the last try
    std::vector<Waiting> waiting;
  };
  // As target: what a source has said of a unit.
  struct Arrival {
    enum class Word : uint8_t { begins, fails, released };
    Word word;
    cluster::GroupNumber from;
    cluster::UnitNumber number;
    cluster::SlotList slots;
    cluster::NodeBus::OnAnswer answer;
    cluster::Index at = 0;  // of the entry that says so; 0: none yet
  };

  base::Millis steady_ms() const;
  bool leads() const;
  SlotMove* current();
  bool may_begin() const;
  void begin_unit();
  void go_on();
  bool gather(std::string& body);
  void put_key(base::Bytes key, std::string& body);
  void gather_changes(std::string& body);
  void send(std::string body);
  void hold(bool on);
  void listen_as_needed();
  void want_no_more(const SlotMove& move);
  void check_counts();
  void release();
  void fail(const std::string& why, SlotMove::State state = SlotMove::State::failed);
  void finish_unit();
  void begin_at_target();
  void sync_at_target();
  void end_at_target();
  void ask(cluster::Question question, const std::string& body, cluster::NodeBus::OnAnswer done);
  std::string unit_body() const;

  // slot_moves_ledger.cc
  const cluster::SlotLedger& ledger() const;
  void say(cluster::SlotLedger ledger);
  bool find_named();
  void follow_lead();
  void lose_lead();
  void tell();
  void tidy_up(cluster::SlotLedger& next) const;
  void take_old_record(cluster::SlotLedger& next);
  void forget_old_record();
  void follow_release();
  bool is_on_disks(cluster::Index index) const;
  void ask_adoption();
  void adoption_answered(cluster::NodeIndex target, const base::Result<std::string>& answer);
  void call_off(cluster::GroupNumber from, cluster::GroupNumber to,
                const cluster::UnitNumber& number);
  bool drop_keys(unsigned slot, base::Nanos end);
  void drop_some();
  base::Result<> run(std::initializer_list<base::Bytes> words);

  // slot_moves_target.cc
  bool note_arrival(Arrival& arrival, cluster::SlotLedger& next);
  void serve_arrivals();
  bool clear_for(const Arrival& arrival, base::Nanos end);
  bool comes(unsigned slot, cluster::GroupNumber from, const cluster::UnitNumber& number) const;
  base::Result<> install(cluster::GroupNumber from, const cluster::UnitNumber& number,
                         base::Bytes keys);
  std::string count_keys(cluster::GroupNumber from, const cluster::UnitNumber& number,
                         base::Bytes counts) const;
  void answer_when_committed(cluster::NodeBus::OnAnswer answer);
  void answer_settled();
  void note_evicted(const store::Commit& commit);
  void forget_evicted();
  Adoption& adoption_of(cluster::GroupNumber from, const cluster::UnitNumber& number);
  void go_on_adopting();
  void adopt(cluster::GroupNumber from, const cluster::SlotList& slots);
  void tell_of_unit(base::Bytes body, const cluster::NodeBus::OnAnswer& answer) const;
  void ask_about_units();

  Server& server_;
  ClusterNode& node_;
  NodeRecord& record_;
  Replay replay_;
  std::deque<SlotMove> moves_;  // the first that is not over goes on
  std::unique_ptr<Unit> unit_;
  cluster::Epoch epoch_ = 0;       // in which we lead; 0: we do not
  std::bitset<kSlots> wanted_;     // of moves that are not over
  std::bitset<kSlots> copied_;     // of the unit
  std::set<std::string> changed_;  // keys of the unit, since they were sent
  bool held_ = false;
  base::Millis held_since_ = 0;
  bool adopting_ = false;
  base::Millis adopt_at_ = 0;
  cluster::UnitNumber released_;    // that the target is asked to adopt,
  cluster::Index released_at_ = 0;  // once the log is on disk up to there; 0: none is known
  base::Millis target_heard_ = 0;   // that it does
  std::set<cluster::GroupNumber> calling_off_;  // units of theirs
  base::Millis call_off_at_ = 0;
  uint64_t units_ = 0;  // begun since the start
  // The ledger, as it was seen last.
  const cluster::GroupCore* core_seen_ = nullptr;
  uint64_t shape_seen_ = 0;
  std::bitset<kSlots> named_;
  bool behind_ = false;
  bool tidy_due_ = true;
  cluster::Index old_record_at_ = 0;  // the entry that took over what an older file says
  // As target.
  std::deque<Settling> settling_;  // until the log is committed up to there,
  std::deque<Settling> syncing_;   // and on disk
  std::deque<Arrival> arrivals_;
  std::map<cluster::GroupNumber, Adoption> adoptions_;  // by source
  std::map<cluster::GroupNumber, base::Millis> heard_;  // of what comes, by source
  std::map<cluster::GroupNumber, base::Millis> asked_;  // about it
  std::set<std::string> evicted_;             // keys that have come since their unit began
  std::map<uint16_t, base::Millis> awaited_;  // by clients: when they were last seen coming
  std::map<cluster::GroupNumber, cluster::UnitNumber> begun_;  // in this epoch, by source
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::server
