#include "data/stream_group.h"

#include <algorithm>

namespace quoll::data {
namespace {

// Where a consumer of this name stands or would stand.
auto position_of(const std::vector<std::unique_ptr<StreamConsumer>>& consumers, base::Bytes name) {
  return std::lower_bound(consumers.begin(), consumers.end(), name,
                          [](const std::unique_ptr<StreamConsumer>& consumer, base::Bytes sought) {
                            return consumer->name() < sought;
                          });
}

constexpr size_t kInlineNameMax = 15;  // bytes a std::string keeps in itself

size_t name_footprint(base::Bytes name) {
  return name.size() > kInlineNameMax ? base::usable_size(name.size() + 1) : 0;
}

}  // namespace

StreamGroup::StreamGroup(const StreamGroup& other)
    : last_id(other.last_id), entries_read(other.entries_read), name_(other.name_) {
  consumers_.reserve(other.consumers_.size());
  for (const auto& consumer : other.consumers_) {
    StreamConsumer& copy = add_consumer(consumer->name(), consumer->seen_ms);
    copy.active_ms = consumer->active_ms;
    consumer->pending_.for_each([&](const StreamPendingId& item) { copy.pending_.insert(item); });
  }
  StreamConsumer* from = nullptr;
  StreamConsumer* to = nullptr;
  other.pending_.for_each([&](const StreamPending& item) {
    if (item.consumer() != from) {
      from = item.consumer();
      to = find_consumer(from->name());
    }
    StreamPending copy = item;
    copy.set_consumer(to);
    pending_.insert(copy);
  });
}

const StreamConsumer* StreamGroup::find_consumer(base::Bytes name) const {
  auto at = position_of(consumers_, name);
  return at != consumers_.end() && (*at)->name() == name ? at->get() : nullptr;
}

StreamConsumer& StreamGroup::add_consumer(base::Bytes name, Millis now) {
  auto consumer = std::make_unique<StreamConsumer>(name);
  consumer->seen_ms = now;
  return **consumers_.insert(position_of(consumers_, name), std::move(consumer));
}

void StreamGroup::remove_consumer(StreamConsumer& consumer) {
  consumer.pending_.for_each([&](const StreamPendingId& item) { pending_.erase(item.id); });
  consumers_.erase(position_of(consumers_, consumer.name()));
}

void StreamGroup::deliver(const StreamId& id, StreamConsumer& consumer, Millis now,
                          uint64_t deliveries) {
  if (pending_.try_insert({id, &consumer, now, deliveries})) {
    consumer.pending_.insert({id});
    return;
  }
  StreamPending& pending = *pending_.find(id);
  give(pending, consumer);
  pending.set_delivered_ms(now);
  pending.set_deliveries(deliveries);
}

void StreamGroup::give(StreamPending& pending, StreamConsumer& consumer) {
  StreamConsumer* before = pending.consumer();
  if (before == &consumer) return;
  if (before) before->pending_.erase(pending.id);
  pending.set_consumer(&consumer);
  consumer.pending_.insert({pending.id});
}

bool StreamGroup::acknowledge(const StreamId& id) {
  auto place = pending_.seek(id);
  const StreamPending* pending = pending_.at(place);
  if (!pending || pending->id != id) return false;
  pending->consumer()->pending_.erase(id);
  pending_.erase(place);
  return true;
}

bool StreamGroup::drain(size_t chunks) {
  auto drop = [&](auto& index) {
    while (chunks > 0 && index.drop_last(SIZE_MAX, [](const auto&) {})) --chunks;
    return !index.empty();
  };
  if (drop(pending_)) return true;
  while (!consumers_.empty()) {
    if (drop(consumers_.back()->pending_) || chunks == 0) return true;
    consumers_.pop_back();
    --chunks;
  }
  return false;
}

size_t StreamGroup::blocks() const {
  size_t blocks = pending_.chunks() + consumers_.size();
  for (const auto& consumer : consumers_) blocks += consumer->pending_.chunks();
  return blocks;
}

size_t StreamGroup::footprint() const {
  size_t bytes = base::usable_size(sizeof(StreamGroup)) + name_footprint(name_) +
                 pending_.footprint() +
                 base::usable_size(consumers_.capacity() * sizeof(consumers_[0]));
  for (const auto& consumer : consumers_)
    bytes += base::usable_size(sizeof(StreamConsumer)) + name_footprint(consumer->name_) +
             consumer->pending_.footprint();
  return bytes;
}

}  // namespace quoll::data
