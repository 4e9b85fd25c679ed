// GroupWorld: N members of a replica group as cores only (cluster::GroupCore), on virtual time,
// with a network and disks that fail, all from one seed. Much faster than whole servers, so that
// many thousands of minutes of it can be run.
//
//   member:  core <-> connections: in order, nothing lost until they break, any delay, one-way cuts
//            core <-> disk: records written and synced later; a machine's crash keeps a prefix of
//                     what was not synced, a process's crash all that was written
//            core <-> data: all that was executed, in order, and leaves again only when it is
//                     undone; a checkpoint now and then
//   clients: write to whoever serves, and read there, now and then many at once
//   clocks:  of members that lead by a lease run at rates a tenth apart at most, which is the bound
//   shape:   in some runs the group changes all the time: nodes come as learners, become voters,
//            leave, also the leader, several at once; W and R follow, or change by themselves. A
//            node that has left goes on for a while, and another one may get its place
//   ledger:  in most runs leaders tell now and then what the group says of its slots; every ledger
//            has a greater number. State, checkpoint and log go to disk in the driver's order, and
//            everything ends in between
//   faults:  at random, and where they hurt most: around elections, to a leader that is alone with
//            what it executes, to several members at once
//
// What must hold, checked as it happens:
//   - an entry once committed is the same at that place of every member, for ever
//   - a write that was acknowledged is committed; a read shows every write acknowledged before it,
//     also one that the lease answers at once
//   - the group changes only where a leader has committed an entry of its epoch
//   - who has a committed ledger in its log, or data as of behind it, has no older one in force,
//     not even when it has just begun, got all data or changed the group; so has who leads
//   - one leader per epoch; data never differ from the committed entries
//   - all data sent to a member are of use to it: the log goes on from there
//   - after all faults have ended: within 30 s a leader serves, writes and reads are answered, all
//     members have the same log and data, and no change of the group is left half done
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cluster/group_core.h"
#include "tests/sim/sim_chance.h"

namespace quoll::sim {

using base::Millis;
using cluster::Epoch;
using cluster::GroupCore;
using cluster::Index;
using cluster::Member;
using cluster::Position;
using Micros = int64_t;

constexpr Micros kMilliMicros = 1'000;
constexpr Micros kSecondMicros = 1'000'000;

// What a run does to its group; drawn from the seed.
struct GroupFaults {
  cluster::GroupConfig group;
  Micros delay_max = 2 * kMilliMicros;  // of a message
  Micros write_max = 1 * kMilliMicros;  // of the disk
  Micros sync_max = 5 * kMilliMicros;
  int writes_per_second = 40;
  int reads_per_second = 40;
  // Mean seconds between such faults in the group; 0: none.
  int crash_every = 0;
  int machine_every = 0;    // crashes of machines: unsynced bytes are lost
  int cut_every = 0;        // links, in one direction or both
  int reset_every = 0;      // connections
  int pause_every = 0;      // the process stands still
  int disk_every = 0;       // the disk refuses for a while
  int wipe_every = 0;       // a member loses its directory
  int split_every = 0;      // the network falls into two parts
  int plot_every = 0;       // one of the stories told on purpose
  int outage_every = 0;     // several members end at once
  int hand_over_every = 0;  // the leader hands its part on
  int change_every = 0;     // the group's shape; in one run of three
  int told_alone = 0;       // in a hundred changes: only new voters hear of it, then nobody else
  int promise_every = 0;    // who is bound by a lease ends, and the leader is alone
  // In a hundred: who has just voted ends; who has just been elected ends or is cut off.
  int voter_ends = 0;
  int leader_falls = 0;
  // Who sends all its data is cut off with the receiver; and who has put data in place ends.
  int sync_alone = 0;
  int ledger_every = 0;  // the leader tells a ledger of slots; in two runs of three
  static GroupFaults drawn(uint64_t seed);

 private:
  void make_changing(SimChance& chance);
};

class GroupWorld {
 public:
  GroupWorld(uint64_t seed, const GroupFaults& faults);

