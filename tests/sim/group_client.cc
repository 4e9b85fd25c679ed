#include "tests/sim/group_client.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace quoll::sim {
namespace {

constexpr Nanos kLookEvery = 2 * base::kNanosPerMilli;
constexpr Nanos kConnectLimit = 300 * base::kNanosPerMilli;

// What a server says before it has done anything.
constexpr std::array<std::string_view, 9> kRefusals = {"MOVED ",    "ASK ",      "CLUSTERDOWN ",
                                                       "LOADING ",  "TRYAGAIN ", "MASTERDOWN ",
                                                       "READONLY ", "MISCONF ",  "EXECABORT "};

bool is_refusal(std::string_view error) {
  return std::ranges::any_of(kRefusals, [&](auto word) { return error.starts_with(word); });
}

}  // namespace

GroupClient::GroupClient(SimWorld& world, std::vector<NodeId> nodes, Nanos patience)
    : world_(world), nodes_(std::move(nodes)), patience_(patience) {}

void GroupClient::ask(Commands commands, Told told) {
  QUOLL_CHECK(!asking());
  commands_ = std::move(commands);
  told_ = std::move(told);
  asked_at_ = world_.now();
  sent_ = false;
  ++question_;
  if (!client_) connect_to_another();
  watch(0);
}

void GroupClient::connect_to(NodeId node) {
  node_ = node;
  connecting_since_ = world_.now();
  client_ = std::make_unique<SimClient>(world_, node);
}

void GroupClient::connect_to_another() {
  NodeId next = nodes_[static_cast<size_t>(
      world_.chance().between(0, static_cast<int64_t>(nodes_.size()) - 1))];
  connect_to(next);
}

// A lost connection tells nobody: we look.
void GroupClient::watch(Nanos delay) {
  world_.after(delay, [this, question = question_, alive = alive_] {
    if (*alive && question == question_ && look()) watch(kLookEvery);
  });
}

bool GroupClient::look() {
  const Nanos now = world_.now();
  if (sent_) {
    bool late = now - interval_.invoked > patience_;
    if (!client_->lost() && !late) return true;
    connect_to_another();
    finish(Outcome::unknown);
    return false;
  }
  if (now - asked_at_ > patience_) {
    finish(Outcome::refused);
    return false;
  }
  if (client_->connected())
    send();
  else if (client_->lost() || now - connecting_since_ > kConnectLimit)
    connect_to_another();
  return true;
}

void GroupClient::send() {
  sent_ = true;
  interval_ = {world_.now(), kNever};
  replies_due_ = commands_.size();
  first_error_.clear();
  for (const auto& command : commands_)
    client_->command(command, [this, question = question_](const std::string& raw) {
      if (question == question_) heard(raw);
    });
}

// Settled outside the connection's own call, which must not lose the connection under itself.
void GroupClient::heard(const std::string& raw) {
  if (raw[0] == '-' && first_error_.empty()) first_error_ = parse_reply(raw).text;
  if (--replies_due_ > 0) return;
  interval_.returned = world_.now();
  reply_ = parse_reply(raw);
  world_.after(0, [this, question = question_, alive = alive_] {
    if (*alive && question == question_) settle(first_error_);
  });
}

void GroupClient::settle(const std::string& error) {
  if (reply_.kind != '-') return finish(Outcome::done, reply_);
  if (reply_.text.starts_with("UNCERTAIN")) {
    interval_.returned = kNever;
    return finish(Outcome::unknown, reply_);
  }
  if (!is_refusal(reply_.text)) return finish(Outcome::done, reply_);
  auto leader = nodes_.end();
  if (error.starts_with("MOVED ")) {
    ++redirections_;
    std::string host = error.substr(error.rfind(' ') + 1);
    host.resize(std::min(host.size(), host.rfind(':')));
    leader = std::ranges::find(nodes_, host, &SimWorld::address_of);
  }
  if (leader != nodes_.end())
    connect_to(*leader);
  else
    connect_to_another();
  finish(Outcome::refused, reply_);
}

void GroupClient::finish(Outcome outcome, const Reply& reply) {
  if (outcome == Outcome::unknown) interval_.returned = kNever;
  ++question_;
  Told told = std::exchange(told_, {});
  told(outcome, reply, interval_);
}

}  // namespace quoll::sim
