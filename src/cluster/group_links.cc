#include "cluster/group_links.h"

#include <algorithm>

#include "base/check.h"
#include "cluster/send_queue.h"

namespace quoll::cluster {
// One connection, until it ends. Its member is known once its preamble is there.
class GroupLinks::Link final : public host::PeerEvents {
 public:
  Link(GroupLinks& links, std::unique_ptr<host::Peer> peer, Member member)
      : links_(links), peer_(std::move(peer)), member_(member), since_(links.now_) {
    heard_ = since_;
    if (member_ != kNoMember) queue(encode_preamble(links_.preamble_for(member_)));
    peer_->start(*this);
  }

  bool greeted() const { return greeted_; }
  Member member() const { return member_; }
  const std::string& id() const { return id_; }
  base::Millis since() const { return since_; }
  base::Millis heard() const { return heard_; }
  size_t waiting_bytes() const { return out_.waiting_bytes(); }
  host::Peer& peer() { return *peer_; }

  void queue(base::Bytes bytes) { out_.add(bytes); }
  void send(base::Bytes head, base::Bytes rest) { out_.send(*peer_, head, rest); }
  void flush() { out_.flush(*peer_); }

  void close() {
    closed_ = true;
    out_.end();
    peer_->close();
  }

  std::span<char> receive_buffer() override { return links_.scratch_; }

  void received(size_t bytes) override { take(base::Bytes(links_.scratch_.data(), bytes)); }

  void take(base::Bytes bytes) {
    in_.append(bytes);
    heard_ = links_.now_;
    if (!greeted_ && !take_preamble()) return;
    take_frames();
  }

  void writable() override {
    out_.writable();
    flush();
  }

  void closed(const std::string&) override {
    if (closed_) return;
    closed_ = true;
    out_.end();
    links_.ended(*this);
  }

 private:
  void end() {
    close();
    links_.ended(*this);
  }

  bool take_preamble() {
    if (in_.size() < kPreambleBytes) return false;
    auto preamble = decode_preamble(in_);
    in_.erase(0, kPreambleBytes);
    if (!preamble || (member_ != kNoMember && preamble->from != member_)) {
      end();
      return false;
    }
    const bool accepted = member_ == kNoMember;
    member_ = preamble->from;
    id_ = preamble->id;
    if (!links_.greet(*this, *preamble)) {
      member_ = accepted ? kNoMember : member_;
      end();
      return false;
    }
    greeted_ = true;
    if (accepted) queue(encode_preamble(links_.preamble_for(member_)));
    links_.events_.link_up(*preamble);
    return !closed_;
  }

  void take_frames() {
    size_t at = 0;
    while (in_.size() - at >= kFrameHeaderBytes) {
      uint32_t size;
      std::memcpy(&size, in_.data() + at, sizeof size);
      if (size == 0 || size > kFrameBytesMax) return end();
      if (in_.size() - at < size + 4) break;
      const auto type = static_cast<FrameType>(in_[at + 4]);
      ++links_.frames_received_;
      const base::Bytes body(in_.data() + at + kFrameHeaderBytes, size - 1);
      if (!links_.events_.link_frame(member_, type, body)) return end();
      if (closed_) return;
      at += size + 4;
    }
    in_.erase(0, at);
  }

