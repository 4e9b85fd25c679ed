// StreamGroup: a consumer group: how far it has read, what it delivered and nobody acknowledged yet
// (the pending entries), and its consumers.
//
//   group     pending: StreamIndex of 32-byte items { id, delivery time, deliveries, consumer }
//   consumer  pending: StreamIndex of the 16-byte IDs that are its own
//
// Invariant: an ID is pending with exactly the consumer its item names; both indexes change
// together, through the group.
// Cost: about 55 bytes per pending entry. Groups and consumers are found by binary search of their
// names, in whose order they are listed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/stream_index.h"

namespace quoll::data {

using base::Millis;

// Knows how many entries a group has read: nobody.
constexpr int64_t kEntriesReadUnknown = -1;
constexpr Millis kNeverActive = -1;

class StreamConsumer;

// An entry that was delivered and not acknowledged. Two words hold what Redis keeps in three:
// a 48-bit address and a 48-bit time each leave 16 bits to the delivery count.
class StreamPending {
 public:
  static constexpr uint64_t kDeliveriesMax = UINT32_MAX;  // more are counted as this many
  static constexpr Millis kDeliveredMax = (Millis{1} << 48) - 1;

  StreamPending(const StreamId& id, StreamConsumer* consumer, Millis delivered_ms,
                uint64_t deliveries)
      : id(id) {
    set_consumer(consumer);
    set_delivered_ms(delivered_ms);
    set_deliveries(deliveries);
  }

  StreamConsumer* consumer() const { return reinterpret_cast<StreamConsumer*>(consumer_ >> 16); }
  void set_consumer(StreamConsumer* consumer) {
    consumer_ = reinterpret_cast<uint64_t>(consumer) << 16 | (consumer_ & 0xffff);
  }
  Millis delivered_ms() const { return static_cast<Millis>(delivered_ >> 16); }
  void set_delivered_ms(Millis at) {
    at = std::clamp<Millis>(at, 0, kDeliveredMax);
    delivered_ = static_cast<uint64_t>(at) << 16 | (delivered_ & 0xffff);
  }
  uint64_t deliveries() const { return (consumer_ & 0xffff) << 16 | (delivered_ & 0xffff); }
  void set_deliveries(uint64_t count) {
    count = std::min(count, kDeliveriesMax);
    consumer_ = (consumer_ & ~uint64_t{0xffff}) | count >> 16;
    delivered_ = (delivered_ & ~uint64_t{0xffff}) | (count & 0xffff);
  }
  void count_delivery() { set_deliveries(deliveries() + 1); }
  Millis idle_ms(Millis now) const { return now - delivered_ms(); }

  StreamId id;

 private:
  uint64_t consumer_ = 0;   // address:48 deliveries, high:16
  uint64_t delivered_ = 0;  // time:48 deliveries, low:16
};
static_assert(sizeof(StreamPending) == 32);

struct StreamPendingId {
  StreamId id;
};

class StreamConsumer {
 public:
  explicit StreamConsumer(base::Bytes name) : name_(name) {}

  base::Bytes name() const { return name_; }
  const StreamIndex<StreamPendingId>& pending() const { return pending_; }

  Millis seen_ms = 0;               // last attempt to read or claim
  Millis active_ms = kNeverActive;  // last success in it

 private:
  friend class StreamGroup;
  std::string name_;
  StreamIndex<StreamPendingId> pending_;
};

class StreamGroup {
 public:
  explicit StreamGroup(base::Bytes name) : name_(name) {}
  StreamGroup(const StreamGroup& other);
  StreamGroup& operator=(const StreamGroup&) = delete;

  base::Bytes name() const { return name_; }
  const StreamIndex<StreamPending>& pending() const { return pending_; }
  const std::vector<std::unique_ptr<StreamConsumer>>& consumers() const { return consumers_; }

  const StreamConsumer* find_consumer(base::Bytes name) const;
  StreamConsumer* find_consumer(base::Bytes name) {
    return const_cast<StreamConsumer*>(std::as_const(*this).find_consumer(name));
  }
  // No consumer of this name may exist.
  StreamConsumer& add_consumer(base::Bytes name, Millis now);
  // With all that is pending with it.
  void remove_consumer(StreamConsumer& consumer);

  // Makes the entry pending with the consumer, whoever had it before.
  void deliver(const StreamId& id, StreamConsumer& consumer, Millis now, uint64_t deliveries);
  // What is already pending goes over to the consumer.
  void give(StreamPending& pending, StreamConsumer& consumer);
  StreamPending* find_pending(const StreamId& id) { return pending_.find(id); }
  // The entry at a place of the pending ones, for changes of its time and count.
  StreamPending* pending_at(StreamIndex<StreamPending>::Place place) { return pending_.at(place); }
  // False: it was not pending.
  bool acknowledge(const StreamId& id);
  // For loading: false when the ID is already pending.
  bool load_pending(const StreamPending& pending) { return pending_.try_insert(pending); }

  // Frees up to about `chunks` blocks of the pending indexes; true while more is left. The group is
  // good for nothing else then.
  bool drain(size_t chunks);
  size_t blocks() const;
  size_t footprint() const;

  StreamId last_id;
  int64_t entries_read = kEntriesReadUnknown;

 private:
  std::string name_;
  StreamIndex<StreamPending> pending_;
  std::vector<std::unique_ptr<StreamConsumer>> consumers_;
};

}  // namespace quoll::data
