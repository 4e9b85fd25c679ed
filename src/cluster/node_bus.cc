#include "cluster/node_bus.h"

#include <fmt/format.h>

#include <algorithm>

#include "cluster/group_frames.h"

namespace quoll::cluster {
namespace {

using base::Bytes;
using base::Error;
using base::Result;

constexpr Bytes kNodeMagic = "QUOLLNOD";
constexpr uint32_t kNodeBusVersion = 1;
constexpr size_t kBusReceiveBytes = 64 * 1024;
constexpr size_t kBusFrameHeaderBytes = 4 + 1 + 4;
constexpr uint32_t kWantsNoAnswer = 0;
// Whose proof it is.
constexpr Bytes kDialerPart = "dials";
constexpr Bytes kAcceptorPart = "accepts";

std::string key_of(const host::Endpoint& at) { return fmt::format("{}:{}", at.address, at.port); }

std::string without_port(std::string address) {
  address.resize(std::min(address.rfind(':'), address.size()));
  if (address.starts_with('[')) address = address.substr(1, address.size() - 2);
  return address;
}

}  // namespace

// One connection. Who dialed asks, who was dialed answers.
class NodeBus::Link final : public host::PeerEvents, public std::enable_shared_from_this<Link> {
 public:
  Link(NodeBus& bus, std::string key) : bus_(bus), key_(std::move(key)), since_(bus.now_) {}

  const std::string& key() const { return key_; }
  bool dialed() const { return !key_.empty(); }
  bool proven() const { return proven_; }
  base::Millis since() const { return since_; }
  base::Millis used() const { return used_; }
  bool idle() const { return asked_.empty() && out_.waiting_bytes() == 0; }

  void start(std::unique_ptr<host::Peer> peer) {
    peer_ = std::move(peer);
    since_ = used_ = bus_.now_;
    if (dialed()) greet();
    peer_->start(*this);
    flush();
  }

  void ask(Question question, Bytes body, OnAnswer done, base::Millis within) {
    used_ = bus_.now_;
    if (asked_.size() >= kAskedMax)
      return done(
          Error{std::string(kUnheard) + "too many questions to " + key_ + " wait for answers"});
    if (++number_ == kWantsNoAnswer) ++number_;
    const uint32_t number = number_;
    asked_[number] = {bus_.now_ + within, std::move(done)};
    put_frame(question, number, {}, body);
  }

  // Leaves at once, if it may.
  bool tell(Question question, Bytes body, size_t unsent_max) {
    const size_t unsent = out_.waiting_bytes() + waiting_.size();
    if (unsent + body.size() > std::max(unsent_max, body.size())) return false;
    used_ = bus_.now_;
    put_frame(question, kWantsNoAnswer, {}, body);
    flush();
    return true;
  }

  void flush() {
    if (!peer_ || closed_) return;
    auto self = shared_from_this();
    if (proven_ && !waiting_.empty()) out_.add(std::exchange(waiting_, {}));
    out_.flush(*peer_);
  }

  // Questions whose time is over fail.
  void expire(base::Millis now) {
    std::vector<OnAnswer> late;
    for (auto it = asked_.begin(); it != asked_.end();)
      if (it->second.until <= now) {
        late.push_back(std::move(it->second.done));
        it = asked_.erase(it);
      } else {
        ++it;
      }
    for (OnAnswer& done : late) done(Error{told(key_ + " does not answer")});
  }

  void end(const std::string& why) {
    if (closed_) return;
    auto self = shared_from_this();
    closed_ = true;
    out_.end();
    if (peer_) peer_->close();
    bus_.ended(*this);
    auto asked = std::exchange(asked_, {});
    for (auto& [number, one] : asked) one.done(Error{told(why)});
  }

  std::span<char> receive_buffer() override { return bus_.scratch_; }

  void received(size_t bytes) override {
    auto self = shared_from_this();
    in_.append(bus_.scratch_.data(), bytes);
    used_ = bus_.now_;
    if (!proven_ && !take_proof()) return;
    take_frames();
    flush();
  }

