#include "server/cluster_node.h"

#include <fmt/format.h>

#include "base/sha256.h"
#include "server/cluster_documents.h"
#include "server/endpoints.h"
#include "server/forwarding.h"
#include "server/group.h"
#include "server/log.h"
#include "server/rebalancer.h"
#include "server/server.h"
#include "server/slot_imports.h"
#include "server/slot_moves.h"
#include "server/slot_stats.h"

namespace quoll::server {

using base::Error;
using base::Result;
using cluster::GroupNumber;
using cluster::kNoGroup;
using cluster::kNoNode;
using cluster::NodeIndex;

namespace {

constexpr size_t kHomeDigits = 12;
constexpr size_t kGroupDigits = 8;

uint16_t announced(int64_t announced, int64_t real) {
  return static_cast<uint16_t>(announced ? announced : real);
}

uint16_t bus_port_of(const Settings& now) {
  return static_cast<uint16_t>(now.cluster_port ? now.cluster_port
                                                : now.port + cluster::kBusPortDistance);
}

// The address that others reach us by, as far as the configuration tells.
std::string own_host(const Settings& now) {
  if (!now.cluster_announce_ip.empty()) return now.cluster_announce_ip;
  for (base::Bytes address : now.bind) {
    if (address.starts_with('-')) address.remove_prefix(1);
    const auto parsed = cluster::parse_node_address(std::string(address), 1);
    if (parsed && !parsed->unknown()) return std::string(address);
  }
  return {};
}

}  // namespace

ClusterNode::ClusterNode(Server& server)
    : server_(server),
      file_(std::make_unique<NodeFile>(server.host(), server.settings().cluster_config_file)) {
  settings_changed(server.settings());
  moves_ = std::make_unique<SlotMoves>(server, *this, record_);
  documents_ = std::make_unique<ClusterDocuments>(server, *this);
  rebalancer_ = std::make_unique<Rebalancer>(server, *this);
  forwarding_ = std::make_unique<Forwarding>(server, *this);
  imports_ = std::make_unique<SlotImports>(server, *this);
  bus_ = std::make_unique<cluster::NodeBus>(
      server.bus_host(), std::string(cluster::kNodeIdBytes, '0'),
      [this](const cluster::NodeBus::Asked& asked, cluster::NodeBus::OnAnswer answer) {
        serve(asked, std::move(answer));
      });
  bus_->on_other([this](std::unique_ptr<host::Peer> peer, const std::string& received) {
    take_member(std::move(peer), received);
  });
  bus_->on_trouble([](const std::string& text) { log::warning("Cluster: {}", text); });
}

ClusterNode::~ClusterNode() { *alive_ = false; }

base::Millis ClusterNode::steady_ms() const {
  return server_.host().clock.steady() / base::kNanosPerMilli;
}

// The same at every start: what was agreed on before the file knew of it is in the log of that.
std::string ClusterNode::cluster_to_found() const {
  return base::digest_hex(base::sha256("cluster of " + record_.id))
      .substr(0, cluster::kNodeIdBytes);
}

std::string ClusterNode::new_id() {
  std::string id;
  while (id.size() < cluster::kNodeIdBytes)
    id += fmt::format("{:016x}", server_.host().process.draw_secret());
  id.resize(cluster::kNodeIdBytes);
  return id;
}

// --- start and end -----------------------------------------------------------------------------

void ClusterNode::start(host::OnDone ready) {
  const host::OnDone done = [ready = std::move(ready)](Result<> started) {
    if (!started) log::warning("{}", started.error());
    ready(std::move(started));
  };
  if (server_.settings().appendonly)
    log::warning("appendonly has no effect in a cluster: the node's own log keeps the data");
  file_->load([this, done, alive = alive_](Result<NodeRecord> record) {
    if (!*alive) return;
    if (!record) return done(Error{record.error()});
    loaded(std::move(record.value()), done);
  });
}

void ClusterNode::loaded(NodeRecord record, const host::OnDone& done) {
  record_ = std::move(record);
  if (record_.id.empty()) {
    begin_alone();
    record_.home = "cluster-" + record_.id.substr(0, kHomeDigits);
    log::notice("No cluster configuration found, I'm {}", record_.id);
  } else {
    ++record_.incarnation;
    log::notice("Node configuration loaded, I'm {}", record_.id);
  }
  bus_->set_id(record_.id);
  server_.cluster_secrets().on_load([this] { secrets_changed(); });
  secrets_changed();
  documents_->topology_changed();  // users, before anybody is let in while data are read
  // Who we are is on disk before anybody hears of it.
  file_->save(record_, [this, done] { open_home(done); });
}

// Without a cluster: we shall found one.
void ClusterNode::begin_alone() {
  record_.id = new_id();
  record_.topology = {};
  record_.position = {};
  record_.released.clear();
  record_.dropping.clear();
  failed_since_.clear();
  there_since_.clear();
  dead_.clear();
  record_.drop_places(NodePlace::Kind::keeper);
  if (NodePlace* place = record_.place_of(NodePlace::Kind::data)) place->group = kNoGroup;
  record_.incarnation = 1;
  announced_ = false;
  gossip_.reset();
}

void ClusterNode::open_home(const host::OnDone& done) {
  server_.host().disk.make_dir(record_.home, [this, done, alive = alive_](Result<> made) {
    if (!*alive) return;
    if (!made) return done(Error{"Can't make the directory " + record_.home + ": " + made.error()});
    // What is synced in there is nowhere before its name is.
    server_.host().disk.sync_dir(".", [this, done, alive](Result<> synced) {
      if (!*alive) return;
      if (!synced) return done(Error{"Can't sync the working directory: " + synced.error()});
      start_keeper([this, done](Result<> started) {
        if (!started) return done(std::move(started));
        start_witnesses([](const Result<>&) {});
        start_group([this, done](Result<> grouped) {
          if (grouped) grouped = open_bus();
          if (grouped) refresh();
          if (grouped) join_configured();
          done(std::move(grouped));
        });
      });
    });
  });
}

Result<> ClusterNode::open_bus() {
  const uint16_t port = bus_port_of(server_.settings());
  for (base::Bytes address : server_.settings().bind) {
    const bool optional = address.starts_with('-');
    if (optional) address.remove_prefix(1);
    auto listening = bus_->listen(tcp_endpoint(address, port));
    if (!listening && !optional)
      return Error{fmt::format("Failed listening on port {} (cluster), aborting. {}", port,
                               listening.error())};
  }
  return {};
}

// Our data's group last: it alone cannot be begun again quickly, should another part not end.
void ClusterNode::end(host::OnDone ready) {
  ending_ = true;
  const host::OnDone done = [this, ready = std::move(ready)](Result<> ended) {
    ending_ = ended.ok();
    if (!ended) {
      log::warning("Cluster: this node goes on: {}", ended.error());
      begin_logs_again();
    }
    ready(std::move(ended));
  };
  end_logs([this, done, alive = alive_](Result<> ended) {
    if (!*alive) return;
    if (!ended || !group_) return done(std::move(ended));
    group_->end(done);
  });
}

void ClusterNode::join_configured() {
  const std::string& text = server_.settings().cluster_join;
  if (text.empty() || !alone()) return;
  const auto list = cluster::parse_group_list(text);
  const auto& one = list.value()[0];
  meet(one.host, one.bus_port);
}

// A node that lost its cluster, or never had one, founds its own, once its data are there.
void ClusterNode::consider_founding() {
  if (founded() || founding_ || !keeper_ || !keeper_->leads() || !core() || coming_) return;
  founding_ = true;
  begin_effort(
      [this, brought = documents_->bring()](const cluster::Topology& now) {
        cluster::NextStep next = cluster::next_to_found(now, next_cluster_, claim());
        // Its governor is named last: until then a founding that was interrupted goes on.
        const bool governs = next.ok() && next.value() &&
                             std::holds_alternative<cluster::SetGovernors>(next.value()->body);
        if (!governs || now.cluster_id() != next_cluster_) return next;
        cluster::NextStep bring = cluster::next_to_bring(now, brought);
        return !bring.ok() || bring.value() ? bring : next;
      },
      true,
      [this](Result<> founded) {
        founding_ = false;
        documents_->founded();
        if (!founded) log::warning("Cluster: {}", founded.error());
      });
}

void ClusterNode::reset(const host::OnDone& done) {
  leave_keeper();
  while (!witnesses_.empty()) leave_witness(witnesses_.begin()->first);
  begin_alone();
  leaders_.clear();
  told_epoch_ = 0;
  bus_->set_id(record_.id);
  // The new node's file must not lead a restart to what the old one had.
  const NodePlace ours{.kind = NodePlace::Kind::data,
                       .founder = true,
                       .empty = true,
                       .dir = "group-" + record_.id.substr(0, kGroupDigits)};
  record_.set_place(ours);
  refresh();
  log::notice("Cluster: this is a new node now, {}", record_.id);
  change_group(ours, {});
  start_keeper(done);
}

const cluster::GroupCore* ClusterNode::core() const {
  return group_ ? std::as_const(*group_).core() : nullptr;
}

std::vector<Result<>> ClusterNode::accept_loss() {
  std::vector<Result<>> parts;
  parts.push_back(group_ ? group_->accept_loss() : Error{"there are no data yet"});
  if (keeper_) parts.push_back(keeper_->accept_loss());
  for (auto& [number, witness] : witnesses_) parts.push_back(witness->accept_loss());
  return parts;
}

// --- turns -------------------------------------------------------------------------------------

void ClusterNode::begin_turn_end() {
  if (keeper_) keeper_->begin_turn_end();
  if (core() && !ending_) moves_->turn();
  const cluster::Index commit = core() ? core()->commit() : 0;
  if (group_) group_->begin_turn_end();
  moves_->follow_ledger();
  if (core() && core()->commit() != commit && moves_->waits_for_commit())
    server_.host().loop.post([] {});
  for (auto& [number, witness] : witnesses_) witness->begin_turn_end();
  documents_->turn();
  bus_->flush();
}

void ClusterNode::tick() {
  const base::Millis now = steady_ms();
  bus_->tick(now);
  if (gossip_) gossip_->tick();
  if (group_) group_->tick();
  if (ending_) return;
  consider_founding();
  if (keeper_) keeper_->tick([this](const cluster::GroupShape& shape) { return goes_on(shape); });
  lead_group();
  note_own_lead();
  announce_self();
  announce_weight();
  moves_->tick();
  rebalancer_->tick();
  forwarding_->tick();
  imports_->tick();
  if (now < news_at_) return;
  news_at_ = now + kNewsEveryMs;
  look_after_left();
  show_liveness();
  look_who_is_dead();
  follow_governors();
  follow_groups();
  follow_leaving();
  heal();
  if (members_.size() < 2) return;
  const size_t other = server_.host().random.draw() % (members_.size() - 1);
  tell(indexes_[other + (other >= self_)]);
}

// Others send clients to who leads, so they are told at once.
void ClusterNode::note_own_lead() {
  if (!serves() || held_group_ == kNoGroup || told_epoch_ == group_->epoch()) return;
  told_epoch_ = group_->epoch();
  leaders_[held_group_] = {index_, told_epoch_};
  tell_everybody();
}

// --- the topology here -------------------------------------------------------------------------

void ClusterNode::topology_changed() {
  if (keeper_) record_.position = keeper_->position();
  refresh();
  save();
  if (keeper_ && keeper_->leads()) tell_everybody();
}

void ClusterNode::save() {
  const cluster::Position at = record_.position;
  file_->save(record_, [this, at, alive = alive_] {
    if (*alive && keeper_) keeper_->saved(at);
  });
}

cluster::Location ClusterNode::location() const {
  return cluster::parse_location(server_.settings().cluster_location)
      .value_or(cluster::Location{"default", "default", record_.id.substr(0, kHomeDigits)});
}

cluster::NodeClaim ClusterNode::claim() const {
  const Settings& now = server_.settings();
  cluster::NodeClaim claim;
  cluster::TopologyMember& own = claim.member;
  own.id = record_.id;
  own.incarnation = record_.incarnation;
  own.port = announced(now.cluster_announce_port, now.port);
  own.tls_port = announced(now.cluster_announce_tls_port, now.tls_port);
  own.hostname = now.cluster_announce_hostname;
  own.weight = static_cast<uint32_t>(now.cluster_weight);
  own.location = location();
  const uint16_t bus_port = announced(now.cluster_announce_bus_port, bus_port_of(now));
  own.bus = cluster::parse_node_address(own_host(now), bus_port)
                .value_or(cluster::NodeAddress{.port = bus_port});
  const cluster::TopologyMember* known = topology().find(index_);
  if (own.bus.unknown() && known) own.bus = {known->bus.v6, known->bus.bytes, bus_port};
  if (own_group_ != kNoGroup) claim.slots = cluster::slots_of(topology(), own_group_);
  return claim;
}

size_t ClusterNode::place_of(NodeIndex index) const {
  const auto found = std::ranges::lower_bound(indexes_, index);
  if (found == indexes_.end() || *found != index) return indexes_.size();
  return static_cast<size_t>(found - indexes_.begin());
}

void ClusterNode::add_member(NodeIndex index, const cluster::TopologyMember& member,
                             GroupNumber group) {
  const auto old = std::ranges::find(members_, member.id, &ClusterMember::id);
  ClusterMember shown = old == members_.end() ? ClusterMember{} : *old;
  shown.id = member.id;
  shown.host = member.bus.unknown() ? "" : member.bus.host();
  shown.port = member.port;
  shown.tls_port = member.tls_port;
  shown.bus_port = member.bus.port;
  shown.hostname = member.hostname;
  shown.leaving = member.leaves;
  shown.shard_id =
      base::digest_hex(base::sha256(fmt::format("{} {}", topology().cluster_id(), group)))
          .substr(0, cluster::kNodeIdBytes);
  indexes_.push_back(index);
  groups_.push_back(group);
  shown_.push_back(std::move(shown));
}

// The picture anew, after the topology has changed.
void ClusterNode::refresh() {
  index_ = topology().index_of(record_.id);
  own_group_ = index_ == kNoNode ? kNoGroup : cluster::group_of(topology(), index_);
  groups_changed();
  std::map<NodeIndex, GroupNumber> group_of_node;
  for (const auto& [number, group] : topology().groups())
    for (const NodeIndex node : group.members) group_of_node.emplace(node, number);
  indexes_.clear();
  groups_.clear();
  shown_.clear();
  if (index_ == kNoNode) {
    add_member(kNoNode, claim().member, kNoGroup);
  } else {
    for (const auto& [index, member] : topology().members()) {
      const auto found = group_of_node.find(index);
      add_member(index, member, found == group_of_node.end() ? kNoGroup : found->second);
    }
  }
  members_ = std::move(shown_);
  self_ = place_of(index_);
  moves_->topology_changed();
  find_own_slots();
  find_group_others();
  std::erase_if(leaders_,
                [this](const auto& one) { return !may_lead(one.second.node, one.first); });
  follow_gossip();
  show_liveness();
  settings_changed(server_.settings());
  documents_->topology_changed();
  server_.redirect_blocked();
}

void ClusterNode::find_own_slots() {
  covered_ = true;
  const std::bitset<kSlots> before = own_slots_;
  own_slots_.reset();
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    const GroupNumber owner = topology().owner(slot);
    covered_ &= owner != kNoGroup;
    const bool ours = owner != kNoGroup && owner == held_group_;
    if (ours && !moves_->behind() && !moves_->named(slot)) own_slots_.set(slot);
  }
  all_own_ = own_slots_.all();
  if (const auto gone = before & ~own_slots_; gone.any())
    for (unsigned slot = 0; slot < kSlots; ++slot)
      if (gone[slot]) server_.slot_stats().forget(slot);
}

