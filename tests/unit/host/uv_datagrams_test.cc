#include "host/uv_datagrams.h"

#include "tests/unit/host/host_fixture.h"

namespace quoll::host {

TEST_CASE("datagrams: there and back, sender named, sizes kept") {
  UvLoop loop;
  UvDatagrams left(loop);
  UvDatagrams right(loop);
  const Endpoint any{Endpoint::Family::ipv4, "127.0.0.1", 0};
  std::vector<std::string> heard;
  Endpoint sender;
  REQUIRE(right
              .bind(any,
                    [&](const Endpoint& from, Bytes bytes) {
                      sender = from;
                      right.send(from, "re:" + std::string(bytes));
                    })
              .ok());
  REQUIRE(left.bind(any,
                    [&](const Endpoint&, Bytes bytes) {
                      heard.emplace_back(bytes);
                      if (heard.size() == 3) loop.stop();
                    })
              .ok());
  left.send(right.bound(0), "one");
  left.send(right.bound(0), "");
  left.send(right.bound(0), std::string(30000, 'x'));
  loop.after(base::kNanosPerMilli * 3000, [&] { loop.stop(); });
  loop.run();
  REQUIRE(heard.size() == 3);
  CHECK(heard[0] == "re:one");
  CHECK(heard[1] == "re:");
  CHECK(heard[2].size() == 30003);
  CHECK(sender.address == "127.0.0.1");
  CHECK(sender.port == left.bound(0).port);
}

TEST_CASE("datagrams: errors of bind; sending into the void is no error") {
  HostFixture f;
  UvLoop loop;
  UvDatagrams one(loop);
  REQUIRE(one.bind({Endpoint::Family::ipv4, "127.0.0.1", 0}, [](const Endpoint&, Bytes) {}).ok());
  auto taken = f.host.datagrams.bind(one.bound(0), [](const Endpoint&, Bytes) {});
  CHECK(taken.error() == "bind: Address already in use");
  f.host.datagrams.send({Endpoint::Family::ipv4, "127.0.0.1", 1}, "nobody there");
  f.host.datagrams.send({Endpoint::Family::ipv4, "not an address", 1}, "nobody there");
  CHECK_FALSE(
      f.host.datagrams.bind({Endpoint::Family::unix_path, "/x", 1}, [](const Endpoint&, Bytes) {})
          .ok());
}

}  // namespace quoll::host
