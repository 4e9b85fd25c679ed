// PubSub: who listens to which channel or pattern. Messages are written straight to the
// subscribers' output; a message caused by a commit carries that commit's ticket.
//
// Shard channels are kept by slot: those of a slot that is not ours any more are found at once.
//
// Cost per subscription: a map node on each side. Per delivery: the message's bytes are copied; it
// is encoded once per protocol, however many listen.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/session.h"

namespace quoll::server {

// About what a subscription takes beside two copies of its name.
constexpr size_t kSubscriptionBytes = 200;

class PubSub {
 public:
  enum class Kind : uint8_t { channel, pattern, shard };

  // False when it was subscribed already.
  bool subscribe(Session& session, Kind kind, Bytes name);
  bool unsubscribe(Session& session, Kind kind, Bytes name);
  void drop(Session& session);  // all kinds, without replies
  // Shard channels of slots that are not kept: their subscribers are told that they left.
  void leave_shards(const std::function<bool(unsigned slot)>& keeps);

  // What RESP2 and RESP3 confirmations count: channels and patterns, or shard channels.
  size_t count(const Session& session, Kind kind) const;
  std::vector<std::string> names(const Session& session, Kind kind) const;

  // Delivers to channel subscribers, then to matching patterns; returns the receivers.
  size_t publish(Bytes channel, Bytes message, const Ticket& ticket);
  size_t receivers(Bytes channel) const;  // of a message published now
  size_t publish_shard(Bytes channel, Bytes message, const Ticket& ticket);

  std::vector<std::string> channels(Kind kind, Bytes pattern) const;
  size_t subscribers(Kind kind, Bytes name) const;
  size_t patterns() const { return lists_[1].size(); }
  size_t channels() const { return lists_[0].size(); }
  size_t shard_channels() const { return shard_channels_; }
  size_t sessions() const { return own_.size(); }

 private:
  using Names = std::map<std::string, std::vector<Session*>, std::less<>>;
  using Own = std::set<std::string, std::less<>>;

  const Names* names_of(Kind kind, Bytes name) const;
  void leave_shards(const Names& left);
  size_t deliver(Kind kind, Bytes channel, Bytes message, const Ticket& ticket);
  static void send(const std::vector<Session*>& sessions, std::initializer_list<Bytes> message,
                   const Ticket& ticket);
  Own* own(const Session& session, Kind kind);

  Names lists_[2];                    // of channels and of patterns
  std::map<unsigned, Names> shards_;  // by slot; none is empty
  size_t shard_channels_ = 0;
  std::map<SessionId, Own[3]> own_;
};

}  // namespace quoll::server
