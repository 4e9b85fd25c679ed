// Streams against a plain model: entries, node limits, trimming, ranges; groups and what they have
// pending; memory given back.
#include "data/stream.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/memory.h"

namespace quoll::data {
namespace {

using Texts = std::vector<std::string>;
using StreamModel = std::map<StreamId, Texts>;

Texts texts_of(const StreamNodeView& node, const StreamEntry& entry) {
  Texts texts;
  node.for_each_pair(entry, [&](const PackedItem& name, const PackedItem& value) {
    char buffer[base::kIntTextMax];
    texts.emplace_back(name.text(buffer));
    texts.emplace_back(value.text(buffer));
  });
  return texts;
}

void append(Stream& stream, const StreamId& id, const Texts& texts, const Packing& packing = {}) {
  std::vector<base::Bytes> pairs(texts.begin(), texts.end());
  stream.append(id, pairs, packing);
}

void require_range(const Stream& stream, const StreamModel& model, const StreamId& from,
                   const StreamId& to) {
  std::vector<StreamId> expected;
  for (auto at = model.lower_bound(from); at != model.end() && at->first <= to; ++at)
    expected.push_back(at->first);
  std::vector<StreamId> forwards, backwards;
  StreamWalk walk(stream, from, to);
  while (walk.next()) {
    forwards.push_back(walk.entry().id);
    REQUIRE(texts_of(walk.node(), walk.entry()) == model.at(walk.entry().id));
  }
  StreamWalk back(stream, from, to, true);
  while (back.next()) backwards.push_back(back.entry().id);
  std::reverse(backwards.begin(), backwards.end());
  REQUIRE(forwards == expected);
  REQUIRE(backwards == expected);
}

void require_equal(const Stream& stream, const StreamModel& model) {
  REQUIRE(stream.size() == model.size());
  require_range(stream, model, StreamId(), StreamId::greatest());
  uint64_t live = 0;
  stream.nodes().for_each([&](const StreamNodeSlot& slot) {
    REQUIRE(StreamNodeView::validate(slot.id, Listpack::bytes_of(slot.block)));
    REQUIRE(slot.view().live() > 0);
    live += slot.view().live();
  });
  REQUIRE(live == model.size());
  REQUIRE(stream.facts().first_id == (model.empty() ? StreamId() : model.begin()->first));
  REQUIRE(stream.last_entry_id() == (model.empty() ? StreamId() : model.rbegin()->first));
}

class StreamPlayer {
 public:
  StreamPlayer(uint64_t seed, const Packing& packing) : random_(seed), packing_(packing) {}

  void step() {
    switch (below(16)) {
      case 0:
        return erase();
      case 1:
        return trim_length();
      case 2:
        return trim_id();
      case 3:
        return require_range(stream_, model_, any(), any());
      default:
        return add();
    }
  }
  void check() {
    require_equal(stream_, model_);
    require_equal(stream_.copy(), model_);
    REQUIRE(stream_.facts().entries_added == added_);
  }

 private:
  uint64_t below(uint64_t bound) { return random_() % bound; }
  StreamId any() {
    StreamId id{below(last_.ms + 2), below(4)};
    if (model_.empty() || below(2)) return id;
    auto at = model_.lower_bound(id);
    return at == model_.end() ? id : at->first;
  }

