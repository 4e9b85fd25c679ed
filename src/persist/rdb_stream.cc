// Streams in RDB form:
//
//   nodes      count, then per node: ID as a string of 16 bytes, listpack as a string
//   facts      length, last ID          [_2: first ID, greatest deleted ID, entries added]
//   groups     count, then per group: name, last ID   [_2: entries read]
//   pending      count, then per entry: ID 16 B, delivery time 8 B, deliveries
//   consumers    count, then per consumer: name, seen 8 B   [_3: active 8 B]
//     pending      count, then IDs 16 B each
//
// IDs are pairs of lengths, where not said otherwise. An unknown number of entries read is -1, in
// 64 bits.
#include "persist/value_codec.h"

namespace quoll::persist {
namespace {

using data::Stream;
using data::StreamConsumer;
using data::StreamGroup;
using data::StreamId;
using wire::RdbType;

bool has_counters(RdbType type) { return type != RdbType::stream_listpacks; }
bool has_active_time(RdbType type) { return type == RdbType::stream_listpacks_3; }

// --- encoding ---

// words: stage, place in the index being written, group, consumer.
enum Stage : uint64_t { kNodes, kFacts, kGroup, kPending, kConsumer, kConsumerPending, kEnd };

class Encoder {
 public:
  Encoder(const Stream& stream, RdbType type, PieceCursor& at, wire::RdbWriter& out,
          size_t bytes_max)
      : stream_(stream), type_(type), at_(at), out_(out), bytes_max_(bytes_max) {}

  // False: `bytes_max` are written.
  bool run() {
    if (!at_.begun) {
      at_.begun = true;
      out_.length(stream_.nodes().size());
      enter(kNodes);
    }
    while (stage() != kEnd) {
      if (written_ >= bytes_max_) return false;
      step();
    }
    return true;
  }

 private:
  uint64_t stage() const { return at_.words[0]; }
  void enter(Stage stage) {
    at_.words[0] = stage;
    at_.words[1] = 0;
  }
  uint64_t& group_index() { return at_.words[2]; }
  uint64_t& consumer_index() { return at_.words[3]; }
  const StreamGroup& group() { return *stream_.groups()[group_index()]; }
  const StreamConsumer& consumer() { return *group().consumers()[consumer_index()]; }

  void id(const StreamId& id) {
    out_.length(id.ms);
    out_.length(id.seq);
  }
  void raw_id(const StreamId& id) {
    char bytes[data::kStreamIdBytes];
    id.store(bytes);
    out_.raw({bytes, sizeof(bytes)});
  }
  // Writes items from where the cursor stands. False: enough is written.
  template <class Index, class Write>
  bool items(const Index& index, Write&& write) {
    auto place = Index::Place::of(at_.words[1]);
    for (; index.at(place); place = index.next(place)) {
      if (written_ >= bytes_max_) {
        at_.words[1] = place.packed();
        return false;
      }
      written_ += write(*index.at(place));
    }
    return true;
  }

  void step() {
    switch (stage()) {
      case kNodes:
        return nodes();
      case kFacts:
        return facts();
      case kGroup:
        return begin_group();
      case kPending:
        return pending();
      case kConsumer:
        return begin_consumer();
      default:
        return consumer_pending();
    }
  }
  void nodes();
  void facts();
  void begin_group();
  void pending();
  void begin_consumer();
  void consumer_pending();

  const Stream& stream_;
  RdbType type_;
  PieceCursor& at_;
  wire::RdbWriter& out_;
  size_t bytes_max_;
  size_t written_ = 0;
};

void Encoder::nodes() {
  bool complete = items(stream_.nodes(), [&](const data::StreamNodeSlot& slot) {
    char key[data::kStreamIdBytes];
    slot.id.store(key);
    out_.string({key, sizeof(key)});
    base::Bytes block = data::Listpack::bytes_of(slot.block);
    out_.string(block);
    return sizeof(key) + block.size();
  });
  if (complete) enter(kFacts);
}

void Encoder::facts() {
  const Stream::Facts& facts = stream_.facts();
  out_.length(facts.length);
  id(facts.last_id);
  if (has_counters(type_)) {
    id(facts.first_id);
    id(facts.max_deleted_id);
    out_.length(facts.entries_added);
  }
  out_.length(stream_.groups().size());
  enter(stream_.groups().empty() ? kEnd : kGroup);
}

void Encoder::begin_group() {
  out_.string(group().name());
  id(group().last_id);
  if (has_counters(type_)) out_.length(static_cast<uint64_t>(group().entries_read));
  out_.length(group().pending().size());
  enter(kPending);
}

void Encoder::pending() {
  bool complete = items(group().pending(), [&](const data::StreamPending& pending) {
    raw_id(pending.id);
    out_.millis(pending.delivered_ms());
    out_.length(pending.deliveries());
    return sizeof(pending);
  });
  if (!complete) return;
  out_.length(group().consumers().size());
  consumer_index() = 0;
  enter(kConsumer);
}

void Encoder::begin_consumer() {
  if (consumer_index() == group().consumers().size()) {
    ++group_index();
    return enter(group_index() == stream_.groups().size() ? kEnd : kGroup);
  }
  out_.string(consumer().name());
  out_.millis(consumer().seen_ms);
  if (has_active_time(type_)) out_.millis(consumer().active_ms);
  out_.length(consumer().pending().size());
  written_ += consumer().name().size();
  enter(kConsumerPending);
}

void Encoder::consumer_pending() {
  bool complete = items(consumer().pending(), [&](const data::StreamPendingId& pending) {
    raw_id(pending.id);
    return sizeof(pending);
  });
  if (!complete) return;
  ++consumer_index();
  enter(kConsumer);
}

// --- decoding ---

class Decoder {
 public:
  Decoder(wire::RdbReader& in, RdbType type, Stream& stream)
      : in_(in), type_(type), stream_(stream) {}

