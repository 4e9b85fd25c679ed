// GroupServers: complete servers as the members of one replica group in a world, and what happens
// to them (tormented_servers.h).
//
//   GroupServers group(run, GroupShape::drawn(run.seed));
//   group.form();  group.torment(20 * kSecond);  group.heal();
//   run.check(group.serves_again(30 * kSecond), ...)
//
// Beside the faults of all servers: processes end (what they wrote stays), machines end (what was
// not synced goes, and the next boot is another one); a bit of a file flips. Leaders meet it most.
//
// Faults stay within what the group promises: with durability `memory`, as many members as elect a
// leader still know everything; and whoever ends while a failed fsync is being repaired ends with
// its machine, for its pages cannot be told from what the disk has.
//
// Watched all the time: one leader per epoch; no witness serves; nobody begins as one that lost
// something without having lost it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "server/group.h"
#include "tests/sim/tormented_servers.h"

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

class GroupServers final : public TormentedServers {
 public:
  GroupServers(Run& run, SimWorld& world, const GroupShape& shape);

  const GroupShape& shape() const { return shape_; }
  const cluster::GroupCore* core(size_t member) const;  // null: it is down, or not so far
  bool is_witness(size_t member) const { return member >= shape_.members - shape_.witnesses; }
  // The member that serves, in the highest epoch where two believe to; members(): none.
  size_t leader() const;

  // Everyone is up, knows all that it should, and one serves.
  bool form(Nanos limit);
  bool serves_within(Nanos limit);
  // Every member has the whole log and, unless it is a witness, the same data. "": so it is.
  std::string differences(Nanos limit);

  void end(size_t member, CrashKind kind) override;

 private:
  std::vector<Fault> faults() override;
  size_t most_important() override { return leader(); }
  void watch(size_t member) override;
  std::string described(size_t member) const override;
  void someone_ends();
  bool may_forget(size_t member) const;
  bool has_everything(size_t member) const;
  void rot(size_t member);

  GroupShape shape_;
  struct Seen {
    bool intact = false;  // when it was last looked at; of who is down: what its disk says
    bool looked = false;  // at this life
    bool leads = false;
    uint64_t epoch = 0;
  };
  std::vector<Seen> seen_;
  std::map<uint64_t, size_t> leaders_;  // by epoch
};

}  // namespace quoll::sim
