// Two members on the loopback: who may talk to whom, while that changes; strangers among them.
#include "cluster/group_links.h"

#include <algorithm>

#include "tests/unit/host/host_fixture.h"

namespace quoll::cluster {
namespace {

using host::Endpoint;

std::string peer_id(char digit) { return std::string(kMemberIdBytes, digit); }

struct Side : GroupLinksEvents {
  std::unique_ptr<GroupLinks> links;
  std::string heard, trouble;
  BusSecrets secrets;
  int ups = 0, downs = 0, troubles = 0;

  void link_up(const Preamble&) override { ++ups; }
  void link_down(Member) override { ++downs; }
  bool link_frame(Member, FrameType, base::Bytes body) override {
    heard += body;
    return body != "no frame";
  }
  void link_trouble(const std::string& text) override {
    trouble = text;
    ++troubles;
  }
  bool complains(base::Bytes of) const { return trouble.find(of) != std::string::npos; }
};

// Member 0 listens, member 1 dials.
struct Two : host::HostFixture {
  Side zero, one;
  Endpoint at = free_endpoint();
  base::Millis now = host.clock.steady() / base::kNanosPerMilli;
  base::Millis step = 20;  // of this clock, per ms of the real one

  Two() {
    begin(zero, 0, 'a');
    begin(one, 1, 'b');
    REQUIRE(zero.links->listen(at).ok());
    tick();
  }
  Endpoint free_endpoint() {
    auto listener = host.transport.listen({Endpoint::Family::ipv4, "127.0.0.1", 0}, {},
                                          [](std::unique_ptr<host::Peer>) {});
    REQUIRE(listener.ok());
    return listener.value()->endpoint();
  }
  void begin(Side& side, Member self, char id) {
    GroupLinks::Options options;
    options.self = self;
    options.id = peer_id(id);
    options.silence_ms = 3'600'000;  // nobody says anything by itself
    options.secrets = [&side] { return side.secrets; };
    side.links = std::make_unique<GroupLinks>(host, std::move(options), side);
  }
  void tick() {
    host.loop.after(base::kNanosPerMilli, [this] {
      now += step;
      zero.links->tick(now);
      one.links->tick(now);
      zero.links->flush();
      one.links->flush();
      tick();
    });
  }
  // The dialing member needs no more than a place to dial; the other one takes whoever has it.
  void know_each_other() {
    zero.links->set_member(1, at);
    one.links->set_member(0, at);
    REQUIRE(linked());
  }
  bool linked() {
    return run_until([this] { return zero.links->up(1) && one.links->up(0); });
  }
  void say(const std::string& text) {
    std::string frame;
    begin_frame(FrameType::keys, text.size(), frame);
    one.links->send(0, frame, text);
  }
};

const std::string kOldSecret = "an old secret of the cluster", kNewSecret = "a newer secret of it";

// Who speaks to member 0 byte by byte.
struct Stranger : host::Recorder {
  explicit Stranger(Two& two) {
    two.host.transport.dial(two.at, [this](auto dialed) { take(std::move(dialed.value())); });
    REQUIRE(two.run_until([this] { return peer != nullptr; }));
  }
};

// The greeting of member 1 to member 0.
std::string greeting_of_one(char nonce) {
  return encode_preamble({0, 1, 0, 0, peer_id('b'), true}) + std::string(kBusNonceBytes, nonce);
}

constexpr size_t kGreetingBytes = kPreambleBytes + kBusNonceBytes;
constexpr base::Bytes kNoProof = "does not prove that it knows the cluster's secret";
constexpr base::Bytes kWrongProof = "does not know the cluster's secret";

}  // namespace

TEST_CASE("group links: members that know each other are connected, and no more when one leaves") {
  Two two;
  two.know_each_other();
  std::string frame;
  begin_frame(FrameType::keys, 2, frame);
  two.one.links->send(0, frame, "hi");
  CHECK(two.run_until([&] { return two.zero.heard == "hi"; }));
  two.zero.links->remove_member(1);
  CHECK_FALSE(two.zero.links->up(1));
  CHECK(two.zero.downs == 1);
  CHECK(two.run_until([&] { return two.one.downs >= 1 && !two.zero.trouble.empty(); }));
  CHECK_FALSE(two.one.links->up(0));
  // It comes back.
  two.zero.links->set_member(1, two.at, peer_id('b'));
  CHECK(two.run_until([&] { return two.zero.links->up(1) && two.one.links->up(0); }));
}

TEST_CASE("group links: what is no frame of a member ends the connection, and is told") {
  Two two;
  two.know_each_other();
  std::string frame;
  begin_frame(FrameType::keys, 8, frame);
  two.zero.links->send(1, frame, "no frame");
  CHECK(two.run_until([&] { return two.one.downs == 1; }));
  CHECK(two.one.trouble.find("sent what is no frame of a member") != std::string::npos);
  CHECK(two.run_until([&] { return two.one.links->up(0); }));
}

TEST_CASE("group links: a node that is not the one meant by its place is not talked to") {
  Two two;
  two.zero.links->set_member(1, two.at, peer_id('c'));
  two.one.links->set_member(0, two.at, peer_id('a'));
  CHECK(two.run_until([&] { return !two.zero.trouble.empty(); }));
  CHECK(two.zero.ups == 0);
  CHECK_FALSE(two.one.links->up(0));
  two.zero.links->set_member(1, two.at, peer_id('b'));
  CHECK(two.run_until([&] { return two.zero.links->up(1) && two.one.links->up(0); }));
  // Another node has the place from now on: the connection with the one before ends.
  two.zero.links->set_member(1, two.at, peer_id('d'));
  CHECK_FALSE(two.zero.links->up(1));
  CHECK(two.run_until([&] { return two.one.downs >= 1; }));
}

TEST_CASE("group links: members that know the same secret are connected, others are not") {
  Two two;
  SUBCASE("the same") {
    two.zero.secrets = two.one.secrets = {kOldSecret};
    two.know_each_other();
    two.say("hi");
    CHECK(two.run_until([&] { return two.zero.heard == "hi"; }));
    CHECK(two.zero.troubles + two.one.troubles == 0);
    return;
  }
  base::Bytes of_zero, of_one;
  SUBCASE("another one") {
    two.zero.secrets = {kOldSecret};
    two.one.secrets = {kNewSecret};
    of_zero = kWrongProof;
    of_one = "may know another one";
  }
  SUBCASE("only who listens") {
    two.zero.secrets = {kOldSecret};
    of_zero = kNoProof;
  }
  SUBCASE("only who dials") {
    two.one.secrets = {kOldSecret};
    of_zero = "wants a proof";
  }
  two.zero.links->set_member(1, two.at);
  two.one.links->set_member(0, two.at);
  CHECK(two.run_until([&] { return two.zero.complains(of_zero) && two.one.complains(of_one); }));
  two.step = 10;
  two.run_for(150 * base::kNanosPerMilli);  // it is tried again after a second, and told once
  two.step = 20;
  CHECK(two.zero.troubles == 1);
  CHECK(two.zero.ups + two.one.ups == 0);
  // What is learnt counts for the next connection.
  two.zero.secrets = two.one.secrets = {kNewSecret, kOldSecret};
  CHECK(two.linked());
}

TEST_CASE("group links: a secret is changed step by step without a gap, and connections stay") {
  const BusSecrets steps[] = {
      {kOldSecret}, {kOldSecret, kNewSecret}, {kNewSecret, kOldSecret}, {kNewSecret}};
  Two two;
  two.zero.secrets = two.one.secrets = steps[0];
  two.know_each_other();
  for (size_t step = 0; step + 1 < std::size(steps); ++step) {
    // Some have taken the step, others not, in either direction; the connection stays and new ones
    // are made.
    for (const auto& [zero, one] : {std::pair{step + 1, step}, {step, step + 1}}) {
      two.zero.secrets = steps[zero];
      two.one.secrets = steps[one];
      two.say("x");
      CHECK(two.run_until([&] { return !two.zero.heard.empty(); }));
      two.zero.heard.clear();
      CHECK(two.zero.downs + two.one.downs == 0);
      two.zero.links->drop(1);
      CHECK(two.run_until([&] { return two.one.downs == 1; }));
      CHECK(two.linked());
      two.zero.downs = two.one.downs = 0;
    }
  }
  CHECK(two.zero.troubles + two.one.troubles == 0);
}

TEST_CASE("group links: who shows no proof is told nothing, displaces nobody and is gone in time") {
  Two two;
  two.zero.secrets = two.one.secrets = {kOldSecret};
  two.know_each_other();
  std::string said;
  base::Bytes trouble = kNoProof;
  bool late = true;
  SUBCASE("nothing") {}
  SUBCASE("half a preamble") { said = greeting_of_one('n').substr(0, kPreambleBytes / 2); }
  SUBCASE("half a nonce") { said = greeting_of_one('n').substr(0, kGreetingBytes - 1); }
  SUBCASE("no proof behind the nonce") { said = greeting_of_one('n'); }
  SUBCASE("half a proof") { said = greeting_of_one('n') + std::string(kBusProofBytes - 1, 'p'); }
  SUBCASE("the preamble of those without a secret") {
    said = encode_preamble({0, 1, 0, 0, peer_id('b'), false});
    late = false;
  }
  SUBCASE("a proof that is none, and frames") {
    std::string frame;
    begin_frame(FrameType::keys, 4, frame);
    said = greeting_of_one('n') + std::string(kBusProofBytes, 'p') + frame + "evil";
    trouble = kWrongProof;
    late = false;
  }
  SUBCASE("garbage") {
    said = std::string(3000, 'g');
    trouble = {};
    late = false;
  }
  Stranger stranger(two);
  if (!said.empty()) stranger.send(said);
  if (late) {
    two.step = 1;
    two.run_for(20 * base::kNanosPerMilli);
    CHECK_FALSE(stranger.is_closed);
    two.step = 200;
  }
  CHECK(two.run_until([&] { return stranger.is_closed; }));
  CHECK(two.zero.complains(trouble));
  // Never more than a greeting, which says nothing of the secret.
  const bool greeted = said.size() >= kGreetingBytes && stranger.bytes.size() == kGreetingBytes;
  CHECK((greeted || stranger.bytes.empty()));
  CHECK(two.zero.heard.empty());
  two.step = 20;
  two.say("still");
  CHECK(two.run_until([&] { return two.zero.heard == "still"; }));
  CHECK(two.zero.downs == 0);
  CHECK(two.zero.ups == 1);
}

TEST_CASE("group links: what a member once said proves nothing when it is said again") {
  Two two;
  two.zero.secrets = {kOldSecret};
  two.zero.links->set_member(1, two.at, peer_id('b'));
  // A member that is right, whose every byte is kept.
  Stranger member(two);
  const std::string own = greeting_of_one('n');
  member.send(own);
  REQUIRE(two.run_until([&] { return member.bytes.size() == kGreetingBytes; }));
  const std::string theirs = member.bytes;
  const std::string proof = bus_proof(kOldSecret, "member dials", own, theirs);
  member.send(proof);
  REQUIRE(two.run_until([&] { return two.zero.links->up(1); }));
  REQUIRE(two.run_until([&] { return member.bytes.size() >= kGreetingBytes + kBusProofBytes; }));
  CHECK(member.bytes.substr(kGreetingBytes, kBusProofBytes) ==
        bus_proof(kOldSecret, "member accepts", own, theirs));
  SUBCASE("by the same words") {
    Stranger again(two);
    again.send(own + proof);
    REQUIRE(two.run_until([&] { return again.is_closed; }));
    CHECK(again.bytes.size() == kGreetingBytes);
    CHECK(again.bytes.substr(0, kPreambleBytes) == theirs.substr(0, kPreambleBytes));
    CHECK(again.bytes != theirs);  // its nonce is another one
  }
  SUBCASE("by the words of the other side") {
    Stranger again(two);
    again.send(own);
    REQUIRE(two.run_until([&] { return again.bytes.size() == kGreetingBytes; }));
    again.send(member.bytes.substr(kGreetingBytes, kBusProofBytes));
    REQUIRE(two.run_until([&] { return again.is_closed; }));
  }
  SUBCASE("by those of a member of another group, or with another id") {
    Preamble other{0, 1, 0, 0, peer_id('b'), true};
    SUBCASE("group") { other.config = 7; }
    SUBCASE("id") { other.id = peer_id('c'); }
    SUBCASE("place") { other.from = 2; }
    Stranger again(two);
    again.send(encode_preamble(other) + std::string(kBusNonceBytes, 'n'));
    REQUIRE(two.run_until([&] { return again.is_closed; }));
    CHECK(again.bytes.empty());
  }
  CHECK(two.zero.links->up(1));
  CHECK(two.zero.downs == 0);
  CHECK(two.zero.ups == 1);
}

TEST_CASE("group links: a greeting that is changed on its way is not believed") {
  Two two;
  two.zero.secrets = {kOldSecret};
  two.zero.links->set_member(1, two.at);  // as in a group whose nodes have no ids yet
  const std::string own = greeting_of_one('n');
  for (size_t at = 0; at < own.size(); ++at) {
    std::string changed = own;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    Stranger member(two);
    member.send(changed);
    REQUIRE(two.run_until([&] { return member.is_closed || member.bytes.size() > 0; }));
    if (!member.is_closed) member.send(bus_proof(kOldSecret, "member dials", own, member.bytes));
    CHECK(two.run_until([&] { return member.is_closed; }));
    CHECK(member.bytes.size() <= kGreetingBytes);
  }
  CHECK(two.zero.ups == 0);
}

TEST_CASE("group links: who accepts must prove itself, too") {
  Two two;
  two.one.secrets = {kOldSecret};
  const Endpoint at = two.free_endpoint();
  host::Recorder impostor;
  auto listener = two.host.transport.listen(
      at, {}, [&](std::unique_ptr<host::Peer> peer) { impostor.take(std::move(peer)); });
  REQUIRE(listener.ok());
  two.one.links->set_member(0, at);
  REQUIRE(two.run_until([&] { return impostor.bytes.size() == kGreetingBytes; }));
  std::string frame;
  begin_frame(FrameType::keys, 4, frame);
  impostor.send(encode_preamble({0, 0, 1, 0, peer_id('a'), true}) +
                std::string(kBusNonceBytes, 'n') + std::string(kBusProofBytes, 'p') + frame +
                "evil");
  REQUIRE(two.run_until([&] { return impostor.is_closed; }));
  CHECK(impostor.bytes.size() <= kGreetingBytes + kBusProofBytes);
  CHECK(two.one.complains(kWrongProof));
  CHECK(two.one.heard.empty());
  CHECK(two.one.ups == 0);
}

TEST_CASE("group links: many that say nothing do not keep a member out") {
  Two two;
  two.step = 0;  // their time is never over
  two.zero.secrets = two.one.secrets = {kOldSecret};
  std::vector<std::unique_ptr<Stranger>> strangers;
  for (size_t i = 0; i < kStrangersMax + 6; ++i)
    strangers.push_back(std::make_unique<Stranger>(two));
  two.know_each_other();
  const auto gone = [&] {
    return std::ranges::count_if(strangers, [](const auto& one) { return one->is_closed; });
  };
  CHECK(two.run_until([&] { return gone() == 7; }));
  CHECK(strangers[6]->is_closed);
  CHECK_FALSE(strangers[7]->is_closed);
  CHECK(two.zero.troubles == 1);
}

}  // namespace quoll::cluster