  void writable() override {
    out_.writable();
    flush();
  }

  void closed(const std::string&) override {
    if (dialed() && !proven_ && !their_greeting_.empty() && !bus_.secrets_.front().empty())
      bus_.trouble(name() +
                   " ended the connection when we had proven that we know the cluster's secret: it "
                   "may know another one");
    end("the connection to " + name() + " ended");
  }

  // Its time for that is over.
  void end_unproven() {
    if (!dialed())
      bus_.trouble(name() + (their_greeting_.empty()
                                 ? " does not say who it is"
                                 : " does not prove that it knows the cluster's secret"));
    end(key_ + " does not answer");
  }

 private:
  struct Waiting {
    base::Millis until;
    OnAnswer done;
  };

  // Frames wait here until the other side has proven itself.
  std::string told(const std::string& why) const {
    return proven_ ? why : std::string(kUnheard) + why;
  }
  std::string name() const { return dialed() ? key_ : peer_->remote_address(); }

  void greet() {
    FieldWriter out(own_greeting_);
    own_greeting_ += kNodeMagic;
    out.number(kNodeBusVersion);
    own_greeting_ += bus_.id_;
    own_greeting_ += draw_bus_nonce(bus_.host_.process);
    out_.add(own_greeting_);
  }

  // Before the proof is there frames wait aside: it goes first.
  void put_frame(Question question, uint32_t number, Bytes head, Bytes body) {
    ++bus_.sent_;
    std::string frame;
    FieldWriter out(frame);
    out.number(static_cast<uint32_t>(5 + head.size() + body.size()));
    out.number(static_cast<uint8_t>(question)).number(number);
    (frame += head) += body;
    if (proven_)
      out_.add(frame);
    else
      waiting_ += frame;
  }

  void refuse(const std::string& why) {
    if (!proven_) bus_.trouble(why);
    end(why);
  }

  // The greeting of the other side, then its proof. True: it is proven now.
  bool take_proof() {
    if (their_greeting_.empty()) {
      const size_t looked = std::min(in_.size(), kNodeMagic.size());
      if (Bytes(in_).substr(0, looked) != kNodeMagic.substr(0, looked)) return other_kind();
      if (in_.size() < kNodeGreetingBytes) return false;
      their_greeting_ = in_.substr(0, kNodeGreetingBytes);
      in_.erase(0, kNodeGreetingBytes);
      if (!take_greeting()) return false;
    }
    if (in_.size() < kBusProofBytes) return flush(), false;
    const Bytes proof = Bytes(in_).substr(0, kBusProofBytes);
    const std::string* secret =
        dialed()
            ? proven_secret(bus_.secrets_, proof, kAcceptorPart, own_greeting_, their_greeting_)
            : proven_secret(bus_.secrets_, proof, kDialerPart, their_greeting_, own_greeting_);
    in_.erase(0, kBusProofBytes);
    if (!secret) return refuse(name() + " does not know the cluster's secret"), false;
    // Nothing is answered, nor a proof given to who dials, before it has given its own.
    if (!dialed()) out_.add(bus_proof(*secret, kAcceptorPart, their_greeting_, own_greeting_));
    proven_ = true;
    return true;
  }

  bool take_greeting() {
    FieldReader in(Bytes(their_greeting_).substr(kNodeMagic.size()));
    uint32_t version = 0;
    in.number(version);
    if (version != kNodeBusVersion) return refuse(name() + " speaks another version"), false;
    their_id_ = in.rest().substr(0, kMemberIdBytes);
    if (dialed())
      out_.add(bus_proof(bus_.secrets_.front(), kDialerPart, own_greeting_, their_greeting_));
    else
      greet();
    return true;
  }

