// Two nodes on the loopback that ask each other, and strangers that may not.
#include "cluster/node_bus.h"

#include <algorithm>

#include "cluster/group_frames.h"
#include "tests/unit/host/host_fixture.h"

namespace quoll::cluster {
namespace {

using host::Endpoint;

const std::string kFirstSecret = "a first secret of the nodes", kSecondSecret = "a second one";

struct BusPair : host::HostFixture {
  std::vector<std::string> heard, troubles;
  NodeBus asking{
      host, std::string(kMemberIdBytes, 'a'),
      [](const NodeBus::Asked&, const NodeBus::OnAnswer& answer) { answer(std::string("no")); }};
  NodeBus answering{host, std::string(kMemberIdBytes, 'b'),
                    [this](const NodeBus::Asked& asked, const NodeBus::OnAnswer& answer) {
                      heard.push_back(asked.id.substr(0, 1) + std::string(asked.body));
                      answer("yes, " + std::string(asked.body));
                    }};
  base::Millis now = host.clock.steady() / base::kNanosPerMilli;
  base::Millis step = 20;  // of their clock, per ms of the real one

  BusPair() {
    REQUIRE(answering.listen(host::kLoopback).ok());
    answering.on_trouble([this](const std::string& text) { troubles.push_back(text); });
    turn();
  }
  void turn() {
    host.loop.after(base::kNanosPerMilli, [this] {
      now += step;
      asking.tick(now);
      answering.tick(now);
      asking.flush();
      answering.flush();
      turn();
    });
  }
  Endpoint at() const { return {Endpoint::Family::ipv4, "127.0.0.1", answering.port()}; }
  // "yes, ..." or the error.
  std::string ask(const std::string& text) {
    std::string answered;
    asking.ask(at(), Question::probe, text, [&](base::Result<std::string> answer) {
      answered = answer ? answer.value() : "error: " + answer.error();
    });
    REQUIRE(run_until([&] { return !answered.empty(); }));
    return answered;
  }
  // The next question needs a new connection.
  void disconnect() {
    step = 2 * kIdleLinkMs;
    run_for(20 * base::kNanosPerMilli);
    step = 20;
  }
};

struct BusStranger : host::Recorder {
  explicit BusStranger(BusPair& two) {
    two.host.transport.dial(two.at(), [this](auto dialed) { take(std::move(dialed.value())); });
    REQUIRE(two.run_until([this] { return peer != nullptr; }));
  }
};

std::string node_greeting(char nonce) {
  std::string greeting = "QUOLLNOD";
  FieldWriter(greeting).number(uint32_t{1});
  return greeting + std::string(kMemberIdBytes, 'a') + std::string(kBusNonceBytes, nonce);
}

std::string probe_frame() {
  std::string frame;
  FieldWriter(frame).number(uint32_t{9}).number(Question::probe).number(uint32_t{1});
  return frame + "evil";
}

bool any_of(const std::vector<std::string>& texts, base::Bytes part) {
  return std::ranges::any_of(
      texts, [&](const std::string& text) { return text.find(part) != std::string::npos; });
}

}  // namespace

TEST_CASE("node bus: questions are answered without a secret, and with the same one") {
  BusPair two;
  SUBCASE("none") {}
  SUBCASE("the same") {
    two.asking.set_secrets({kFirstSecret});
    two.answering.set_secrets({kFirstSecret});
  }
  CHECK(two.ask("one") == "yes, one");
  CHECK(two.ask("two") == "yes, two");
  CHECK(two.heard == std::vector<std::string>{"aone", "atwo"});
  CHECK(two.troubles.empty());
}

TEST_CASE("node bus: another secret, or none, is heard by nobody, and that is told once") {
  BusPair two;
  two.answering.set_secrets({kFirstSecret});
  SUBCASE("none") {}
  SUBCASE("another one") { two.asking.set_secrets({kSecondSecret}); }
  const std::string unheard(kUnheard);
  CHECK(two.ask("one").starts_with("error: " + unheard));
  CHECK(two.ask("two").starts_with("error: " + unheard));
  CHECK(two.heard.empty());
  REQUIRE(two.troubles.size() == 1);
  CHECK(any_of(two.troubles, "does not know the cluster's secret"));
}

TEST_CASE("node bus: a secret is changed step by step without a gap") {
  const BusSecrets steps[] = {{kFirstSecret},
                              {kFirstSecret, kSecondSecret},
                              {kSecondSecret, kFirstSecret},
                              {kSecondSecret}};
  BusPair two;
  for (size_t step = 0; step + 1 < std::size(steps); ++step) {
    two.asking.set_secrets(steps[step]);
    two.answering.set_secrets(steps[step + 1]);
    CHECK(two.ask("new connection") == "yes, new connection");
    two.asking.set_secrets(steps[step + 1]);
    two.answering.set_secrets(steps[step]);
    CHECK(two.ask("the same connection") == "yes, the same connection");
    two.disconnect();
    CHECK(two.ask("new connection") == "yes, new connection");
    two.disconnect();
  }
  CHECK(two.troubles.empty());
}

TEST_CASE("node bus: strangers are told nothing and heard by nobody") {
  BusPair two;
  two.answering.set_secrets({kFirstSecret});
  std::string said;
  base::Bytes trouble;
  bool late = false;
  SUBCASE("nothing") {
    late = true;
    trouble = "does not say who it is";
  }
  SUBCASE("half a greeting") {
    said = node_greeting('n').substr(0, kNodeGreetingBytes - 1);
    late = true;
    trouble = "does not say who it is";
  }
  SUBCASE("no proof") {
    said = node_greeting('n');
    late = true;
    trouble = "does not prove that it knows the cluster's secret";
  }
  SUBCASE("a wrong proof, and a question") {
    said = node_greeting('n') + std::string(kBusProofBytes, 'p') + probe_frame();
    trouble = "does not know the cluster's secret";
  }
  SUBCASE("garbage") {
    said = "GET / HTTP/1.1\r\n\r\n";
    trouble = "is no node of a cluster";
  }
  BusStranger stranger(two);
  if (!said.empty()) stranger.send(said);
  if (late) two.step = 200;
  CHECK(two.run_until([&] { return stranger.is_closed; }));
  CHECK(any_of(two.troubles, trouble));
  CHECK((stranger.bytes.empty() || stranger.bytes.size() == kNodeGreetingBytes));
  CHECK(two.heard.empty());
}

TEST_CASE("node bus: a proof that was heard proves nothing when it is said again") {
  BusPair two;
  two.answering.set_secrets({kFirstSecret});
  BusStranger member(two);
  const std::string own = node_greeting('n');
  member.send(own);
  REQUIRE(two.run_until([&] { return member.bytes.size() == kNodeGreetingBytes; }));
  const std::string said =
      own + bus_proof(kFirstSecret, "dials", own, member.bytes) + probe_frame();
  member.send(base::Bytes(said).substr(own.size()));
  REQUIRE(two.run_until([&] { return two.heard.size() == 1; }));
  BusStranger again(two);
  again.send(said);
  REQUIRE(two.run_until([&] { return again.is_closed; }));
  CHECK(two.heard.size() == 1);
  CHECK(again.bytes.size() <= kNodeGreetingBytes);
}

TEST_CASE("node bus: many that say nothing do not keep a node out") {
  BusPair two;
  two.step = 0;  // their time is never over
  std::vector<std::unique_ptr<BusStranger>> strangers;
  for (size_t i = 0; i < kStrangerNodesMax + 6; ++i)
    strangers.push_back(std::make_unique<BusStranger>(two));
  CHECK(two.ask("one") == "yes, one");
  CHECK(two.run_until([&] { return strangers[6]->is_closed; }));
  CHECK_FALSE(strangers[7]->is_closed);
}

}  // namespace quoll::cluster
