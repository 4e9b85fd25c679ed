// The paths of the protocol as stories (gossip_story.h), and what they do not show: time, limits,
// and what must be ignored.
#include "cluster/gossip_core.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/unit/cluster/gossip_story.h"

namespace quoll::cluster {
namespace {

constexpr uint32_t kAloneCluster = 7;
constexpr base::Millis kStart = 1'000'000;

// One core, and everybody else by hand.
struct Alone {
  explicit Alone(size_t others)
      : core({.cluster = kAloneCluster, .self = 0, .address = at(0)}, cipher, 1, kStart) {
    std::vector<GossipMember> members;
    for (size_t n = 0; n <= others; ++n) members.push_back({static_cast<NodeIndex>(n), at(n), 1});
    core.set_members(members, 5, kStart);
  }
  static NodeAddress at(size_t n) {
    return NodeAddress::v4(10, 0, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n), 1000);
  }
  Datagram datagram(Datagram::Type type, NodeIndex from) {
    Datagram d;
    d.type = type;
    d.cluster = kAloneCluster;
    d.from = from;
    d.incarnation = 1;
    d.nonce = ++nonce;
    d.topology = 5;
    return d;
  }
  void say(const Datagram& d, base::Millis now) {
    core.receive(at(d.from), encode_datagram(d, cipher), now);
  }
  void say_suspect(NodeIndex from, NodeIndex subject, base::Millis now) {
    Datagram d = datagram(Datagram::Type::ack, from);
    d.news.push_back({subject, 1, NodeState::suspect, from, {}});
    say(d, now);
  }
  // Ticks on time, and answers every ping, until then.
  void live(base::Millis until) {
    while (core.next_wake() <= until) {
      const base::Millis now = core.next_wake();
      core.tick(now);
      answer(now);
    }
  }
  void answer(base::Millis now) {
    for (const auto& sent : core.take().sends) {
      Datagram d;
      REQUIRE(decode_datagram(sent.bytes, kAloneCluster, cipher, d) == DatagramFault::none);
      if (d.type != Datagram::Type::ping) continue;
      const auto to = static_cast<NodeIndex>(sent.to.bytes[2] << 8 | sent.to.bytes[3]);
      Datagram ack = datagram(Datagram::Type::ack, to);
      ack.sequence = d.sequence;
      ack.wall = wall_of_others + now;
      say(ack, now);
    }
  }

  GossipCipher cipher{{std::string(32, 's')}, "alone"};
  GossipCore core;
  uint64_t nonce = 0;
  base::Millis wall_of_others = 0;
};

}  // namespace

TEST_CASE("gossip core: a second among three who have nothing to tell") {
  GossipStory story(3);
  story.run(1000);
  CHECK(story.told() == R"(
c -> b  ping
b -> c  ack
b -> c  ping
c -> b  ack
a -> b  ping
b -> a  ack
)");
}

TEST_CASE("gossip core: one dies, is asked for, suspected and given up") {
  GossipStory story(3);
  story.end(2);
  story.run(2000);
  CHECK(story.told() == R"(
b -x c  ping
a -> b  ping
b -> a  ack
b       tries c by TCP
b -> a  ask c
a -x c  ping
a -> b  nack c
b       sees c suspect
b -> a  ping; c suspect 1 says b
a       sees c suspect
a -> b  ack; c suspect 1 says b
a -x c  ping; c suspect 1 says a
a       tries c by TCP
a -> b  ask c; c suspect 1 says b
b -x c  ping; c suspect 1 says b
)");
  story.run(7000);
  CHECK(story.core(0).state(2) == NodeState::fail);
  CHECK(story.core(1).state(2) == NodeState::fail);
  CHECK(story.core(0).state(1) == NodeState::alive);
}

TEST_CASE("gossip core: a third vouches for one that cannot be reached") {
  GossipStory story(3);
  story.tcp_works(false);
  story.cut(0, 1);
  story.run(1600);
  CHECK(story.told() == R"(
c -> b  ping
b -> c  ack
b -> c  ping
c -> b  ack
a -x b  ping
a       tries b by TCP
a -> c  ask b
c -> b  ping
b -> c  ack
c -> a  vouch b; b alive 1 at 10.0.0.2:16379 says c
c -> a  ping
a -> c  ack
b -> a  ping
a -x b  ack
a -> c  ping
c -> a  ack
)");
}