  void add() {
    last_ = below(3) ? StreamId{last_.ms, last_.seq + 1}
                     : StreamId{last_.ms + 1 + below(500), below(3)};
    Texts texts;
    bool usual = below(3);
    for (uint64_t i = 0; i < (usual ? 2 : 1 + below(4)); ++i) {
      texts.push_back(usual ? "field" + std::to_string(i) : std::to_string(below(5)));
      texts.push_back(below(2) ? std::to_string(random_()) : std::string(below(200), 'v'));
    }
    append(stream_, last_, texts, packing_);
    model_[last_] = texts;
    ++added_;
  }
  void erase() {
    StreamId id = any();
    REQUIRE(stream_.contains(id) == (model_.count(id) > 0));
    REQUIRE(stream_.erase(id) == (model_.erase(id) > 0));
    REQUIRE(!stream_.contains(id));
  }
  void trim_length() {
    StreamTrim trim{.by = StreamTrim::By::length, .whole_nodes = below(2) == 0};
    trim.length = below(model_.size() + 20);
    if (trim.whole_nodes && below(2)) trim.removed_max = 1 + below(20);
    check_trim(trim, model_.size() > trim.length ? model_.size() - trim.length : 0);
  }
  void trim_id() {
    StreamTrim trim{.by = StreamTrim::By::id, .whole_nodes = below(2) == 0};
    trim.id = any();
    auto end = model_.lower_bound(trim.id);
    check_trim(trim, static_cast<uint64_t>(std::distance(model_.begin(), end)));
  }
  void check_trim(const StreamTrim& trim, uint64_t exact) {
    uint64_t removed = stream_.trim(trim);
    if (trim.whole_nodes) {
      REQUIRE(removed <= exact);
      if (trim.removed_max > 0) REQUIRE(removed <= trim.removed_max);
    } else {
      REQUIRE(removed == exact);
    }
    for (; removed > 0; --removed) model_.erase(model_.begin());
  }

