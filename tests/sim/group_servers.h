// GroupServers: complete servers as the members of one replica group in a world, what happens to
// their machines, and a timeline of all that for a person.
//
//   GroupServers group(run, GroupShape::drawn(run.seed));
//   group.form();  group.torment(20 * kSecond);  group.heal();
//   run.check(group.serves_again(30 * kSecond), ...)
//
// Beside what the run's plan does to every byte: processes end (what they wrote stays), machines
// end (what was not synced goes, and the next boot is another one), stand still, lose links in one
// direction or both, find their disks full, failing or slow, their clocks moved; a bit of a file
// flips. Leaders meet it most.
//
// Faults stay within what the group promises: with durability `memory`, as many members as elect a
// leader still know everything; and whoever ends while a failed fsync is being repaired ends with
// its machine, for its pages cannot be told from what the disk has.
//
// Watched all the time: one leader per epoch; no witness serves; nobody begins as one that lost
// something without having lost it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/group.h"
#include "tests/sim/server_node.h"

namespace quoll::sim {

struct GroupShape {
  size_t members = 3;
  size_t witnesses = 0;  // the last ones of them
  unsigned write_quorum = 2;
  unsigned read_quorum = 2;
  bool fsync = false;
  base::Millis election_timeout_ms = 1000;
  size_t log_bytes = size_t{64} << 20;  // little: members that were away get all data

  static GroupShape drawn(uint64_t seed);
  unsigned election_quorum() const;
  std::string text() const;
  std::vector<std::string> arguments(size_t member) const;
};

class GroupServers {
 public:
  GroupServers(Run& run, SimWorld& world, const GroupShape& shape);
  ~GroupServers();
  GroupServers(const GroupServers&) = delete;

  const GroupShape& shape() const { return shape_; }
  std::vector<NodeId> ids() const;
  ServerNode& node(size_t member) { return *nodes_[member]; }
  const cluster::GroupCore* core(size_t member) const;  // null: it is down, or not so far
  bool is_witness(size_t member) const { return member >= shape_.members - shape_.witnesses; }
  // The member that serves, in the highest epoch where two believe to; members(): none.
  size_t leader() const;
  size_t members() const { return nodes_.size(); }

  // Everyone is up, knows all that it should, and one serves.
  bool form(Nanos limit);
  // Faults until `time` has gone by.
  void torment(Nanos time);
  // The faults of the members and those of the plan end; whoever is down begins.
  void heal();
  bool serves_within(Nanos limit);
  // Every member has the whole log and, unless it is a witness, the same data. "": so it is.
  std::string differences(Nanos limit);

  void end(size_t member, CrashKind kind);
  void begin(size_t member);
  void note(const std::string& line);
  std::string timeline() const;

  struct Counts {
    uint64_t kills = 0, power_losses = 0, cuts = 0, pauses = 0, disks = 0, rotten = 0;
    uint64_t elections = 0, syncs = 0, repaired_keys = 0, rejoins = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  void watch(size_t member);
  void plan(int64_t every_ms, void (GroupServers::*fault)());
  void someone_ends();
  void all_end();
  void a_link_is_cut();
  void someone_is_cut_off();
  void a_link_clogs();
  void connections_break();
  void someone_stands_still();
  void a_disk_is_ill();
  void a_clock_jumps();
  bool may_forget(size_t member) const;
  bool has_everything(size_t member) const;
  void rot(size_t member);
  size_t any();             // the leader every other time
  Nanos up_to(int64_t ms);  // at least a millisecond
  SimChance& chance() { return world_.chance(); }

  Run& run_;
  SimWorld& world_;
  GroupShape shape_;
  std::vector<std::unique_ptr<ServerNode>> nodes_;
  struct Seen {
    bool intact = false;  // when it was last looked at; of who is down: what its disk says
    bool looked = false;  // at this life
    bool leads = false;
    uint64_t epoch = 0;
    uint64_t syncs = 0, repaired = 0;  // of this life
    base::Millis clock = 0;            // moved by so much
  };
  std::vector<Seen> seen_;
  std::map<uint64_t, size_t> leaders_;  // by epoch
  std::deque<std::string> lines_;
  Counts counts_;
  uint64_t torment_ = 0;  // number of the one under way; 0: peace
  uint64_t torments_ = 0;
};

}  // namespace quoll::sim
