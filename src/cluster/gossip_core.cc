#include "cluster/gossip_core.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace quoll::cluster {
namespace {

using base::Millis;

constexpr Millis kRelayPeriods = 4;  // that a ping for somebody else is remembered

}  // namespace

GossipCore::GossipCore(const GossipConfig& config, GossipSeal& seal, uint64_t seed, Millis now)
    : config_(config),
      seal_(seal),
      chance_(seed),
      now_(now),
      incarnation_(config.incarnation),
      nonce_(config.nonce),
      suspicion_at_(now + kCompareEveryMs) {
  QUOLL_CHECK(config.self != kNoNode && config.incarnation <= kIncarnationMax);
  // Nodes that start together do not ask together.
  probe_at_ = now + static_cast<Millis>(below(kProbePeriodMs));
  compare_at_ = now + static_cast<Millis>(below(kCompareEveryMs));
  tell_of_self();
}

// SplitMix64 (Steele, Lea, Flood 2014).
uint64_t GossipCore::draw() {
  chance_ += 0x9e3779b97f4a7c15u;
  uint64_t z = chance_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

const GossipCore::Member* GossipCore::find(NodeIndex node) const {
  if (node >= places_.size() || places_[node] < 0) return nullptr;
  return &members_[static_cast<size_t>(places_[node])];
}

NodeState GossipCore::state(NodeIndex node) const {
  if (node == config_.self) return leaving_ ? NodeState::left : NodeState::alive;
  const Member* member = find(node);
  QUOLL_CHECK(member);
  return member->state;
}

const NodeAddress* GossipCore::address(NodeIndex node) const {
  if (node == config_.self) return &config_.address;
  const Member* member = find(node);
  return member ? &member->address : nullptr;
}

GossipView GossipCore::view(NodeIndex node) const {
  const Member* member = find(node);
  QUOLL_CHECK(member);
  const bool suspect = member->state == NodeState::suspect;
  return {.state = member->state,
          .incarnation = member->incarnation,
          .address = member->address,
          .address_incarnation = member->address_incarnation,
          .reports = static_cast<uint8_t>(suspect ? member->confirmations + 1 : 0),
          .pinged_at = member->pinged_at,
          .answered_at = member->answered_at};
}

size_t GossipCore::count(NodeState state) const {
  return static_cast<size_t>(std::count_if(members_.begin(), members_.end(),
                                           [&](const Member& m) { return m.state == state; }));
}

// ---- members

void GossipCore::set_members(const std::vector<GossipMember>& members, TopologyVersion version,
                             Millis now) {
  note_time(now);
  if (version < topology_) return;
  topology_ = version;
  pull_at_ = now;
  std::vector<Member> next;
  std::vector<NodeIndex> fresh;
  for (const GossipMember& given : members) {
    if (given.index == config_.self) {
      remember(given);
      continue;
    }
    QUOLL_CHECK(given.index != kNoNode);
    if (const Member* known = find(given.index)) {
      next.push_back(*known);
    } else {
      fresh.push_back(given.index);
      next.push_back({.index = given.index,
                      .address = given.address,
                      .incarnation = given.incarnation,
                      .address_incarnation = given.incarnation});
    }
    Member& member = next.back();
    if (given.incarnation > member.address_incarnation) {
      member.address = given.address;
      member.address_incarnation = given.incarnation;
      actions_.touched.push_back(given.index);
    }
  }
  std::sort(next.begin(), next.end(),
            [](const Member& a, const Member& b) { return a.index < b.index; });
  const std::vector<Member> before = std::exchange(members_, std::move(next));
  places_.assign(members_.empty() ? 0 : members_.back().index + size_t{1}, -1);
  for (size_t i = 0; i < members_.size(); ++i) {
    QUOLL_CHECK(places_[members_[i].index] < 0);
    places_[members_[i].index] = static_cast<int32_t>(i);
  }
  for (const Member& member : before)
    if (!find(member.index)) news_.forget(member.index);
  std::erase_if(order_, [&](NodeIndex node) { return !find(node); });
  for (NodeIndex node : fresh) {
    order_.push_back(node);
    std::swap(order_.back(), order_[below(order_.size())]);
  }
  if (probe_.target != kNoNode && !find(probe_.target)) {
    probe_ = {};
    probe_at_ = now;
  }
}

// Of an earlier life of ours, that we know less of than others.
void GossipCore::remember(const GossipMember& self) {
  const bool same = self.address == config_.address;
  if (self.incarnation < incarnation_ + (same ? 1 : 0)) return;
  incarnation_ = std::min(self.incarnation + (same ? 0 : 1), kIncarnationMax);
  tell_of_self();
}

// ---- time

Millis GossipCore::next_wake() const {
  if (silent_) return now_ + kProbePeriodMs;
  Millis wake = std::min(compare_at_, suspicion_at_);
  if (probe_.target == kNoNode || probe_.answered)
    wake = std::min(wake, probe_at_);
  else
    wake = std::min(wake, probe_.asks_at ? probe_.asks_at : probe_.ends_at);
  for (const Relay& relay : relays_)
    if (relay.nack_at) wake = std::min(wake, relay.nack_at);
  return wake;
}

void GossipCore::note_time(Millis now) {
  const Millis late = now - next_wake();
  now_ = std::max(now_, now);
  if (silent_ || late <= kPauseMs) return;
  shift(late);
  doubt(1);
}

void GossipCore::shift(Millis by) {
  probe_at_ += by;
  if (probe_.asks_at) probe_.asks_at += by;
  probe_.ends_at += by;
  for (Relay& relay : relays_) {
    if (relay.nack_at) relay.nack_at += by;
    relay.ends_at += by;
  }
  for (Member& member : members_) {
    member.suspected_at += by;
    member.fails_at += by;
  }
  suspicion_at_ += by;
  compare_at_ += by;
}

void GossipCore::set_loop_age(Millis age, Millis now) {
  const bool silent = age > kLoopAgeMax;
  if (silent == silent_) return;
  note_time(now);
  silent_ = silent;
  if (silent) {
    silent_since_ = now_;
    return;
  }
  // Everything stood still since then.
  shift(now_ - silent_since_);
  doubt(1);
}

void GossipCore::tick(Millis now) {
  note_time(now);
  if (silent_) return;
  tick_relays();
  if (now_ >= suspicion_at_) fail_suspects();
  if (probe_.target != kNoNode && !probe_.answered) {
    if (probe_.asks_at && now_ >= probe_.asks_at) ask_others();
    if (now_ >= probe_.ends_at) end_probe();
  }
  if ((probe_.target == kNoNode || probe_.answered) && now_ >= probe_at_) begin_probe();
  if (now_ < compare_at_) return;
  compare_at_ = now_ + kCompareEveryMs;
  const std::vector<Member*> any = some_alive(1, kNoNode);
  if (!any.empty()) actions_.compare = any[0]->index;
}

// ---- asking

void GossipCore::begin_probe() {
  if (probe_.by_tcp_only) actions_.udp_blocked.push_back(probe_.target);
  probe_ = {};
  probe_at_ = now_ + kProbePeriodMs;
  if (++periods_ % kReviveEvery == config_.self % kReviveEvery) revive();
  const NodeIndex target = next_target();
  if (target == kNoNode) return;
  probe_.target = target;
  probe_.incarnation = find(target)->incarnation;
  probe_.sequence = ++sequence_;
  probe_.began = now_;
  probe_.asks_at = now_ + kProbeTimeoutMs * patience();
  probe_.ends_at = now_ + kProbePeriodMs * patience();
  send(Datagram::Type::ping, target, find(target)->address, probe_.sequence);
}

NodeIndex GossipCore::next_target() {
  for (size_t looked = 0; looked < order_.size(); ++looked) {
    if (next_in_order_ >= order_.size()) {
      next_in_order_ = 0;
      for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[below(i)]);
    }
    const NodeIndex node = order_[next_in_order_++];
    const NodeState state = find(node)->state;
    if (state == NodeState::alive || state == NodeState::suspect) return node;
  }
  return kNoNode;
}

