#include "server/topology_keeper.h"

#include "base/check.h"
#include "server/log.h"

namespace quoll::server {

using base::Error;
using base::Result;
using cluster::Position;

namespace {

constexpr base::Bytes kChangeWord = "TOPOLOGY";  // begins the one effect of an entry
constexpr base::Millis kAloneTimeoutMs = 10;     // who is alone waits for nobody

cluster::GroupConfig keeper_config() {
  cluster::GroupConfig config;
  config.durability = cluster::Durability::fsync;
  config.election_timeout_ms = kAloneTimeoutMs;
  config.log_keep_bytes = kKeeperLogBytes;
  return config;
}

}  // namespace

TopologyKeeper::TopologyKeeper(const host::Host& host, std::string dir, std::string id,
                               cluster::Topology& topology, Position at, host::Task changed)
    : host_(host),
      dir_(std::move(dir)),
      id_(std::move(id)),
      topology_(topology),
      applied_(at),
      changed_(std::move(changed)) {}

TopologyKeeper::~TopologyKeeper() {
  *alive_ = false;
  host_.loop.cancel(timer_);
}

void TopologyKeeper::start(host::OnDone done) {
  host_.disk.make_dir(dir_, [this, alive = alive_, done = std::move(done)](Result<> made) {
    if (!*alive) return;
    if (!made) return done(Error{"Can't make the directory " + dir_ + ": " + made.error()});
    wal_ = std::make_unique<cluster::GroupWal>(host_.disk, host_.loop, dir_, *this);
    wal_->set_sync(cluster::Durability::fsync);
    wal_->open(
        [this](const cluster::Entry& entry, base::Bytes bytes) {
          const cluster::Index before = entry.header.at.index - 1;
          if (recovered_.last().index != before) recovered_.restart({0, before});
          recovered_.append(entry.header,
                            [&](const cluster::EntryHeader&, std::string& out) { out += bytes; });
        },
        [this, done](Result<cluster::GroupWal::Recovery> recovery) {
          if (!recovery) return done(Error{recovery.error()});
          log_read(std::move(recovery.value()), done);
        });
  });
}

void TopologyKeeper::log_read(cluster::GroupWal::Recovery recovery, const host::OnDone& done) {
  if (!recovery.report.empty()) log::warning("Cluster: {}", recovery.report);
  recovered_.set_base(recovery.base);
  cluster::SavedState state = recovery.state;
  const bool named = !state.id.empty();
  state.id = id_;
  if ((recovery.fresh || recovery.damaged) && state.amnesia == 0)
    state.amnesia = host_.random.draw() | 1;
  const auto go_on = [this, state, done] {
    join(state, recovered_.base());
    done({});
  };
  if (named && !recovery.damaged) return go_on();
  wal_->save_state(state, go_on);
}

void TopologyKeeper::join(cluster::SavedState state, Position base) {
  core_ = std::make_unique<cluster::GroupCore>(
      keeper_config(), std::move(state), std::move(recovered_), host_.random.draw(), steady_ms());
  // Entries that the topology has seen are refused when they are applied to it again.
  applied_ = std::max(applied_, base);
  if (core_->restored(applied_, applied_.index)) wal_->restart(applied_);
  schedule();
}

void TopologyKeeper::end(host::OnDone done) {
  if (!core_ || ending_) return done({});
  begin_turn_end();
  ending_ = true;
  wal_->close([this, done = std::move(done)](Result<> closed) {
    ending_ = closed.ok();
    done(std::move(closed));
  });
}

void TopologyKeeper::schedule() {
  timer_ = host_.loop.after(kKeeperTick, [this] {
    schedule();
    core_->tick(steady_ms());
  });
}

void TopologyKeeper::begin_turn_end() {
  if (!core_ || ending_) return;
  apply();
  if (const cluster::SavedState* state = core_->take_state())
    wal_->save_state(*state, [this] { core_->state_saved(); });
  core_->flush(steady_ms());
  core_->hand_over([this](base::Bytes bytes, cluster::Index last) {
    wal_->append(bytes, last);
    log_bytes_ += bytes.size();
  });
  wal_->flush();
}

// --- changes -----------------------------------------------------------------------------------

void TopologyKeeper::propose(const cluster::TopologyChange& change, host::OnDone done) {
  if (!leads()) return done(Error{"this node does not lead those who hold the topology"});
  // The entries on their way are part of what the change meets.
  if (!ahead_) ahead_ = topology_;
  if (auto fine = ahead_->apply(change); !fine) return done(std::move(fine));
  const std::string bytes = change.encode();
  const base::Bytes words[] = {kChangeWord, bytes};
  const store::Effect effect{0, words};
  const cluster::Index index = core_->propose({&effect, 1}, host_.clock.wall());
  proposals_.push_back({{core_->epoch(), index}, std::move(done)});
}

// The core counts what we proposed as applied; to us it is once it is committed.
void TopologyKeeper::apply() {
  if (core_->take_undone() || (ahead_ && !core_->leads())) ahead_.reset();
  bool changed = false;
  Settled settled;
  while (applied_.index < core_->commit()) {
    cluster::Index upto;
    base::Bytes bytes = core_->log().slice(applied_.index, SIZE_MAX, upto);
    for (const cluster::Index end = std::min(upto, core_->commit()); applied_.index < end;) {
      cluster::Entry entry;
      QUOLL_CHECK(cluster::decode_entry(bytes, entry) == cluster::EntryFault::none);
      bytes.remove_prefix(entry.bytes);
      const Result<> applied = apply(entry);
      changed |= applied.ok() && entry.header.kind == cluster::EntryKind::effects;
      applied_ = entry.header.at;
      core_->applied(std::max(core_->applied(), applied_.index));
      settle(entry.header.at, applied, settled);
    }
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
    settled.emplace_back(std::move(one.done),
                         one.at == at ? result
                                      : Error{"another node leads those who hold the topology"});
  }
}

void TopologyKeeper::saved(Position at) {
  if (!core_ || ending_ || log_bytes_ < kKeeperLogBytes) return;
  log_bytes_ = 0;
  wal_->trim(at.index);
}

// --- the log on disk ---------------------------------------------------------------------------

void TopologyKeeper::wal_written(Position upto) {
  if (core_) core_->written(upto);
}

void TopologyKeeper::wal_synced(Position upto) {
  if (core_) core_->synced(upto);
}

void TopologyKeeper::wal_failed(const std::string& error) {
  log::warning("Error writing the log of the topology: {}", error);
  if (core_) core_->disk_fails();
}

void TopologyKeeper::wal_again(Position durable) {
  log::notice("The log of the topology can be written again");
  if (core_) core_->disk_works(durable, wal_->base().index);
}

void TopologyKeeper::wal_state_failed(const std::string& error) {
  log::warning("Error saving the state of the topology's log: {}", error);
}

}  // namespace quoll::server
