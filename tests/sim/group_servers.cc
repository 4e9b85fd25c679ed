#include "tests/sim/group_servers.h"

#include <algorithm>
#include <array>

#include "cluster/group_wal_format.h"
#include "cluster/quorum.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

constexpr const char* kDir = "group";
constexpr const char* kStateFile = "group/state";

}  // namespace

// ---- shape

GroupShape GroupShape::drawn(uint64_t seed) {
  SimChance chance(seed * 2654435761u + 29);
  struct Quorums {
    size_t members, witnesses;
    unsigned write, read;
    bool fsync;
  };
  static constexpr std::array<Quorums, 10> kQuorums = {{{3, 0, 2, 2, false},
                                                        {3, 0, 2, 2, true},
                                                        {3, 1, 2, 2, false},
                                                        {5, 0, 3, 3, false},
                                                        {3, 0, 3, 1, true},
                                                        {5, 0, 2, 4, true},
                                                        {3, 0, 2, 2, false},
                                                        {4, 0, 2, 3, true},
                                                        {3, 1, 2, 2, true},
                                                        {5, 2, 3, 3, false}}};
  const Quorums& quorums = kQuorums[seed % kQuorums.size()];
  GroupShape shape;
  shape.members = quorums.members;
  shape.witnesses = quorums.witnesses;
  shape.write_quorum = quorums.write;
  shape.read_quorum = quorums.read;
  shape.fsync = quorums.fsync;
  shape.election_timeout_ms = chance.ppm(500'000) ? 1000 : 400;
  if (chance.ppm(600'000)) shape.log_bytes = static_cast<size_t>(chance.between(2'000, 60'000));
  return shape;
}

unsigned GroupShape::election_quorum() const {
  return cluster::election_quorum(members, write_quorum, read_quorum);
}

std::string GroupShape::text() const {
  return number(members) + " members" +
         (witnesses > 0 ? ", " + number(witnesses) + " of them witnesses" : "") + ", W " +
         number(write_quorum) + ", R " + number(read_quorum) + (fsync ? ", fsync" : ", memory") +
         ", election timeout " + std::to_string(election_timeout_ms) + " ms, log " +
         number(log_bytes) + " bytes";
}

std::vector<std::string> GroupShape::arguments(size_t member) const {
  std::string list;
  for (size_t m = 0; m < members; ++m) {
    if (m > 0) list += ' ';
    list += SimWorld::address_of(static_cast<NodeId>(m)) + ":6379";
    if (m >= members - witnesses) list += "/witness";
  }
  return {"--cluster-enabled",
          "yes",
          "--cluster-group",
          list,
          "--cluster-group-member",
          number(member),
          "--cluster-write-quorum",
          number(write_quorum),
          "--cluster-read-quorum",
          number(read_quorum),
          "--cluster-durability",
          fsync ? "fsync" : "memory",
          "--cluster-election-timeout",
          std::to_string(election_timeout_ms),
          "--cluster-log-size",
          number(log_bytes),
          "--enable-debug-command",
          "yes",
          "--save",
          ""};
}

// ---- members

GroupServers::GroupServers(Run& run, SimWorld& world, const GroupShape& shape)
    : TormentedServers(run, world), shape_(shape), seen_(shape.members) {
  note("a group of " + shape.text());
  for (size_t m = 0; m < shape.members; ++m) add(shape.arguments(m));
}

const cluster::GroupCore* GroupServers::core(size_t member) const {
  if (member >= nodes_.size() || !nodes_[member]->up()) return nullptr;
  const server::ReplicaGroup* group = nodes_[member]->server().group();
  return group ? group->core() : nullptr;
}

size_t GroupServers::leader() const {
  size_t leader = nodes_.size();
  for (size_t m = 0; m < nodes_.size(); ++m) {
    const cluster::GroupCore* core = this->core(m);
    if (!core || !core->serves()) continue;
    if (leader == nodes_.size() || core->epoch() > this->core(leader)->epoch()) leader = m;
  }
  return leader;
}

// After every turn of the member.
void GroupServers::watch(size_t m) {
  const cluster::GroupCore* core = this->core(m);
  Seen& seen = seen_[m];
  if (!core) return;
  if (!std::exchange(seen.looked, true) && seen.intact)
    run_.check(core->intact(), member_text(m) + " has lost nothing and does not take part");
  if (core->intact() != seen.intact) {
    seen.intact = core->intact();
    note(member_text(m) + (seen.intact ? " takes part" : " may have lost something"));
  }
  if (core->leads() && (!seen.leads || core->epoch() != seen.epoch)) {
    seen.epoch = core->epoch();
    const size_t leader = leaders_.emplace(core->epoch(), m).first->second;
    run_.check(leader == m, "two leaders in epoch " + number(core->epoch()));
  }
  seen.leads = core->leads();
  if (is_witness(m)) run_.check(!core->serves(), "a witness serves");
}

void GroupServers::end(size_t m, CrashKind kind) {
  if (!world_.running(nodes_[m]->id())) return;
  SimDrive& drive = world_.drive(nodes_[m]->id());
  if (kind == CrashKind::killed && drive.doubtful()) {
    if (shape_.fsync || may_forget(m))
      kind = CrashKind::power;
    else
      drive.settle_doubts();
  }
  const bool power = kind == CrashKind::power;
  note(member_text(m) + (power ? "'s machine ends" : "'s process ends"));
  world_.crash(nodes_[m]->id(), kind);
  Seen& seen = seen_[m];
  seen.leads = false;
  // Who ends before it has begun finds what the life before it left.
  if (std::exchange(seen.looked, false)) {
    const auto block = cluster::decode_superblock(drive.content(kStateFile));
    seen.intact = block && !block->state.id.empty() && block->state.amnesia == 0;
  }
  if (power && !shape_.fsync) seen.intact = false;
}

// Whether enough others know everything. Witnesses do not keep what it takes to make data of it.
bool GroupServers::may_forget(size_t member) const {
  unsigned intact = 0;
  bool data = shape_.witnesses == 0 || is_witness(member);
  for (size_t m = 0; m < nodes_.size(); ++m) {
    if (m == member) continue;
    intact += seen_[m].intact;
    data |= !is_witness(m) && has_everything(m);
  }
  return data && intact >= shape_.election_quorum();
}

bool GroupServers::has_everything(size_t member) const {
  const cluster::GroupCore* core = this->core(member);
  if (!core || !core->intact() || !core->data_stands()) return false;
  for (size_t m = 0; m < nodes_.size(); ++m)
    if (const cluster::GroupCore* other = this->core(m))
      if (other->commit() > core->commit()) return false;
  return true;
}

// ---- what is waited for

bool GroupServers::form(Nanos limit) {
  return world_.run_until(
      [this] {
        if (run_.failed()) return true;
        for (size_t m = 0; m < nodes_.size(); ++m)
          if (!core(m) || !core(m)->intact()) return false;
        return leader() < nodes_.size();
      },
      limit);
}

bool GroupServers::serves_within(Nanos limit) {
  return world_.run_until(
      [this] {
        const size_t leader = this->leader();
        return run_.failed() ||
               (leader < nodes_.size() && nodes_[leader]->server().group()->may_commit());
      },
      limit);
}

std::string GroupServers::differences(Nanos limit) {
  std::string missing;
  auto caught_up = [&] {
    missing.clear();
    const size_t leader = this->leader();
    if (leader == nodes_.size()) missing = "nobody leads";
    for (size_t m = 0; m < nodes_.size() && missing.empty(); ++m) {
      const cluster::GroupCore* core = this->core(m);
      const cluster::Position last = this->core(leader)->last();
      if (!core)
        missing = member_text(m) + " is not there";
      else if (!core->intact())
        missing = member_text(m) + " was not let in again";
      else if (core->last() != last || core->commit() != last.index ||
               core->applied() != last.index)
        missing = member_text(m) + " has the log up to " + number(core->last().index) +
                  ", committed " + number(core->commit()) + ", applied " + number(core->applied()) +
                  "; the leader's ends at " + number(last.index);
      else if (!is_witness(m) && !core->data_stands())
        missing = member_text(m) + " has no data to rely on";
    }
    return missing.empty() || run_.failed();
  };
  if (!world_.run_until(caught_up, limit)) return missing;
  // A lock may expire between two looks; then another one follows.
  constexpr int kLooks = 4;
  for (int look = 0; look < kLooks; ++look) {
    std::map<std::string, std::string> digests;
    for (size_t m = 0; m < nodes_.size(); ++m) {
      if (is_witness(m)) continue;
      SimClient client(world_, nodes_[m]->id());
      digests[client.call({"DEBUG", "DIGEST"})] += " " + number(m);
    }
    if (digests.size() == 1) return "";
    missing = "the data differ:";
    for (const auto& [digest, who] : digests) missing += who + " has " + digest + ";";
    world_.run_for(2 * kSecond);
  }
  return missing;
}

// ---- faults

std::vector<TormentedServers::Fault> GroupServers::faults() {
  std::vector<Fault> all = common_faults();
  all.push_back({2'500, [this] { someone_ends(); }});
  all.push_back({9'000, [this] { all_end(shape_.fsync); }});
  return all;
}

void GroupServers::someone_ends() {
  const size_t m = any();
  if (!world_.running(nodes_[m]->id())) return;
  const bool may_forget = this->may_forget(m);
  const bool machine = chance().ppm(500'000) && (shape_.fsync || may_forget);
  end(m, machine ? CrashKind::power : CrashKind::killed);
  if (chance().ppm(150'000) && may_forget) rot(m);
  world_.after(up_to(chance().ppm(300'000) ? 6'000 : 500), [this, m] { begin(m); });
}

// One bit of one file of a machine that is down; of the data's own files it would be the end.
void GroupServers::rot(size_t m) {
  SimDrive& drive = world_.drive(nodes_[m]->id());
  std::vector<std::string> names = drive.list(kDir);
  std::erase_if(names, [](const std::string& name) { return name.ends_with(".rdb"); });
  if (names.empty()) return;
  const std::string path =
      std::string(kDir) + "/" +
      names[static_cast<size_t>(chance().between(0, static_cast<int64_t>(names.size()) - 1))];
  std::string bytes = drive.content(path);
  if (bytes.empty()) return;
  const int64_t bit = chance().between(0, static_cast<int64_t>(bytes.size()) * 8 - 1);
  bytes[static_cast<size_t>(bit / 8)] ^= static_cast<char>(1 << (bit % 8));
  drive.put(path, bytes);
  seen_[m].intact = false;
  note(member_text(m) + ": a bit of " + path + " flips");
}

std::string GroupServers::described(size_t member) const {
  const cluster::GroupCore* core = this->core(member);
  if (!core) return world_.running(nodes_[member]->id()) ? " is starting" : " is down";
  return (core->serves()  ? " serves"
          : core->leads() ? " leads"
                          : " follows") +
         std::string(": epoch ") + number(core->epoch()) + ", log " +
         number(core->log().base().index) + " to " + number(core->last().index) + ", committed " +
         number(core->commit()) + ", applied " + number(core->applied()) +
         (core->intact() ? "" : ", amnesiac") + (core->data_stands() ? "" : ", without data");
}

}  // namespace quoll::sim