  // Faults for this long, then peace; "" or the first rule that was broken.
  std::string run(Micros time);
  void trace(bool on) { tracing_ = on; }
  // The last events, for a person.
  std::string timeline() const;
  struct Counts {
    uint64_t acknowledged = 0, reads = 0, elections = 0, undone = 0, syncs = 0, rejoins = 0;
    uint64_t leased = 0;  // reads answered at once
    uint64_t changes = 0, ledgers = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  struct Record {
    Position at;
    std::string bytes;
    bool restart = false;  // the log begins behind `at`
  };
  struct Machine {
    std::vector<Record> records;  // as the operating system has them
    size_t synced = 0;
    // A file that begins anew behind what was synced tells what the one before had promised.
    Index promised = 0;
    cluster::SavedState state;
    bool has_state = false;
    uint64_t state_number = 0;  // of the write that brought it
    Position checkpoint;
    Index checkpoint_commit = 0;
    std::vector<uint64_t> checkpoint_data;
    uint64_t boot = 1;
  };
  struct Pending {  // a client's operation at a leader
    Index index;
    Epoch epoch;
    uint64_t round;  // reads
    uint64_t seen;   // reads: acknowledged before they began
    uint64_t value;  // writes
    bool write;
    Micros began;  // moved on by what the leader stood still
  };
  struct Node {
    bool founds = false;  // the group, which is not listed
    bool there = true;    // somebody has the place, or had it and goes on
    std::string id;       // "" in a group whose members are listed
    Machine machine;
    std::unique_ptr<GroupCore> core;
    uint64_t life = 0;
    bool paused = false;
    bool disk_fails = false;
    bool disk_told = true;
    bool writing = false;
    bool moment = false;               // waited for, for what is held back
    int64_t messages_left = 0;         // until it falls; 0: it does not
    uint64_t file = 0;                 // a new one after every trouble
    bool placing = false;              // all data that came
    uint64_t arrived = 0;              // all data, so often
    uint64_t checkpoints_dropped = 0;  // what is being written is not wanted any more
    std::vector<Record> queue;         // for the disk
    Micros skew = 0;
    int64_t rate = 0;            // of its steady clock: so many thousandths faster than time
    std::vector<uint64_t> data;  // values as they were executed; 0: an entry without one
    std::deque<Pending> pending;
    std::deque<std::function<void()>> missed;  // while paused
    std::deque<std::function<void()>> late;    // timers then
  };
  struct AllData {  // on their way to a member
    Member from, to;
    uint64_t life;  // of the connection
    Epoch epoch;
    Position at;
    Index commit = 0;
    cluster::GroupShape shape;
    std::vector<uint64_t> data;
    bool over = false;  // taken, or given up
  };
  struct CommittedLedger {
    Position at;
    Epoch by;  // the epoch in which it was
    uint64_t number;
  };
  struct Link {  // one direction of a connection
    bool up = false;
    bool cut = false;
    uint64_t life = 0;
    Micros last = 0;  // arrival of the last message
    std::deque<std::function<void()>> held;
  };

  void at(Micros when, std::function<void()> task);
  // Runs on the member's thread of this life, or not at all.
  void on_node(Member m, Micros when, std::function<void()> task, bool timer = false);
  void turn(Member m, const std::function<void()>& task);
  void pump(Member m);
  void boot(Member m);
  void end(Member m, bool machine);
  void wipe(Member m);
  // Ends, and begins again after a while.
  void fall(Member m, bool machine, Micros down);
  void isolate(Member m);
  void tick(Member m);
  void write_next(Member m);
  void sync_now(Member m);
  void save_state(Member m, const cluster::SavedState& state, uint64_t number,
                  const std::function<void()>& then = {});
  void save_then(Member m, const std::function<void()>& then);
  void trouble(Member m);
  void send(Member from, Member to, const cluster::GroupMessage& message);
  void connect(Member a, Member b);
  void disconnect(Member a, Member b);
  void cut(Member from, Member to, bool on);
  void apply(Member m);
  void pad(Member m);
  void undo(Member m, Index behind);
  void settle(Member m);
  void note_committed(const cluster::Entry& entry, Epoch by);
  void change_shape(Member m);
  void tell_only_the_new(Member m, uint32_t before, uint32_t after);
  cluster::GroupShape drawn_change(const GroupCore& leader);

