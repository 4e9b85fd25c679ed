#include "tests/sim/sim_client.h"

#include <utility>

#include "base/check.h"
#include "tests/sim/sim_connection.h"

namespace quoll::sim {

SimClient::SimClient(SimWorld& world, NodeId node, uint16_t port) : world_(world) {
  target_ = {host::Endpoint::Family::ipv4, SimWorld::address_of(node), port};
  connect();
}

SimClient::~SimClient() { *attempt_ = 0; }

void SimClient::connect() {
  disconnect();
  lost_ = false;
  uint64_t attempt = *attempt_ = ++last_attempt_;
  auto& transport = world_.host(world_.clients()).transport;
  transport.dial(
      target_, [this, attempt, current = attempt_](base::Result<std::unique_ptr<host::Peer>> peer) {
        if (*current != attempt) return;
        if (!peer) return lose(peer.error());
        peer_ = std::move(peer.value());
        peer_->start(*this);
        flush();
      });
}

void SimClient::disconnect() {
  *attempt_ = 0;
  peer_.reset();
  unsent_.clear();
  unparsed_.clear();
  waiting_.clear();
  malformed_ = false;
}

void SimClient::lose(const std::string& reason) {
  disconnect();
  lost_ = true;
  reason_ = reason;
}

void SimClient::closed(const std::string& reason) { lose(reason); }

void SimClient::command(const std::vector<std::string>& args, OnReply on_reply) {
  send_raw(resp_command(args), 1, std::move(on_reply));
}

void SimClient::send_raw(std::string bytes, size_t replies, OnReply on_reply) {
  if (lost_) return;
  for (size_t i = 0; i < replies; ++i) waiting_.push_back(on_reply);
  unsent_ += bytes;
  flush();
}

void SimClient::flush() {
  if (!peer_ || unsent_.empty()) return;
  host::Bytes part = unsent_;
  unsent_.erase(0, peer_->send(std::span<const host::Bytes>(&part, 1)));
}

void SimClient::pause_reads(bool paused) {
  if (peer_) peer_->pause_reads(paused);
}

void SimClient::end_sends() {
  if (peer_) static_cast<SimPeer&>(*peer_).end_sends();
}

void SimClient::received(size_t bytes) {
  unparsed_.append(buffer_, bytes);
  uint64_t attempt = *attempt_;
  while (true) {
    size_t length = reply_length(unparsed_);
    if (length == 0) return;
    if (length == kMalformed) {
      malformed_ = true;
      return;
    }
    std::string raw = unparsed_.substr(0, length);
    unparsed_.erase(0, length);
    bool push = raw[0] == '>' || waiting_.empty();
    OnReply on_reply = push ? on_push : std::move(waiting_.front());
    if (!push) waiting_.pop_front();
    if (on_reply) on_reply(raw);
    if (*attempt_ != attempt) return;  // the callback closed or reconnected
  }
}

std::string SimClient::call(const std::vector<std::string>& args, Nanos limit) {
  // Shared, because the callback may outlive this call when the limit is hit.
  auto reply = std::make_shared<std::string>();
  command(args, [reply](const std::string& raw) { *reply = raw; });
  bool ended = world_.run_until([&] { return !reply->empty() || lost_ || malformed_; }, limit);
  QUOLL_CHECK(ended);
  return *reply;
}

}  // namespace quoll::sim