  GroupLinks& links_;
  std::unique_ptr<host::Peer> peer_;
  Member member_;
  std::string id_;  // of its node, as it says
  base::Millis since_;
  base::Millis heard_;
  std::string in_;
  SendQueue out_;
  bool greeted_ = false;
  bool closed_ = false;
};

GroupLinks::GroupLinks(const host::Host& host, Options options, GroupLinksEvents& events)
    : host_(host), options_(std::move(options)), events_(events), scratch_(kReceiveBytes) {}

GroupLinks::~GroupLinks() { *alive_ = false; }

void GroupLinks::set_member(Member member, host::Endpoint endpoint, std::string id) {
  QUOLL_CHECK(member < kMembersMax && member != options_.self);
  if (const auto& old = places_[member];
      old && old->id == id && old->endpoint.family == endpoint.family &&
      old->endpoint.address == endpoint.address && old->endpoint.port == endpoint.port)
    return;
  places_[member] = {std::move(endpoint), std::move(id), ++told_};
  dial_at_[member] = 0;
  if (up(member) && !means(member, links_[member]->id())) drop(member);
}

void GroupLinks::remove_member(Member member) {
  places_[member].reset();
  drop(member);
}

bool GroupLinks::means(Member member, base::Bytes id) const {
  return places_[member]->id.empty() || places_[member]->id == id;
}

bool GroupLinks::up(Member member) const { return links_[member] && links_[member]->greeted(); }

base::Result<> GroupLinks::listen(const host::Endpoint& at) {
  auto listener = host_.transport.listen(
      at, {}, [this](std::unique_ptr<host::Peer> peer) { accepted(std::move(peer)); });
  if (!listener) return base::Error{listener.error()};
  listeners_.push_back(std::move(listener.value()));
  return {};
}

void GroupLinks::accepted(std::unique_ptr<host::Peer> peer) {
  if (strangers_.size() >= kStrangersMax) return peer->close();
  strangers_.push_back(std::make_unique<Link>(*this, std::move(peer), kNoMember));
}

void GroupLinks::take(std::unique_ptr<host::Peer> peer, base::Bytes received) {
  if (strangers_.size() >= kStrangersMax) return peer->close();
  strangers_.push_back(std::make_unique<Link>(*this, std::move(peer), kNoMember));
  strangers_.back()->take(received);
}

// What a network swallowed the system tries again at ever longer intervals, for minutes: we do not
// wait for it. The first that succeeds counts.
void GroupLinks::dial(Member member) {
  dial_at_[member] = now_ + kDialAgainMs;
  const uint64_t told = places_[member]->told;
  host_.transport.dial(places_[member]->endpoint, [this, member, told, alive = alive_](auto peer) {
    if (!*alive) return;
    if (!places_[member] || places_[member]->told != told) {  // it has moved meanwhile
      if (peer) peer.value()->close();
      return;
    }
    if (!peer) dial_at_[member] = std::min(dial_at_[member], now_ + kRedialMs);
    if (!peer || links_[member]) return;
    links_[member] = std::make_unique<Link>(*this, std::move(peer.value()), member);
    links_[member]->flush();
  });
}

// Whether the one who says so may be that member.
bool GroupLinks::greet(Link& link, const Preamble& preamble) {
  const Member member = preamble.from;
  const bool ours = member < kMembersMax && member != options_.self && places_[member] &&
                    preamble.to == options_.self;
  if (!ours || preamble.config != options_.config) {
    events_.link_trouble("a member of the group at " + link.peer().remote_address() +
                         " has another list of members or other quorums: it is not talked to");
    return false;
  }
  if (!means(member, preamble.id)) {
    events_.link_trouble("the node at " + link.peer().remote_address() +
                         " says that it is member " + std::to_string(member) +
                         " of the group, which is another one: it is not talked to");
    return false;
  }
  if (links_[member].get() == &link) return true;
  // It dialed us. Whatever was there before is over.
  if (member < options_.self) return false;
  drop(member);
  auto stranger = std::ranges::find(strangers_, &link, &std::unique_ptr<Link>::get);
  links_[member] = std::move(*stranger);
  strangers_.erase(stranger);
  return true;
}

void GroupLinks::ended(Link& link) {
  auto stranger = std::ranges::find(strangers_, &link, &std::unique_ptr<Link>::get);
  if (stranger != strangers_.end()) {
    bury(std::move(*stranger));
    strangers_.erase(stranger);
    return;
  }
  const Member member = link.member();
  if (member >= kMembersMax || links_[member].get() != &link) return;
  const bool was_up = link.greeted();
  dial_at_[member] = now_ + kRedialMs;
  bury(std::move(links_[member]));
  if (was_up) events_.link_down(member);
}

void GroupLinks::bury(std::unique_ptr<Link> link) { buried_.push_back(std::move(link)); }

void GroupLinks::drop(Member member) {
  if (!links_[member]) return;
  links_[member]->close();
  ended(*links_[member]);
}

void GroupLinks::tick(base::Millis now) {
  now_ = now;
  for (Member m = 0; m < kMembersMax; ++m) {
    if (!places_[m]) continue;
    if (Link* link = links_[m].get()) {
      const bool lost = link->greeted() ? now - link->heard() > options_.silence_ms
                                        : now - link->since() > kHandshakeMs;
      if (lost) drop(m);
    } else if (m < options_.self && now >= dial_at_[m]) {
      dial(m);
    }
  }
  for (size_t i = strangers_.size(); i-- > 0;) {
    if (now - strangers_[i]->since() <= kHandshakeMs) continue;
    strangers_[i]->close();
    ended(*strangers_[i]);
  }
}

void GroupLinks::send(Member member, base::Bytes head, base::Bytes rest) {
  if (!up(member)) return;
  ++frames_sent_;
  links_[member]->send(head, rest);
}

void GroupLinks::flush() {
  for (Member m = 0; m < kMembersMax; ++m)
    if (links_[m]) links_[m]->flush();
  buried_.clear();
}

size_t GroupLinks::waiting_bytes(Member member) const {
  return links_[member] ? links_[member]->waiting_bytes() : 0;
}

void GroupLinks::pause_reads(Member member, bool paused) {
  if (up(member)) links_[member]->peer().pause_reads(paused);
}

}  // namespace quoll::cluster
