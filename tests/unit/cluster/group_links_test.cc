// Two members on the loopback: who may talk to whom, while that changes.
#include "cluster/group_links.h"

#include "tests/unit/host/host_fixture.h"

namespace quoll::cluster {
namespace {

using host::Endpoint;

std::string peer_id(char digit) { return std::string(kMemberIdBytes, digit); }

struct Side : GroupLinksEvents {
  std::unique_ptr<GroupLinks> links;
  std::string heard, trouble;
  int ups = 0, downs = 0;

  void link_up(const Preamble&) override { ++ups; }
  void link_down(Member) override { ++downs; }
  bool link_frame(Member, FrameType, base::Bytes body) override {
    heard += body;
    return true;
  }
  void link_trouble(const std::string& text) override { trouble = text; }
};

// Member 0 listens, member 1 dials.
struct Two : host::HostFixture {
  Side zero, one;
  Endpoint at = free_endpoint();
  base::Millis now = 1000;

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
    side.links = std::make_unique<GroupLinks>(host, std::move(options), side);
  }
  void tick() {
    host.loop.after(base::kNanosPerMilli, [this] {
      now += 20;
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
    REQUIRE(run_until([this] { return zero.links->up(1) && one.links->up(0); }));
  }
};

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

}  // namespace quoll::cluster
