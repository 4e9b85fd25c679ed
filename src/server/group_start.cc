// ReplicaGroup: what the disk holds at the start, and checkpoints.
#include <fmt/format.h>
#include <xxhash.h>

#include "base/text.h"
#include "server/endpoints.h"
#include "server/group.h"
#include "server/log.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"

namespace quoll::server {

using cluster::Member;
using cluster::SavedState;

namespace {

constexpr base::Millis kStuckMs = 3000;  // and so many election timeouts without help
constexpr base::Millis kStuckTimeouts = 5;
constexpr uint64_t kCheckpointLogs = 4;                    // see consider_checkpoint()
constexpr uint64_t kLogFileBytesMin = uint64_t{16} << 10;  // so that a small log is not all files

// Members that were told different things do not talk.
uint64_t config_hash(const cluster::GroupConfig& config, const cluster::GroupList& list) {
  std::string text = cluster::format_group_list(list) + "|" + std::to_string(config.write_quorum) +
                     "|" + std::to_string(config.read_quorum) + "|" +
                     std::to_string(static_cast<int>(config.durability)) +
                     (config.lease ? "|lease" : "");
  return XXH3_64bits(text.data(), text.size());
}

}  // namespace

void ReplicaGroup::start(host::OnDone ready) {
  if (server_.settings().appendonly)
    log::warning("appendonly has no effect in a group: its own log keeps the data");
  const host::OnDone done = [ready = std::move(ready)](base::Result<> started) {
    if (!started) log::warning("Group: {}", started.error());
    ready(std::move(started));
  };
  const host::Host& storage = server_.persistence().storage();
  storage.disk.make_dir(dir_, [this, done](base::Result<> made) {
    if (!made) return done(base::Error{"Can't make the directory " + dir_ + ": " + made.error()});
    checkpoints_.find([this, done](auto found) {
      if (!found) return done(base::Error{found.error()});
      checkpoint_found(done);
    });
  });
}

void ReplicaGroup::checkpoint_found(const host::OnDone& done) {
  auto read_log = [this, done](base::Result<> loaded) {
    if (!loaded) return done(std::move(loaded));
    const host::Host& storage = server_.persistence().storage();
    const uint64_t file_bytes =
        std::clamp<uint64_t>(config_.log_keep_bytes, kLogFileBytesMin, cluster::kWalFileBytes);
    wal_ = std::make_unique<cluster::GroupWal>(storage.disk, storage.loop, dir_, *this, file_bytes);
    wal_->set_sync(config_.durability);
    wal_->open(
        [this](const cluster::Entry& entry, base::Bytes bytes) {
          const cluster::Index before = entry.header.at.index - 1;
          if (recovered_.last().index != before) recovered_.restart({0, before});
          recovered_.append(entry.header,
                            [&](const cluster::EntryHeader&, std::string& out) { out += bytes; });
        },
        [this, done](base::Result<cluster::GroupWal::Recovery> recovery) {
          if (!recovery) return done(base::Error{recovery.error()});
          log_read(std::move(recovery.value()), done);
        });
  };
  if (!checkpoints_.newest()) return read_log({});
  server_.persistence().load_checkpoint(checkpoints_.path(), read_log);
}

// As of no entry: a checkpoint of it is there before the log begins.
void ReplicaGroup::take_over_rdb(host::OnDone done) {
  const std::string& file = server_.settings().dbfilename;
  server_.persistence().load_checkpoint(file, [this, file, done](base::Result<> loaded) {
    if (loaded) loaded = server_.check_databases();
    const bool empty =
        server_.store().keys(0) == 0 && server_.scripts().libraries().libraries().empty();
    if (!loaded || empty) return done(std::move(loaded));
    log::notice("Group: begins with what {} holds", file);
    server_.persistence().write_checkpoint(
        checkpoints_.written(), checkpoints_.written() + ".part", [] {},
        [this, done](base::Result<> written) {
          if (!written) return done(std::move(written));
          checkpoints_.publish(checkpoints_.written(), Checkpoint{}, done);
        });
  });
}

void ReplicaGroup::log_read(cluster::GroupWal::Recovery recovery, const host::OnDone& done) {
  if (recovery.fresh && !checkpoints_.newest() && std::exchange(with_rdb_, false))
    return take_over_rdb([this, recovery, done](base::Result<> taken) {
      if (!taken) return done(std::move(taken));
      log_read(recovery, done);
    });
  if (!recovery.report.empty()) log::warning("Group: {}", recovery.report);
  if (recovery.fresh && part_) part_->begins_without_log();
  recovered_.set_base(recovery.base);
  const cluster::Position base = recovered_.base();
  const bool holds_data = witness() || base.index == 0 ||
                          (checkpoints_.newest() && checkpoints_.newest()->at.index >= base.index);
  if (!holds_data) {
    log::warning("Group: the log begins behind entry {}, and there is no checkpoint of it",
                 base.index);
    recovered_.restart({});
    wal_->restart({});
    recovery.damaged = true;
  }
  SavedState state = recovery.state;
  if (!fill_state(state, recovery)) return join(std::move(state), done);
  // Nothing is said before what follows from it is on disk.
  wal_->save_state(state, [this, state, done] { join(state, done); });
}

// True: there is something to save.
bool ReplicaGroup::fill_state(SavedState& state, const cluster::GroupWal::Recovery& recovery) {
  const SavedState before = state;
  host::Host& host = server_.host();
  const std::string boot = host.process.boot_id();
  if (part_) state.id = part_->id;
  if (state.id.empty()) {
    while (state.id.size() < cluster::kMemberIdBytes)
      state.id += fmt::format("{:016x}", host.process.draw_secret());
    state.id.resize(cluster::kMemberIdBytes);
  }
  const bool unsynced_lost = !state.unsynced_boot.empty() && state.unsynced_boot != boot;
  const bool forgot = recovery.fresh || recovery.damaged || unsynced_lost;
  if (forgot && state.amnesia == 0) state.amnesia = host.random.draw() | 1;
  if (unsynced_lost) log::warning("Group: the machine went down with entries that were not synced");
  state.unsynced_boot = config_.durability == cluster::Durability::memory ? boot : "";
  return state != before;
}

void ReplicaGroup::join(SavedState state, const host::OnDone& done) {
  id_ = state.id;
  members_[config_.self].id = id_;
  if (state.amnesia != 0)
    log::notice(
        "Group: this member may have lost something, or is new: it takes part in nothing before "
        "the others have let it in (if too few of them are left for that: CLUSTER RECOVER "
        "ACCEPT-LOSS)");
  std::optional<cluster::GroupShape> first;  // else that of the configuration
  if (part_) first = part_->begins ? part_->shape : cluster::GroupShape{};
  core_ = std::make_unique<cluster::GroupCore>(config_, std::move(state), std::move(recovered_),
                                               server_.host().random.draw(), steady_ms(), first);
  if (witness()) {
    const cluster::Position base = core_->log().base();
    core_->restored(base, base.index);
  } else if (const auto& checkpoint = checkpoints_.newest()) {
    if (core_->restored(checkpoint->at, checkpoint->commit)) wal_->restart(checkpoint->at);
  }
  links_ = std::make_unique<cluster::GroupLinks>(server_.bus_host(), link_options(), *this);
  links_due_ = true;
  const cluster::GroupList& list = server_.settings().cluster_group;
  for (Member m = 0; m < list.size(); ++m)
    if (m != config_.self) links_->set_member(m, tcp_endpoint(list[m].host, list[m].bus_port));
  if (auto listening = list.empty() ? base::Result<>() : open_bus(); !listening)
    return done(std::move(listening));
  if (!std::exchange(joined_, true)) server_.store().commits().add_sink(*this);
  log::notice("Group: member {} of {}, log up to entry {} of epoch {}", config_.self,
              config_.members, core_->last().index, core_->epoch());
  schedule();
  done({});
}

cluster::GroupLinks::Options ReplicaGroup::link_options() const {
  cluster::GroupLinks::Options options;
  if (part_) {
    options = part_->link_options();
  } else {
    options.self = config_.self;
    options.config = config_hash(config_, server_.settings().cluster_group);
    options.id = id_;
    options.silence_ms = 3 * config_.election_timeout_ms;
    options.secrets = [&secrets = server_.cluster_secrets()] { return secrets.of_file(); };
  }
  options.tls_port = members_[config_.self].tls_port;
  return options;
}

bool ReplicaGroup::is_busy() const {
  return loading_ || incoming_ || writing_ || publishing_ ||
         std::ranges::any_of(sending_, [](const auto& one) { return one != nullptr; });
}

// Data that are not the log's are repaired by the leader. Where that is we, or a witness, or
// nobody, they are made anew of our own checkpoint and log, as at a start.
void ReplicaGroup::consider_beginning_anew() {
  if (witness() || is_busy() || core_->data_stands()) {
    stuck_since_ = 0;
    return;
  }
  const base::Millis now = steady_ms();
  if (stuck_since_ == 0) stuck_since_ = now;
  if (now - stuck_since_ >= kStuckMs + kStuckTimeouts * config_.election_timeout_ms) begin_anew();
}

void ReplicaGroup::begin_anew() {
  log::warning("Group: nobody repairs our data: they are loaded anew from disk");
  stuck_since_ = 0;
  ending_ = beginning_anew_ = true;
  wal_->close([this, alive = alive_](base::Result<> closed) {
    ending_ = beginning_anew_ = closed.ok();
    if (!closed) return;
    server_.host().loop.post([this, alive] {
      if (*alive) begin_from_disk();
    });
  });
}

void ReplicaGroup::drop_parts() {
  server_.host().loop.cancel(timer_);
  if (incoming_ && incoming_->open) server_.persistence().storage().disk.close(incoming_->file);
  incoming_.reset();
  links_.reset();
  core_.reset();
  wal_.reset();
  recovered_ = {};
  wrong_keys_.clear();
  answer_.reset();
  all_wrong_ = ending_ = may_commit_ = false;
  owed_ = 0;
  data_wanted_ = 0;
  leader_seen_ = cluster::kNoMember;
}

void ReplicaGroup::start_again(host::OnDone done) {
  drop_parts();
  start(std::move(done));
}

void ReplicaGroup::begin_from_disk() {
  drop_parts();
  beginning_anew_ = false;  // it has no core for now
  begin_loading();
  start([this, alive = alive_](base::Result<> started) {
    if (!*alive) return;
    if (started) return server_.persistence().end_sync();
    server_.host().loop.after(kStuckMs * base::kNanosPerMilli, [this, alive] {
      if (*alive) begin_from_disk();
    });
  });
}

base::Result<> ReplicaGroup::open_bus() {
  const uint16_t port = server_.settings().cluster_group[config_.self].bus_port;
  for (base::Bytes address : server_.settings().bind) {
    const bool optional = address.starts_with('-');
    if (optional) address.remove_prefix(1);
    auto listening = links_->listen(tcp_endpoint(address, port));
    if (!listening && !optional)
      return base::Error{fmt::format("Failed listening on port {} (the group's bus): {}", port,
                                     listening.error())};
  }
  return {};
}

void ReplicaGroup::end(host::OnDone done) {
  if (!core_ || ending_) return done({});
  ending_ = true;
  core_->transfer();
  turn();
  links_->flush();
  // All of it is on disk then: a new boot of the machine is none that lost something.
  SavedState state = core_->state();
  state.unsynced_boot.clear();
  auto closed = [this, done = std::move(done)](base::Result<> result) {
    ending_ = result.ok();  // else the server goes on, and so do we
    done(std::move(result));
  };
  wal_->close(std::move(closed), std::move(state));
}

// --- checkpoints -------------------------------------------------------------------------------

// The log since the last one may grow to the size of the data, or kCheckpointLogs x
// cluster-log-size: reading it takes a start a few seconds, and each checkpoint walks through all
// data.
void ReplicaGroup::consider_checkpoint() {
  if (witness()) {
    if (log_bytes_ < config_.log_keep_bytes) return;
    log_bytes_ = 0;
    return trim_log(core_->commit());
  }
  if (writing_ || loading_ || incoming_ || !core_->data_stands() || ending_) return;
  const uint64_t limit =
      std::max<uint64_t>(kCheckpointLogs * config_.log_keep_bytes, checkpoint_bytes_);
  if (log_bytes_ < limit) return;
  writing_.emplace();
  written_ = writing_dropped_ = false;
  server_.persistence().write_checkpoint(
      checkpoints_.written(), checkpoints_.written() + ".part",
      [this] {
        writing_->at = {*core_->log().epoch_at(core_->applied()), core_->applied()};
        log_bytes_ = 0;
      },
      [this](base::Result<> result) { checkpoint_written(std::move(result)); });
}

void ReplicaGroup::checkpoint_written(base::Result<> result) {
  written_ = result.ok();
  if (result) {
    checkpoint_bytes_ = server_.persistence().finished_job_bytes();
    return publish_checkpoint();
  }
  log::warning("Group: the checkpoint could not be written: {}", result.error());
  writing_.reset();
}

// A leader's data may be ahead of what is committed. What is never committed is no checkpoint.
void ReplicaGroup::publish_checkpoint() {
  if (!writing_ || !written_ || publishing_) return;
  if (writing_dropped_) return writing_.reset();
  if (core_->commit() < writing_->at.index) return;
  writing_->commit = writing_->at.index;
  publishing_ = true;
  // A restart may begin its log anew behind the checkpoint: what the log said of the group is on
  // disk before.
  core_->keep_state();
  save_state([this, alive = alive_] {
    if (!*alive) return;
    if (writing_dropped_) {
      publishing_ = false;
      return writing_.reset();
    }
    checkpoints_.publish(checkpoints_.written(), *writing_,
                         [this, alive](base::Result<> published) {
                           if (*alive) checkpoint_published(std::move(published));
                         });
  });
}

void ReplicaGroup::checkpoint_published(base::Result<> published) {
  publishing_ = false;
  if (published) {
    ++counters_.checkpoints;
    if (!ending_) trim_log(writing_->at.index);
  } else {
    log::warning("Group: the checkpoint could not be put in place: {}", published.error());
  }
  writing_.reset();
}

}  // namespace quoll::server
