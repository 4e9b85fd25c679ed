#include "host/uv_transport.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "tests/unit/host/host_fixture.h"

namespace quoll::host {
namespace {

// A listener that keeps its peers, and one client dialled to it.
struct Pair : HostFixture {
  std::unique_ptr<Listener> listener;
  Recorder server;
  Recorder client;

  void connect(const Endpoint& at, const ListenOptions& options = {}) {
    auto listening = host.transport.listen(
        at, options, [this](std::unique_ptr<Peer> peer) { server.take(std::move(peer)); });
    REQUIRE_MESSAGE(listening.ok(), listening.error());
    listener = std::move(listening.value());
    host.transport.dial(listener->endpoint(), [this](base::Result<std::unique_ptr<Peer>> peer) {
      REQUIRE_MESSAGE(peer.ok(), peer.error());
      client.take(std::move(peer.value()));
    });
    REQUIRE(run_until([this] { return server.peer && client.peer; }));
  }
  void echo() {
    server.on_bytes = [this](Bytes bytes) { CHECK(server.send(bytes) == bytes.size()); };
  }
};

int option_of(const Peer& peer, int level, int option) {
  int value = -1;
  socklen_t length = sizeof(value);
  getsockopt(peer.descriptor(), level, option, &value, &length);
  return value;
}

}  // namespace

TEST_CASE("transport: echo over IPv4 with addresses as CLIENT LIST shows them") {
  Pair f;
  f.connect(kLoopback);
  f.echo();
  Bytes parts[] = {"hel", "", "lo"};
  CHECK(f.client.peer->send(parts) == 5);
  REQUIRE(f.run_until([&] { return f.client.bytes.size() == 5; }));
  CHECK(f.client.bytes == "hello");
  std::string port = std::to_string(f.listener->endpoint().port);
  CHECK(f.client.peer->remote_address() == "127.0.0.1:" + port);
  CHECK(f.server.peer->local_address() == "127.0.0.1:" + port);
  CHECK(f.server.peer->remote_address() == f.client.peer->local_address());
  CHECK(f.server.peer->is_loopback());
  CHECK_FALSE(f.server.peer->is_unix());
  CHECK(f.server.peer->descriptor() > 2);
  CHECK(option_of(*f.server.peer, IPPROTO_TCP, TCP_NODELAY) == 1);
}

TEST_CASE("transport: echo over IPv6") {
  Pair f;
  f.connect({Endpoint::Family::ipv6, "::1", 0});
  f.echo();
  f.client.send("six");
  REQUIRE(f.run_until([&] { return f.client.bytes == "six"; }));
  std::string port = std::to_string(f.listener->endpoint().port);
  CHECK(f.client.peer->remote_address() == "[::1]:" + port);
  CHECK(f.server.peer->is_loopback());
}

TEST_CASE("transport: host names are resolved for listening and dialling") {
  Pair f;
  f.connect({Endpoint::Family::ipv4, "localhost", 0});
  CHECK(f.listener->endpoint().address == "127.0.0.1");
  Recorder named;
  f.host.transport.dial({Endpoint::Family::ipv4, "localhost", f.listener->endpoint().port},
                        [&](base::Result<std::unique_ptr<Peer>> peer) {
                          REQUIRE(peer.ok());
                          named.take(std::move(peer.value()));
                        });
  CHECK(f.run_until([&] { return named.peer != nullptr; }));
}

TEST_CASE("transport: unix socket with permissions; the path goes with the listener") {
  ScratchDir scratch;
  std::string path = scratch.path + "/s.sock";
  Pair f;
  ListenOptions options;
  options.unix_mode = 0700;
  f.connect({Endpoint::Family::unix_path, path, 0}, options);
  f.echo();
  f.client.send("local");
  REQUIRE(f.run_until([&] { return f.client.bytes == "local"; }));
  struct stat info;
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0700);
  CHECK(f.server.peer->is_unix());
  CHECK(f.server.peer->is_loopback());
  CHECK(f.server.peer->remote_address() == path + ":0");
  CHECK(f.server.peer->local_address() == path + ":0");
  f.listener.reset();
  CHECK(stat(path.c_str(), &info) != 0);
}

