// GroupCore: who leads.
#include "base/check.h"
#include "cluster/group_core.h"

namespace quoll::cluster {

bool GroupCore::may_campaign() const {
  return intact() && disk_works_ && !placing_of_ && may_stand();
}

void GroupCore::tick(base::Millis now) {
  now_ = now;
  if (leads()) {
    if (!hears_quorums(now)) return become_follower(state_.epoch, kNoMember);
    if (leaving()) leave();
    if (!leads()) return;
    // Who is too far behind needs data, perhaps before anything can be committed.
    bool lagging = false;
    each_peer([&](Member, const Peer& peer) { lagging |= peer.feed == Feed::lagging; });
    if (lacks_data() && (commit_ >= noop_ || lagging)) transfer();
    return propose_rejoins();
  }
  // Whose vote alone decides, and who hears of no leader, stands at once.
  const bool waits_for_nobody = role_ == Role::follower && leader_ == kNoMember && !promised() &&
                                shape().all_voters() == 1u << group_.self;
  if (now < election_at_ && !waits_for_nobody) return;
  election_at_ = now + random_timeout();
  leader_ = kNoMember;
  if (may_campaign()) ask_prevotes();
}

bool GroupCore::heard_of(Member member, base::Millis now) const {
  const Peer& peer = peers_[member];
  return peer.linked && now - peer.heard <= group_.election_timeout_ms;
}

bool GroupCore::takes_entries(Member member, base::Millis now) const {
  if (member == group_.self) return disk_works_;
  return peers_[member].feed == Feed::replicate && heard_of(member, now);
}

unsigned GroupCore::members_ready(base::Millis now) const {
  return count_in(shape().all_voters(), [&](Member m) { return takes_entries(m, now); });
}

bool GroupCore::may_commit(base::Millis now) const {
  return shape().each_voters([&](const Voters& voters) {
    return count_in(voters.places, [&](Member m) { return takes_entries(m, now); }) >=
           voters.write_quorum();
  });
}

bool GroupCore::hears_quorums(base::Millis now) const {
  return shape().each_voters([&](const Voters& voters) {
    return count_in(voters.places, [&](Member m) {
             return m == group_.self || heard_of(m, now);
           }) >= std::max(voters.write_quorum(), voters.read_quorum());
  });
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
  if (elected()) return campaign();
  GroupMessage ask = message(GroupMessage::Kind::prevote);
  ask.epoch = state_.epoch + 1;
  ask.at = log_.last();
  each_voter_peer([&](Member member) { say(member, ask); });
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

void GroupCore::hear_answer(Member from, const GroupMessage& message) {
  const bool pre = message.kind == GroupMessage::Kind::prevote_reply;
  if (!message.flag && message.epoch > state_.epoch)
    return become_follower(message.epoch, kNoMember);
  const bool ours = pre ? prevoting_ && message.epoch == state_.epoch + 1
                        : role_ == Role::candidate && message.epoch == state_.epoch;
  if (!ours || !message.flag || !is_meant(from)) return;
  votes_ |= 1u << from;
  count_votes();
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

bool GroupCore::elected() const {
  return shape().each_voters([&](const Voters& voters) {
    return std::popcount(votes_ & meant_ & voters.places) >=
           static_cast<int>(voters.election_quorum());
  });
}

void GroupCore::count_votes() {
  if (!elected()) return;
  if (prevoting_) return may_campaign() ? campaign() : void();
  if (role_ == Role::candidate && saved() && !campaign_owed_) lead();
}

void GroupCore::lead() {
  role_ = Role::leader;
  leader_ = group_.self;
  round_ = confirmed_ = 0;
  round_open_ = lease_released_ = false;
  open_reads_ = last_reads_ = 0;
  round_members_ = 0;
  sent_rounds_.clear();
  sync_wanted_ = 0;
  leaving_since_ = 0;
  for (Peer& peer : peers_) begin_feeding(peer);
  lagging_.clear();
  noop_ = log_.last().index + 1;
  append_own(EntryKind::noop, {}, 0);
}

// Nothing of an earlier epoch, or of a node that had the place before, counts.
void GroupCore::begin_feeding(Peer& peer) {
  peer.feed = Feed::probe;
  peer.next = log_.last().index + 1;
  peer.match = peer.commit_told = 0;
  peer.synced = peer.sync_told = 0;
  peer.round = peer.round_sent = peer.amnesia = peer.rejoin_proposed = 0;
  peer.heard = now_;
  peer.sent = peer.asked = now_ - group_.election_timeout_ms;
  peer.sync_from = 0;
}

bool GroupCore::could_lead(Member m) const {
  return m != group_.self && shape().last().has(m) && counts(m) && peers_[m].ready &&
         heard_of(m, now_);
}

bool GroupCore::may_transfer(uint32_t places) const {
  if (!leads()) return false;
  for (Member m = 0; m < kMembersMax; ++m)
    if ((places >> m & 1) && could_lead(m)) return true;
  return false;
}

bool GroupCore::transfer(uint32_t places) {
  if (!leads()) return false;
  for (Member m = 0; m < kMembersMax; ++m) {
    if (!(places >> m & 1) || !could_lead(m) || peers_[m].match != log_.last().index) continue;
    say(m, message(GroupMessage::Kind::transfer));
    lease_released_ = true;
    lease_from_.reset();
    return true;
  }
  return false;
}

}  // namespace quoll::cluster
