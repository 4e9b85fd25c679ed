#include "cluster/group_core.h"

#include "base/check.h"

namespace quoll::cluster {

using base::Error;
using base::Result;

namespace {

// More do not fit in what is sent at once.
constexpr size_t kAppendEntriesMax = kAppendBytesMax / kEntryHeaderBytes;

// Where none was heard for so long, none is elected by those who count.
constexpr base::Millis kLeaderComesTimeouts = 3;

// What every member and every restart takes it for. Shapes of groups that sync may be ones that
// others may not.
bool is_sound(const Entry& entry) {
  switch (entry.header.kind) {
    case EntryKind::noop:
      return true;
    case EntryKind::effects:
      return are_effects(entry.payload);
    case EntryKind::rejoin:
      return decode_rejoin(entry.payload).has_value();
    case EntryKind::shape: {
      const auto shape = decode_shape(entry.payload);
      return shape && check_shape(*shape, Durability::fsync);
    }
    case EntryKind::slots:
      return decode_ledger(entry.payload).has_value();
  }
  return false;
}

}  // namespace

GroupCore::GroupCore(const GroupConfig& group, SavedState state, GroupLog log, uint64_t seed,
                     base::Millis now, std::optional<GroupShape> first)
    : group_(group),
      state_(std::move(state)),
      log_(std::move(log)),
      chance_(seed | 1),
      now_(now),
      first_(first ? std::move(*first) : listed_shape(group)) {
  QUOLL_CHECK(group_.self < kMembersMax);
  find_shapes();
  handed_ = written_ = synced_ = log_.last().index;
  election_at_ = now_ + random_timeout();
  leader_heard_ = now_;  // there may be one
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

void GroupCore::linked(Member member, base::Bytes id) {
  Peer& peer = peers_[member];
  if (peer.id != id) {  // another node: nothing that the one before it said counts
    peer = {};
    begin_feeding(peer);
    peer.heard = now_ - group_.election_timeout_ms - 1;
    peer.id = id;
    look_who_is_meant();
  }
  peer.linked = true;
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
  if (!is_meant(from)) return;
  peers_[from].virgin |= message.flag;
  begin_virgin();
}

// A group begins when every member of its first shape has been seen without a past: then none can
// have lost one. Who joins does not know a shape then.
void GroupCore::begin_virgin() {
  if (intact() || !virgin() || !shape().votes(group_.self) || !is_meant(group_.self)) return;
  bool all = true;
  for (Member m = 0; m < kMembersMax; ++m)
    if (m != group_.self && shape().uses(m)) all &= peers_[m].virgin;
  if (!all) return;
  state_.amnesia = 0;
  change_state();
}

// --- the disk ----------------------------------------------------------------------------------

const SavedState* GroupCore::take_state() {
  if (!std::exchange(state_dirty_, false)) return nullptr;
  state_stale_ = false;
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
  each_voter_peer([&](Member member) { say(member, vote); });
  count_votes();
}

bool GroupCore::disk_may_wait() const {
  if (!leads() || group_.durability == Durability::fsync) return false;
  if (handed_ == log_.last().index || now_ - handed_at_ >= kDiskWaitMs || sync_wanted_ > handed_)
    return false;
  const bool others = shape().each_voters([&](const Voters& voters) {
    return count_in(voters.places, [&](Member m) {
             return m != group_.self && peers_[m].linked && peers_[m].feed == Feed::replicate;
           }) >= voters.write_quorum();
  });
  return others && log_.bytes_behind(handed_) < kAppendBytesMax;
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

// --- what arrives ------------------------------------------------------------------------------

Result<> GroupCore::receive(Member from, const GroupMessage& message, base::Millis now) {
  now_ = now;
  QUOLL_CHECK(from < kMembersMax && from != group_.self);
  if (message.epoch > state_.epoch && message.epoch - state_.epoch > kEpochsAheadMax)
    return Error{"its epoch is beyond what elections bring about"};
  switch (message.kind) {
    case GroupMessage::Kind::hello:
      hear_hello(from, message);
      return {};
    case GroupMessage::Kind::prevote:
      hear_prevote(from, message);
      return {};
    case GroupMessage::Kind::prevote_reply:
    case GroupMessage::Kind::vote_reply:
      hear_answer(from, message);
      return {};
    case GroupMessage::Kind::vote:
      hear_vote(from, message);
      return {};
    case GroupMessage::Kind::append:
      return hear_append(from, message);
    case GroupMessage::Kind::append_reply:
      hear_reply(from, message);
      return {};
    case GroupMessage::Kind::transfer:
      if (message.epoch == state_.epoch && leader_ == from && may_campaign()) campaign(true);
      return {};
  }
  return Error{"it is of no kind"};
}

Result<> GroupCore::hear_append(Member from, const GroupMessage& message) {
  if (message.epoch < state_.epoch) {
    say(from, this->message(GroupMessage::Kind::append_reply));
    return {};
  }
  // Two leaders in one epoch would be the end of everything.
  if (leads() && message.epoch == state_.epoch) return Error{"it leads in the epoch that is ours"};
  if (auto fine = read_append(from, message); !fine) return fine;
  take_append(from, message);
  return {};
}

// No leader lacks what is committed, nor takes back what it has said in its epoch; and its log ends
// with its epoch at the latest.
Result<> GroupCore::read_append(Member from, const GroupMessage& message) {
  read_.clear();
  const bool anew = message.epoch > state_.epoch || role_ != Role::follower || leader_ != from;
  const Index certain = anew ? commit_ : std::max(commit_, known_);
  const Position base = log_.base();
  Position before = message.at;
  if (before.epoch > message.epoch || replaces(before, certain))
    return Error{"its log is not the one that we share with the group"};
  Entry entry;
  for (base::Bytes rest = message.entries; !rest.empty(); rest.remove_prefix(entry.bytes)) {
    if (decode_entry(rest, entry) != EntryFault::none) return Error{"its entries are damaged"};
    const Position at = entry.header.at;
    const bool behind_base = before.index == base.index && base.index <= commit_;
    const bool follows = at.index == before.index + 1 && at.epoch >= before.epoch &&
                         at.epoch <= message.epoch && !(behind_base && at.epoch < base.epoch);
    if (!follows) return Error{"its entries do not follow each other"};
    if (replaces(at, certain)) return Error{"it replaces entries that are there to stay"};
    if (!is_sound(entry)) return Error{"an entry of its is none"};
    if (read_.size() == kAppendEntriesMax) return Error{"it has more entries than an append has"};
    read_.push_back(entry);
    before = at;
  }
  return {};
}

// What our log holds there is another entry, though it is one of those that are certain.
bool GroupCore::replaces(Position at, Index certain) const {
  return at.index > log_.base().index && at.index <= certain && !holds(at);
}

void GroupCore::take_append(Member from, const GroupMessage& message) {
  if (message.epoch > state_.epoch || role_ != Role::follower || leader_ != from || prevoting_)
    become_follower(message.epoch, from);
  leader_heard_ = now_;
  bind();
  election_at_ = now_ + random_timeout();
  if (placing_of_ && message.epoch > *placing_of_) return;  // it is asked again
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
  take_entries();
  if (message.soon) sync_asked_ = log_.last().index;
  note_commit(std::min(message.index, known_));
  // Entries are answered when they are written, unless the leader asks more than that.
  const bool asked = message.entries.empty() && !message.flag;
  if (asked || reply_round_ > replied_round_) reply_due_ = true;
}

void GroupCore::take_entries() {
  for (const Entry& entry : read_) {
    const Position at = entry.header.at;
    if (at.index == log_.base().index && contradicts_base(at)) return forget();
    take_entry(entry, {entry.payload.data() - kEntryHeaderBytes, entry.bytes});
    // What lies before a base that may not be committed is known when the base is.
    if (at.index <= commit_ || at.index >= log_.base().index) known_ = std::max(known_, at.index);
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
  if (tells_shape(entry.header.kind)) take_shape(entry);
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
  state_.shape = state_.arriving = {};
  find_shapes();
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
  drop_shapes_behind(index);
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
  if (!leads() || message.epoch < state_.epoch || !is_fed(from)) return;
  Peer& peer = peers_[from];
  peer.heard = now_;
  peer.amnesia = message.number;
  peer.ready = message.ready;
  peer.round = std::max(peer.round, message.round);
  advance_confirmed();
  if (peer.feed == Feed::lagging) return;
  if (!message.flag) {
    // It may have forgotten what it had (8); what it has after all it will say again.
    peer.match = std::min(peer.match, message.index);
    peer.synced = std::min(peer.synced, message.index);
    const Index behind_base = log_.base().index + 1;
    // It knows of less than it has: what our log begins behind is asked for before data are sent.
    const bool base_untold = peer.next > behind_base;
    peer.next = std::max<Index>(std::min(peer.next - 1, message.index + 1), 1);
    if (base_untold) peer.next = std::max(peer.next, behind_base);
    peer.feed = Feed::probe;
    peer.asked = 0;
    if (peer.next < behind_base) fall_behind(from, peer);
    return;
  }
  const Index claimed = std::max({message.at.index, message.index, message.synced});
  if (claimed > log_.last().index) return;  // it cannot have what we do not
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
  note_shape_committed();
  readmit();
}

Index GroupCore::stored(Member m) const { return m == group_.self ? counted() : peers_[m].match; }

Index GroupCore::stored_by(unsigned members) const {
  return reached_in<Index>(shape().all_voters(), members, [&](Member m) { return stored(m); });
}

Index GroupCore::stored_by_quorums() const {
  return reached<Index>(&Voters::write_quorum, [&](Member m) { return stored(m); });
}

Index GroupCore::synced_by(unsigned members) const {
  return reached_in<Index>(shape().all_voters(), members, [&](Member m) { return synced(m); });
}

Index GroupCore::synced_by_quorums() const {
  return reached<Index>(&Voters::write_quorum, [&](Member m) { return synced(m); });
}

void GroupCore::advance_commit() {
  const Index reached = stored_by_quorums();
  if (reached > commit_ && log_.epoch_at(reached) == state_.epoch) note_commit(reached);
}

void GroupCore::readmit() {
  if (rejoin_at_ == 0 || commit_ < rejoin_at_ || counted() < rejoin_at_) return;
  rejoin_at_ = 0;
  state_.amnesia = 0;
  change_state();
  if (role_ == Role::follower) reply_due_ = true;  // the leader may count us
}

base::Result<> GroupCore::accept_loss() {
  if (intact()) return Error{"it has lost nothing"};
  // Two members with empty logs would lead a third one that has everything.
  if (log_.last() == Position{}) return Error{"it has nothing: only the others can let it in"};
  if (now_ - leader_heard_ < kLeaderComesTimeouts * group_.election_timeout_ms)
    return Error{"there may be a leader, who lets it in: wait for some election timeouts"};
  rejoin_at_ = 0;
  state_.amnesia = 0;
  change_state();
  return {};
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
    find_shapes();
    handed_ = written_ = synced_ = at.index;
  }
  commit_ = std::min(commit, at.index);
  applied_ = at.index;
  note_shape_committed();
  return begins;
}

void GroupCore::placing(Epoch sender) {
  QUOLL_CHECK(!leads());
  placing_of_ = sender;
  const bool stands = role_ != Role::follower || prevoting_;
  if (stands) become_follower(state_.epoch, kNoMember);
}

void GroupCore::installed(Position at, Index commit, const GroupShape& shape) {
  placing_of_.reset();
  if (!holds(at)) {
    QUOLL_CHECK(at.index >= commit_);
    log_.restart(at);
    shapes_.assign(1, {at, shape});
    look_who_is_meant();
    handed_ = written_ = synced_ = at.index;
    known_ = std::min(known_, at.index);
    rejoin_at_ = 0;
  }
  commit_ = std::max(commit_, std::min(commit, at.index));
  applied_ = at.index;
  note_shape_committed();
  undone_.reset();
  data_stands_ = true;
  reply_due_ = role_ == Role::follower && leader_ != kNoMember;
}

// --- what is sent ------------------------------------------------------------------------------

std::vector<GroupCore::Send>& GroupCore::flush(base::Millis now) {
  now_ = now;
  holds_back_ = false;
  if (leads()) {
    go_on_changing();
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
  drop_old_shapes();
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
  const Index from = std::exchange(peer.sync_from, 0);
  if (peer.feed != Feed::lagging) return;
  peer.feed = Feed::probe;
  peer.next = log_.last().index + 1;
  peer.asked = 0;
  if (from == 0 || from < log_.base().index) return;
  // What was written meanwhile is kept for it until it has caught up, while it comes nearer.
  peer.sync_from = from;
  peer.catch_up_max = log_.bytes_behind(from) + group_.log_keep_bytes;
  peer.next = from + 1;
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
  each_peer([&](Member, Peer& peer) {
    if (peer.sync_from == 0) return;
    const Index from = std::max({peer.sync_from, peer.match, log_.base().index});
    if (peer.feed != Feed::lagging) {
      const size_t behind = log_.bytes_behind(from);
      const bool goes_on =
          peer.linked && behind > group_.log_keep_bytes && behind <= peer.catch_up_max;
      if (!goes_on) return void(peer.sync_from = 0);
    }
    needed_after = std::min(needed_after, from);
  });
  log_.trim(group_.log_keep_bytes, needed_after);
}

}  // namespace quoll::cluster