std::vector<GossipCore::Member*> GossipCore::some_alive(size_t count, NodeIndex besides) {
  std::vector<Member*> alive;
  for (Member& member : members_)
    if (member.state == NodeState::alive && member.index != besides) alive.push_back(&member);
  count = std::min(count, alive.size());
  for (size_t i = 0; i < count; ++i) std::swap(alive[i], alive[i + below(alive.size() - i)]);
  alive.resize(count);
  return alive;
}

void GossipCore::ask_others() {
  probe_.asks_at = 0;
  for (const Member* member : some_alive(kAskedPerProbe, probe_.target)) {
    send(Datagram::Type::ask, member->index, member->address, probe_.sequence, probe_.target);
    ++probe_.asked;
  }
  actions_.tcp.push_back({probe_.target, find(probe_.target)->address});
}

// Whoever did not even say that it heard us makes us doubt ourselves. Should the target have raised
// its incarnation meanwhile, the suspicion is of the one before, and void.
void GossipCore::end_probe() {
  doubt(probe_.asked ? probe_.asked - probe_.nacks : 1);
  const NodeIndex target = std::exchange(probe_.target, kNoNode);
  probe_at_ = now_;
  hear({target, probe_.incarnation, NodeState::suspect, config_.self, {}});
}

// Those that left, too: they may be back, and take us for one that left.
void GossipCore::revive() {
  const size_t away = count(NodeState::fail) + count(NodeState::left);
  if (away == 0) return;
  size_t skip = below(away);
  for (const Member& member : members_)
    if (member.state >= NodeState::fail && skip-- == 0) {
      send(Datagram::Type::ping, member.index, member.address, ++sequence_);
      return;
    }
}