  // group_world_data.cc
  void take_checkpoint(Member m);
  bool ends_here(Member m);
  void publish_checkpoint(Member m, Position at, const std::vector<uint64_t>& data);
  void trim_log(Member m, Position upto);
  void cut_log(Member m, Position upto);
  void prepare_sync(Member from, Member to);
  void begin_sync(Member from, Member to);
  void await_sync(const std::shared_ptr<AllData>& all);
  void receive_all(const std::shared_ptr<AllData>& all);
  void put_in_place(const std::shared_ptr<AllData>& all);

  // group_world_ledger.cc
  void tell_ledger(Member m);
  void note_ledger(const cluster::Entry& entry, Epoch by);
  void note_ledger_of_data(const GroupCore& core);
  bool has_ledger(const GroupCore& core, const CommittedLedger& ledger) const;
  void check_ledger(Member m);

  void come(Member m, const std::string& id);
  void go(Member m, const std::string& id);
  bool listed() const { return faults_.change_every == 0; }
  bool is_witness(Member m) const;
  void client_write();
  void client_read();
  void write(Member m, size_t bytes = 0);
  // All machines' unsynced bytes may go without that the group must stop.
  bool machines_may_end() const { return faults_.group.durability == cluster::Durability::fsync; }
  void elected(Member m);
  void fall_from_power(Member m);
  void plot();
  void meet_the_lost(Member m);
  void depose_twice(Member m);
  void go_on_deposing(Member m);
  void hear_old_news(Member m);
  void let_through(Member from, Member to);
  void forget_twice(Member m);
  void go_on_forgetting(Member m);
  void stop_forgetting();
  void hand_over(Member m);
  void forget_a_promise(Member m);
  void sever(Member m, bool on);  // from all others, or no longer
  void pause(Member m, Micros time);
  void plan(int every, const std::function<void()>& fault);
  void plan_faults();
  void heal();
  bool may_elect() const;
  std::string verdict();

  bool broken() const { return !failure_.empty(); }
  void fail(const std::string& what);
  void note(const std::string& line);
  Millis wall(Member m) const { return (now_ + nodes_[m].skew) / 1000; }
  Millis steady(Member m) const { return (now_ + now_ / 1000 * nodes_[m].rate) / 1000; }
  Link& link(Member from, Member to) { return links_[from][to]; }
  Member any() { return static_cast<Member>(chance_.between(0, static_cast<int64_t>(size_) - 1)); }

  GroupFaults faults_;
  SimChance chance_;
  size_t size_;
  Micros now_ = 0;
  uint64_t sequence_ = 0;
  std::map<std::pair<Micros, uint64_t>, std::function<void()>> queue_;
  std::vector<Node> nodes_;
  std::array<std::array<Link, cluster::kMembersMax>, cluster::kMembersMax> links_;
  bool peace_ = false;
  cluster::GroupShape first_;  // of a group that changes
  cluster::GroupShape shape_;  // the last one committed
  uint64_t nodes_born_ = 0;
  Member deposed_ = cluster::kNoMember;  // by depose_twice()
  Member deposed_second_ = cluster::kNoMember;
  int deposed_times_ = 0;
  struct {  // by forget_twice()
    enum { none, forgets, acknowledges, forgets_again } stage = none;
    Member leader, member, third;
    Index rejoin;  // the member's
  } forgetting_;
  bool tracing_ = false;
  uint64_t next_value_ = 1;
  std::vector<uint64_t> committed_;  // value of entry i at i - 1; 0: none
  std::map<Epoch, Member> leaders_;
  uint64_t ledgers_told_ = 0;
  std::vector<CommittedLedger> ledgers_;
  Index acknowledged_ = 0;  // the last acknowledged write's index
  Counts counts_;
  std::string failure_;
  std::deque<std::string> lines_;
};

}  // namespace quoll::sim
