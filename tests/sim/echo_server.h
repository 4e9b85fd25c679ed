// A small server on host::Transport alone: what it receives it sends back. It stops reading while
// too much is unsent, and sends once per turn, as a real server does.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "base/check.h"
#include "host/host.h"

namespace quoll::sim {

constexpr uint16_t kEchoPort = 6379;
constexpr size_t kEchoUnsentMax = 8 * 1024;

class EchoServer {
 public:
  explicit EchoServer(host::Host& host) {
    auto listening = host.transport.listen({host::Endpoint::Family::ipv4, "127.0.0.1", kEchoPort},
                                           {}, [this](std::unique_ptr<host::Peer> peer) {
                                             sessions_.emplace_back(std::move(peer)).begin();
                                           });
    QUOLL_CHECK(listening.ok());
    listener_ = std::move(listening.value());
    host.loop.on_turn_end([this] {
      std::erase_if(sessions_, [](const Session& session) { return session.over; });
      for (Session& session : sessions_) session.flush();
    });
  }
  size_t sessions() const { return sessions_.size(); }

 private:
  struct Session final : host::PeerEvents {
    explicit Session(std::unique_ptr<host::Peer> given) : peer(std::move(given)) {}
    void begin() { peer->start(*this); }

    std::span<char> receive_buffer() override { return buffer; }
    void received(size_t bytes) override { unsent.append(buffer, bytes); }
    void writable() override { blocked = false; }
    void closed(const std::string&) override { over = true; }
    void flush() {
      if (!blocked && !unsent.empty()) {
        // In two parts, so that a send may end inside either.
        host::Bytes parts[] = {host::Bytes(unsent).substr(0, unsent.size() / 2),
                               host::Bytes(unsent).substr(unsent.size() / 2)};
        size_t sent = peer->send(parts);
        blocked = sent < unsent.size();
        unsent.erase(0, sent);
      }
      peer->pause_reads(unsent.size() > kEchoUnsentMax);
    }

    std::unique_ptr<host::Peer> peer;
    std::string unsent;
    char buffer[1024];
    bool blocked = false;
    bool over = false;
  };

  std::unique_ptr<host::Listener> listener_;
  std::list<Session> sessions_;
};

inline std::shared_ptr<void> boot_echo(host::Host& host) {
  return std::make_shared<EchoServer>(host);
}

}  // namespace quoll::sim