TEST_CASE("gossip core: who hears that it is suspected raises its incarnation") {
  GossipStory story(3);
  story.tcp_works(false);
  story.cut(0, 2);
  story.cut(1, 2);
  story.run(2500);
  REQUIRE(story.core(0).state(2) == NodeState::suspect);
  story.told();
  story.mend();
  story.run(1200);
  CHECK(story.told() == R"(
c       sees a suspect
c -> a  ping; a suspect 1 says c; b suspect 1 says c
a -> c  ack; c suspect 1 says a; a alive 2 at 10.0.0.1:16379; b alive 2 at 10.0.0.2:16379
c       sees a alive
c       sees b alive
c -> a  ping; c alive 2 at 10.0.0.3:16379; b alive 2 at 10.0.0.2:16379
a       sees c alive
a -> c  ack; a alive 2 at 10.0.0.1:16379; b alive 2 at 10.0.0.2:16379
b -> c  ping; c suspect 1 says b
c -> b  ack; a alive 2 at 10.0.0.1:16379; c alive 2 at 10.0.0.3:16379
b       sees c alive
a -> c  ping; a alive 2 at 10.0.0.1:16379; b alive 2 at 10.0.0.2:16379
c -> a  ack; b alive 2 at 10.0.0.2:16379; c alive 2 at 10.0.0.3:16379
)");
}

TEST_CASE("gossip core: who answers by TCP only lives, and is named") {
  GossipStory story(2);
  story.cut(0, 1);
  story.run(1600);
  CHECK(story.told() == R"(
b -> a  ping
a -x b  ack
a -x b  ping
b       tries a by TCP
a       tries b by TCP
b       hears a by TCP only
b -> a  ping
a -x b  ack
a       hears b by TCP only
a -x b  ping
)");
}

TEST_CASE("gossip core: one that begins anew elsewhere is found by what it says") {
  GossipStory story(3);
  story.end(2);
  story.run(1500);
  story.told();
  story.begin(2, true, 2);
  story.run(1500);
  CHECK(story.told() == R"(
c -> a  ping; c alive 2 at 10.0.0.4:16379
a       sees c alive
a       finds c at 10.0.0.4:16379
a -> c  ack
a       tries c by TCP
a -> b  ask c; c alive 2 at 10.0.0.4:16379
b       sees c alive
b       finds c at 10.0.0.4:16379
b -> c  ping
c -> b  ack; c alive 2 at 10.0.0.4:16379
b -> a  vouch c; c alive 2 at 10.0.0.4:16379 says b; c alive 2 at 10.0.0.4:16379
b -> a  ping; c alive 2 at 10.0.0.4:16379
a -> b  ack; c alive 2 at 10.0.0.4:16379
a -> b  ping; c alive 2 at 10.0.0.4:16379
b -> a  ack; c alive 2 at 10.0.0.4:16379
c -> b  ping; c alive 2 at 10.0.0.4:16379
b -> c  ack
)");
}