  // Whom it is for stands in its preamble.
  bool other_kind() {
    const size_t looked = std::min(in_.size(), kGroupMagic.size());
    const bool group = Bytes(in_).substr(0, looked) == kGroupMagic.substr(0, looked);
    if (dialed() || !bus_.on_other_ || !group)
      return refuse(name() + " is no node of a cluster"), false;
    if (in_.size() < kPreambleBytes) return false;
    bus_.hand_on(*this, std::exchange(in_, {}));
    return false;
  }

  void take_frames() {
    size_t at = 0;
    while (!closed_ && in_.size() - at >= kBusFrameHeaderBytes) {
      FieldReader in(Bytes(in_).substr(at));
      uint32_t size = 0, number = 0;
      uint8_t kind = 0;
      in.number(size);
      in.number(kind);
      in.number(number);
      if (size < 5 || size > kNodeFrameBytesMax) return refuse(name() + " sent no frame");
      if (in_.size() - at < size + 4) break;
      const Bytes body = Bytes(in_).substr(at + kBusFrameHeaderBytes, size - 5);
      ++bus_.received_;
      const bool fine = kind == 0 ? take_answer(number, body) : take_question(kind, number, body);
      if (!fine) return refuse(name() + " sent what is no question or answer");
      at += size + 4;
    }
    if (!closed_) in_.erase(0, at);
  }

  bool take_answer(uint32_t number, Bytes body) {
    if (!dialed() || body.empty()) return false;
    const auto it = asked_.find(number);
    if (it == asked_.end()) return true;  // too late
    OnAnswer done = std::move(it->second.done);
    asked_.erase(it);
    std::string rest(body.substr(1));
    if (body[0])
      done(std::move(rest));
    else
      done(Error{std::move(rest)});
    return true;
  }

  bool take_question(uint8_t kind, uint32_t number, Bytes body) {
    if (dialed() || kind > static_cast<uint8_t>(Question::last)) return false;
    const Asked asked{static_cast<Question>(kind), their_id_, without_port(peer_->remote_address()),
                      without_port(peer_->local_address()), body};
    bus_.serve_(asked, [link = weak_from_this(), number](Result<std::string> answer) {
      if (number == kWantsNoAnswer) return;
      const auto self = link.lock();
      if (!self || self->closed_) return;
      // A large one shall not end the connection for the others.
      const size_t waiting = self->out_.waiting_bytes();
      if (answer.ok() && answer.value().size() > kLargeAnswerBytes &&
          waiting + answer.value().size() > kAnswersWaitingBytesMax)
        answer = Error{"too many answers wait"};
      const char fine = answer.ok() ? 1 : 0;
      self->put_frame(Question::none, number, {&fine, 1},
                      answer.ok() ? Bytes(answer.value()) : Bytes(answer.error()));
      if (self->out_.waiting_bytes() > kAnswersWaitingBytesMax)
        self->end(self->name() + " does not read its answers");
    });
    return true;
  }

  NodeBus& bus_;
  std::string key_;  // whom we dialed; "": it dialed us
  std::unique_ptr<host::Peer> peer_;
  base::Millis since_;
  base::Millis used_ = 0;
  std::string own_greeting_, their_greeting_, their_id_;
  bool proven_ = false;  // the other side has
  bool closed_ = false;
  std::string in_;
  SendQueue out_;
  std::string waiting_;  // frames, until the other side has proven itself
  std::map<uint32_t, Waiting> asked_;
  uint32_t number_ = 0;

