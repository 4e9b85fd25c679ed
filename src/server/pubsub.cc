#include "server/pubsub.h"

#include <algorithm>

#include "base/crc16.h"
#include "base/glob.h"

namespace quoll::server {

PubSub::Own* PubSub::own(const Session& session, Kind kind) {
  auto at = own_.find(session.id);
  return at == own_.end() ? nullptr : &at->second[static_cast<size_t>(kind)];
}

const PubSub::Names* PubSub::names_of(Kind kind, Bytes name) const {
  if (kind != Kind::shard) return &lists_[static_cast<size_t>(kind)];
  const auto at = shards_.find(base::key_slot(name));
  return at == shards_.end() ? nullptr : &at->second;
}

bool PubSub::subscribe(Session& session, Kind kind, Bytes name) {
  auto& mine = own_[session.id][static_cast<size_t>(kind)];
  if (!mine.emplace(name).second) return false;
  const bool shard = kind == Kind::shard;
  Names& list = shard ? shards_[base::key_slot(name)] : lists_[static_cast<size_t>(kind)];
  const auto [listed, fresh] = list.try_emplace(std::string(name));
  listed->second.push_back(&session);
  shard_channels_ += shard && fresh;
  ++session.subscriptions;
  session.subscriptions_held.add(kSubscriptionBytes + 2 * name.size());
  return true;
}

bool PubSub::unsubscribe(Session& session, Kind kind, Bytes name) {
  Own* mine = own(session, kind);
  if (!mine) return false;
  auto at = mine->find(name);
  if (at == mine->end()) return false;
  auto& list = const_cast<Names&>(*names_of(kind, name));
  auto listed = list.find(*at);
  std::erase(listed->second, &session);
  if (listed->second.empty()) {
    list.erase(listed);
    if (kind == Kind::shard) --shard_channels_;
    if (kind == Kind::shard && list.empty()) shards_.erase(base::key_slot(name));
  }
  session.subscriptions_held.subtract(kSubscriptionBytes + 2 * at->size());
  mine->erase(at);
  if (--session.subscriptions == 0) own_.erase(session.id);
  return true;
}

void PubSub::drop(Session& session) {
  for (Kind kind : {Kind::channel, Kind::pattern, Kind::shard})
    for (const std::string& name : names(session, kind)) unsubscribe(session, kind, name);
}

void PubSub::leave_shards(const std::function<bool(unsigned)>& keeps) {
  std::vector<Names> left;
  for (const auto& [slot, names] : shards_)
    if (!keeps(slot)) left.push_back(names);
  for (const Names& names : left) leave_shards(names);
}

void PubSub::leave_shards(const Names& left) {
  for (const auto& [channel, sessions] : left) {
    for (Session* session : sessions) {
      unsubscribe(*session, Kind::shard, channel);
      wire::ReplyWriter writer(session->begin_message(Ticket{}));
      writer.set_protocol(session->protocol());
      writer.push(3);
      writer.bulk("sunsubscribe");
      writer.bulk(channel);
      writer.integer(static_cast<int64_t>(count(*session, Kind::shard)));
    }
  }
}

size_t PubSub::count(const Session& session, Kind kind) const {
  auto at = own_.find(session.id);
  if (at == own_.end()) return 0;
  if (kind == Kind::shard) return at->second[2].size();
  return at->second[0].size() + at->second[1].size();
}

std::vector<std::string> PubSub::names(const Session& session, Kind kind) const {
  auto at = own_.find(session.id);
  if (at == own_.end()) return {};
  const Own& mine = at->second[static_cast<size_t>(kind)];
  return {mine.begin(), mine.end()};
}

namespace {

// A message as its receivers get it, in the protocols that were asked for.
class Encoded {
 public:
  explicit Encoded(std::initializer_list<Bytes> message) : message_(message) {}

  void write(wire::OutQueue& out, int protocol) {
    wire::OutQueue& ready = ready_[protocol - 2];
    if (ready.size() == 0) {
      wire::ReplyWriter writer(ready);
      writer.set_protocol(protocol);
      writer.push(message_.size());
      for (Bytes part : message_) writer.bulk(part);
    }
    out.expect_message(ready.size());
    ready.copy_to(out);
  }

 private:
  std::initializer_list<Bytes> message_;
  wire::OutQueue ready_[2];  // of RESP2 and RESP3
};

}  // namespace

void PubSub::send(const std::vector<Session*>& sessions, std::initializer_list<Bytes> message,
                  const Ticket& ticket) {
  Encoded encoded(message);
  for (Session* session : sessions)
    if (!session->close_requested())
      encoded.write(session->begin_message(ticket), session->protocol());
}

size_t PubSub::deliver(Kind kind, Bytes channel, Bytes message, const Ticket& ticket) {
  const Names* list = names_of(kind, channel);
  if (!list) return 0;
  auto at = list->find(channel);
  if (at == list->end()) return 0;
  Bytes word = kind == Kind::shard ? "smessage" : "message";
  send(at->second, {word, channel, message}, ticket);
  return at->second.size();
}

size_t PubSub::publish(Bytes channel, Bytes message, const Ticket& ticket) {
  size_t receivers = deliver(Kind::channel, channel, message, ticket);
  for (const auto& [pattern, sessions] : lists_[static_cast<size_t>(Kind::pattern)]) {
    if (!base::glob_match(pattern, channel)) continue;
    send(sessions, {"pmessage", pattern, channel, message}, ticket);
    receivers += sessions.size();
  }
  return receivers;
}

size_t PubSub::receivers(Bytes channel) const {
  size_t count = subscribers(Kind::channel, channel);
  for (const auto& [pattern, sessions] : lists_[static_cast<size_t>(Kind::pattern)])
    if (base::glob_match(pattern, channel)) count += sessions.size();
  return count;
}

size_t PubSub::publish_shard(Bytes channel, Bytes message, const Ticket& ticket) {
  return deliver(Kind::shard, channel, message, ticket);
}

std::vector<std::string> PubSub::channels(Kind kind, Bytes pattern) const {
  std::vector<std::string> found;
  const auto look = [&](const Names& names) {
    for (const auto& [name, sessions] : names)
      if (base::glob_match(pattern, name)) found.push_back(name);
  };
  if (kind != Kind::shard) {
    look(lists_[static_cast<size_t>(kind)]);
    return found;
  }
  for (const auto& [slot, names] : shards_) look(names);
  std::ranges::sort(found);
  return found;
}

size_t PubSub::subscribers(Kind kind, Bytes name) const {
  const Names* list = names_of(kind, name);
  if (!list) return 0;
  auto at = list->find(name);
  return at == list->end() ? 0 : at->second.size();
}

}  // namespace quoll::server