TEST_CASE("gossip core: one that does not know its last incarnation learns of it") {
  GossipStory story(2);
  story.core(1).move(NodeAddress::v4(10, 9, 9, 9, 1), story.now());
  REQUIRE(story.core(1).incarnation() == 2);
  story.settle(1);
  story.end(1);
  story.run(12'000);
  REQUIRE(story.core(0).state(1) == NodeState::fail);
  story.told();
  story.begin(1, true, 1);
  story.run(1500);
  CHECK(story.told() == R"(
b -> a  ping; b alive 2 at 10.0.0.3:16379
a -> b  ack; b fail 2 says a
b -> a  ping; b alive 3 at 10.0.0.3:16379
a       sees b alive
a       finds b at 10.0.0.3:16379
a -> b  ack
a -> b  ping
b -> a  ack; b alive 3 at 10.0.0.3:16379
b -> a  ping; b alive 3 at 10.0.0.3:16379
a -> b  ack
a -> b  ping
b -> a  ack; b alive 3 at 10.0.0.3:16379
)");
}

TEST_CASE("gossip core: a farewell") {
  GossipStory story(3);
  story.core(2).leave(story.now());
  story.settle(2);
  story.run(300);
  CHECK(story.told() == R"(
c -> b  ping; c left 1
b       sees c left
c -> a  ping; c left 1
a       sees c left
b -> c  ack; c left 1 says b
a -> c  ack; c left 1 says a
c -> a  ping; c left 1
a -> c  ack; c left 1 says a
b -> c  ping; c left 1 says b
b -> a  ping; c left 1
c -> b  ack; c left 1
a -> b  ack; c left 1
)");
}

TEST_CASE("gossip core: a newcomer is met by those who have the topology; others ask for it") {
  GossipStory story(2);
  const NodeIndex c = story.add();
  story.give_topology({0, c}, {0, 1, c});
  story.begin(c, false);
  story.run(1500);
  CHECK(story.told() == R"(
c -> a  ping; c alive 1 at 10.0.0.3:16379
a -> c  ack
b -> a  ping
a -> b  ack
b       asks a for version 2
a -> c  ping
c -> a  ack; c alive 1 at 10.0.0.3:16379
c -> b  ping; c alive 1 at 10.0.0.3:16379
b -> c  ack
b -> c  ping
c -> b  ack; c alive 1 at 10.0.0.3:16379
a -> b  ping
b -> a  ack
)");
}

TEST_CASE("gossip core: one that was forgotten is told so, and no more") {
  GossipStory story(3);
  story.give_topology({0}, {0, 1});
  story.run(1500);
  CHECK(story.told() == R"(
c -> b  ping
b -> c  ack
b -> c  ping
c -> b  ack
a -> b  ping
b       asks a for version 2
b -> a  ack
b -> a  ping
a -> b  ack
c -> a  ping
a -> c  forgotten
c       is forgotten since version 2
c       asks a for version 2
a -> b  ping
b -> a  ack
b -> a  ping
a -> b  ack
)");
  CHECK(!story.core(0).is_member(2));
  CHECK(!story.core(1).is_member(2));
}

TEST_CASE("gossip core: a suspicion lasts from 4 to 24 periods per digit, by who else has it") {
  constexpr base::Millis kLeast = 12'000, kMost = 72'000;  // among 1,000
  Alone alone(999);
  alone.say_suspect(1, 700, kStart);
  SUBCASE("one alone") {
    alone.live(kStart + kMost - 100);
    CHECK(alone.core.state(700) == NodeState::suspect);
    alone.live(kStart + kMost + 100);
    CHECK(alone.core.state(700) == NodeState::fail);
  }
  SUBCASE("the same one again") {
    for (int i = 0; i < 5; ++i) alone.say_suspect(1, 700, kStart);
    alone.live(kStart + kMost - 100);
    CHECK(alone.core.state(700) == NodeState::suspect);
  }
  SUBCASE("a second") {
    alone.say_suspect(2, 700, kStart);
    alone.live(kStart + kLeast + 20'000);
    CHECK(alone.core.state(700) == NodeState::suspect);
    alone.live(kStart + kLeast + 25'000);
    CHECK(alone.core.state(700) == NodeState::fail);
  }
  SUBCASE("a second, over and over") {
    for (int i = 0; i < 5; ++i) alone.say_suspect(2, 700, kStart);
    alone.live(kStart + kLeast + 20'000);
    CHECK(alone.core.state(700) == NodeState::suspect);
  }
  SUBCASE("a third") {
    alone.say_suspect(2, 700, kStart);
    alone.say_suspect(3, 700, kStart);
    alone.live(kStart + kLeast - 100);
    CHECK(alone.core.state(700) == NodeState::suspect);
    alone.live(kStart + kLeast + 100);
    CHECK(alone.core.state(700) == NodeState::fail);
  }
  SUBCASE("it says otherwise") {
    alone.say_suspect(2, 700, kStart);
    alone.say_suspect(3, 700, kStart);
    Datagram d = alone.datagram(Datagram::Type::ping, 700);
    d.incarnation = 2;
    alone.say(d, kStart + 10);
    CHECK(alone.core.state(700) == NodeState::alive);
    alone.say_suspect(4, 700, kStart + 20);  // of the incarnation before
    CHECK(alone.core.state(700) == NodeState::alive);
  }
}

TEST_CASE("gossip core: a probe that fails says nothing of an incarnation it did not ask") {
  Alone alone(1);
  const base::Millis asked = alone.core.next_wake();
  alone.core.tick(asked);
  REQUIRE(alone.core.take().sends.size() == 1);
  Incarnation speaks = 0;
  SUBCASE("the one that was asked") { speaks = 1; }
  SUBCASE("a later one") { speaks = 2; }
  Datagram d = alone.datagram(Datagram::Type::ping, 1);
  d.incarnation = speaks;
  alone.core.tick(asked + 500);
  alone.say(d, asked + 600);
  alone.core.tick(asked + 1000);
  CHECK(alone.core.state(1) == (speaks == 1 ? NodeState::suspect : NodeState::alive));
}

TEST_CASE("gossip core: a pause gives everybody as much more time") {
  Alone alone(999);
  for (NodeIndex from : {1, 2, 3}) alone.say_suspect(from, 700, kStart);
  alone.live(kStart + 6'000);
  // A minute passes in which nothing is done or heard; the suspect's twelve seconds are over.
  alone.core.tick(kStart + 66'000);
  CHECK(alone.core.state(700) == NodeState::suspect);
  CHECK(alone.core.health() == 1);
  alone.answer(kStart + 66'000);
  alone.live(kStart + 71'000);
  CHECK(alone.core.state(700) == NodeState::suspect);
  alone.live(kStart + 73'000);
  CHECK(alone.core.state(700) == NodeState::fail);
  CHECK(alone.core.count(NodeState::fail) == 1);
}

TEST_CASE("gossip core: who gets no answers, and hears from nobody, grows patient") {
  Alone alone(9);
  base::Millis now = kStart;
  while (alone.core.health() < kHealthMax) {
    REQUIRE(now < kStart + 60'000);
    now = alone.core.next_wake();
    alone.core.tick(now);
    alone.core.take();
  }
  alone.live(now + 120'000);
  CHECK(alone.core.health() == 0);
}

TEST_CASE("gossip core: who failed or left is asked now and then, and told what it is taken for") {
  for (const NodeState state : {NodeState::fail, NodeState::left}) {
    Alone alone(3);
    Datagram d = alone.datagram(Datagram::Type::ack, 1);
    d.news.push_back({2, 1, state, 1, {}});
    alone.say(d, kStart);
    REQUIRE(alone.core.state(2) == state);
    unsigned asked = 0;
    while (alone.core.next_wake() < kStart + 60'000) {
      const base::Millis now = alone.core.next_wake();
      alone.core.tick(now);
      for (const auto& sent : alone.core.take().sends) {
        Datagram said;
        REQUIRE(decode_datagram(sent.bytes, kAloneCluster, alone.cipher, said) ==
                DatagramFault::none);
        if (sent.to != Alone::at(2)) continue;
        ++asked;
        CHECK(said.type == Datagram::Type::ping);
        CHECK(said.news[0] == News{2, 1, state, 0, {}});
      }
      alone.core.tcp_answered(1, now);
      alone.core.tcp_answered(3, now);
    }
    CHECK(asked == 60 / kReviveEvery);
  }
}

TEST_CASE("gossip core: a main loop that does not turn for five seconds silences") {
  Alone alone(2);
  const auto is_answered = [&](base::Millis now) {
    alone.core.take();
    alone.say(alone.datagram(Datagram::Type::ping, 1), now);
    return !alone.core.take().sends.empty();
  };
  alone.live(kStart + 500);
  alone.core.set_loop_age(5000, kStart + 600);
  CHECK(is_answered(kStart + 600));
  alone.core.set_loop_age(5001, kStart + 700);
  CHECK(alone.core.silent());
  CHECK(!is_answered(kStart + 700));
  for (base::Millis now = kStart + 1000; now < kStart + 60'000; now += 1000) {
    alone.core.tick(now);
    CHECK(alone.core.take().sends.empty());
  }
  alone.core.set_loop_age(0, kStart + 60'000);
  CHECK(is_answered(kStart + 60'000));
  alone.core.tick(kStart + 60'100);
  CHECK(alone.core.count(NodeState::alive) == 2);
}

TEST_CASE("gossip core: what is not ours to hear changes nothing") {
  Alone alone(3);
  alone.core.take();
  const auto ping = [&] { return alone.datagram(Datagram::Type::ping, 1); };
  SUBCASE("another cluster") {
    Datagram d = ping();
    d.cluster = kAloneCluster + 1;
    alone.say(d, kStart);
    CHECK(alone.core.counts().foreign == 1);
  }
  SUBCASE("another secret") {
    GossipCipher other({std::string(32, 't')}, "alone");
    alone.core.receive(Alone::at(1), encode_datagram(ping(), other), kStart);
    CHECK(alone.core.counts().unauthentic == 1);
  }
  SUBCASE("our own voice") { alone.say(alone.datagram(Datagram::Type::ping, 0), kStart); }
  SUBCASE("garbage") {
    alone.core.receive(Alone::at(1), "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n123", kStart);
    CHECK(alone.core.counts().malformed == 1);
  }
  SUBCASE("an answer to nothing") {
    alone.say(alone.datagram(Datagram::Type::ack, 1), kStart);
    Datagram vouch = alone.datagram(Datagram::Type::vouch, 1);
    vouch.about = 2;
    alone.say(vouch, kStart);
  }
  SUBCASE("news of nobody") {
    Datagram d = alone.datagram(Datagram::Type::ack, 1);
    d.news.push_back({77, 3, NodeState::fail, 1, {}});
    alone.say(d, kStart);
  }
  SUBCASE("a wish to have nobody asked for") {
    Datagram d = alone.datagram(Datagram::Type::ask, 1);
    d.about = 77;
    alone.say(d, kStart);
  }
  const GossipActions actions = alone.core.take();
  CHECK(actions.sends.empty());
  CHECK(actions.changes.empty());
  CHECK(!actions.pull);
  CHECK(alone.core.count(NodeState::alive) == 3);
}

TEST_CASE("gossip core: of the greatest incarnation nothing overflows") {
  Alone alone(2);
  Datagram d = alone.datagram(Datagram::Type::ack, 1);
  d.news.push_back({0, kIncarnationMax, NodeState::fail, 1, {}});
  alone.say(d, kStart);
  alone.say(d, kStart);
  CHECK(alone.core.incarnation() == kIncarnationMax);
}

TEST_CASE("gossip core: pings for others are bounded") {
  Alone alone(3);
  alone.core.take();
  Datagram ask = alone.datagram(Datagram::Type::ask, 1);
  ask.about = 2;
  for (size_t i = 0; i < kRelaysMax + 50; ++i) alone.say(ask, kStart);
  CHECK(alone.core.take().sends.size() == kRelaysMax);
}

TEST_CASE("gossip core: the clock is compared with the median of the others") {
  Alone alone(4);
  CHECK(!alone.core.clock_ahead());
  alone.core.set_wall(5'000);
  alone.wall_of_others = 4'300;
  alone.live(kStart + 20'000);
  CHECK(*alone.core.clock_ahead() == 700);
}

TEST_CASE("gossip core: a view says when a node was asked and answered, and who suspects it") {
  Alone alone(4);
  CHECK(alone.core.view(1).pinged_at == 0);
  CHECK(alone.core.view(1).answered_at == 0);
  alone.live(kStart + 10'000);
  for (NodeIndex n : {1, 2, 3, 4}) {
    CHECK(alone.core.view(n).pinged_at == 0);
    CHECK(alone.core.view(n).answered_at > kStart);
    CHECK(alone.core.view(n).reports == 0);
  }
  alone.say_suspect(2, 1, kStart + 10'001);
  alone.say_suspect(3, 1, kStart + 10'002);
  alone.say_suspect(3, 1, kStart + 10'003);
  CHECK(alone.core.view(1).state == NodeState::suspect);
  CHECK(alone.core.view(1).reports == 2);
  const GossipActions actions = alone.core.take();
  CHECK(std::count(actions.touched.begin(), actions.touched.end(), 1) == 2);
  // It is asked, and does not answer: the first ping counts.
  base::Millis first = 0;
  for (base::Millis now = kStart + 10'010; now < kStart + 100'000; now = alone.core.next_wake()) {
    alone.core.tick(now);
    if (first == 0) first = alone.core.view(1).pinged_at;
  }
  CHECK(first > kStart + 10'000);
  CHECK(alone.core.view(1).pinged_at == first);
}

TEST_CASE("gossip core: the topology's digest is compared with somebody every half minute") {
  Alone alone(3);
  unsigned compared = 0;
  for (base::Millis now = kStart; now < kStart + 300'000; now = alone.core.next_wake()) {
    alone.core.tick(now);
    const GossipActions actions = alone.core.take();
    compared += actions.compare.has_value();
    for (NodeIndex n : {1, 2, 3}) alone.say(alone.datagram(Datagram::Type::ping, n), now);
    alone.core.take();
    alone.core.tcp_answered(1, now);
    alone.core.tcp_answered(2, now);
    alone.core.tcp_answered(3, now);
  }
  CHECK(compared == 10);
}

}  // namespace quoll::cluster