  friend class NodeBus;
};

NodeBus::NodeBus(const host::Host& host, std::string id, Serve serve)
    : host_(host),
      id_(std::move(id)),
      serve_(std::move(serve)),
      scratch_(kBusReceiveBytes),
      now_(host.clock.steady() / base::kNanosPerMilli) {}

NodeBus::~NodeBus() {
  *alive_ = false;
  for (auto& [key, link] : dialed_)
    if (link->peer_) link->peer_->close();
  for (auto& link : accepted_) link->peer_->close();
}

Result<> NodeBus::listen(const host::Endpoint& at) {
  auto listener =
      host_.transport.listen(at, {}, [this, alive = alive_](std::unique_ptr<host::Peer> peer) {
        if (*alive) accepted(std::move(peer));
      });
  if (!listener) return Error{listener.error()};
  listeners_.push_back(std::move(listener.value()));
  return {};
}

void NodeBus::trouble(std::string text) {
  if (!on_trouble_) return;
  if (const auto told = rare_trouble_.tell(std::move(text), now_)) on_trouble_(*told);
}

// Strangers that say nothing shall not keep out those that do.
void NodeBus::accepted(std::unique_ptr<host::Peer> peer) {
  const auto unproven = [](const auto& link) { return !link->proven(); };
  if (static_cast<size_t>(std::ranges::count_if(accepted_, unproven)) >= kStrangerNodesMax) {
    const auto oldest = *std::ranges::find_if(accepted_, unproven);
    oldest->end_unproven();
  }
  if (accepted_.size() >= kNodesConnectedMax) return peer->close();
  auto link = std::make_shared<Link>(*this, "");
  accepted_.push_back(link);
  link->start(std::move(peer));
}

void NodeBus::dial(const std::string& key, const host::Endpoint& to) {
  host_.transport.dial(to, [this, key, alive = alive_](auto peer) {
    if (!*alive) return;
    const auto it = dialed_.find(key);
    if (it == dialed_.end()) return;
    const auto link = it->second;
    if (link->peer_) return;
    if (!peer) {
      unreached_[key] = now_ + kBusDialAgainMs;
      return link->end(key + " cannot be reached: " + peer.error());
    }
    link->start(std::move(peer.value()));
  });
}

std::shared_ptr<NodeBus::Link> NodeBus::link_to(const host::Endpoint& to) {
  const std::string key = key_of(to);
  auto& link = dialed_[key];
  if (!link) {
    link = std::make_shared<Link>(*this, key);
    const auto kept = link;  // the dial may fail at once
    dial(key, to);
    return kept;
  }
  return link;
}

void NodeBus::ask(const host::Endpoint& to, Question question, Bytes body, OnAnswer done,
                  base::Millis within) {
  link_to(to)->ask(question, body, std::move(done), within);
}

bool NodeBus::tell(const host::Endpoint& to, Question question, Bytes body, size_t unsent_max) {
  if (unreached_.count(key_of(to))) return false;
  return link_to(to)->tell(question, body, unsent_max);
}

// It is a connection of another kind: who takes it on calls start() with events of his own.
void NodeBus::hand_on(Link& link, std::string bytes) {
  auto peer = std::move(link.peer_);
  link.closed_ = true;
  ended(link);
  on_other_(std::move(peer), std::move(bytes));
}

void NodeBus::ended(Link& link) {
  auto self = link.shared_from_this();
  buried_.push_back(self);
  if (const auto it = dialed_.find(link.key()); it != dialed_.end() && it->second == self)
    dialed_.erase(it);
  std::erase(accepted_, self);
}

std::vector<std::shared_ptr<NodeBus::Link>> NodeBus::links() const {
  std::vector<std::shared_ptr<Link>> all = accepted_;
  for (const auto& [key, link] : dialed_) all.push_back(link);
  return all;
}

void NodeBus::set_id(std::string id) {
  id_ = std::move(id);
  host_.loop.post([this, old = links(), alive = alive_] {
    for (const auto& link : old)
      if (*alive) link->end("this is another node now");
  });
}

void NodeBus::tick(base::Millis now) {
  now_ = now;
  std::erase_if(unreached_, [now](const auto& one) { return one.second <= now; });
  for (const auto& link : links()) {
    link->expire(now);
    const bool late = !link->proven() && now - link->since() > kGreetingMs;
    const bool unused = link->dialed() && link->idle() && now - link->used() > kIdleLinkMs;
    if (late)
      link->end_unproven();
    else if (unused)
      link->end(link->key() + " does not answer");
  }
}

void NodeBus::flush() {
  for (const auto& link : links()) link->flush();
  buried_.clear();
}

}  // namespace quoll::cluster
