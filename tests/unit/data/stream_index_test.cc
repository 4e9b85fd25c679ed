// StreamIndex against std::map, with the shapes streams have: queues, random edits, tail appends.
#include "data/stream_index.h"

#include <doctest/doctest.h>

#include <map>
#include <random>

#include "base/memory.h"

namespace quoll::data {
namespace {

struct Item {
  StreamId id;
  uint64_t value;
};
using Index = StreamIndex<Item>;
using IndexModel = std::map<StreamId, uint64_t>;

void require_equal(const Index& index, const IndexModel& model) {
  REQUIRE(index.size() == model.size());
  auto expected = model.begin();
  for (auto at = index.first(); index.at(at); at = index.next(at), ++expected) {
    REQUIRE(expected != model.end());
    REQUIRE(index.at(at)->id == expected->first);
    REQUIRE(index.at(at)->value == expected->second);
  }
  REQUIRE(expected == model.end());
  auto backwards = model.rbegin();
  for (auto at = index.last(); index.at(at); at = index.previous(at), ++backwards)
    REQUIRE(index.at(at)->id == backwards->first);
  REQUIRE(backwards == model.rend());
}

class IndexPlayer {
 public:
  IndexPlayer(uint64_t seed, uint64_t ids) : random_(seed), ids_(ids) {}

  void step(unsigned grow_percent) {
    StreamId id{below(ids_) / 4, below(4)};
    if (below(100) < grow_percent) {
      bool fresh = model_.try_emplace(id, id.ms * 3).second;
      REQUIRE(index_.try_insert({id, id.ms * 3}) == fresh);
      return;
    }
    switch (below(4)) {
      case 0:
        return erase_first();
      case 1:
        REQUIRE(index_.erase(id) == (model_.erase(id) > 0));
        return;
      case 2:
        return seek(id);
      default:
        return erase_at(id);
    }
  }
  void check() const { require_equal(index_, model_); }
  size_t size() const { return model_.size(); }

 private:
  uint64_t below(uint64_t bound) { return random_() % bound; }

  void erase_first() {
    if (model_.empty()) return;
    model_.erase(model_.begin());
    index_.erase(index_.first());
  }
  void seek(const StreamId& id) {
    auto expected = model_.lower_bound(id);
    const Item* found = index_.at(index_.seek(id));
    REQUIRE(!!found == (expected != model_.end()));
    if (found) REQUIRE(found->id == expected->first);
    const Item* last = index_.at(index_.seek_last(id));
    auto after = model_.upper_bound(id);
    REQUIRE(!!last == (after != model_.begin()));
    if (last) REQUIRE(last->id == std::prev(after)->first);
    REQUIRE(!!index_.find(id) == (model_.count(id) > 0));
  }
  void erase_at(const StreamId& id) {
    auto expected = model_.lower_bound(id);
    if (expected == model_.end()) return;
    auto next = index_.erase(index_.seek(id));
    expected = model_.erase(expected);
    const Item* following = index_.at(next);
    REQUIRE(!!following == (expected != model_.end()));
    if (following) REQUIRE(following->id == expected->first);
  }

  std::mt19937_64 random_;
  uint64_t ids_;
  Index index_;
  IndexModel model_;
};

}  // namespace

TEST_CASE("stream index: random changes agree with a map") {
  for (uint64_t ids : {8, 300, 20'000}) {
    IndexPlayer player(ids, ids);
    for (unsigned round = 0; round < 6; ++round) {
      unsigned grow = round % 2 ? 25 : 80;
      for (unsigned i = 0; i < 4000; ++i) player.step(grow);
      player.check();
    }
  }
}

TEST_CASE("stream index: a queue takes little and gives everything back") {
  size_t before = base::memory_used();
  {
    Index index;
    for (uint64_t i = 0; i < 100'000; ++i) {
      index.insert({{i, 0}, i});
      if (index.size() > 1000) index.erase(index.first());
    }
    CHECK(index.size() == 1000);
    CHECK(index.at(index.first())->value == 99'000);
    CHECK(index.footprint() < 2 * 1000 * sizeof(Item));
    CHECK(base::memory_used() - before == index.footprint());
    while (!index.empty()) index.erase(index.last());
    CHECK(index.footprint() == 0);
    index.insert({{1, 1}, 1});
  }
  CHECK(base::memory_used() == before);
}

TEST_CASE("stream index: appended items fill their chunks") {
  Index index;
  for (uint64_t i = 0; i < 100'000; ++i) index.insert({{i, 0}, i});
  CHECK(index.footprint() < 100'000 * sizeof(Item) * 105 / 100);
  uint64_t taken = 0;
  while (index.drop_last(SIZE_MAX, [&](const Item&) { ++taken; })) {
  }
  CHECK(taken == 100'000);
  CHECK(index.empty());
}

}  // namespace quoll::data