TEST_CASE("transport: a stale unix socket is replaced, another file is not") {
  ScratchDir scratch;
  HostFixture f;
  std::string path = scratch.path + "/s.sock";
  Endpoint at{Endpoint::Family::unix_path, path, 0};
  int stale = socket(AF_UNIX, SOCK_STREAM, 0);
  auto address = numeric_address(at);
  REQUIRE(bind(stale, address->raw(), address->length) == 0);
  close(stale);
  CHECK(f.host.transport.listen(at, {}, [](std::unique_ptr<Peer>) {}).ok());
  int file = open(path.c_str(), O_CREAT | O_WRONLY, 0600);
  close(file);
  auto refused = f.host.transport.listen(at, {}, [](std::unique_ptr<Peer>) {});
  CHECK(refused.error() == "bind: Address already in use");
  at.address = scratch.path + "/" + std::string(200, 'x');
  CHECK_FALSE(f.host.transport.listen(at, {}, [](std::unique_ptr<Peer>) {}).ok());
}

TEST_CASE("transport: errors of listen and dial carry the system's words") {
  HostFixture f;
  auto first = f.host.transport.listen(kLoopback, {}, [](std::unique_ptr<Peer>) {});
  REQUIRE(first.ok());
  Endpoint taken = first.value()->endpoint();
  auto second = f.host.transport.listen(taken, {}, [](std::unique_ptr<Peer>) {});
  CHECK(second.error() == "bind: Address already in use");
  auto foreign = f.host.transport.listen({Endpoint::Family::ipv4, "192.0.2.1", 0}, {},
                                         [](std::unique_ptr<Peer>) {});
  CHECK(foreign.error() == "bind: Cannot assign requested address");
  first.value().reset();
  std::string error;
  f.host.transport.dial(taken, [&](base::Result<std::unique_ptr<Peer>> p) { error = p.error(); });
  REQUIRE(f.run_until([&] { return !error.empty(); }));
  CHECK(error == "Connection refused");
}

TEST_CASE("transport: several megabytes to a slow reader arrive whole and in order") {
  Pair f;
  f.connect(kLoopback);
  const std::string all = pattern(6u << 20);
  size_t sent = 0;
  int short_sends = 0;
  auto push = [&] {
    while (sent < all.size()) {
      // Odd sizes and many parts, so that a send ends inside a part.
      std::vector<Bytes> parts;
      size_t offered = 0;
      for (size_t at = sent; at < all.size() && parts.size() < 700; at += 1777) {
        parts.push_back(Bytes(all).substr(at, 1777));
        offered += parts.back().size();
      }
      size_t taken = f.server.peer->send(parts);
      sent += taken;
      if (taken < offered) {
        ++short_sends;
        return;
      }
    }
  };
  f.client.buffer_bytes = 64 << 10;
  int pauses = 0;
  f.client.on_bytes = [&](Bytes) {
    if (f.client.bytes.size() < (size_t{1} << 20) * (pauses + 1)) return;
    ++pauses;
    f.client.peer->pause_reads(true);
    f.host.loop.after(1'000'000, [&] { f.client.peer->pause_reads(false); });
  };
  f.server.on_writable = push;
  push();
  CHECK(short_sends > 0);
  REQUIRE(f.run_until([&] { return f.client.bytes.size() >= all.size(); }));
  CHECK(f.client.bytes == all);
  CHECK(pauses >= 5);
  CHECK(f.server.writable_calls > 0);
  int calls = f.server.writable_calls;
  f.run_for(3'000'000);
  CHECK(f.server.writable_calls == calls);  // not asked for any more
}

