#include "cluster/group_core.h"

#include "base/check.h"

namespace quoll::cluster {

GroupCore::GroupCore(const GroupConfig& group, SavedState state, GroupLog log, uint64_t seed,
                     base::Millis now)
    : group_(group), state_(std::move(state)), log_(std::move(log)), chance_(seed | 1), now_(now) {
  QUOLL_CHECK(group_.members <= kMembersMax && group_.self < group_.members);
  handed_ = written_ = synced_ = log_.last().index;
  election_at_ = now_ + random_timeout();
  bind();
  begin_virgin();
}

// xorshift64*, Vigna 2016.
uint64_t GroupCore::draw() {
  chance_ ^= chance_ >> 12;
  chance_ ^= chance_ << 25;
  chance_ ^= chance_ >> 27;
  return chance_ * 2685821657736338717u;
}

// Between one and one and a half election timeouts.
base::Millis GroupCore::random_timeout() {
  const base::Millis base = group_.election_timeout_ms;
  const auto more = static_cast<base::Millis>((draw() >> 33) % static_cast<uint64_t>(base / 2 + 1));
  // Who could not serve only leads when nobody else does.
  return lacks_data() ? 3 * base + more : base + more;
}

GroupMessage GroupCore::message(GroupMessage::Kind kind) const {
  GroupMessage message;
  message.kind = kind;
  message.epoch = state_.epoch;
  return message;
}

Index GroupCore::counted() const {
  if (!disk_works_) return 0;
  return group_.durability == Durability::fsync ? synced_ : written_;
}

// --- connections, beginnings -------------------------------------------------------------------

void GroupCore::linked(Member member) {
  peers_[member].linked = true;
  GroupMessage hello = message(GroupMessage::Kind::hello);
  hello.at = log_.last();
  hello.flag = virgin();
  say(member, hello);
}

void GroupCore::unlinked(Member member) {
  Peer& peer = peers_[member];
  // It may come back without what it had.
  peer.linked = false;
  peer.rejoin_proposed = peer.match = peer.synced = peer.sync_told = 0;
  peer.next = log_.last().index + 1;
  if (peer.feed == Feed::replicate) peer.feed = Feed::probe;
  std::erase_if(out_, [&](const Send& send) { return send.to == member; });
}

void GroupCore::hear_hello(Member from, const GroupMessage& message) {
  peers_[from].virgin |= message.flag;
  begin_virgin();
}

// A group begins when every member has been seen without a past: then none can have lost one.
void GroupCore::begin_virgin() {
  if (intact() || !virgin()) return;
  bool all = true;
  each_peer([&](Member, const Peer& peer) { all &= peer.virgin; });
  if (!all) return;
  state_.amnesia = 0;
  change_state();
}

// --- the disk ----------------------------------------------------------------------------------

const SavedState* GroupCore::take_state() {
  if (!std::exchange(state_dirty_, false)) return nullptr;
  ++saving_;
  return &state_;
}

void GroupCore::state_saved() {
  QUOLL_CHECK(saving_ > 0);
  --saving_;
  if (!saved()) return;
  if (Member to = std::exchange(vote_owed_, kNoMember); to != kNoMember) {
    GroupMessage reply = message(GroupMessage::Kind::vote_reply);
    reply.flag = true;
    say(to, reply);
  }
  if (!std::exchange(campaign_owed_, false)) return;
  GroupMessage vote = message(GroupMessage::Kind::vote);
  vote.at = log_.last();
  vote.flag = asked_to_lead_;
  each_peer([&](Member member, const Peer&) { say(member, vote); });
  count_votes();
}

bool GroupCore::disk_may_wait() const {
  if (!leads() || group_.durability == Durability::fsync) return false;
  if (handed_ == log_.last().index || handed_at_ != now_ || sync_wanted_ > handed_) return false;
  unsigned others = 0;
  for (const Peer& peer : peers_)
    others += peer.linked && peer.feed == Feed::replicate && peer.amnesia == 0;
  return others >= group_.write_quorum && log_.bytes_behind(handed_) < kAppendBytesMax;
}

// Entries that were replaced meanwhile are no longer meant.
void GroupCore::written(Position upto) {
  if (upto.index <= written_ || log_.epoch_at(upto.index) != upto.epoch) return;
  written_ = upto.index;
  if (role_ == Role::follower) reply_due_ = true;
  if (leads()) advance_commit();
  readmit();
}

void GroupCore::synced(Position upto) {
  if (upto.index <= synced_ || log_.epoch_at(upto.index) != upto.epoch) return;
  const bool awaited = synced_ < sync_asked_;
  synced_ = upto.index;
  if (role_ == Role::follower && awaited) reply_due_ = true;
  if (group_.durability != Durability::fsync) return;
  if (role_ == Role::follower) reply_due_ = true;
  if (leads()) advance_commit();
  readmit();
}

void GroupCore::disk_fails() {
  disk_works_ = false;
  become_follower(state_.epoch, leads() ? kNoMember : leader_);
}

// When entries were replaced meanwhile, the disk may hold older ones wherever ours begins anew.
void GroupCore::disk_works(Position durable, Index covered) {
  disk_works_ = true;
  const bool ours = log_.epoch_at(durable.index) == durable.epoch;
  handed_ = written_ = synced_ = ours ? durable.index : std::max(log_.base().index, covered);
}

// --- election ----------------------------------------------------------------------------------

bool GroupCore::may_campaign() const { return intact() && disk_works_; }

void GroupCore::tick(base::Millis now) {
  now_ = now;
  if (leads()) {
    if (members_heard(now) < quorum_needed()) return become_follower(state_.epoch, kNoMember);
    // Who is too far behind needs data, perhaps before anything can be committed.
    bool lagging = false;
    each_peer([&](Member, const Peer& peer) { lagging |= peer.feed == Feed::lagging; });
    if (lacks_data() && (commit_ >= noop_ || lagging)) transfer();
    return propose_rejoins();
  }
  if (now < election_at_) return;
  election_at_ = now + random_timeout();
  leader_ = kNoMember;
  if (may_campaign()) ask_prevotes();
}

bool GroupCore::heard_of(Member member, base::Millis now) const {
  const Peer& peer = peers_[member];
  return peer.linked && now - peer.heard <= group_.election_timeout_ms;
}

unsigned GroupCore::members_ready(base::Millis now) const {
  unsigned ready = disk_works_;
  for (Member m = 0; m < group_.members; ++m)
    ready += m != group_.self && peers_[m].amnesia == 0 && peers_[m].feed == Feed::replicate &&
             heard_of(m, now);
  return ready;
}

unsigned GroupCore::members_heard(base::Millis now) const {
  unsigned heard = 1;
  for (Member m = 0; m < group_.members; ++m)
    heard += m != group_.self && peers_[m].amnesia == 0 && heard_of(m, now);
  return heard;
}

// What is known of a leader's log, and its rounds, begin anew with every epoch, also when the same
// member leads again.
void GroupCore::become_follower(Epoch epoch, Member leader) {
  const bool anew = epoch > state_.epoch || role_ != Role::follower || leader != leader_;
  if (epoch > state_.epoch) {
    state_.epoch = epoch;
    state_.vote = kNoMember;
    vote_owed_ = kNoMember;
    change_state();
  }
  if (anew) {
    known_ = sync_asked_ = 0;
    reply_due_ = refuse_ = false;
    reply_round_ = replied_round_ = 0;
  }
  role_ = Role::follower;
  leader_ = leader;
  prevoting_ = campaign_owed_ = false;
  lease_from_.reset();
  election_at_ = now_ + random_timeout();
}

void GroupCore::ask_prevotes() {
  role_ = Role::follower;
  campaign_owed_ = false;
  prevoting_ = true;
  votes_ = 1u << group_.self;
  if (election_quorum() == 1) return campaign();
  GroupMessage ask = message(GroupMessage::Kind::prevote);
  ask.epoch = state_.epoch + 1;
  ask.at = log_.last();
  each_peer([&](Member member, const Peer&) { say(member, ask); });
}

void GroupCore::campaign(bool asked) {
  become_follower(state_.epoch + 1, kNoMember);
  asked_to_lead_ = asked;
  role_ = Role::candidate;
  state_.vote = group_.self;
  votes_ = 1u << group_.self;
  campaign_owed_ = true;  // when our own vote is on disk
}

void GroupCore::hear_prevote(Member from, const GroupMessage& message) {
  const bool led =
      leads() || (leader_ != kNoMember && now_ - leader_heard_ < group_.election_timeout_ms);
  GroupMessage reply = this->message(GroupMessage::Kind::prevote_reply);
  reply.flag = !led && may_vote() && message.epoch > state_.epoch && message.at >= log_.last();
  if (reply.flag) reply.epoch = message.epoch;
  say(from, reply);
}

void GroupCore::hear_vote(Member from, const GroupMessage& message) {
  if (promised() && !leads() && !message.flag)
    return say(from, this->message(GroupMessage::Kind::vote_reply));
  if (message.epoch > state_.epoch) become_follower(message.epoch, kNoMember);
  const bool free = state_.vote == kNoMember || state_.vote == from;
  if (message.epoch == state_.epoch && role_ == Role::follower && may_vote() && free &&
      message.at >= log_.last()) {
    if (state_.vote != from) {
      state_.vote = from;
      change_state();
    }
    election_at_ = now_ + random_timeout();
    vote_owed_ = from;
    if (!saved()) return;  // told when it is
    vote_owed_ = kNoMember;
  }
  GroupMessage reply = this->message(GroupMessage::Kind::vote_reply);
  reply.flag = message.epoch == state_.epoch && state_.vote == from;
  say(from, reply);
}

void GroupCore::count_votes() {
  if (std::popcount(votes_) < static_cast<int>(election_quorum())) return;
  if (prevoting_) return campaign();
  if (role_ == Role::candidate && saved() && !campaign_owed_) lead();
}

void GroupCore::lead() {
  role_ = Role::leader;
  leader_ = group_.self;
  round_ = confirmed_ = 0;
  round_open_ = lease_released_ = false;
  open_reads_ = last_reads_ = 0;
  round_members_ = group_.read_quorum;
  sent_rounds_.clear();
  sync_wanted_ = 0;
  each_peer([&](Member, Peer& peer) {
    peer.feed = Feed::probe;
    peer.next = log_.last().index + 1;
    peer.match = peer.commit_told = 0;
    peer.synced = peer.sync_told = 0;
    peer.round = peer.round_sent = peer.amnesia = peer.rejoin_proposed = 0;
    peer.heard = now_;
    peer.sent = peer.asked = now_ - group_.election_timeout_ms;
    peer.sync_from = 0;
  });
  lagging_.clear();
  noop_ = log_.last().index + 1;
  append_own(EntryKind::noop, {}, 0);
}

bool GroupCore::could_lead(Member m) const {
  return m != group_.self && peers_[m].ready && peers_[m].amnesia == 0 && heard_of(m, now_);
}

bool GroupCore::may_transfer() const {
  if (!leads()) return false;
  for (Member m = 0; m < group_.members; ++m)
    if (could_lead(m)) return true;
  return false;
}

bool GroupCore::transfer() {
  if (!leads()) return false;
  for (Member m = 0; m < group_.members; ++m) {
    if (!could_lead(m) || peers_[m].match != log_.last().index) continue;
    say(m, message(GroupMessage::Kind::transfer));
    lease_released_ = true;
    lease_from_.reset();
    return true;
  }
  return false;
}

// --- what arrives ------------------------------------------------------------------------------

void GroupCore::receive(Member from, const GroupMessage& message, base::Millis now) {
  now_ = now;
  QUOLL_CHECK(from < group_.members && from != group_.self);
  switch (message.kind) {
    case GroupMessage::Kind::hello:
      return hear_hello(from, message);
    case GroupMessage::Kind::prevote:
      return hear_prevote(from, message);
    case GroupMessage::Kind::prevote_reply:
    case GroupMessage::Kind::vote_reply: {
      const bool pre = message.kind == GroupMessage::Kind::prevote_reply;
      if (!message.flag && message.epoch > state_.epoch)
        return become_follower(message.epoch, kNoMember);
      const bool ours = pre ? prevoting_ && message.epoch == state_.epoch + 1
                            : role_ == Role::candidate && message.epoch == state_.epoch;
      if (!ours || !message.flag) return;
      votes_ |= 1u << from;
      return count_votes();
    }
    case GroupMessage::Kind::vote:
      return hear_vote(from, message);
    case GroupMessage::Kind::append:
      return hear_append(from, message);
    case GroupMessage::Kind::append_reply:
      return hear_reply(from, message);
    case GroupMessage::Kind::transfer:
      if (message.epoch == state_.epoch && leader_ == from && may_campaign()) campaign(true);
      return;
  }
}

void GroupCore::hear_append(Member from, const GroupMessage& message) {
  if (message.epoch < state_.epoch)
    return say(from, this->message(GroupMessage::Kind::append_reply));
  // Two leaders in one epoch would be the end of everything.
  QUOLL_CHECK(!(leads() && message.epoch == state_.epoch));
  if (message.epoch > state_.epoch || role_ != Role::follower || leader_ != from || prevoting_)
    become_follower(message.epoch, from);
  leader_heard_ = now_;
  bind();
  election_at_ = now_ + random_timeout();
  reply_round_ = std::max(reply_round_, message.round);
  const Position before = message.at;
  if (contradicts_base(before)) return forget();
  const bool follows = before.index <= commit_ || log_.epoch_at(before.index) == before.epoch;
  if (!follows) {
    refuse_ = reply_due_ = true;
    refuse_hint_ = before.index > log_.last().index ? log_.last().index
                                                    : log_.first_of_epoch(before.index) - 1;
    refuse_hint_ = std::max(refuse_hint_, commit_);
    return;
  }
  refuse_ = false;
  known_ = std::max(known_, before.index);
  if (!message.entries.empty()) take_entries(message);
  if (message.soon) sync_asked_ = log_.last().index;
  note_commit(std::min(message.index, known_));
  // Entries are answered when they are written, unless the leader asks more than that.
  const bool asked = message.entries.empty() && !message.flag;
  if (asked || reply_round_ > replied_round_) reply_due_ = true;
}

void GroupCore::take_entries(const GroupMessage& message) {
  base::Bytes rest = message.entries;
  Index expected = message.at.index + 1;
  Entry entry;
  while (!rest.empty() && decode_entry(rest, entry) == EntryFault::none &&
         entry.header.at.index == expected) {
    if (expected == log_.base().index && contradicts_base(entry.header.at)) return forget();
    take_entry(entry, rest.substr(0, entry.bytes));
    // What lies before a base that may not be committed is known when the base is.
    if (expected <= commit_ || expected >= log_.base().index) known_ = std::max(known_, expected);
    ++expected;
    rest.remove_prefix(entry.bytes);
  }
}

void GroupCore::take_entry(const Entry& entry, base::Bytes bytes) {
  const Position at = entry.header.at;
  if (at.index <= log_.base().index) return;
  if (at.index <= log_.last().index) {
    if (log_.epoch_at(at.index) == at.epoch) return;
    drop_behind(at.index - 1);
  }
  log_.append(entry.header, [&](const EntryHeader&, std::string& out) { out += bytes; });
  if (entry.header.kind != EntryKind::rejoin || intact()) return;
  auto rejoin = decode_rejoin(entry.payload);
  if (rejoin && rejoin->member == group_.self && rejoin->number == state_.amnesia)
    rejoin_at_ = at.index;
}

// All data came from a leader before they were committed, and the one that leads now lacks them.
bool GroupCore::contradicts_base(Position at) const {
  const Position base = log_.base();
  return at.index > commit_ && at.index <= base.index && at != base;
}

// As if the directory had been lost.
void GroupCore::forget() {
  log_.restart({});
  handed_ = written_ = synced_ = commit_ = applied_ = known_ = rejoin_at_ = 0;
  forgotten_ = true;
  undone_ = 0;
  data_stands_ = false;
  state_.amnesia = draw() | 1;
  change_state();
  refuse_ = reply_due_ = true;
  refuse_hint_ = 0;
}

void GroupCore::drop_behind(Index index) {
  QUOLL_CHECK(index >= commit_);
  for (Index at = index; at < applied_;) undone_entries_ += log_.slice(at, SIZE_MAX, at);
  log_.truncate(index);
  handed_ = std::min(handed_, index);
  written_ = std::min(written_, index);
  synced_ = std::min(synced_, index);
  if (rejoin_at_ > index) rejoin_at_ = 0;
  if (applied_ <= index) return;
  applied_ = index;
  undone_ = std::min(undone_.value_or(index), index);
  data_stands_ = false;
}

void GroupCore::hear_reply(Member from, const GroupMessage& message) {
  if (message.epoch > state_.epoch) return become_follower(message.epoch, kNoMember);
  if (!leads() || message.epoch < state_.epoch) return;
  Peer& peer = peers_[from];
  peer.heard = now_;
  peer.amnesia = message.number;
  peer.ready = message.ready;
  peer.round = std::max(peer.round, message.round);
  advance_confirmed();
  if (peer.feed == Feed::lagging) return;
  if (!message.flag) {
    peer.next = std::max<Index>(std::min(peer.next - 1, message.index + 1), 1);
    peer.feed = Feed::probe;
    peer.asked = 0;
    if (peer.next <= log_.base().index) fall_behind(from, peer);
    return;
  }
  if (peer.feed == Feed::probe && message.at.index + 1 >= peer.next) {
    peer.feed = Feed::replicate;
    peer.next = message.at.index + 1;
  }
  peer.match = std::max(peer.match, message.index);
  peer.synced = std::max(peer.synced, message.synced);
  peer.next = std::max(peer.next, peer.match + 1);
  advance_commit();
}

// --- commit ------------------------------------------------------------------------------------

void GroupCore::note_commit(Index commit) {
  if (commit <= commit_) return;
  QUOLL_CHECK(commit <= log_.last().index);
  commit_ = commit;
  readmit();
}

Index GroupCore::stored_by(unsigned members) const {
  std::array<Index, kMembersMax> have{};
  size_t count = 0;
  have[count++] = counted();
  each_peer([&](Member, const Peer& peer) {
    if (peer.amnesia == 0) have[count++] = peer.match;
  });
  return reached_by<Index>({have.data(), count}, members);
}

Index GroupCore::synced_by(unsigned members) const {
  std::array<Index, kMembersMax> have{};
  for (Member m = 0; m < group_.members; ++m) have[m] = synced(m);
  return reached_by<Index>({have.data(), group_.members}, members);
}

uint64_t GroupCore::confirmed_by(unsigned members) const {
  std::array<uint64_t, kMembersMax> rounds{};
  size_t count = 0;
  rounds[count++] = carried_round();
  each_peer([&](Member, const Peer& peer) {
    if (peer.amnesia == 0) rounds[count++] = peer.round;
  });
  return reached_by<uint64_t>({rounds.data(), count}, members);
}

void GroupCore::advance_commit() {
  const Index reached = stored_by(group_.write_quorum);
  if (reached > commit_ && log_.epoch_at(reached) == state_.epoch) note_commit(reached);
}

void GroupCore::advance_confirmed() {
  const uint64_t reached = confirmed_by(group_.read_quorum);
  if (reached <= confirmed_) return;
  confirmed_ = reached;
  round_waits_since_ = now_;
  while (!sent_rounds_.empty() && sent_rounds_.front().round <= confirmed_) {
    if (!lease_released_) lease_from_ = sent_rounds_.front().at;
    sent_rounds_.pop_front();
  }
}

uint64_t GroupCore::confirm_read(unsigned members) {
  if (!round_open_) ++round_;
  ++open_reads_;
  open_members_ = std::max(open_members_, members);
  round_open_ = true;
  return round_;
}

void GroupCore::readmit() {
  if (rejoin_at_ == 0 || commit_ < rejoin_at_ || counted() < rejoin_at_) return;
  rejoin_at_ = 0;
  state_.amnesia = 0;
  change_state();
  if (role_ == Role::follower) reply_due_ = true;  // the leader may count us
}

// The leader has them know, once for every time they lost their memory.
void GroupCore::propose_rejoins() {
  if (commit_ < noop_) return;
  each_peer([&](Member member, Peer& peer) {
    if (peer.feed != Feed::replicate || peer.amnesia == 0 || peer.amnesia == peer.rejoin_proposed)
      return;
    peer.rejoin_proposed = peer.amnesia;
    std::string payload(1, static_cast<char>(member));
    payload.append(reinterpret_cast<const char*>(&peer.amnesia), sizeof peer.amnesia);
    append_own(EntryKind::rejoin, payload, 0);
  });
}

// --- a leader's log ----------------------------------------------------------------------------

void GroupCore::append_own(EntryKind kind, base::Bytes payload, base::Millis wall) {
  const bool complete = kind != EntryKind::noop && applied_ == log_.last().index;
  EntryHeader header{
      {state_.epoch, log_.last().index + 1}, std::max(wall, log_.last_time()), 0, kind};
  log_.append(header,
              [&](const EntryHeader& at, std::string& out) { encode_entry(at, payload, out); });
  if (complete) applied_ = header.at.index;
}

Index GroupCore::propose(std::span<const store::Effect> effects, base::Millis wall) {
  QUOLL_CHECK(serves() && applied_ == log_.last().index);
  EntryHeader header{{state_.epoch, log_.last().index + 1},
                     std::max(wall, log_.last_time()),
                     0,
                     EntryKind::effects};
  log_.append_unsealed(
      header, [&](const EntryHeader& at, std::string& out) { encode_effects(at, effects, out); });
  return applied_ = header.at.index;
}

bool GroupCore::restored(Position at, Index commit) {
  const bool begins = !holds(at);
  if (begins) {
    log_.restart(at);
    handed_ = written_ = synced_ = at.index;
  }
  commit_ = std::min(commit, at.index);
  applied_ = at.index;
  return begins;
}

void GroupCore::installed(Position at, Index commit) {
  if (!holds(at)) {
    QUOLL_CHECK(at.index >= commit_);
    log_.restart(at);
    handed_ = written_ = synced_ = at.index;
    rejoin_at_ = 0;
  }
  commit_ = std::max(commit_, std::min(commit, at.index));
  applied_ = at.index;
  undone_.reset();
  data_stands_ = true;
  reply_due_ = role_ == Role::follower && leader_ != kNoMember;
}

// --- what is sent ------------------------------------------------------------------------------

std::vector<GroupCore::Send>& GroupCore::flush(base::Millis now) {
  now_ = now;
  holds_back_ = false;
  if (leads()) {
    renew_lease();
    begin_round();
    advance_confirmed();
    each_peer([&](Member member, Peer& peer) { feed(member, peer); });
    advance_commit();
    holds_back_ |= round_waits();
  } else {
    send_reply();
  }
  trim();
  given_.clear();
  given_.swap(out_);
  std::erase_if(given_, [&](const Send& send) { return !peers_[send.to].linked; });
  return given_;
}

bool GroupCore::entries_wait(const Peer& peer) const {
  const bool on_their_way = peer.match + 1 < peer.next;
  const bool few = log_.last().index + 1 < peer.next + peer.entries_at_once;
  return (on_their_way || few) && peer.entries_sent == now_ &&
         log_.bytes_behind(peer.next - 1) < kHeldBackBytesMax;
}

// The round of the reads that came since the last one began, if it may begin.
void GroupCore::begin_round() {
  if (!round_open_) return;
  const bool company = round_waits() || open_reads_ < last_reads_;
  bool entries = false;
  each_peer(
      [&](Member, const Peer& peer) { entries |= has_entries_for(peer) && !entries_wait(peer); });
  holds_back_ = company && round_began_ == now_ && !entries;
  if (holds_back_) return;
  if (!round_waits()) {
    round_waits_since_ = now_;
    round_members_ = 0;
  }
  round_members_ = std::max({round_members_, std::exchange(open_members_, 0u), group_.read_quorum});
  round_open_ = false;
  last_reads_ = std::exchange(open_reads_, 0);
  round_began_ = now_;
  choose_asked();
  if (!group_.lease || lease_released_) return;
  if (sent_rounds_.size() == kSentRoundsMax) sent_rounds_.pop_front();
  sent_rounds_.push_back({round_, now_});
}

void GroupCore::choose_asked() {
  each_peer([](Member, Peer& peer) { peer.asked_first = false; });
  for (unsigned chosen = 1; chosen < round_members_; ++chosen) {
    Peer* best = nullptr;
    each_peer([&](Member, Peer& peer) {
      const bool may = peer.linked && peer.amnesia == 0 && !peer.asked_first;
      if (may && (!best || peer.round > best->round)) best = &peer;
    });
    if (!best) return;
    best->asked_first = true;
  }
}

// A round per heartbeat, and whatever rounds reads need, are counted from now on.
void GroupCore::renew_lease() {
  if (!group_.lease || lease_released_) return;
  const base::Millis since =
      sent_rounds_.empty() ? lease_from_.value_or(now_ - heartbeat_ms()) : sent_rounds_.back().at;
  if (now_ - since >= heartbeat_ms()) confirm_read();
}

void GroupCore::feed(Member member, Peer& peer) {
  if (!peer.linked) return;
  if (peer.feed != Feed::lagging && peer.next <= log_.base().index) fall_behind(member, peer);
  const bool due = now_ - peer.asked >= heartbeat_ms();
  if (has_entries_for(peer) && entries_wait(peer) && !asks(peer)) {
    holds_back_ = true;
  } else if (has_entries_for(peer)) {
    peer.entries_sent = now_;
    peer.entries_at_once = log_.last().index + 1 - peer.next;
    while (peer.next <= log_.last().index) {
      const Index from = std::max(peer.match, log_.base().index);
      if (log_.bytes_behind(from) - log_.bytes_behind(peer.next - 1) >= kInFlightBytesMax) break;
      Index upto;
      base::Bytes entries = log_.slice(peer.next - 1, kAppendBytesMax, upto);
      send_append(member, peer, entries, upto);
    }
  }
  const bool sync = peer.feed == Feed::replicate && peer.sync_told < sync_wanted_;
  if (asks(peer) || sync || due) return send_append(member, peer, {}, peer.next - 1);
  if (peer.feed != Feed::replicate || peer.commit_told >= commit_) return;
  if (peer.sent == now_)
    holds_back_ = true;
  else
    send_append(member, peer, {}, peer.next - 1, Append::news);
}

void GroupCore::send_append(Member member, Peer& peer, base::Bytes entries, Index upto,
                            Append what) {
  GroupMessage append = message(GroupMessage::Kind::append);
  append.flag = what == Append::news;
  // Who lacks too much hears that we lead, no more.
  if (peer.feed != Feed::lagging) append.at = {*log_.epoch_at(peer.next - 1), peer.next - 1};
  append.index = commit_;
  append.round = carried_round();
  append.soon = peer.synced < sync_wanted_;
  append.entries = entries;
  say(member, append);
  peer.next = upto + 1;
  if ((entries.empty() && what == Append::asking) || asks(peer)) peer.asked = now_;
  peer.sent = now_;
  peer.round_sent = carried_round();
  peer.commit_told = commit_;
  peer.sync_told = sync_wanted_;
}

void GroupCore::fall_behind(Member member, Peer& peer) {
  peer.feed = Feed::lagging;
  peer.sync_from = peer.rejoin_proposed = 0;
  peer.asked = now_ - group_.election_timeout_ms;  // it hears that we lead before the data come
  lagging_.push_back(member);
}

void GroupCore::sync_began(Member member, Position at) { peers_[member].sync_from = at.index; }

void GroupCore::sync_ended(Member member) {
  Peer& peer = peers_[member];
  peer.sync_from = 0;
  if (peer.feed != Feed::lagging) return;
  peer.feed = Feed::probe;
  peer.next = log_.last().index + 1;
  peer.asked = 0;
}

// What a reply promises must be on disk: the epoch, too, and that we are whole again.
void GroupCore::send_reply() {
  if (!reply_due_ || !saved() || !disk_works_ || leader_ == kNoMember) return;
  reply_due_ = false;
  replied_round_ = reply_round_;
  GroupMessage reply = message(GroupMessage::Kind::append_reply);
  reply.flag = !refuse_;
  reply.at.index = known_;
  reply.index = refuse_ ? refuse_hint_ : std::min(known_, counted());
  reply.round = reply_round_;
  reply.number = state_.amnesia;
  reply.synced = std::min(known_, synced_);
  reply.ready = !lacks_data();
  say(leader_, reply);
}

// Entries that are committed, in the data and on disk are kept for members that were away.
void GroupCore::trim() {
  if (log_.bytes() <= group_.log_keep_bytes) return;
  Index needed_after = std::min({commit_, applied_, synced_});
  each_peer([&](Member, const Peer& peer) {
    if (peer.sync_from > 0) needed_after = std::min(needed_after, peer.sync_from);
  });
  log_.trim(group_.log_keep_bytes, needed_after);
}

}  // namespace quoll::cluster