void GossipCore::tick_relays() {
  for (Relay& relay : relays_)
    if (relay.nack_at && now_ >= relay.nack_at) {
      relay.nack_at = 0;
      send(Datagram::Type::nack, relay.requester, relay.requester_address, relay.requester_sequence,
           relay.target);
    }
  std::erase_if(relays_, [&](const Relay& relay) { return now_ >= relay.ends_at; });
}

void GossipCore::tcp_answered(NodeIndex node, Millis now) {
  note_time(now);
  if (probe_.target != node || probe_.answered) return;
  probe_.answered = probe_.by_tcp_only = true;
  note_answer(*find(node));
}

// ---- what others say

void GossipCore::receive(const NodeAddress& from, base::Bytes bytes, Millis now) {
  note_time(now);
  if (silent_) return;
  ++counts_.received;
  Datagram datagram;
  switch (decode_datagram(bytes, config_.cluster, seal_, datagram)) {
    case DatagramFault::none:
      break;
    case DatagramFault::malformed:
      ++counts_.malformed;
      return;
    case DatagramFault::foreign:
      ++counts_.foreign;
      return;
    case DatagramFault::unauthentic:
      ++counts_.unauthentic;
      return;
  }
  using Type = Datagram::Type;
  if (datagram.from == config_.self) return;  // our own, thrown back
  if (datagram.type == Type::forgotten) {
    note_topology(datagram);
    if (datagram.topology >= topology_) actions_.forgotten = datagram.topology;
    return;
  }
  const Member* sender = find(datagram.from);
  if (!sender && !hear_stranger(datagram, from)) return;
  const Incarnation before = incarnation_;
  for (const News& news : datagram.news) hear(news);
  // Whatever it says of itself it has said.
  if (sender && datagram.incarnation > sender->incarnation)
    hear({datagram.from, datagram.incarnation, NodeState::alive, datagram.from, {}});
  note_topology(datagram);
  switch (datagram.type) {
    case Type::ping:
      send(Type::ack, datagram.from, from, datagram.sequence);
      return;
    case Type::ack:
      hear_ack(datagram);
      break;
    case Type::ask:
      hear_ask(datagram, from);
      break;
    case Type::vouch:
      hear_vouch(datagram);
      break;
    case Type::nack:
      if (probe_.target == datagram.about && probe_.sequence == datagram.sequence)
        probe_.nacks = std::min(probe_.nacks + 1, probe_.asked);
      break;
    case Type::forgotten:
      break;
  }
  // It took us for something else than we are; with an ack it would know by now.
  if (incarnation_ != before) send(Type::ping, datagram.from, from, ++sequence_);
}

// Someone who is not in our topology: we have to learn of it, or it was forgotten.
bool GossipCore::hear_stranger(const Datagram& datagram, const NodeAddress& from) {
  if (datagram.topology > topology_) return true;
  ++counts_.unknown;
  if (datagram.type == Datagram::Type::ping)
    send(Datagram::Type::forgotten, datagram.from, from, datagram.sequence);
  return false;
}

void GossipCore::note_topology(const Datagram& datagram) {
  if (datagram.topology <= topology_ || now_ < pull_at_) return;
  actions_.pull = {datagram.from, datagram.topology};
  pull_at_ = now_ + kPullRetryMs;
}

void GossipCore::note_answer(Member& member) {
  member.pinged_at = 0;
  member.answered_at = now_;
  actions_.touched.push_back(member.index);
}

void GossipCore::hear_ack(const Datagram& datagram) {
  if (Member* member = find(datagram.from)) note_answer(*member);
  if (probe_.target == datagram.from && probe_.sequence == datagram.sequence) {
    probe_.by_tcp_only = false;
    if (std::exchange(probe_.answered, true)) return;
    if (health_ > 0) --health_;
    if (Member* member = find(datagram.from)) note_clock(*member, datagram);
    return;
  }
  const auto relay = std::find_if(relays_.begin(), relays_.end(), [&](const Relay& r) {
    return r.target == datagram.from && r.sequence == datagram.sequence;
  });
  if (relay == relays_.end()) return;
  send(Datagram::Type::vouch, relay->requester, relay->requester_address, relay->requester_sequence,
       relay->target);
  relays_.erase(relay);
}