  bool run() {
    uint64_t count;
    if (!in_.length(count)) return false;
    for (uint64_t i = 0; i < count; ++i)
      if (!node()) return false;
    if (!facts() || !in_.length(count)) return false;
    for (uint64_t i = 0; i < count; ++i)
      if (!group()) return false;
    return true;
  }

 private:
  bool id(StreamId& id) { return in_.length(id.ms) && in_.length(id.seq); }
  bool raw_id(StreamId& id) {
    base::Bytes bytes;
    if (!in_.raw(data::kStreamIdBytes, bytes)) return false;
    id = StreamId::load(bytes.data());
    return true;
  }
  bool string(std::string& text) {
    wire::RdbString read;
    if (!in_.string(read, scratch_)) return false;
    text = read.bytes;
    return true;
  }

  bool node();
  bool facts();
  bool group();
  bool pending(StreamGroup& group);
  bool consumer(StreamGroup& group);

  wire::RdbReader& in_;
  RdbType type_;
  Stream& stream_;
  std::string scratch_;
};

bool Decoder::node() {
  std::string key;
  if (!string(key)) return false;
  if (key.size() != data::kStreamIdBytes)
    return in_.fail("Stream node key entry is not the size of a stream ID");
  StreamId id = StreamId::load(key.data());
  wire::RdbString block;
  if (!in_.string(block, scratch_)) return false;
  if (!data::StreamNodeView::validate(id, block.bytes))
    return in_.fail("Stream listpack integrity check failed");
  if (!stream_.load_node(id, block.bytes)) return in_.fail("Stream nodes are out of order");
  return true;
}

bool Decoder::facts() {
  Stream::Facts facts;
  if (!in_.length(facts.length) || !id(facts.last_id)) return false;
  facts.entries_added = facts.length;
  if (has_counters(type_)) {
    if (!id(facts.first_id) || !id(facts.max_deleted_id)) return false;
    if (!in_.length(facts.entries_added)) return false;
  }
  if (!stream_.load_facts(facts))
    return in_.fail("Stream length or last ID is inconsistent with its entries");
  return true;
}

bool Decoder::group() {
  std::string name;
  StreamId last_id;
  if (!string(name) || !id(last_id)) return false;
  uint64_t entries_read = 0;
  if (has_counters(type_) && !in_.length(entries_read)) return false;
  auto known = static_cast<int64_t>(entries_read);
  if (!has_counters(type_)) known = stream_.entries_up_to(last_id);
  if (known < data::kEntriesReadUnknown) known = data::kEntriesReadUnknown;
  StreamGroup* group = stream_.add_group(name, last_id, known);
  if (!group) return in_.fail("Duplicated consumer group name loading stream");
  if (!pending(*group)) return false;
  uint64_t consumers;
  if (!in_.length(consumers)) return false;
  for (uint64_t i = 0; i < consumers; ++i)
    if (!consumer(*group)) return false;
  bool owned = true;
  group->pending().for_each([&](const data::StreamPending& item) { owned &= !!item.consumer(); });
  return owned || in_.fail("Pending entry without consumer");
}

bool Decoder::pending(StreamGroup& group) {
  uint64_t count;
  if (!in_.length(count)) return false;
  for (uint64_t i = 0; i < count; ++i) {
    StreamId id;
    int64_t delivered_ms;
    uint64_t deliveries;
    if (!raw_id(id) || !in_.millis(delivered_ms) || !in_.length(deliveries)) return false;
    if (!group.load_pending({id, nullptr, delivered_ms, deliveries}))
      return in_.fail("Duplicated global PEL entry loading stream consumer group");
  }
  return true;
}

bool Decoder::consumer(StreamGroup& group) {
  std::string name;
  int64_t seen_ms;
  if (!string(name) || !in_.millis(seen_ms)) return false;
  int64_t active_ms = seen_ms;
  if (has_active_time(type_) && !in_.millis(active_ms)) return false;
  if (group.find_consumer(name)) return in_.fail("Duplicate stream consumer detected");
  StreamConsumer& consumer = group.add_consumer(name, seen_ms);
  consumer.active_ms = active_ms;
  uint64_t count;
  if (!in_.length(count)) return false;
  for (uint64_t i = 0; i < count; ++i) {
    StreamId id;
    if (!raw_id(id)) return false;
    data::StreamPending* pending = group.find_pending(id);
    if (!pending) return in_.fail("Consumer entry not found in group global PEL");
    if (pending->consumer()) return in_.fail("Duplicated consumer PEL entry loading a stream");
    group.give(*pending, consumer);
  }
  return true;
}

}  // namespace

bool rdb_type_of(const Stream&, unsigned version, RdbType& type) {
  type = version >= wire::rdb_version_of(RdbType::stream_listpacks_3) ? RdbType::stream_listpacks_3
                                                                      : RdbType::stream_listpacks_2;
  return true;
}

bool encode(const Stream& stream, RdbType type, PieceCursor& at, wire::RdbWriter& out,
            size_t bytes_max) {
  return Encoder(stream, type, at, out, bytes_max).run();
}

bool decode(wire::RdbReader& in, RdbType type, const DecodeOptions&, Stream& stream) {
  Stream fresh;
  if (!Decoder(in, type, fresh).run()) return false;
  stream = std::move(fresh);
  return true;
}

}  // namespace quoll::persist