TEST_CASE("transport: a paused peer receives nothing but hears of the end") {
  Pair f;
  f.connect(kLoopback);
  f.server.peer->pause_reads(true);
  SUBCASE("orderly, nothing unread: at once") {
    f.client.peer.reset();
    REQUIRE(f.run_until([&] { return f.server.is_closed; }));
    CHECK(f.server.reason.empty());
  }
  SUBCASE("orderly with unread bytes: after they were read, and without spinning") {
    f.client.send("last words");
    f.client.peer.reset();
    int turns = 0;
    f.host.loop.on_turn_end([&] { ++turns; });
    f.run_for(20'000'000);
    CHECK(turns < 15);
    CHECK_FALSE(f.server.is_closed);
    CHECK(f.server.bytes.empty());
    f.server.peer->pause_reads(false);
    REQUIRE(f.run_until([&] { return f.server.is_closed; }));
    CHECK(f.server.bytes == "last words");
  }
  SUBCASE("reset with unread bytes: at once") {
    f.client.send("never read");
    f.run_for(1'000'000);
    linger abrupt{1, 0};
    setsockopt(f.client.peer->descriptor(), SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
    f.client.peer.reset();
    REQUIRE(f.run_until([&] { return f.server.is_closed; }));
    CHECK(f.server.reason == "Connection reset by peer");
  }
}

TEST_CASE("transport: an owner with more to send keeps a connection whose other side has ended") {
  Pair f;
  f.connect(kLoopback);
  int ends = 0;
  f.server.on_ended = [&] {
    ++ends;
    f.server.peer->pause_reads(true);
    return true;
  };
  f.client.send("question");
  shutdown(f.client.peer->descriptor(), SHUT_WR);
  REQUIRE(f.run_until([&] { return ends > 0; }));
  CHECK(f.server.bytes == "question");
  int turns = 0;
  f.host.loop.on_turn_end([&] { ++turns; });
  f.run_for(20'000'000);
  CHECK(turns < 15);
  CHECK(ends == 1);
  CHECK_FALSE(f.server.is_closed);
  f.server.send("late answer");
  REQUIRE(f.run_until([&] { return f.client.bytes == "late answer"; }));
  SUBCASE("until it closes") {
    f.server.peer.reset();
    REQUIRE(f.run_until([&] { return f.client.is_closed; }));
    CHECK(f.client.reason.empty());
  }
  SUBCASE("or the other side goes altogether, which sending finds out") {
    f.client.peer.reset();
    REQUIRE(f.run_until([&] {
      if (!f.server.is_closed) f.server.send("to nobody");
      return f.server.is_closed;
    }));
    CHECK_FALSE(f.server.reason.empty());
  }
}

TEST_CASE("transport: commands sent before a reset are still received") {
  Pair f;
  f.connect(kLoopback);
  f.client.send("fire and forget");
  linger abrupt{1, 0};
  setsockopt(f.client.peer->descriptor(), SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
  f.client.peer.reset();
  REQUIRE(f.run_until([&] { return f.server.is_closed; }));
  CHECK(f.server.bytes == "fire and forget");
  CHECK(f.server.reason == "Connection reset by peer");
}

TEST_CASE("transport: one peer does not hold the turn") {
  Pair f;
  f.connect(kLoopback);
  f.server.buffer_bytes = 100;
  f.client.send(std::string(2000, 'x'));
  f.run_for(1'000'000);
  int receives = 0;
  size_t most = 0;
  f.server.bytes.clear();
  f.server.on_bytes = [&](Bytes) { ++receives; };
  f.host.loop.on_turn_end([&] {
    most = std::max<size_t>(most, receives);
    receives = 0;
  });
  f.client.send(std::string(2000, 'y'));
  REQUIRE(f.run_until([&] { return f.server.bytes.size() >= 2000; }));
  CHECK(most == kReceivesPerEventMax);
}

TEST_CASE("transport: a peer may be closed or destroyed inside its own callbacks") {
  Pair f;
  f.connect(kLoopback);
  SUBCASE("destroyed while receiving, with a full buffer and more to come") {
    f.server.buffer_bytes = 4;
    f.server.on_bytes = [&](Bytes) { f.server.peer.reset(); };
    f.client.send("0123456789");
    REQUIRE(f.run_until([&] { return f.client.is_closed; }));
    CHECK(f.server.bytes == "0123");
    CHECK_FALSE(f.server.is_closed);
  }
  SUBCASE("closed while receiving") {
    f.server.on_bytes = [&](Bytes) {
      f.server.peer->close();
      CHECK(f.server.send("late") == 0);
    };
    f.client.send("x");
    REQUIRE(f.run_until([&] { return f.client.is_closed; }));
    CHECK_FALSE(f.server.is_closed);
  }
  SUBCASE("destroyed while hearing of the end") {
    f.server.on_end = [&] { f.server.peer.reset(); };
    f.client.peer.reset();
    REQUIRE(f.run_until([&] { return f.server.is_closed; }));
  }
  SUBCASE("destroyed while writable") {
    const std::string much(8u << 20, 'z');
    CHECK(f.server.send(much) < much.size());
    bool destroyed = false;
    f.server.on_writable = [&] {
      f.server.peer.reset();
      destroyed = true;
    };
    REQUIRE(f.run_until([&] { return destroyed && f.client.is_closed; }));
  }
}

TEST_CASE("transport: a failed send is reported once, later, as the end") {
  Pair f;
  f.connect(kLoopback);
  f.server.peer->pause_reads(true);
  linger abrupt{1, 0};
  setsockopt(f.client.peer->descriptor(), SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
  f.client.peer.reset();
  CHECK(f.server.send("into the void") == 0);
  CHECK_FALSE(f.server.is_closed);
  REQUIRE(f.run_until([&] { return f.server.is_closed; }));
  CHECK_FALSE(f.server.reason.empty());
}

TEST_CASE("transport: keepalive follows the setting") {
  Pair f;
  f.connect(kLoopback);
  f.server.peer->set_keepalive(300);
  CHECK(option_of(*f.server.peer, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option_of(*f.server.peer, IPPROTO_TCP, TCP_KEEPIDLE) == 300);
  CHECK(option_of(*f.server.peer, IPPROTO_TCP, TCP_KEEPINTVL) == 100);
  CHECK(option_of(*f.server.peer, IPPROTO_TCP, TCP_KEEPCNT) == 3);
  f.server.peer->set_keepalive(1);
  CHECK(option_of(*f.server.peer, IPPROTO_TCP, TCP_KEEPINTVL) == 1);
  f.server.peer->set_keepalive(0);
  CHECK(option_of(*f.server.peer, SOL_SOCKET, SO_KEEPALIVE) == 0);
}

TEST_CASE("transport: a paused listener leaves connections waiting") {
  HostFixture f;
  int accepted = 0;
  std::vector<std::unique_ptr<Peer>> peers;
  auto listening = f.host.transport.listen(kLoopback, {}, [&](std::unique_ptr<Peer> peer) {
    ++accepted;
    peers.push_back(std::move(peer));
  });
  listening.value()->pause(true);
  bool dialled = false;
  f.host.transport.dial(listening.value()->endpoint(),
                        [&](base::Result<std::unique_ptr<Peer>> peer) {
                          dialled = true;
                          peers.push_back(std::move(peer.value()));
                        });
  REQUIRE(f.run_until([&] { return dialled; }));
  f.run_for(2'000'000);
  CHECK(accepted == 0);
  listening.value()->pause(false);
  CHECK(f.run_until([&] { return accepted == 1; }));
}

TEST_CASE("transport: without free descriptors the listener rests instead of spinning") {
  HostFixture f;
  std::vector<std::unique_ptr<Peer>> peers;
  int accepted = 0;
  auto listening = f.host.transport.listen(kLoopback, {}, [&](std::unique_ptr<Peer> peer) {
    ++accepted;
    peers.push_back(std::move(peer));
  });
  bool dialled = false;
  f.host.transport.dial(listening.value()->endpoint(),
                        [&](base::Result<std::unique_ptr<Peer>> peer) {
                          dialled = true;
                          peers.push_back(std::move(peer.value()));
                        });
  // The dial holds its descriptor already; none is left for accept4().
  rlimit old;
  getrlimit(RLIMIT_NOFILE, &old);
  rlimit none = old;
  none.rlim_cur = 0;
  setrlimit(RLIMIT_NOFILE, &none);
  int turns = 0;
  f.host.loop.on_turn_end([&] { ++turns; });
  f.run_for(30'000'000);
  setrlimit(RLIMIT_NOFILE, &old);
  CHECK(dialled);
  CHECK(accepted == 0);
  CHECK(turns < 15);
  CHECK(f.run_until([&] { return accepted == 1; }));
}

TEST_CASE("transport: the listener may go from inside its own callback") {
  HostFixture f;
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<Peer>> peers;
  bool accepted = false;
  auto listening = f.host.transport.listen(kLoopback, {}, [&](std::unique_ptr<Peer> peer) {
    peers.push_back(std::move(peer));
    listener.reset();
    accepted = true;
  });
  listener = std::move(listening.value());
  for (int i = 0; i < 2; ++i) {
    f.host.transport.dial(listener->endpoint(), [&](base::Result<std::unique_ptr<Peer>> peer) {
      if (peer.ok()) peers.push_back(std::move(peer.value()));
    });
  }
  CHECK(f.run_until([&] { return accepted; }));
}

}  // namespace quoll::host