void GossipCore::hear_ask(const Datagram& datagram, const NodeAddress& from) {
  const Member* target = find(datagram.about);
  if (!target || relays_.size() == kRelaysMax) return;
  relays_.push_back({.requester = datagram.from,
                     .requester_address = from,
                     .requester_sequence = datagram.sequence,
                     .target = datagram.about,
                     .sequence = ++sequence_,
                     .nack_at = now_ + kNackAfterMs,
                     .ends_at = now_ + kRelayPeriods * kProbePeriodMs});
  send(Datagram::Type::ping, target->index, target->address, sequence_);
}

void GossipCore::hear_vouch(const Datagram& datagram) {
  if (probe_.target != datagram.about || probe_.sequence != datagram.sequence) return;
  probe_.by_tcp_only = false;
  if (!std::exchange(probe_.answered, true) && health_ > 0) --health_;
}

// Its answer was written half a round trip ago.
void GossipCore::note_clock(Member& member, const Datagram& datagram) {
  member.clock = datagram.wall - (wall_ + (probe_.began + now_) / 2);
}

std::optional<Millis> GossipCore::clock_ahead() const {
  std::vector<Millis> clocks;
  for (const Member& member : members_)
    if (member.clock && member.state == NodeState::alive) clocks.push_back(*member.clock);
  if (clocks.empty()) return {};
  clocks.push_back(0);  // ours
  const auto middle = clocks.begin() + static_cast<std::ptrdiff_t>(clocks.size() / 2);
  std::nth_element(clocks.begin(), middle, clocks.end());
  return -*middle;
}

// ---- news

void GossipCore::hear(const News& news) {
  if (news.subject == config_.self) {
    refute(news);
    return;
  }
  Member* member = find(news.subject);
  if (!member) return;
  switch (news.state) {
    case NodeState::alive:
      return hear_alive(*member, news);
    case NodeState::suspect:
      return hear_suspect(*member, news);
    case NodeState::fail:
    case NodeState::left:
      return hear_end(*member, news);
  }
}

// What others take us for, or remember of an earlier life.
void GossipCore::refute(const News& news) {
  if (news.incarnation < incarnation_) return;
  const bool same = news.state == (leaving_ ? NodeState::left : NodeState::alive) &&
                    (!news.address || *news.address == config_.address);
  if (same && news.incarnation == incarnation_) return;
  if (leaving_ && news.state == NodeState::alive && news.incarnation == incarnation_) return;
  incarnation_ = std::min(news.incarnation + 1, kIncarnationMax);
  if (news.state == NodeState::suspect || news.state == NodeState::fail) doubt(1);
  tell_of_self();
}

void GossipCore::hear_alive(Member& member, const News& news) {
  const bool newer = news.incarnation > member.incarnation;
  bool moved = false;
  if (news.address && news.incarnation > member.address_incarnation) {
    member.address_incarnation = news.incarnation;
    moved = member.address != *news.address;
    member.address = *news.address;
    actions_.touched.push_back(member.index);
    if (moved) actions_.moves.push_back({member.index, member.address, news.incarnation});
  }
  if (newer) {
    member.incarnation = news.incarnation;
    change(member, NodeState::alive, news.from);
  }
  if (newer || moved) tell(member, news.from);
}

void GossipCore::hear_suspect(Member& member, const News& news) {
  if (news.incarnation < member.incarnation) return;
  if (news.incarnation == member.incarnation && member.state > NodeState::suspect) return;
  if (news.incarnation > member.incarnation || member.state != NodeState::suspect) {
    member.incarnation = news.incarnation;
    suspect(member, news.from);
    return;
  }
  // Somebody else says so, too.
  const auto known = std::span(member.suspected_by).first(member.confirmations + size_t{1});
  if (member.confirmations == kConfirmationsMax ||
      std::find(known.begin(), known.end(), news.from) != known.end())
    return;
  member.suspected_by[++member.confirmations] = news.from;
  actions_.touched.push_back(member.index);
  set_deadline(member);
  tell(member, news.from);
}

void GossipCore::suspect(Member& member, NodeIndex from) {
  member.suspected_at = now_;
  member.confirmations = 0;
  member.suspected_by[0] = from;
  change(member, NodeState::suspect, from);
  set_deadline(member);
  tell(member, from);
}