  std::mt19937_64 random_;
  Packing packing_;
  Stream stream_;
  StreamModel model_;
  StreamId last_{1, 0};
  uint64_t added_ = 0;
};

}  // namespace

TEST_CASE("stream: random changes agree with a map") {
  for (uint64_t entries : {1, 4, 100, 0}) {
    for (uint64_t bytes : {0, 300, 4096}) {
      Packing packing;
      packing.stream_node_entries = entries;
      packing.stream_node_bytes = bytes;
      StreamPlayer player(entries * 7 + bytes, packing);
      for (unsigned round = 0; round < 10; ++round) {
        for (unsigned i = 0; i < 150; ++i) player.step();
        player.check();
      }
    }
  }
}

TEST_CASE("stream: a node whose live entries are all trimmed goes, deleted ones with it") {
  Stream stream;
  for (uint64_t i = 1; i <= 4; ++i) append(stream, {i, 0}, {"f", "v"});
  REQUIRE(stream.erase({4, 0}));
  CHECK(stream.facts().max_deleted_id == StreamId{4, 0});
  CHECK(stream.trim({.by = StreamTrim::By::id, .id = {4, 0}}) == 3);
  CHECK(stream.size() == 0);
  CHECK(stream.nodes().empty());
  CHECK(stream.facts().first_id.is_zero());
}

TEST_CASE("stream: pending entries stay with their consumers") {
  Stream stream;
  append(stream, {1, 0}, {"f", "v"});
  StreamGroup& group = *stream.add_group("g", {}, 0);
  CHECK(stream.add_group("g", {}, 0) == nullptr);
  StreamConsumer& alice = group.add_consumer("alice", 10);
  StreamConsumer& bob = group.add_consumer("bob", 20);
  std::mt19937_64 random(5);
  std::map<StreamId, std::pair<StreamConsumer*, uint64_t>> model;
  for (unsigned i = 0; i < 20'000; ++i) {
    StreamId id{random() % 2000, 0};
    StreamConsumer& consumer = random() % 2 ? alice : bob;
    if (random() % 3 == 0) {
      REQUIRE(group.acknowledge(id) == (model.erase(id) > 0));
    } else {
      group.deliver(id, consumer, static_cast<Millis>(i), i);
      model[id] = {&consumer, i};
    }
  }
  REQUIRE(group.pending().size() == model.size());
  REQUIRE(alice.pending().size() + bob.pending().size() == model.size());
  for (const auto& [id, expected] : model) {
    const StreamPending* pending = group.pending().find(id);
    REQUIRE(pending);
    REQUIRE(pending->consumer() == expected.first);
    REQUIRE(pending->deliveries() == expected.second);
    REQUIRE(pending->delivered_ms() == static_cast<Millis>(expected.second));
    REQUIRE(expected.first->pending().find(id));
  }
  Stream copy = stream.copy();
  const StreamGroup& copied = *copy.find_group("g");
  REQUIRE(copied.pending().size() == model.size());
  copied.pending().for_each([&](const StreamPending& pending) {
    REQUIRE(pending.consumer() != &alice);
    REQUIRE(copied.find_consumer(pending.consumer()->name()) == pending.consumer());
    REQUIRE(pending.consumer()->pending().find(pending.id));
  });
  uint64_t of_alice = alice.pending().size();
  group.remove_consumer(alice);
  CHECK(group.pending().size() == model.size() - of_alice);
  CHECK(group.pending().size() == bob.pending().size());
}

TEST_CASE("stream: a pending entry keeps time and count in full width") {
  StreamConsumer consumer("c");
  StreamPending pending({1, 2}, &consumer, StreamPending::kDeliveredMax, UINT32_MAX);
  CHECK(pending.consumer() == &consumer);
  CHECK(pending.delivered_ms() == StreamPending::kDeliveredMax);
  CHECK(pending.deliveries() == UINT32_MAX);
  pending.count_delivery();
  CHECK(pending.deliveries() == UINT32_MAX);
  pending.set_delivered_ms(-5);
  CHECK(pending.delivered_ms() == 0);
  CHECK(pending.deliveries() == UINT32_MAX);
  pending.set_deliveries(70'000);
  CHECK(pending.deliveries() == 70'000);
  CHECK(pending.consumer() == &consumer);
}

TEST_CASE("stream: memory is counted and given back, at once or in steps") {
  size_t before = base::memory_used();
  {
    Stream stream;
    CHECK(stream.footprint(0) == 0);
    for (uint64_t i = 1; i <= 200'000; ++i) append(stream, {i, 0}, {"field", "value"});
    StreamGroup& group = *stream.add_group("g", {}, 0);
    StreamConsumer& consumer = group.add_consumer("a rather long name of a consumer", 1);
    for (uint64_t i = 1; i <= 100'000; ++i) group.deliver({i, 0}, consumer, 1, 1);
    // Sanitizers count objects made with `new` elsewhere.
    constexpr size_t kObjectsMax = 512;
    size_t used = base::memory_used() - before;
    CHECK(used <= stream.footprint(0));
    CHECK(used + kObjectsMax >= stream.footprint(0));
    size_t sampled = stream.footprint(5);
    CHECK(sampled > stream.footprint(0) * 9 / 10);
    CHECK(sampled < stream.footprint(0) * 11 / 10);
    CHECK(stream.large());
    unsigned steps = 0;
    while (stream.drain(100)) ++steps;
    CHECK(steps > 10);
  }
  CHECK(base::memory_used() == before);
  Stream small;
  append(small, {1, 1}, {"f", "v"});
  CHECK(!small.large());
  CHECK(small.footprint(0) < 256);
}

TEST_CASE("stream: foreign nodes are checked") {
  Stream stream;
  for (uint64_t i = 1; i <= 5; ++i) append(stream, {i, i}, {i == 3 ? "other" : "f", "value"});
  stream.erase({2, 2});
  const StreamNodeSlot& slot = *stream.nodes().at(stream.nodes().first());
  std::string block(Listpack::bytes_of(slot.block));
  REQUIRE(StreamNodeView::validate(slot.id, block));
  std::mt19937_64 random(3);
  for (unsigned i = 0; i < 20'000; ++i) {
    std::string damaged = block;
    for (unsigned flips = 1 + random() % 3; flips > 0; --flips)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    if (!StreamNodeView::validate(slot.id, damaged)) continue;
    StreamNodeView node(slot.id, damaged);
    StreamEntry entry;
    uint64_t entries = 0;
    for (bool more = node.first(entry); more; more = node.next(entry), ++entries)
      texts_of(node, entry);
    REQUIRE(entries == node.entries());
    for (bool more = node.last(entry); more; more = node.previous(entry)) --entries;
    REQUIRE(entries == 0);
  }
}

}  // namespace quoll::data
