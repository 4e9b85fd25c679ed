#include "cluster/group_links.h"

#include <algorithm>

#include "base/check.h"
#include "cluster/send_queue.h"

namespace quoll::cluster {
namespace {

// Whose proof it is.
constexpr base::Bytes kDialingMemberPart = "member dials";
constexpr base::Bytes kAcceptingMemberPart = "member accepts";

}  // namespace

// One connection, until it ends. Its member is known once its preamble is there, and proven.
class GroupLinks::Link final : public host::PeerEvents {
 public:
  // `member`: whom we dialed; kNoMember: it dialed us.
  Link(GroupLinks& links, std::unique_ptr<host::Peer> peer, Member member)
      : links_(links),
        peer_(std::move(peer)),
        member_(member),
        dialed_(member != kNoMember),
        since_(links.now_) {
    heard_ = since_;
    if (links_.options_.secrets) secrets_ = links_.options_.secrets();
    if (dialed_) greet(member);
    peer_->start(*this);
  }

  bool greeted() const { return greeted_; }
  Member member() const { return member_; }
  const std::string& id() const { return id_; }
  void belongs_to(Member member) { member_ = member; }
  bool refused() const { return refused_; }
  base::Millis since() const { return since_; }
  base::Millis heard() const { return heard_; }
  size_t waiting_bytes() const { return out_.waiting_bytes(); }
  host::Peer& peer() const { return *peer_; }

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
    if (!greeted_ && !take_greeting()) return;
    take_frames();
  }

  void writable() override {
    out_.writable();
    flush();
  }

  void closed(const std::string&) override {
    if (closed_) return;
    if (dialed_ && !greeted_ && !their_greeting_.empty())
      not_proven(
          "ended the connection when we had proven that we know the cluster's secret, and may "
          "know another one");
    closed_ = true;
    out_.end();
    links_.ended(*this);
  }

  // Its time for the handshake is over.
  void end_late() {
    if (!their_greeting_.empty() || (!dialed_ && proves()))
      not_proven("does not prove that it knows the cluster's secret: it is not talked to");
    end();
  }

  void end() {
    close();
    links_.ended(*this);
  }

 private:
  bool proves() const { return !secrets_.empty(); }

  void greet(Member to) {
    own_greeting_ = encode_preamble(links_.preamble_for(to, proves()));
    if (proves()) own_greeting_ += draw_bus_nonce(links_.host_.process);
    queue(own_greeting_);
  }

  void not_proven(const std::string& what) {
    refused_ = true;
    links_.trouble(Trouble::proof,
                   "a member of the group at " + peer_->remote_address() + " " + what);
  }

  // True: it has said who it is, and proven it where there is a secret.
  bool take_greeting() {
    if (their_greeting_.empty() && !take_preamble()) return false;
    return (!proves() || take_proof()) && link_up();
  }

  // What no member sends. It would be sent again at once.
  void refuse() {
    links_.events_.link_trouble("member " + std::to_string(member_) + " of the group at " +
                                peer_->remote_address() +
                                " sent what is no frame of a member: its connection ends");
    end();
    links_.dial_at_[member_] = links_.now_ + kDialAgainMs;
  }

  bool take_preamble() {
    if (in_.size() < kPreambleBytes) return false;
    const auto preamble = decode_preamble(in_);
    if (!preamble || (dialed_ && preamble->from != member_)) return end(), false;
    if (preamble->proves != proves()) {
      not_proven(
          proves()
              ? "does not prove that it knows the cluster's secret: it is not talked to"
              : "wants a proof that we know the cluster's secret, and there is none here: it is "
                "not talked to");
      return end(), false;
    }
    const size_t size = kPreambleBytes + (proves() ? kBusNonceBytes : 0);
    if (in_.size() < size) return false;
    if (!links_.fits(*this, *preamble, dialed_)) return end(), false;
    their_greeting_ = in_.substr(0, size);
    in_.erase(0, size);
    if (!dialed_)
      greet(preamble->from);
    else if (proves())
      queue(bus_proof(secrets_.front(), kDialingMemberPart, own_greeting_, their_greeting_));
    if (proves()) flush();
    return true;
  }

  // Who dials gives its proof first; who accepts then answers by the secret it was shown.
  bool take_proof() {
    if (in_.size() < kBusProofBytes) return false;
    const base::Bytes proof = base::Bytes(in_).substr(0, kBusProofBytes);
    const std::string* secret =
        dialed_
            ? proven_secret(secrets_, proof, kAcceptingMemberPart, own_greeting_, their_greeting_)
            : proven_secret(secrets_, proof, kDialingMemberPart, their_greeting_, own_greeting_);
    if (!secret) {
      not_proven("does not know the cluster's secret: it is not talked to");
      return end(), false;
    }
    if (!dialed_) queue(bus_proof(*secret, kAcceptingMemberPart, their_greeting_, own_greeting_));
    in_.erase(0, kBusProofBytes);
    return true;
  }