void GossipCore::set_deadline(Member& member) {
  const auto around = static_cast<double>(nodes() - count(NodeState::left));
  const double least = kSuspicionMult * std::max(1.0, std::log10(around)) * kProbePeriodMs;
  const double most = least * kSuspicionSpread;
  // Too few to confirm anything: nobody is waited for.
  const unsigned awaited = around - 2 < kConfirmationsMax ? 0 : kConfirmationsMax;
  double patience_ms = least;
  if (awaited > 0)
    patience_ms = std::max(least, most - (most - least) * std::log(member.confirmations + 1.0) /
                                             std::log(awaited + 1.0));
  member.fails_at = member.suspected_at + static_cast<Millis>(patience_ms);
  suspicion_at_ = std::min(suspicion_at_, member.fails_at);
}

void GossipCore::hear_end(Member& member, const News& news) {
  if (news.incarnation < member.incarnation) return;
  if (news.incarnation == member.incarnation && news.state <= member.state) return;
  member.incarnation = news.incarnation;
  change(member, news.state, news.from);
  tell(member, news.from);
}

void GossipCore::fail_suspects() {
  suspicion_at_ = now_ + kCompareEveryMs;
  for (Member& member : members_) {
    if (member.state != NodeState::suspect) continue;
    if (member.fails_at <= now_)
      hear_end(member,
               {member.index, member.incarnation, NodeState::fail, config_.self, std::nullopt});
    else
      suspicion_at_ = std::min(suspicion_at_, member.fails_at);
  }
}

void GossipCore::change(Member& member, NodeState state, NodeIndex from) {
  actions_.touched.push_back(member.index);
  if (std::exchange(member.state, state) != state)
    actions_.changes.push_back({member.index, state, member.incarnation, from});
}

News GossipCore::news_of(const Member& member, NodeIndex from) const {
  News news{member.index, member.incarnation, member.state, from, {}};
  if (news.state == NodeState::alive && member.address_incarnation == member.incarnation)
    news.address = member.address;
  return news;
}

void GossipCore::tell(const Member& member, NodeIndex from) { news_.put(news_of(member, from)); }

// A farewell is in every datagram anyhow (send()).
void GossipCore::tell_of_self() {
  if (leaving_)
    news_.forget(config_.self);
  else
    news_.put({config_.self, incarnation_, NodeState::alive, config_.self, config_.address});
}

// ---- ourselves

void GossipCore::move(const NodeAddress& address, Millis now) {
  note_time(now);
  if (address == config_.address) return;
  config_.address = address;
  incarnation_ = std::min(incarnation_ + 1, kIncarnationMax);
  tell_of_self();
  announce();
}

void GossipCore::leave(Millis now) {
  note_time(now);
  leaving_ = true;
  tell_of_self();
  announce();
}

void GossipCore::announce() {
  for (const Member* member : some_alive(kAnnounceTo, kNoNode))
    send(Datagram::Type::ping, member->index, member->address, ++sequence_);
}

void GossipCore::send(Datagram::Type type, NodeIndex to, const NodeAddress& address,
                      uint16_t sequence, NodeIndex about) {
  Datagram datagram{.type = type,
                    .cluster = config_.cluster,
                    .from = config_.self,
                    .sequence = sequence,
                    .incarnation = incarnation_,
                    .nonce = nonce_++,
                    .topology = topology_,
                    .wall = wall_ + now_,
                    .about = about,
                    .news = {}};
  // What we take the receiver for, so that it can say otherwise; where the one is that we vouch
  // for, which the receiver may not know; that we leave, so that nobody takes our voice for a sign
  // of life.
  if (const Member* member = find(to); member && member->state != NodeState::alive)
    datagram.news.push_back(news_of(*member, config_.self));
  if (const Member* member = find(about); member && type == Datagram::Type::vouch)
    datagram.news.push_back(news_of(*member, config_.self));
  if (leaving_)
    datagram.news.push_back({config_.self, incarnation_, NodeState::left, config_.self, {}});
  size_t room = kDatagramBytesMax - datagram.bytes();
  for (const News& news : datagram.news) room -= news.bytes();
  if (type != Datagram::Type::forgotten) news_.take(tellings(nodes()), room, to, datagram.news);
  if (Member* member = find(to); member && type == Datagram::Type::ping && !member->pinged_at) {
    member->pinged_at = now_;
    actions_.touched.push_back(to);
  }
  actions_.sends.push_back({address, encode_datagram(datagram, seal_)});
  ++counts_.sent;
  counts_.sent_bytes += actions_.sends.back().bytes.size();
}

}  // namespace quoll::cluster
