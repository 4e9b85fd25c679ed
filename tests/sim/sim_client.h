// SimClient: a RESP client inside a world, for driving complete servers.
//
// Commands are pipelined: they may be issued before the connection stands and without waiting.
// Every reply is handed over as its raw bytes, in order, to the callback of its command. RESP3
// pushes, and replies nobody waits for (RESP2 subscriptions), go to on_push. A lost connection
// drops the outstanding callbacks; connect() starts anew.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/resp_reply.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {

constexpr Nanos kCallLimit = 60'000 * base::kNanosPerMilli;

class SimClient final : public host::PeerEvents {
 public:
  using OnReply = std::function<void(const std::string& raw)>;

  SimClient(SimWorld& world, NodeId node, uint16_t port = 6379);
  ~SimClient() override;
  SimClient(const SimClient&) = delete;

  void connect();  // called by the constructor; again after a loss
  void disconnect();
  bool connected() const { return peer_ != nullptr; }
  bool lost() const { return lost_; }  // the connection ended, or never came about
  const std::string& reason() const { return reason_; }

  void command(const std::vector<std::string>& args, OnReply on_reply = {});
  // Bytes as they are; `replies` of them are awaited, each handed to `on_reply`.
  void send_raw(std::string bytes, size_t replies, OnReply on_reply = {});
  void pause_reads(bool paused);  // a client that does not read
  void end_sends();               // it still reads; what is unsent is lost
  std::string local_address() const { return peer_ ? peer_->local_address() : ""; }

  // Sends and runs the world until the reply is there. "" when the connection ended instead.
  std::string call(const std::vector<std::string>& args, Nanos limit = kCallLimit);

  OnReply on_push;
  size_t outstanding() const { return waiting_.size(); }
  bool malformed() const { return malformed_; }  // the server sent what is no reply

  std::span<char> receive_buffer() override { return buffer_; }
  void received(size_t bytes) override;
  void writable() override { flush(); }
  void closed(const std::string& reason) override;

 private:
  void flush();
  void lose(const std::string& reason);

  SimWorld& world_;
  host::Endpoint target_;
  std::unique_ptr<host::Peer> peer_;
  std::shared_ptr<uint64_t> attempt_ = std::make_shared<uint64_t>(0);  // of connect(); 0 = gone
  uint64_t last_attempt_ = 0;
  std::string unsent_;
  std::string unparsed_;
  std::deque<OnReply> waiting_;
  std::string reason_;
  bool lost_ = false;
  bool malformed_ = false;
  char buffer_[4096];
};

// Sends `count` commands in pipelines of so many and waits for the replies.
template <class Make>
bool send_many(SimWorld& world, SimClient& client, size_t count, size_t pipeline, Make&& make) {
  size_t errors = 0;
  for (size_t from = 0; from < count; from += pipeline) {
    std::string bytes;
    size_t until = std::min(count, from + pipeline);
    for (size_t i = from; i < until; ++i) bytes += resp_command(make(i));
    client.send_raw(std::move(bytes), until - from,
                    [&errors](const std::string& raw) { errors += raw[0] == '-'; });
    if (!world.run_until([&] { return client.outstanding() == 0; }, 600 * kSecond)) return false;
  }
  return errors == 0;
}

}  // namespace quoll::sim
