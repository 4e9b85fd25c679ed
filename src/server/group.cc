#include "server/group.h"

#include <fmt/format.h>

#include "server/change_readers.h"
#include "server/log.h"
#include "server/server.h"

namespace quoll::server {

using cluster::Index;
using cluster::kNoMember;
using cluster::Member;

namespace {

constexpr base::Nanos kMoment = base::kNanosPerMilli;  // as the core counts time

}  // namespace

ReplicaGroup::ReplicaGroup(Server& server, const cluster::GroupConfig& config)
    : server_(server),
      config_(config),
      dir_("group"),
      checkpoints_(server.persistence().storage().disk, dir_),
      apply_(server),
      slots_(server.host(), server.store()) {
  for (const cluster::ListedMember& listed : server.settings().cluster_group) {
    ClusterMember member;
    member.host = listed.host;
    member.port = listed.port;
    member.bus_port = listed.bus_port;
    member.witness = listed.witness;
    members_.push_back(std::move(member));
  }
  settings_changed(server.settings());
}

ReplicaGroup::ReplicaGroup(Server& server, GroupPart part)
    : server_(server),
      config_(part.config),
      members_(part.config.self + size_t{1}),
      dir_(part.dir),
      checkpoints_(server.persistence().storage().disk, dir_),
      apply_(server),
      slots_(server.host(), server.store()),
      part_(std::move(part)) {
  settings_changed(server.settings());
}

ReplicaGroup::~ReplicaGroup() {
  *alive_ = false;
  server_.host().loop.cancel(timer_);
  server_.host().loop.cancel(moment_timer_);
}

base::Millis ReplicaGroup::steady_ms() const {
  return server_.host().clock.steady() / base::kNanosPerMilli;
}

void ReplicaGroup::settings_changed(const Settings& now) {
  const auto tls_port = static_cast<uint16_t>(
      now.cluster_announce_tls_port ? now.cluster_announce_tls_port : now.tls_port);
  members_[config_.self].tls_port = tls_port;
  if (links_) links_->set_tls_port(tls_port);
  update_members();
}

size_t ReplicaGroup::leader() const {
  if (!core_ || core_->leader() == kNoMember) return members_.size();
  return core_->leader();
}

// --- a turn ------------------------------------------------------------------------------------

// Every tick of the core's clock, whether anything happens or not.
void ReplicaGroup::schedule() {
  timer_ = server_.host().loop.after(kGroupTick, [this] {
    schedule();
    server_.refresh_clock();
    links_->tick(steady_ms());
    core_->tick(steady_ms());
  });
}

void ReplicaGroup::begin_turn_end() {
  if (!core_) return;
  if (!ending_) turn();
  links_->flush();
}

void ReplicaGroup::turn() {
  follow_shape();
  follow_links();
  if (core_->take_forgotten()) {
    wal_->restart({});
    checkpoints_.forget();
  }
  if (auto behind = core_->take_undone()) undo(*behind);
  if (witness()) {
    core_->applied(core_->commit());
  } else if (!loading_ && !all_wrong_) {
    const Index limit = answer_ ? answer_->at.index : UINT64_MAX;
    GroupApply::Skip skip;
    if (!wrong_keys_.empty())
      skip = [this](const cluster::EntryEffect& effect) { return skip_wrong(effect); };
    // What is left over is applied in the next turn.
    if (!apply_.run(*core_, limit, skip)) server_.host().loop.post([] {});
    install_keys();
  }
  follow_role();
  go_on_handing_over();
  for (cluster::GroupCore::Send& one : core_->flush(steady_ms())) send(one.to, one.message);
  save_state();
  const bool disk_waits = core_->disk_may_wait() && !ending_;
  if (!disk_waits)
    core_->hand_over([this](base::Bytes bytes, Index last) {
      wal_->append(bytes, last);
      log_bytes_ += bytes.size();
    });
  wal_->sync_soon(core_->sync_wish());
  wal_->flush();
  if ((core_->holds_back() || disk_waits) && moment_timer_ == 0)
    moment_timer_ = server_.host().loop.after(kMoment, [this] { moment_timer_ = 0; });
  for (Member member : core_->take_lagging()) send_all(member);
  work_on_slots();
  settle();
  server_.freeze(Freeze::group, serving_ && core_->uncommitted_bytes() > kUncommittedBytesMax);
}

void ReplicaGroup::save_state(const host::Task& then) {
  const cluster::SavedState* state = core_->take_state();
  if (!state) return then ? then() : void();
  wal_->save_state(*state, [this, then] {
    core_->state_saved();
    if (then) then();
  });
}

// The shape as of the log's beginning is saved no later than where that is.
void ReplicaGroup::trim_log(Index upto) {
  core_->keep_state();
  save_state();
  wal_->trim(upto);
}

// Who reads our configuration sees how many must agree now.
void ReplicaGroup::follow_shape() {
  const bool leaving = core_->leaving();
  if (leaving && !std::exchange(leaving_seen_, leaving)) hand_over();
  leaving_seen_ = leaving;
  const cluster::GroupShape& shape = core_->shape();
  if (shape_seen_ == shape) return;
  shape_seen_ = shape;
  links_due_ = true;
  config_.members = static_cast<size_t>(std::popcount(shape.all_voters()));
  config_.witnesses = config_.write_quorum = config_.read_quorum = 0;
  shape.each_voters([this](const cluster::Voters& voters) {
    config_.write_quorum = std::max(config_.write_quorum, voters.write_quorum());
    config_.read_quorum = std::max(config_.read_quorum, voters.read_quorum());
    return true;
  });
  for (Member m = 0; m < cluster::kMembersMax; ++m) {
    if (!shape.uses(m)) continue;
    if (m >= members_.size()) members_.resize(m + 1);
    members_[m].witness = shape.is_witness(m);
    if (!shape.places[m].id.empty()) members_[m].id = shape.places[m].id;
    if (shape.is_witness(m)) config_.witnesses |= 1u << m;
  }
}

void ReplicaGroup::leave() {
  if (serving_) stop_serving();
  writing_dropped_ = true;
  server_.host().loop.cancel(timer_);
  // No turn of ours comes any more that would take these back.
  if (std::exchange(handing_over_until_, 0) != 0) server_.hold_writes(HoldWrites::hand_over, false);
  server_.freeze(Freeze::group, false);
  // What others send is for nobody: the log is closed.
  for (Member m = 0; links_ && m < cluster::kMembersMax; ++m)
    if (m != config_.self) links_->remove_member(m);
}

bool ReplicaGroup::let_go() {
  forget_offer();
  if (incoming_ && incoming_->open) server_.persistence().storage().disk.close(incoming_->file);
  incoming_.reset();
  if (asking_ && !asking_->streams)
    sending_ended(asking_->member, base::Error{"the group is left"});
  for (const auto& sending : sending_)
    if (sending) sending->failure = "the group is left";
  if (written_ && !publishing_) writing_.reset();
  if (is_busy()) return false;
  slots_.end();
  links_.reset();
  core_.reset();
  wal_.reset();
  versions_.forget();
  return true;
}

base::Result<> ReplicaGroup::change_shape(const cluster::GroupShape& target) {
  if (!core_) return base::Error{"the log of the group is being read"};
  base::Result<> changed = core_->change(target);
  if (changed) follow_shape();
  return changed;
}

void ReplicaGroup::tick() {
  if (!core_ || ending_) return;
  const base::Millis now = steady_ms();
  if (const Member leader = core_->leader(); leader != leader_seen_) {
    leader_seen_ = leader;
    if (leader == kNoMember)
      log::notice("Group: nobody leads");
    else if (leader != config_.self)
      log::notice("Group: member {} ({}:{}) leads in epoch {}", leader, members_[leader].host,
                  members_[leader].port, core_->epoch());
  }
  may_commit_ = serving_ && core_->may_commit(now);
  update_members();
  give_up_late();
  if (incoming_ && !incoming_->over && incoming_->epoch != core_->epoch())
    give_up_incoming("another member leads");
  if (!wrong_keys_.empty()) ask_for_keys();
  if (data_wanted_ == kAnyEpoch && core_->leader() != kNoMember) data_wanted_ = core_->epoch();
  if (all_wrong_ || data_wanted_ == core_->epoch()) ask_for_data();
  look_after_slots();
  send_owed();
  consider_checkpoint();
  consider_beginning_anew();
}

// --- our part ----------------------------------------------------------------------------------

void ReplicaGroup::follow_role() {
  const bool serves = core_->serves();
  if (serving_ && (!serves || core_->epoch() != serving_epoch_)) stop_serving();
  if (!serving_ && serves) begin_serving();
}

void ReplicaGroup::begin_serving() {
  serving_ = true;
  serving_epoch_ = core_->epoch();
  versions_.forget();
  may_commit_ = core_->may_commit(steady_ms());
  ++counters_.elections_won;
  log::notice("Group: we lead in epoch {}, from entry {} on", serving_epoch_, core_->last().index);
  CommitSink::listen(true);
  server_.persistence().apply_settings();
}

// Whoever leads now may not have what we executed last.
void ReplicaGroup::stop_serving() {
  uint64_t waiting = 0;
  for (const Pending& run : pending_) waiting += run.count;
  log::warning("Group: we lead no more, after epoch {}; {} commits were not yet acknowledged",
               serving_epoch_, waiting);
  ++counters_.deposed;
  fail_replies(0, 0, true);
  server_.publications().give_up_waiting();
  consistency_.forget_late();
  serving_ = may_commit_ = false;
  CommitSink::listen(false);
  // Who reads the stream of changes is not told of those that may be taken back.
  if (!pending_.empty() && server_.changes().stream().on()) server_.changes().stream().restart();
  pending_.clear();
  marks_.clear();
  for (const Settling& one : std::exchange(settling_, {}))
    one.done(base::Error{"another member leads the group"});
  versions_.forget();
  const store::Seq last = server_.store().commits().last_seq();
  server_.persistence().unsettled().settle(last);
  server_.gate().advance(Need::members, last);
  server_.persistence().apply_settings();
  server_.watches().dirty_all();
  server_.redirect_blocked();
}

void ReplicaGroup::absorb(const store::Commit& commit) {
  if (commit.origin == store::Origin::replica || commit.origin == store::Origin::load) return;
  if (!core_->serves() || core_->epoch() != serving_epoch_) {
    log::warning("== CRITICAL == {} keys were changed here without the group: all data are fetched",
                 commit.touches.size());
    core_->data_stands(false);
    all_wrong_ = true;
    return;
  }
  const Index index = core_->propose(commit.effects, commit.at);
  versions_.changed(commit, index);
  if (!pending_.empty()) {
    Pending& run = pending_.back();
    if (run.last() + 1 == commit.seq && run.index + run.count == index) {
      ++run.count;
      return;
    }
  }
  pending_.push_back({commit.seq, index, 1});
}

// Of the entry of a commit that has not been acknowledged yet, or of the next one that has not.
std::optional<Index> ReplicaGroup::pending_index(store::Seq seq) const {
  const auto run = std::ranges::lower_bound(pending_, seq, {}, &Pending::last);
  if (run == pending_.end()) return {};
  return run->index + (std::max(seq, run->seq) - run->seq);
}

Ticket ReplicaGroup::confirmation() {
  if (!serving_ || (config_.lease && core_->lease_holds(steady_ms()))) return {};
  return {token(core_->confirm_read()), Need::leadership};
}

// As with a read, somebody else may have led for long already.
void ReplicaGroup::when_settled(host::OnDone done) {
  if (!serving_) {
    if (readable()) return done({});
    return done(base::Error{"the data are not those of the group"});
  }
  const Index last = core_->last().index;
  const bool sure = core_->lease_holds(steady_ms());
  settling_.push_back({last, sure ? 0 : core_->confirm_read(), std::move(done)});
  server_.host().loop.post([] {});  // the round begins at the end of a turn
}

// What waits for the front one for longer is not held up: both positions only grow.
void ReplicaGroup::tell_settled() {
  while (!settling_.empty() && settling_.front().index <= core_->commit() &&
         settling_.front().round <= core_->confirmed_round()) {
    const host::OnDone done = std::move(settling_.front().done);
    settling_.pop_front();
    done({});
  }
}

// Behind a change of the transaction that runs, its own entry.
uint64_t ReplicaGroup::version(store::DbIndex db, base::Bytes key) {
  const Index last = core_->last().index;
  const Index own = server_.store().commits().recorded() > 0 ? last + 1 : 0;
  return token(versions_.tell(db, key, last, own));
}

// Opens the gate for what has been committed and confirmed.
void ReplicaGroup::settle() {
  publish_checkpoint();
  if (!serving_) return;
  store::Seq reached = 0;
  while (!pending_.empty() && pending_.front().index <= core_->commit()) {
    Pending& run = pending_.front();
    const uint64_t settled = std::min(run.count, core_->commit() - run.index + 1);
    reached = run.seq + settled - 1;
    if (settled == run.count)
      pending_.pop_front();
    else
      run = {run.seq + settled, run.index + settled, run.count - settled};
  }
  if (reached > 0) {
    server_.persistence().unsettled().settle(reached);
    server_.gate().advance(Need::members, reached);
  }
  server_.gate().advance(Need::leadership, token(core_->confirmed_round()));
  tell_settled();
  if (!consistency_.idle()) consistency_.advance(*core_, server_.gate());
}

// --- what connections ask for ------------------------------------------------------------------

void ReplicaGroup::hold_as_asked(Session& session, uint64_t reply_start, bool wrote,
                                 const Ticket& change, const Ticket& leadership) {
  if (!serving_ || session.postponed() == Postponed::blocked) return;
  const Consistency asked = consistency_.of_command(session.id);
  consistency_.command_is_over(session.id);
  if (asked == Consistency{}) return;
  Ticket more;
  if (wrote) {
    more = consistency_.for_write(asked, log_end());
    if (asked.fsync) want_on_disks(log_end());
  } else if (asked.read > 0) {
    more = consistency_.for_read(asked, token(core_->confirm_read(asked.read)));
  }
  session.hold(more, reply_start, wrote ? Session::Held::write : Session::Held::read);
  const base::Millis patience =
      asked.timeout_ms > 0 ? asked.timeout_ms : server_.settings().cluster_write_timeout_ms;
  consistency_.wait({session.id, steady_ms() + patience, {change, leadership, more}});
}

bool ReplicaGroup::may_commit(const Session& session) const {
  return core_->members_ready(steady_ms()) >=
         consistency_.members_needed(consistency_.of_command(session.id));
}

std::string ReplicaGroup::quorum(const Session& session) const {
  return fmt::format("{} of {}", core_->members_ready(steady_ms()),
                     consistency_.members_needed(consistency_.of_command(session.id)));
}

// What was not done in the time that its connection gave.
void ReplicaGroup::give_up_asked() {
  for (const GroupConsistency::Late& late : consistency_.take_late(steady_ms(), server_.gate())) {
    Session* session = server_.find_session(late.session);
    if (!session) continue;
    session->fail_held([&](const Ticket& ticket, bool wrote) -> std::string {
      const bool meant = std::ranges::find(late.tickets, ticket) != late.tickets.end();
      return meant ? error_of(ticket, wrote) : std::string();
    });
  }
}

// Saved, and told, by the end of this turn.
base::Result<> ReplicaGroup::accept_loss() {
  if (!core_) return base::Error{"it has not yet begun"};
  auto accepted = core_->accept_loss();
  if (accepted)
    log::warning(
        "Group: this member counts again with what it has, as it was told: what it lost is "
        "lost, if nobody else has it");
  return accepted;
}

// --- handing leadership on ---------------------------------------------------------------------

bool ReplicaGroup::hand_over(uint32_t places) {
  if (!core_ || !core_->may_transfer(places)) return false;
  handing_over_to_ = places;
  handing_over_until_ = steady_ms() + config_.election_timeout_ms;
  handed_over_ = false;
  server_.hold_writes(HoldWrites::hand_over, true);
  return true;
}

// A write behind the request to lead would make the other's log too old for an election.
void ReplicaGroup::go_on_handing_over() {
  if (handing_over_until_ == 0) return;
  const Member leader = core_->leader();
  const bool led = !serving_ && leader != kNoMember && leader != config_.self;
  if (led || steady_ms() >= handing_over_until_) {  // or nobody knows where writes should go
    handing_over_until_ = 0;
    return server_.hold_writes(HoldWrites::hand_over, false);
  }
  if (serving_ && !handed_over_ && core_->commit() == core_->last().index)
    handed_over_ = core_->transfer(handing_over_to_);
}

// --- replies that cannot be given --------------------------------------------------------------

std::string ReplicaGroup::entry_name(store::Seq seq) const {
  return fmt::format("g0 e{} i{}", serving_epoch_, pending_index(seq).value_or(0));
}

std::string ReplicaGroup::name_of(const Ticket& ticket) const {
  if (ticket.need == Need::members) return entry_name(ticket.seq);
  const cluster::Position at = position_of(ticket.seq);
  return fmt::format("g0 e{} i{}", at.epoch, at.index);
}

// What takes the place of a reply that waits in vain.
std::string ReplicaGroup::error_of(const Ticket& ticket, bool wrote) {
  if (server_.gate().open(ticket)) return {};
  if (!wrote) return "CLUSTERDOWN The leader of the group could not be confirmed";
  ++counters_.uncertain;
  return "UNCERTAIN " + name_of(ticket);
}

// Those that wait for commits up to `upto` or rounds up to `round`, unless their connections gave
// them a time of their own; or all.
void ReplicaGroup::fail_replies(store::Seq upto, uint64_t round, bool all) {
  std::vector<SessionId> ids;  // failing may end sessions
  for (const auto& [id, session] : server_.sessions()) ids.push_back(id);
  for (const SessionId id : ids) {
    Session* session = server_.find_session(id);
    if (!session) continue;
    session->fail_held([&, id](const Ticket& ticket, bool wrote) -> std::string {
      const bool members = ticket.need == Need::members;
      if (!all && !members && ticket.need != Need::leadership) return {};
      if (ticket.need == Need::fsynced || ticket.need == Need::replicas) return {};
      if (!all && ticket.seq > (members ? upto : round)) return {};
      if (!all && consistency_.waits(id, ticket)) return {};
      return error_of(ticket, wrote);
    });
  }
}

// What was not committed or confirmed in time.
void ReplicaGroup::give_up_late() {
  if (!serving_) return;
  if (!consistency_.idle()) give_up_asked();
  const base::Millis now = steady_ms();
  const base::Millis due = now - server_.settings().cluster_write_timeout_ms;
  store::Seq seq = 0;
  uint64_t round = 0;
  while (!marks_.empty() && marks_.front().at <= due) {
    seq = marks_.front().seq;
    round = marks_.front().round;
    marks_.pop_front();
  }
  const bool late_write = seq > 0 && !pending_.empty() && pending_.front().seq <= seq;
  const bool late_read = round > token(core_->confirmed_round());
  if (late_write || late_read) fail_replies(seq, round, false);
  const store::Seq last = pending_.empty() ? 0 : pending_.back().last();
  marks_.push_back({now, last, token(core_->round())});
}

std::string ReplicaGroup::quorum() const {
  return fmt::format("{} of {}", core_ ? core_->members_ready(steady_ms()) : 0,
                     config_.write_quorum);
}

std::string ReplicaGroup::outcome(cluster::Epoch epoch, Index index) const {
  if (!core_) return "ERR the log of the group is being read";
  if (index > core_->log().base().index && index <= core_->last().index) {
    const bool same = core_->log().epoch_at(index) == epoch;
    if (index <= core_->commit()) return same ? "COMMITTED" : "LOST";
    if (same) return "PENDING";
  }
  if (index <= core_->log().base().index)
    return "ERR the log of the group does not reach back to that entry";
  // Entries of an epoch that is over can only be what a leader of a later one has.
  if (serves() && epoch < core_->epoch()) return "LOST";
  return "PENDING";
}

// Of an entry that was lost with its epoch: one that nobody has.
Index ReplicaGroup::index_of(uint64_t token) const {
  if (token == 0) return core_->commit();
  const cluster::Position at = position_of(token);
  if (at.index <= core_->log().base().index || core_->holds(at)) return at.index;
  return UINT64_MAX;
}

size_t ReplicaGroup::members_with(uint64_t token, bool on_disk) const {
  if (!serving_) return 0;
  const Index index = index_of(token);
  size_t count = 0;
  for (Member m = 0; m < members_.size(); ++m)
    count += m != config_.self && (on_disk ? core_->synced(m) : core_->match(m)) >= index;
  return count;
}

bool ReplicaGroup::on_own_disk(uint64_t token) const {
  return serving_ && core_->synced(config_.self) >= index_of(token);
}

void ReplicaGroup::want_on_disks(uint64_t token) {
  const Index index = index_of(token);
  if (serving_ && index <= core_->last().index) core_->want_synced(index);
}

Index ReplicaGroup::want_all_on_disks() {
  core_->want_synced(core_->last().index);
  return core_->last().index;
}

// --- the log on disk ---------------------------------------------------------------------------

void ReplicaGroup::wal_written(cluster::Position upto) {
  if (core_) core_->written(upto);
}

void ReplicaGroup::wal_synced(cluster::Position upto) {
  if (core_) core_->synced(upto);
}

void ReplicaGroup::wal_failed(const std::string& error) {
  log::warning("Error writing the group's log: {}", error);
  if (core_) core_->disk_fails();
}

void ReplicaGroup::wal_again(cluster::Position durable) {
  log::notice("The group's log can be written again");
  if (core_) core_->disk_works(durable, wal_->base().index);
}

void ReplicaGroup::wal_state_failed(const std::string& error) {
  log::warning("Error saving the state of the group's member: {}", error);
}

}  // namespace quoll::server