void ClusterNode::slots_changed() {
  find_own_slots();
  server_.redirect_blocked();
}

bool ClusterNode::handing_over(unsigned slot) const {
  const bool ours = held_group_ != kNoGroup && topology().owner(slot) == held_group_;
  return ours && (moves_->behind() || moves_->named(slot));
}

// How we are announced may change while we run.
void ClusterNode::settings_changed(const Settings& now) {
  ClusterMember& own = members_[self_];
  if (!now.cluster_announce_ip.empty() || own.host.empty()) own.host = now.cluster_announce_ip;
  own.hostname = now.cluster_announce_hostname;
  own.port = announced(now.cluster_announce_port, now.port);
  own.tls_port = announced(now.cluster_announce_tls_port, now.tls_port);
  own.bus_port = announced(now.cluster_announce_bus_port, bus_port_of(now));
  if (own.id.empty()) own.id = record_.id;
}

// --- ClusterView -------------------------------------------------------------------------------

size_t ClusterNode::leader() const {
  if (!group_ || held_group_ != own_group_ || group_->leader() >= group_->members().size())
    return members_.size();
  if (group_->leader() == group_->self()) return self_;
  const NodeIndex node = topology().index_of(group_->members()[group_->leader()].id);
  return node == kNoNode ? members_.size() : place_of(node);
}

