#include "server/publications.h"

#include <doctest/doctest.h>

namespace quoll::server {
namespace {

using Kind = PubSub::Kind;

struct OtherNodes final : PublicationRoute {
  bool has_others(Kind kind) const override { return kind == Kind::channel || with_group; }
  Told tell_others(Kind kind, Bytes batch) override {
    ++frames;
    const auto all = cluster::publications_of(batch);
    REQUIRE(all);
    for (const cluster::Publication& one : *all) {
      CHECK((one.kind == cluster::PublicationKind::shard) == (kind == Kind::shard));
      (got += one.message) += ' ';
    }
    return told;
  }
  bool with_group = true;
  Told told{2, 0};
  int frames = 0;
  std::string got;
};

struct Stage {
  PubSub pubsub;
  OutputGate gate;
  Publications publications{pubsub, gate};
  OtherNodes others;
  Stage() { publications.set_route(&others); }
  void publish(Bytes message, const Ticket& ticket = {}, Kind kind = Kind::channel) {
    publications.add(kind, "channel", message, ticket);
  }
};

}  // namespace

TEST_CASE("publications: one frame per turn, whatever is published in it") {
  Stage stage;
  stage.publish("a");
  stage.publish("b");
  CHECK(stage.others.frames == 0);
  stage.publications.turn();
  CHECK(stage.others.frames == 1);
  CHECK(stage.others.got == "a b ");
  stage.publications.turn();
  CHECK(stage.others.frames == 1);
  CHECK(stage.publications.counters().sent == 4);
  stage.others.with_group = false;
  stage.publish("c", {}, Kind::shard);
  stage.publications.turn();
  CHECK(stage.others.frames == 1);
}

TEST_CASE("publications: what may show what is not committed waits, and what comes behind it") {
  Stage stage;
  const Ticket first{10, Need::members}, second{20, Need::members};
  stage.publish("a", first);
  stage.publish("b");
  stage.publish("c", second);
  stage.publish("d");
  stage.publications.turn();
  CHECK(stage.others.got.empty());
  stage.gate.advance(Need::members, 10);
  stage.publications.turn();
  CHECK(stage.others.got == "a b ");
  SUBCASE("committed") {
    stage.gate.advance(Need::members, 20);
    stage.publications.turn();
    CHECK(stage.others.got == "a b c d ");
    CHECK(stage.publications.counters().lost == 0);
  }
  SUBCASE("lost") {
    stage.publications.give_up_waiting();
    stage.gate.advance(Need::members, 20);  // as who leads no more does
    stage.publications.turn();
    CHECK(stage.others.got == "a b d ");
    CHECK(stage.publications.counters().lost == 1);
  }
}

TEST_CASE("publications: bounds") {
  Stage stage;
  stage.others.told = {1, 1};
  stage.publish(std::string(cluster::kPublicationBytesMax, 'x'));
  CHECK(stage.publications.counters().lost == 1);
  const std::string half(kPublicationsWaitingMax / 2 - 1000, 'x');
  const Ticket ticket{10, Need::members};
  for (int i = 0; i < 3; ++i) stage.publish(half, ticket);
  CHECK(stage.publications.counters().lost == 2);
  stage.gate.advance(Need::members, 10);
  stage.publications.turn();
  CHECK(stage.others.frames == 2);
  CHECK(stage.publications.counters().sent == 2);
  CHECK(stage.publications.counters().lost == 4);
}

}  // namespace quoll::server
