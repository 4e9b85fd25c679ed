#include "server/topology_keeper.h"

#include "cluster/group_steps.h"
#include "server/log.h"

namespace quoll::server {

using base::Error;
using base::Result;
using cluster::Position;

namespace {

constexpr base::Bytes kChangeWord = "TOPOLOGY";  // begins the one effect of an entry

}  // namespace

TopologyKeeper::TopologyKeeper(const host::Host& host, GroupPart part, cluster::Topology& topology,
                               Position at, host::Task changed)
    : LogMember(host, std::move(part), at), topology_(topology), changed_(std::move(changed)) {}

// --- changes -----------------------------------------------------------------------------------

void TopologyKeeper::propose(const cluster::TopologyChange& change, host::OnDone done) {
  if (!leads()) return done(Error{"this node does not lead those who hold the topology"});
  if (still_holds(change)) return done(Error{"the node still holds the topology"});
  // The entries on their way are part of what the change meets.
  if (!ahead_) ahead_ = topology_;
  if (auto fine = ahead_->apply(change); !fine) return done(std::move(fine));
  const std::string bytes = change.encode();
  const base::Bytes words[] = {kChangeWord, bytes};
  const store::Effect effect{0, words};
  const cluster::Index index = core_->propose({&effect, 1}, host_.clock.wall());
  proposals_.push_back({{core_->epoch(), index}, std::move(done)});
}

// Nobody ceases to be a member who has a part in agreeing on that.
bool TopologyKeeper::still_holds(const cluster::TopologyChange& change) const {
  const auto* remove = std::get_if<cluster::RemoveMember>(&change.body);
  const cluster::TopologyMember* member = remove ? topology_.find(remove->index) : nullptr;
  return member && (core_->shape().place_of(member->id) || !core_->shape_settled());
}

// The core counts what we proposed as applied; to us it is once it is committed.
void TopologyKeeper::apply() {
  bool changed = false;
  Settled settled;
  each_committed([&](const cluster::Entry& entry) {
    const Result<> applied = apply(entry);
    changed |= applied.ok() && entry.header.kind == cluster::EntryKind::effects;
    settle(entry.header.at, applied, settled);
  });
  // What became of the others nobody may ever tell us: who asked looks at the topology.
  if (!core_->leads()) {
    for (Proposal& one : std::exchange(proposals_, {}))
      settled.emplace_back(std::move(one.done),
                           Error{"this node no longer leads those who hold the topology"});
  }
  if (proposals_.empty()) ahead_.reset();
  if (changed) changed_();
  for (auto& [done, result] : settled) done(std::move(result));
}

Result<> TopologyKeeper::apply(const cluster::Entry& entry) {
  if (entry.header.kind != cluster::EntryKind::effects) return {};
  Result<> result;
  cluster::each_effect(entry.payload, [&](const cluster::EntryEffect& effect) {
    const auto change = effect.words.size() == 2 && effect.words[0] == kChangeWord
                            ? cluster::TopologyChange::decode(effect.words[1])
                            : std::nullopt;
    result = change ? topology_.apply(*change) : Error{"an entry that is no change"};
  });
  return result;
}

// Told when the log is not being read any more: they may propose what comes next.
void TopologyKeeper::settle(Position at, const Result<>& result, Settled& settled) {
  while (!proposals_.empty() && proposals_.front().at.index <= at.index) {
    Proposal one = std::move(proposals_.front());
    proposals_.pop_front();
    settled.emplace_back(
        std::move(one.done),
        one.at == at ? result : Error{"another node leads those who hold the topology"});
  }
}

// One that we know already, because somebody told us of a later version, stays.
bool TopologyKeeper::take_data(base::Bytes data) {
  auto other = cluster::Topology::decode(data);
  if (!other) return false;
  if (other.value().version() > topology_.version()) topology_ = std::move(other.value());
  changed_();
  return true;
}

void TopologyKeeper::abandon() {
  for (Proposal& one : std::exchange(proposals_, {}))
    one.done(Error{"this node no longer holds the topology"});
}

void TopologyKeeper::saved(Position at) {
  if (core_ && !ending_ && log_bytes() >= kKeeperLogBytes) trim(at.index);
}

// --- who governs -------------------------------------------------------------------------------

void TopologyKeeper::tick(const std::function<bool(const cluster::GroupShape&)>& goes_on) {
  if (!leads() || topology_.governors().empty()) return;
  cluster::WantedMembers wanted;
  for (const cluster::NodeIndex node : topology_.governors())
    if (const auto* member = topology_.find(node)) wanted.push_back({member->id, false});
  const auto next = cluster::next_shape(
      core_->shape(), wanted, [this](cluster::Member member) { return core_->caught_up(member); });
  if (!next || !core_->may_change(*next) || !goes_on(*next)) return;
  if (auto changed = core_->change(*next); !changed)
    log::warning("Cluster: who holds the topology cannot change: {}", changed.error());
}

}  // namespace quoll::server
