#include "server/failover.h"

#include "server/log.h"
#include "server/replication.h"
#include "server/server.h"

namespace quoll::server {
namespace {

std::string address_of(const Replica& replica) {
  if (!replica.announced_ip.empty()) return replica.announced_ip;
  std::string address = replica.session.peer().remote_address();
  address = address.substr(0, address.rfind(':'));
  if (address.starts_with('[')) address = address.substr(1, address.size() - 2);
  return address;
}

}  // namespace

const char* Failover::state_name() const {
  switch (state_) {
    case State::none:
      return "no-failover";
    case State::waiting:
      return "waiting-for-sync";
    case State::in_progress:
      break;
  }
  return "failover-in-progress";
}

void Failover::begin(Wish wish) {
  log::notice("FAILOVER requested to {}.",
              wish.host.empty() ? "any replica" : wish.host + ":" + std::to_string(wish.port));
  wish_ = std::move(wish);
  until_ms_ = wish_.timeout_ms > 0 ? server_.now() + wish_.timeout_ms : 0;
  state_ = State::waiting;
  server_.hold_writes(HoldWrites::failover, true);  // replicas acknowledge once a second
}

bool Failover::abort() {
  if (state_ == State::none) return false;
  log::notice("Failover manually aborted.");
  if (state_ == State::in_progress) replication_.promote();
  end();
  return true;
}

void Failover::tick() {
  if (state_ != State::waiting) return;
  const uint64_t offset = replication_.offset();
  std::string host;
  uint16_t port = 0;
  replication_.replicas().each([&](const Replica& replica) {
    const bool wished = wish_.host.empty() ||
                        (address_of(replica) == wish_.host && replica.listening_port == wish_.port);
    if (!wished || replica.state != Replica::State::online || !host.empty()) return;
    if (replica.acked < offset) return;
    host = address_of(replica);
    port = replica.listening_port;
  });
  if (!host.empty()) return hand_over(host, port);
  if (until_ms_ == 0 || server_.now() < until_ms_) return;
  if (wish_.force) {
    log::notice("Failover to {}:{} time out exceeded, failing over.", wish_.host, wish_.port);
    return hand_over(wish_.host, wish_.port);
  }
  log::notice("Replica never caught up before timeout, failover is aborted.");
  end();
}

void Failover::hand_over(const std::string& host, uint16_t port) {
  log::notice("Failover target is {}:{}, failing over.", host, port);
  state_ = State::in_progress;
  replication_.hand_over_to(host, port);
}

void Failover::done() {
  if (state_ != State::in_progress) return;
  log::notice("Failover finished: this server is a replica now.");
  end();
}

void Failover::refused(const std::string& reason) {
  if (state_ != State::in_progress) return;
  log::warning("Failover target rejected psync request: {}", reason);
  replication_.promote();
  end();
}

void Failover::end() {
  state_ = State::none;
  server_.hold_writes(HoldWrites::failover, false);
}

}  // namespace quoll::server
