#include "server/group.h"

#include <fmt/format.h>

#include "server/log.h"
#include "server/server.h"

namespace quoll::server {

using cluster::Index;
using cluster::kNoMember;
using cluster::Member;

namespace {

// Rounds of confirmation of later epochs are later.
constexpr unsigned kRoundBits = 40;

}  // namespace

ReplicaGroup::ReplicaGroup(Server& server, const cluster::GroupConfig& config)
    : server_(server),
      config_(config),
      checkpoints_(server.persistence().storage().disk, dir_),
      apply_(server) {
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

ReplicaGroup::~ReplicaGroup() {
  *alive_ = false;
  server_.host().loop.cancel(timer_);
}

base::Millis ReplicaGroup::steady_ms() const {
  return server_.host().clock.steady() / base::kNanosPerMilli;
}

void ReplicaGroup::settings_changed(const Settings&) { update_members(); }

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
  if (const cluster::SavedState* state = core_->take_state())
    wal_->save_state(*state, [this] { core_->state_saved(); });
  core_->hand_over([this](base::Bytes bytes, Index last) {
    wal_->append(bytes, last);
    log_bytes_ += bytes.size();
  });
  wal_->flush();
  for (cluster::GroupCore::Send& one : core_->flush(steady_ms())) send(one.to, one.message);
  for (Member member : core_->take_lagging()) send_all(member);
  settle();
  server_.freeze(Freeze::group, serving_ && core_->uncommitted_bytes() > kUncommittedBytesMax);
}

void ReplicaGroup::send(Member to, const cluster::GroupMessage& message) {
  std::string head;
  cluster::encode_message(message, head);
  links_->send(to, head, message.entries);
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
  if (all_wrong_ || data_wanted_ == core_->epoch()) ask_for_data();
  send_owed();
  consider_checkpoint();
  consider_beginning_anew();
}

void ReplicaGroup::update_members() {
  for (Member m = 0; m < members_.size(); ++m) {
    ClusterMember& member = members_[m];
    if (m == config_.self) {
      if (core_) member.position = core_->last().index;
      continue;
    }
    member.connected = links_ && links_->up(m);
    member.unsent_bytes = links_ ? links_->waiting_bytes(m) : 0;
    if (!member.connected)
      member.connected_ms = 0;
    else if (member.connected_ms == 0)
      member.connected_ms = server_.now();
    if (core_ && core_->leads()) member.position = core_->match(m);
  }
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
  may_commit_ = core_->may_commit(steady_ms());
  ++counters_.elections_won;
  log::notice("Group: we lead in epoch {}, from entry {} on", serving_epoch_, core_->last().index);
  CommitSink::listen(true);
  server_.persistence().apply_settings();
}

// Whoever leads now may not have what we executed last.
void ReplicaGroup::stop_serving() {
  log::warning("Group: we lead no more, after epoch {}; {} commits were not yet acknowledged",
               serving_epoch_, pending_.size());
  ++counters_.deposed;
  fail_replies(0, 0, true);
  serving_ = may_commit_ = false;
  CommitSink::listen(false);
  pending_.clear();
  marks_.clear();
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
  pending_.push_back({commit.seq, core_->propose(commit.effects, commit.at)});
}

Ticket ReplicaGroup::confirmation() {
  if (!serving_) return {};
  return {(serving_epoch_ << kRoundBits) + core_->confirm_read(), Need::leadership};
}

// Opens the gate for what has been committed and confirmed.
void ReplicaGroup::settle() {
  publish_checkpoint();
  if (!serving_) return;
  store::Seq reached = 0;
  while (!pending_.empty() && pending_.front().index <= core_->commit()) {
    reached = pending_.front().seq;
    pending_.pop_front();
  }
  if (reached > 0) {
    server_.persistence().unsettled().settle(reached);
    server_.gate().advance(Need::members, reached);
  }
  server_.gate().advance(Need::leadership,
                         (serving_epoch_ << kRoundBits) + core_->confirmed_round());
}

// --- replies that cannot be given --------------------------------------------------------------

std::string ReplicaGroup::entry_name(store::Seq seq) const {
  auto at = std::ranges::lower_bound(pending_, seq, {}, &Pending::seq);
  const Index index = at == pending_.end() ? 0 : at->index;
  return fmt::format("g0 e{} i{}", serving_epoch_, index);
}

// Those that wait for commits up to `upto` or rounds up to `round`; or all.
void ReplicaGroup::fail_replies(store::Seq upto, uint64_t round, bool all) {
  auto verdict = [&](const Ticket& ticket, bool wrote) -> std::string {
    const bool members = ticket.need == Need::members;
    if (!members && ticket.need != Need::leadership) return {};
    if (!all && ticket.seq > (members ? upto : round)) return {};
    if (!wrote) return "CLUSTERDOWN The leader of the group could not be confirmed";
    ++counters_.uncertain;
    return "UNCERTAIN " + entry_name(ticket.seq);
  };
  for (auto& [id, session] : server_.sessions()) session->fail_held(verdict);
}

// What was not committed or confirmed in time.
void ReplicaGroup::give_up_late() {
  if (!serving_) return;
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
  const bool late_read = round > (serving_epoch_ << kRoundBits) + core_->confirmed_round();
  if (late_write || late_read) fail_replies(seq, round, false);
  const store::Seq last = pending_.empty() ? 0 : pending_.back().seq;
  marks_.push_back({now, last, (serving_epoch_ << kRoundBits) + core_->round()});
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

size_t ReplicaGroup::members_with(store::Seq seq) const {
  if (!serving_) return 0;
  const auto at = std::ranges::lower_bound(pending_, seq, {}, &Pending::seq);
  const Index index = at == pending_.end() ? core_->commit() : at->index;
  size_t count = 0;
  for (Member m = 0; m < members_.size(); ++m)
    count += m != config_.self && core_->match(m) >= index;
  return count;
}

// --- the log on disk, the connections ----------------------------------------------------------

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

void ReplicaGroup::link_up(Member member, const std::string& id) {
  members_[member].id = id;
  core_->linked(member);
  log::verbose("Group: connected to member {} ({}:{})", member, members_[member].host,
               members_[member].port);
}

void ReplicaGroup::link_down(Member member) {
  log::verbose("Group: lost the connection to member {}", member);
  core_->unlinked(member);
  if (sending_[member])
    sending_[member]->failure = "the connection ended";
  else
    core_->sync_ended(member);  // if it has taken them, it will say so by its log
  if (incoming_ && incoming_->from == member) give_up_incoming("the connection ended");
}

bool ReplicaGroup::link_frame(Member member, cluster::FrameType type, base::Bytes body) {
  using enum cluster::FrameType;
  switch (type) {
    case sync_begin:
      return incoming_begins(member, body);
    case sync_data:
      return !incoming_ || incoming_->from != member || incoming_bytes(body);
    case sync_end:
      if (incoming_ && incoming_->from == member) return incoming_ends(body);
      if (core_->leader() == member) want_data();  // the beginning was not for us, then
      return true;
    case sync_taken:
      core_->sync_ended(member);
      return true;
    case need_data:
      if (core_->leads()) send_all(member);
      return true;
    case need_keys:
      answer_keys(member, body);
      return true;
    case keys: {
      if (core_->leader() != member) return true;
      cluster::FieldReader in(body);
      uint64_t number;
      KeyAnswer answer;
      if (!in.number(number) || !in.position(answer.at)) return false;
      if (number != ask_number_) return true;
      answer.epoch = core_->epoch();
      answer.body = in.rest();
      answer_ = std::move(answer);
      return true;
    }
    default:
      break;
  }
  cluster::GroupMessage message;
  if (!cluster::decode_message(type, body, message)) return false;
  core_->receive(member, message, steady_ms());
  return true;
}

void ReplicaGroup::link_trouble(const std::string& text) { log::warning("Group: {}", text); }

}  // namespace quoll::server
