#include "server/publications.h"

namespace quoll::server {

using cluster::PublicationKind;

void Publications::add_for_others(PubSub::Kind kind, Bytes channel, Bytes message,
                                  const Ticket& ticket) {
  const auto as = kind == PubSub::Kind::shard ? PublicationKind::shard : PublicationKind::channel;
  if (channel.size() + message.size() > cluster::kPublicationBytesMax) {
    ++counters_.lost;
    return;
  }
  std::string encoded;
  cluster::add_publication(as, channel, message, encoded);
  if (waiting_.empty() && gate_.open(ticket)) return append(kind, encoded);
  if (waiting_bytes_ + encoded.size() > kPublicationsWaitingMax) {
    ++counters_.lost;
    return;
  }
  waiting_bytes_ += encoded.size();
  waiting_.push_back({ticket, kind, std::move(encoded)});
}

void Publications::take_open() {
  while (!waiting_.empty() && gate_.open(waiting_.front().ticket)) {
    const Waiting one = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_bytes_ -= one.encoded.size();
    append(one.kind, one.encoded);
  }
}

void Publications::give_up_waiting() {
  while (!waiting_.empty()) {
    take_open();
    if (waiting_.empty()) return;
    ++counters_.lost;
    waiting_bytes_ -= waiting_.front().encoded.size();
    waiting_.pop_front();
  }
}

void Publications::append(PubSub::Kind kind, Bytes encoded) {
  Batch& batch = batch_of(kind);
  if (batch.messages > 0 && batch.bytes.size() + encoded.size() > cluster::kPublicationBatchBytes)
    send(kind);
  batch.bytes += encoded;
  ++batch.messages;
}

void Publications::send() {
  send(PubSub::Kind::channel);
  send(PubSub::Kind::shard);
}

void Publications::send(PubSub::Kind kind) {
  Batch batch = std::exchange(batch_of(kind), {});
  if (batch.messages == 0 || !route_) return;
  const PublicationRoute::Told told = route_->tell_others(kind, batch.bytes);
  counters_.sent += told.nodes * batch.messages;
  counters_.lost += told.slow * batch.messages;
}

bool Publications::receive(Bytes batch) {
  const auto all = cluster::publications_of(batch);
  if (!all) return false;
  counters_.received += all->size();
  for (const cluster::Publication& one : *all) {
    if (one.kind == PublicationKind::shard)
      pubsub_.publish_shard(one.channel, one.message, {});
    else
      pubsub_.publish(one.channel, one.message, {});
  }
  return true;
}

}  // namespace quoll::server