bool ClusterNode::serves() const { return group_ && held_group_ == own_group_ && group_->serves(); }
bool ClusterNode::may_commit() const { return group_ && group_->may_commit(); }
std::string ClusterNode::quorum() const { return group_ ? group_->quorum() : std::string(); }
// What we have of a group that is not ours any more is no longer brought up to date.
bool ClusterNode::readable() const {
  return group_ && held_group_ == own_group_ && group_->readable();
}
uint64_t ClusterNode::epoch() const { return topology().version(); }

size_t ClusterNode::leader_of(unsigned slot) const {
  return leader_of_group(topology().owner(slot));
}

// Nobody has told who leads: it will be the first member.
size_t ClusterNode::leader_of_group(GroupNumber number) const {
  if (number == kNoGroup) return members_.size();
  if (number == held_group_ && held_group_ == own_group_) return leader();
  if (const auto known = leaders_.find(number); known != leaders_.end())
    return place_of(known->second.node);
  const auto group = topology().groups().find(number);
  return group == topology().groups().end() ? members_.size() : place_of(group->second.members[0]);
}

NodeIndex ClusterNode::leader_node(GroupNumber group) const {
  const size_t place = leader_of_group(group);
  return place < indexes_.size() ? indexes_[place] : kNoNode;
}

bool ClusterNode::leads_others(base::Bytes id) const {
  const NodeIndex node = topology().index_of(id);
  const GroupNumber number = node == kNoNode ? kNoGroup : cluster::group_of(topology(), node);
  return number != kNoGroup && topology().groups().at(number).members.size() > 1 &&
         leader_of_group(number) == place_of(node);
}

std::vector<ClusterShard> ClusterNode::shards() const {
  std::map<GroupNumber, ClusterShard> by_group;
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    const auto at = static_cast<uint16_t>(slot);
    if (topology().owner(slot) == kNoGroup) continue;
    auto& ranges = by_group[topology().owner(slot)].slots;
    if (!ranges.empty() && ranges.back().second + 1 == at)
      ranges.back().second = at;
    else
      ranges.emplace_back(at, at);
  }
  std::vector<ClusterShard> shards;
  for (const auto& [number, group] : topology().groups()) {
    ClusterShard shard = std::move(by_group[number]);
    for (const NodeIndex node : group.members) shard.members.push_back(place_of(node));
    shard.leader = leader_of_group(number);
    // One alone is nobody's replica, also before it has elected itself: tools would take it for
    // one.
    const bool led = shard.leader < members_.size();
    if (!led && shard.members.size() == 1) shard.leader = shard.members[0];
    const auto known = leaders_.find(number);
    shard.epoch = known == leaders_.end() ? 0 : known->second.epoch;
    shards.push_back(std::move(shard));
  }
  if (shards.empty()) shards.push_back({.slots = {}, .members = {self_}, .leader = self_});
  return shards;
}

}  // namespace quoll::server
