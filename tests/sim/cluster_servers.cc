#include "tests/sim/cluster_servers.h"

#include <algorithm>
#include <array>

#include "base/crc16.h"
#include "server/group.h"
#include "server/slot_moves.h"

namespace quoll::sim {
namespace {

constexpr int64_t kSlotsAtOnceMax = 200;
constexpr int64_t kOperatorPpm = 800'000;   // of one of its habits, for a torment
constexpr Nanos kLookEvery = kSecond / 20;  // at all slots of all nodes
constexpr unsigned kSlotsSampled = 64;      // each so many-th slot is looked at by who looks often

constexpr const char* kPort = "6379";

}  // namespace

// ---- shape

ClusterShape ClusterShape::drawn(uint64_t seed) {
  SimChance chance(seed * 2654435761u + 31);
  struct Sizes {
    size_t nodes, masters, replicas;
    bool fsync;
  };
  static constexpr std::array<Sizes, 6> kSizes = {{{5, 3, 0, false},
                                                   {5, 3, 0, true},
                                                   {5, 2, 1, false},
                                                   {4, 2, 0, true},
                                                   {7, 2, 2, false},
                                                   {7, 3, 1, true}}};
  const Sizes& sizes = kSizes[seed % kSizes.size()];
  ClusterShape shape;
  shape.nodes = sizes.nodes;
  shape.masters = sizes.masters;
  shape.replicas = sizes.replicas;
  shape.fsync = sizes.fsync;
  shape.election_timeout_ms = chance.ppm(500'000) ? 1000 : 400;
  if (chance.ppm(400'000)) shape.log_bytes = static_cast<size_t>(chance.between(5'000, 60'000));
  shape.rebalances = chance.ppm(300'000);
  if (chance.ppm(300'000)) shape.replace_after_s = static_cast<unsigned>(chance.between(3, 20));
  return shape;
}

std::string ClusterShape::text() const {
  return number(masters) + " masters with " + number(replicas) + " replicas each, " +
         number(nodes - masters * (1 + replicas)) + " more nodes" +
         (fsync ? ", fsync" : ", memory") + ", election timeout " +
         std::to_string(election_timeout_ms) + " ms, log " + number(log_bytes) + " bytes" +
         (rebalances ? ", rebalances" : "") +
         (replace_after_s > 0 ? ", replaces after " + number(replace_after_s) + " s" : "");
}

std::vector<std::string> ClusterShape::arguments() const {
  return {"--cluster-enabled",
          "yes",
          "--cluster-durability",
          fsync ? "fsync" : "memory",
          "--cluster-election-timeout",
          std::to_string(election_timeout_ms),
          "--cluster-log-size",
          number(log_bytes),
          "--cluster-rebalance",
          rebalances ? "auto" : "manual",
          "--cluster-replace-after",
          number(replace_after_s),
          "--enable-debug-command",
          "yes",
          "--save",
          ""};
}

// ---- nodes

ClusterServers::ClusterServers(Run& run, SimWorld& world, const ClusterShape& shape,
                               const std::vector<std::string>& hot)
    : TormentedServers(run, world), shape_(shape), busiest_(shape.nodes), leads_(shape.nodes) {
  for (const std::string& key : hot) hot_.insert(base::key_slot(key));
  note("a cluster of " + shape.text());
  for (size_t m = 0; m < shape.nodes; ++m) add(shape.arguments());
}

server::ClusterNode* ClusterServers::cluster_of(size_t member) const {
  return member < nodes_.size() && nodes_[member]->up() ? nodes_[member]->server().node() : nullptr;
}

const cluster::GroupCore* ClusterServers::core(size_t member) const {
  const server::ClusterNode* node = cluster_of(member);
  return node ? node->core() : nullptr;
}

bool ClusterServers::serves(size_t member, unsigned slot) const {
  const server::ClusterNode* node = cluster_of(member);
  return node && node->core() && node->serves() && node->has_slot(slot) &&
         !node->moves().named(slot) && !node->moves().behind();
}

bool ClusterServers::is_member(size_t member) const {
  const server::ClusterNode* node = cluster_of(member);
  return node && node->topology().find(node->index()) && node->assigned(0);
}

// Those that serve at least one of the slots that are looked at.
std::vector<size_t> ClusterServers::with_slots() const {
  std::vector<size_t> found;
  for (size_t m = 0; m < nodes_.size(); ++m) {
    bool any = std::ranges::any_of(hot_, [&](unsigned slot) { return serves(m, slot); });
    for (unsigned slot = 0; slot < base::kKeySlots && !any; slot += kSlotsSampled)
      any = serves(m, slot);
    if (any) found.push_back(m);
  }
  return found;
}

// After every turn of the member.
void ClusterServers::watch(size_t m) {
  server::ClusterNode* node = cluster_of(m);
  const cluster::GroupCore* core = this->core(m);
  if (!core) return;
  Lead& seen = leads_[m];
  if (core->leads() && (!seen.leads || core->epoch() != seen.epoch)) {
    seen.epoch = core->epoch();
    const std::string name = node->group()->part()->group_name;
    const size_t leader = leaders_.emplace(std::pair(name, core->epoch()), m).first->second;
    run_.check(leader == m, "two leaders of " + name + " in epoch " + number(core->epoch()));
  }
  seen.leads = core->leads();
}

void ClusterServers::end(size_t m, CrashKind kind) {
  if (!world_.running(nodes_[m]->id())) return;
  SimDrive& drive = world_.drive(nodes_[m]->id());
  // What a failed sync has lost cannot be told from what the disk has; and of a process that ends
  // while that is repaired nothing behind it is promised (group_wal.h).
  if (kind == CrashKind::killed && drive.doubtful()) {
    if (!shape_.fsync) return;
    kind = CrashKind::power;
  }
  note(member_text(m) + (kind == CrashKind::power ? "'s machine ends" : "'s process ends"));
  world_.crash(nodes_[m]->id(), kind);
  leads_[m] = {};
}

// As if its machine had ended, where its pages cannot be trusted.
void ClusterServers::failed_to_start(size_t m) {
  SimDrive& drive = world_.drive(nodes_[m]->id());
  if (!drive.doubtful()) return;
  if (shape_.fsync)
    drive.lose_power(chance(), true);
  else
    drive.settle_doubts();
}

// ---- what is waited for

bool ClusterServers::form(Nanos limit) {
  const Nanos until = world_.now() + limit;
  auto wait = [&](const std::function<bool()>& holds) {
    return world_.run_until([&] { return holds() || run_.failed(); },
                            std::max<Nanos>(until - world_.now(), 1)) &&
           !run_.failed();
  };
  auto all_started = [this] {
    for (size_t m = 0; m < nodes_.size(); ++m)
      if (!core(m) || !core(m)->serves()) return false;
    return true;
  };
  if (!wait(all_started)) return false;
  const size_t first = shape_.masters * (1 + shape_.replicas);
  for (size_t m = 1; m < first; ++m)
    if (!done(0, {"CLUSTER", "MEET", SimWorld::address_of(nodes_[m]->id()), kPort})) return false;
  auto all_met = [this, first] {
    for (size_t m = 0; m < first; ++m)
      if (cluster_of(m)->topology().members().size() != first ||
          cluster_of(m)->topology().groups().size() != first)
        return false;
    return true;
  };
  if (!wait(all_met)) return false;
  for (size_t m = 0; m < shape_.masters; ++m) {
    const size_t from = base::kKeySlots * m / shape_.masters;
    const size_t to = base::kKeySlots * (m + 1) / shape_.masters - 1;
    if (!done(m, {"CLUSTER", "ADDSLOTSRANGE", number(from), number(to)})) return false;
  }
  for (size_t m = shape_.masters; m < first; ++m)
    if (!done(m, {"CLUSTER", "REPLICATE", cluster_of(m % shape_.masters)->id()})) return false;
  const std::string missing = differences(until - world_.now());
  return run_.check(missing.empty(), missing);
}

// What is not as it should be in peace.
std::string ClusterServers::unsettled() const {
  std::string version;
  for (size_t m = 0; m < nodes_.size(); ++m) {
    const server::ClusterNode* node = cluster_of(m);
    if (!node || !node->core()) return member_text(m) + " is not there";
    if (!is_member(m)) continue;
    const cluster::Topology& topology = node->topology();
    if (topology.find(node->index())->leaves) return member_text(m) + " still leaves";
    const std::string seen = base::digest_hex(topology.digest());
    if (version.empty()) version = seen;
    if (seen != version) return "the topologies differ";
    const auto group = topology.groups().find(node->own_group());
    if (group == topology.groups().end()) return member_text(m) + " has no group";
    if (!group->second.holders.empty()) return member_text(m) + "'s group is being changed";
    for (const server::SlotMove& move : node->moves().moves())
      if (!move.over()) return member_text(m) + " moves slots";
    if (node->serves() && node->moves().waits_for_commit())
      return member_text(m) + " withholds slots";
  }
  std::vector<size_t> servants(base::kKeySlots, nodes_.size());
  for (size_t m = 0; m < nodes_.size(); ++m) {
    if (!is_member(m)) continue;
    for (unsigned slot = 0; slot < base::kKeySlots; ++slot) {
      if (!serves(m, slot)) continue;
      if (servants[slot] < nodes_.size())
        return "slot " + number(slot) + " is served by " + number(servants[slot]) + " and " +
               number(m);
      servants[slot] = m;
    }
  }
  for (unsigned slot = 0; slot < base::kKeySlots; ++slot)
    if (servants[slot] == nodes_.size()) return "nobody serves slot " + number(slot);
  return "";
}

std::string ClusterServers::differences(Nanos limit) {
  std::string missing;
  Nanos look_at = 0;
  auto settled = [&] {
    if (run_.failed()) return true;
    if (world_.now() < look_at) return false;
    look_at = world_.now() + kLookEvery;
    return (missing = unsettled()).empty();
  };
  if (!world_.run_until(settled, limit)) return missing;
  // A lock may expire between two looks; then another one follows.
  constexpr int kLooks = 8;
  for (int look = 0; look < kLooks; ++look) {
    if ((missing = different_data()).empty()) return "";
    world_.run_for(2 * kSecond);
  }
  return missing;
}

std::string ClusterServers::different_data() {
  std::map<cluster::GroupNumber, std::map<std::string, std::string>> digests;
  for (size_t m = 0; m < nodes_.size(); ++m) {
    if (!is_member(m)) continue;
    const server::ClusterNode* node = cluster_of(m);
    SimClient client(world_, nodes_[m]->id());
    digests[node->own_group()][client.call({"DEBUG", "DIGEST"})] += " " + number(m);
    for (const unsigned slot : hot_) {
      if (node->has_slot(slot)) continue;
      if (client.call({"CLUSTER", "COUNTKEYSINSLOT", number(slot)}) != ":0\r\n")
        return member_text(m) + " has keys of slot " + number(slot) + ", which is not its";
    }
  }
  for (const auto& [group, by_digest] : digests) {
    if (by_digest.size() == 1) continue;
    std::string text = "the data of group " + number(group) + " differ:";
    for (const auto& [digest, who] : by_digest) text += who + " has " + digest.substr(1, 8) + ";";
    return text + different_keys(group);
  }
  return "";
}

// Who has which value of a key that is not the same everywhere, as digests.
std::string ClusterServers::different_keys(cluster::GroupNumber group) {
  std::map<std::string, std::map<std::string, std::string>> values;
  size_t asked = 0;
  for (size_t m = 0; m < nodes_.size(); ++m) {
    if (!is_member(m) || cluster_of(m)->own_group() != group) continue;
    ++asked;
    SimClient client(world_, nodes_[m]->id());
    client.call({"READONLY"});
    for (const Reply& key : parse_reply(client.call({"KEYS", "*"})).parts) {
      const Reply digest = parse_reply(client.call({"DEBUG", "DIGEST-VALUE", key.text}));
      const Reply deadline = parse_reply(client.call({"PEXPIRETIME", key.text}));
      if (digest.parts.empty()) continue;
      values[key.text][digest.parts[0].text.substr(0, 8) + " until " + deadline.text] +=
          " " + number(m);
    }
  }
  std::string text;
  for (const auto& [key, by_value] : values) {
    const size_t have = std::ranges::count(by_value.begin()->second, ' ');
    if (by_value.size() == 1 && have == asked) continue;
    text += " " + key + ":";
    for (const auto& [value, who] : by_value) text += who + " has " + value + ",";
  }
  return text;
}

// ---- faults

std::vector<TormentedServers::Fault> ClusterServers::faults() {
  std::vector<Fault> all = common_faults();
  all.push_back({3'000, [this] { someone_ends(); }});
  all.push_back({12'000, [this] { all_end(shape_.fsync); }});
  all.push_back({700, [this] { slots_move(); }, kOperatorPpm});
  all.push_back({4'000, [this] { moves_are_given_up(); }, kOperatorPpm});
  all.push_back({3'000, [this] { someone_comes(); }, kOperatorPpm});
  all.push_back({8'000, [this] { someone_leaves(); }, kOperatorPpm});
  all.push_back({6'000, [this] { someone_is_to_replicate(); }, kOperatorPpm});
  all.push_back({4'000, [this] { someone_is_to_take_over(); }, kOperatorPpm});
  return all;
}

void ClusterServers::someone_ends() {
  const size_t m = any();
  if (!world_.running(nodes_[m]->id())) return;
  end(m, shape_.fsync && chance().ppm(500'000) ? CrashKind::power : CrashKind::killed);
  world_.after(up_to(chance().ppm(300'000) ? 6'000 : 500), [this, m] { begin(m); });
}

// ---- the operator

void ClusterServers::tell(size_t member, std::vector<std::string> words) {
  std::erase_if(told_, [](const auto& one) { return one->lost() || one->outstanding() == 0; });
  if (!nodes_[member]->up()) return;
  std::string line;
  for (const std::string& word : words) line += " " + word;
  note("operator to " + member_text(member) + ":" + line);
  told_.push_back(std::make_unique<SimClient>(world_, nodes_[member]->id()));
  told_.back()->command(words, [this, member, line](const std::string& raw) {
    note(member_text(member) + " answers" + line + ": " + raw.substr(0, raw.find('\r')));
  });
}

// Where the connection breaks it is tried again; then it may have been done already.
bool ClusterServers::done(size_t member, const std::vector<std::string>& words) {
  constexpr int kTries = 20;
  std::string got;
  for (int i = 0; i < kTries && !run_.failed(); ++i) {
    SimClient client(world_, nodes_[member]->id());
    got = client.call(words);
    if (got == "+OK\r\n" || (i > 0 && got.find("already") != std::string::npos)) return true;
    if (!got.empty()) break;
  }
  std::string line;
  for (const std::string& word : words) line += word + " ";
  return run_.check(false, member_text(member) + ": " + line + "is answered " + got);
}

void ClusterServers::slots_move() {
  const std::vector<size_t> sources = with_slots();
  if (sources.empty()) return;
  const size_t source = sources[chance().draw() % sources.size()];
  server::ClusterNode* node = cluster_of(source);
  const size_t target = any_of_all();
  if (target == source || !is_member(target)) return;
  // A slot of keys that are used, where it has any, every other time.
  std::vector<unsigned> from;
  for (const unsigned slot : hot_)
    if (serves(source, slot)) from.push_back(slot);
  if (from.empty() || chance().ppm(300'000)) {
    from.clear();
    for (unsigned slot = 0; slot < base::kKeySlots; slot += kSlotsSampled)
      if (serves(source, slot)) from.push_back(slot);
  }
  if (from.empty()) return;
  busiest_ = source;
  const unsigned first = from[chance().draw() % from.size()];
  const auto count =
      static_cast<unsigned>(chance().ppm(500'000) ? 1 : chance().between(2, kSlotsAtOnceMax));
  unsigned last = first;
  while (last + 1 < base::kKeySlots && last + 1 - first < count && node->has_slot(last + 1)) ++last;
  tell(source, {"CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", number(first), number(last), "NODE",
                cluster_of(target)->id()});
}

void ClusterServers::moves_are_given_up() {
  tell(any_of_all(), {"CLUSTER", "CANCELSLOTMIGRATIONS"});
}

void ClusterServers::someone_comes() {
  for (size_t m = 0; m < nodes_.size(); ++m) {
    if (!cluster_of(m) || is_member(m)) continue;
    // One that was dead for so long that the others have forgotten it, or is of a cluster without
    // slots, because it was told to meet somebody who had just left.
    const cluster::Topology& topology = cluster_of(m)->topology();
    const bool forgotten = topology.is_forgotten(cluster_of(m)->id());
    if (forgotten || !cluster_of(m)->assigned(0)) {
      if (!cluster_of(m)->alone()) return tell(m, {"CLUSTER", "RESET"});
    } else {
      continue;  // it has just begun
    }
    const size_t host = any_of_all();
    if (!is_member(host)) continue;
    tell(host, {"CLUSTER", "MEET", SimWorld::address_of(nodes_[m]->id()), kPort});
    return;
  }
}

// As long as enough stay to have all slots; or it is told to stay after all.
void ClusterServers::someone_leaves() {
  const size_t m = any_of_all();
  if (!is_member(m)) return;
  const server::ClusterNode& node = *cluster_of(m);
  const cluster::TopologyMember* self = node.topology().find(node.index());
  if (!self) return;
  size_t staying = 0;
  for (const auto& [index, member] : node.topology().members()) staying += !member.leaves;
  if (self->leaves && chance().ppm(300'000)) return tell(m, {"CLUSTER", "LEAVE", "CANCEL"});
  if (!self->leaves && staying > shape_.masters) tell(m, {"CLUSTER", "LEAVE"});
}

void ClusterServers::someone_is_to_replicate() {
  const size_t m = any_of_all();
  const std::vector<size_t> masters = with_slots();
  if (!is_member(m) || masters.empty()) return;
  const size_t master = masters[chance().draw() % masters.size()];
  if (m != master) tell(m, {"CLUSTER", "REPLICATE", cluster_of(master)->id()});
}

void ClusterServers::someone_is_to_take_over() {
  const size_t m = any_of_all();
  const cluster::GroupCore* core = this->core(m);
  if (is_member(m) && core && !core->leads()) tell(m, {"CLUSTER", "FAILOVER"});
}

// ---- the timeline

std::string ClusterServers::described(size_t member) const {
  const server::ClusterNode* node = cluster_of(member);
  if (!node) return world_.running(nodes_[member]->id()) ? " is starting" : " is down";
  const cluster::GroupCore* core = node->core();
  std::string text = " is node " + node->id().substr(0, 8) + ", index " + number(node->index()) +
                     ", topology " + number(node->topology().version()) + " of " +
                     number(node->topology().members().size()) + " members, group " +
                     number(node->own_group());
  if (const auto group = node->topology().groups().find(node->own_group());
      group != node->topology().groups().end()) {
    text += " of";
    for (const cluster::NodeIndex index : group->second.members) text += " " + number(index);
    if (!group->second.holders.empty()) text += ", held by";
    for (const cluster::NodeIndex index : group->second.holders) text += " " + number(index);
  }
  if (const cluster::GroupShape* keepers = node->keepers()) {
    text += ", g0";
    for (cluster::Member place = 0; place < cluster::kMembersMax; ++place)
      if (keepers->uses(place))
        text += " " + number(place) + "=" + keepers->places[place].id.substr(0, 8) +
                (keepers->votes(place) ? "v" : "");
    text += keepers->joint() ? " joint" : "";
    text += ", governors";
    for (auto index : node->topology().governors()) text += " " + number(index);
  }
  if (!core) return text + ", reads its log";
  text += ", shape";
  for (cluster::Member place = 0; place < cluster::kMembersMax; ++place)
    if (core->shape().uses(place))
      text += " " + number(place) + "=" + core->shape().places[place].id.substr(0, 8) +
              (core->shape().votes(place) ? "v" : "") +
              (core->shape().is_witness(place) ? "w" : "") + (core->shape().joint() ? "j" : "");
  unsigned slots = 0;
  for (unsigned slot = 0; slot < base::kKeySlots; ++slot) slots += node->has_slot(slot);
  return text +
         (core->serves()  ? " (serves"
          : core->leads() ? " (leads"
                          : " (follows") +
         ", epoch " + number(core->epoch()) + ", committed " + number(core->commit()) + " of " +
         number(core->last().index) + (core->intact() ? "" : ", amnesiac") + "), " + number(slots) +
         " slots" + (node->moves().waits_for_commit() ? ", some on their way" : "");
}

}  // namespace quoll::sim
