#include "host/send_ring.h"

#include <algorithm>
#include <vector>

#include "host/uv_transport.h"
#include "tests/unit/host/host_fixture.h"

namespace quoll::host {
namespace {

// Peers of one listener, each with the client that dialed it.
struct Crowd : HostFixture {
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<Recorder>> peers;
  std::vector<std::unique_ptr<Recorder>> clients;

  explicit Crowd(size_t size) {
    auto listening = host.transport.listen({Endpoint::Family::ipv4, "127.0.0.1", 0}, {},
                                           [this](std::unique_ptr<Peer> peer) {
                                             peers.push_back(std::make_unique<Recorder>());
                                             peers.back()->take(std::move(peer));
                                           });
    REQUIRE_MESSAGE(listening.ok(), listening.error());
    listener = std::move(listening.value());
    for (size_t i = 0; i < size; ++i) {
      host.transport.dial(listener->endpoint(), [this](base::Result<std::unique_ptr<Peer>> peer) {
        REQUIRE_MESSAGE(peer.ok(), peer.error());
        clients.push_back(std::make_unique<Recorder>());
        clients.back()->take(std::move(peer.value()));
      });
      REQUIRE(run_until([&] { return peers.size() == i + 1 && clients.size() == i + 1; }));
    }
  }
  bool heard_by_all(const std::vector<std::string>& texts) {
    return run_until([&] {
      return std::equal(texts.begin(), texts.end(), clients.begin(),
                        [](const std::string& text, const auto& it) { return it->bytes == text; });
    });
  }
};

void everybody_gets_its_own(Crowd& f) {
  std::vector<std::string> texts;
  std::vector<Bytes> parts;
  for (size_t i = 0; i < f.peers.size(); ++i)
    texts.push_back("message " + std::to_string(i) + "\n");
  for (const std::string& text : texts) {
    parts.push_back(Bytes(text).substr(0, 4));
    parts.push_back(Bytes(text).substr(4));
  }
  std::vector<Sending> sendings;
  for (size_t i = 0; i < texts.size(); ++i) {
    const bool whole = i % 2;  // as one part, as two
    if (whole) parts[2 * i] = texts[i];
    sendings.push_back({f.peers[i]->peer.get(), std::span(parts).subspan(2 * i, whole ? 1 : 2)});
    f.clients[i]->bytes.clear();
  }
  f.host.transport.send_all(sendings);
  for (size_t i = 0; i < texts.size(); ++i) CHECK(sendings[i].taken == texts[i].size());
  CHECK(f.heard_by_all(texts));
}

}  // namespace

TEST_CASE("send ring: everybody gets its own bytes, with and without it") {
  Crowd f(kSendsPerCall + 3);  // more than one call takes
  everybody_gets_its_own(f);
  f.uv.use_ring(false);
  everybody_gets_its_own(f);
  f.uv.use_ring(true);
  everybody_gets_its_own(f);
}

TEST_CASE("send ring: who takes no more, is closed or gone does not touch the others") {
  Crowd f(8);
  f.clients[1]->peer->pause_reads(true);
  const std::string much(32 << 20, 'x');
  const size_t taken = f.peers[1]->send(much);
  REQUIRE(taken < much.size());
  f.peers[2]->peer->close();
  f.clients[3]->peer->close();
  REQUIRE(f.run_until([&] { return f.peers[3]->is_closed; }));

  const std::string text = "hello";
  const Bytes part = text;
  std::vector<Sending> sendings;
  for (auto& peer : f.peers) sendings.push_back({peer->peer.get(), {&part, 1}});
  f.host.transport.send_all(sendings);
  for (size_t i = 0; i < sendings.size(); ++i)
    CHECK(sendings[i].taken == (i >= 1 && i <= 3 ? 0 : text.size()));
  REQUIRE(f.run_until([&] { return f.clients[7]->bytes == text; }));

  CHECK(f.peers[1]->writable_calls == 0);
  f.clients[1]->peer->pause_reads(false);
  CHECK(f.run_until([&] { return f.peers[1]->writable_calls > 0; }));
}

TEST_CASE("send ring: what is sent to a connection that was reset ends it") {
  Crowd f(4);
  for (auto& peer : f.peers) peer->peer->pause_reads(true);
  const std::string text = "hello";
  const Bytes part = text;
  f.peers[0]->peer->send({&part, 1});
  REQUIRE(f.run_until([&] { return f.clients[0]->bytes == text; }));
  f.clients[0]->send("unread, so that closing resets");
  const int descriptor = f.clients[0]->peer->descriptor();
  linger reset{1, 0};
  setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  f.clients[0]->peer->close();
  std::vector<Sending> sendings;
  for (auto& peer : f.peers) sendings.push_back({peer->peer.get(), {&part, 1}});
  f.host.transport.send_all(sendings);
  CHECK(sendings[0].taken == 0);
  CHECK(sendings[3].taken == text.size());
  CHECK(f.run_until([&] { return f.peers[0]->is_closed; }));
  CHECK_FALSE(f.peers[0]->reason.empty());
}

}  // namespace quoll::host
