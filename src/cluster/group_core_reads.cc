// GroupCore: rounds that confirm reads, and the lease.
#include "cluster/group_core.h"

namespace quoll::cluster {

uint64_t GroupCore::round_of(Member m) const {
  return m == group_.self ? carried_round() : peers_[m].round;
}

uint64_t GroupCore::confirmed_by(unsigned members) const {
  return reached_in<uint64_t>(shape().all_voters(), members, [&](Member m) { return round_of(m); });
}

uint64_t GroupCore::confirmed_by_quorums() const {
  return reached<uint64_t>(&Voters::read_quorum, [&](Member m) { return round_of(m); });
}

void GroupCore::advance_confirmed() {
  const uint64_t reached = confirmed_by_quorums();
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
  round_members_ = std::max(round_members_, std::exchange(open_members_, 0u));
  round_open_ = false;
  last_reads_ = std::exchange(open_reads_, 0);
  round_began_ = now_;
  choose_asked();
  if (!group_.lease || lease_released_) return;
  if (sent_rounds_.size() == kSentRoundsMax) sent_rounds_.pop_front();
  sent_rounds_.push_back({round_, now_});
}

// Those that answered last, until every configuration has its quorum.
void GroupCore::choose_asked() {
  for (Peer& peer : peers_) peer.asked_first = false;
  shape().each_voters([&](const Voters& voters) {
    choose_asked(voters.places, voters.read_quorum());
    return true;
  });
  choose_asked(shape().all_voters(), round_members_);
}

void GroupCore::choose_asked(uint32_t places, unsigned wanted) {
  unsigned chosen =
      count_in(places, [&](Member m) { return m == group_.self || peers_[m].asked_first; });
  for (; chosen < wanted; ++chosen) {
    Peer* best = nullptr;
    each_peer([&](Member m, Peer& peer) {
      const bool may = (places >> m & 1) && peer.linked && peer.amnesia == 0 && !peer.asked_first;
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

}  // namespace quoll::cluster