  bool link_up() {
    const Preamble preamble = *decode_preamble(their_greeting_);
    if (!links_.fits(*this, preamble, dialed_)) return end(), false;  // no more
    id_ = preamble.id;
    greeted_ = true;
    if (!dialed_) links_.adopt(*this, preamble.from);
    secrets_.clear();
    links_.events_.link_up(preamble);
    return !closed_;
  }

  void take_frames() {
    size_t at = 0;
    while (in_.size() - at >= kFrameHeaderBytes) {
      uint32_t size;
      std::memcpy(&size, in_.data() + at, sizeof size);
      if (size == 0 || size > kFrameBytesMax) return refuse();
      if (in_.size() - at < size + 4) break;
      const auto type = static_cast<FrameType>(in_[at + 4]);
      ++links_.frames_received_;
      const base::Bytes body(in_.data() + at + kFrameHeaderBytes, size - 1);
      if (!links_.events_.link_frame(member_, type, body)) return refuse();
      if (closed_) return;
      at += size + 4;
    }
    in_.erase(0, at);
  }

  GroupLinks& links_;
  std::unique_ptr<host::Peer> peer_;
  Member member_;
  const bool dialed_;
  BusSecrets secrets_;                         // until it has proven itself
  std::string own_greeting_, their_greeting_;  // what the proofs are about
  std::string id_;                             // of its node, as it says
  base::Millis since_;
  base::Millis heard_;
  std::string in_;
  SendQueue out_;
  bool greeted_ = false;
  bool closed_ = false;
  bool refused_ = false;  // one side did not prove itself to the other
};

GroupLinks::GroupLinks(const host::Host& host, Options options, GroupLinksEvents& events)
    : host_(host),
      options_(std::move(options)),
      events_(events),
      scratch_(kReceiveBytes),
      now_(host.clock.steady() / base::kNanosPerMilli) {}

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
  auto listener =
      host_.transport.listen(at, {}, [this, alive = alive_](std::unique_ptr<host::Peer> peer) {
        if (*alive) add_stranger(std::move(peer));
      });
  if (!listener) return base::Error{listener.error()};
  listeners_.push_back(std::move(listener.value()));
  return {};
}

// Strangers that say nothing shall not keep out those that do.
void GroupLinks::add_stranger(std::unique_ptr<host::Peer> peer) {
  if (strangers_.size() >= kStrangersMax) strangers_.front()->end_late();
  strangers_.push_back(std::make_unique<Link>(*this, std::move(peer), kNoMember));
}

void GroupLinks::take(std::unique_ptr<host::Peer> peer, base::Bytes received) {
  add_stranger(std::move(peer));
  strangers_.back()->take(received);
}

void GroupLinks::trouble(Trouble kind, std::string text) {
  if (const auto told = rare_troubles_[static_cast<size_t>(kind)].tell(std::move(text), now_))
    events_.link_trouble(*told);
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
bool GroupLinks::fits(const Link& link, const Preamble& preamble, bool dialed) {
  const Member member = preamble.from;
  const bool ours = member < kMembersMax && member != options_.self && places_[member] &&
                    preamble.to == options_.self;
  if (!ours || preamble.config != options_.config) {
    trouble(Trouble::config,
            "a member of the group at " + link.peer().remote_address() +
                " has another list of members or other quorums: it is not talked to");
    return false;
  }
  if (!means(member, preamble.id)) {
    trouble(Trouble::node, "the node at " + link.peer().remote_address() +
                               " says that it is member " + std::to_string(member) +
                               " of the group, which is another one: it is not talked to");
    return false;
  }
  return dialed || member > options_.self;
}

// It dialed us. Whatever was there before is over.
void GroupLinks::adopt(Link& link, Member member) {
  drop(member);
  auto stranger = std::ranges::find(strangers_, &link, &std::unique_ptr<Link>::get);
  link.belongs_to(member);
  links_[member] = std::move(*stranger);
  strangers_.erase(stranger);
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
  dial_at_[member] = now_ + (link.refused() ? kRefusedAgainMs : kRedialMs);
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
      if (lost && link->greeted())
        drop(m);
      else if (lost)
        link->end_late();
    } else if (m < options_.self && now >= dial_at_[m]) {
      dial(m);
    }
  }
  for (size_t i = strangers_.size(); i-- > 0;) {
    if (now - strangers_[i]->since() <= kHandshakeMs) continue;
    strangers_[i]->end_late();
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
