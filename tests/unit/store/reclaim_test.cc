#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "base/memory.h"
#include "data/hash.h"
#include "data/list.h"
#include "data/set.h"
#include "data/stream.h"
#include "data/zset.h"
#include "store/store.h"
#include "tests/unit/givens.h"

namespace quoll::store {
namespace {

// A step frees kReclaimItemsPerStep items: members with their blocks, but nodes of lists and
// streams, which hold many elements each.
constexpr int kItems = 50'000;
constexpr int kItemsInNodes = 300'000;
constexpr size_t kFreedPerStepMax = 24 << 10;
constexpr size_t kNodesFreedPerStepMax = kReclaimItemsPerStep * (9 << 10);

void change(Store& store, Bytes key, const std::function<void(Edit&)>& edit_key) {
  store.commits().begin(Origin::client, kNow);
  {
    Edit edit = store.edit(0, store.ref(key), kNow);
    edit_key(edit);
    edit.done(kSet);
  }
  const Bytes line[] = {"X", key};
  store.commits().effect(0, line);
  store.commits().close();
}

using Fill = void (*)(Edit&, const data::Packing&);

void fill_set(Edit& edit, const data::Packing& packing) {
  edit.create<data::Set>();
  for (int i = 0; i < kItems; ++i)
    edit.value<data::Set>().insert("member:" + std::to_string(i), packing);
}

void fill_zset(Edit& edit, const data::Packing& packing) {
  edit.create<data::ZSet>();
  for (int i = 0; i < kItems; ++i)
    edit.value<data::ZSet>().put("member:" + std::to_string(i), i % 1000, {}, packing);
}

void fill_hash(Edit& edit, const data::Packing& packing) {
  edit.create<data::Hash>();
  for (int i = 0; i < kItems; ++i)
    edit.value<data::Hash>().set("field:" + std::to_string(i), "value of some length",
                                 data::Hash::Deadline::drop, kNow, packing);
}

void fill_list(Edit& edit, const data::Packing& packing) {
  edit.create<data::List>();
  const std::string text(100, 'x');
  const Bytes texts[] = {text};
  for (int i = 0; i < kItemsInNodes; ++i) {
    edit.value<data::List>().expect(texts, packing);
    edit.value<data::List>().push(data::ListEnd::tail, text, packing);
  }
}

void fill_stream(Edit& edit, const data::Packing& packing) {
  edit.create<data::Stream>();
  const Bytes pair[] = {"field", "value of some length"};
  for (uint64_t i = 1; i <= kItemsInNodes; ++i)
    edit.value<data::Stream>().append({i, 0}, pair, packing);
}

TEST_CASE("large collections are freed in bounded steps, whatever took them away") {
  constexpr struct {
    Fill fill;
    size_t freed_per_step_max;
    size_t steps_min;
  } kKinds[] = {{fill_set, kFreedPerStepMax, kItems / kReclaimItemsPerStep / 2},
                {fill_zset, kFreedPerStepMax, kItems / kReclaimItemsPerStep / 2},
                {fill_hash, kFreedPerStepMax, kItems / kReclaimItemsPerStep / 2},
                {fill_list, kNodesFreedPerStepMax, 2},
                {fill_stream, kNodesFreedPerStepMax, 2}};
  const std::function<void(Store&)> losses[] = {
      [](Store& store) { change(store, "big", [](Edit& edit) { edit.erase(); }); },
      [](Store& store) {
        change(store, "big",
               [](Edit& edit) { edit.put(data::Value::of_bytes("small"), Ttl::drop()); });
      },
      [](Store& store) { store.flush(0); },
  };
  data::Packing packing;
  size_t before = base::memory_used();
  for (const auto& kind : kKinds) {
    for (const auto& lose : losses) {
      Store store(1);
      change(store, "big", [&](Edit& edit) { kind.fill(edit, packing); });
      size_t full = base::memory_used();
      lose(store);
      // Nothing of the value has gone yet.
      CHECK(base::memory_used() + (64 << 10) > full);
      CHECK(store.reclaiming());
      size_t steps = 0;
      for (size_t held = base::memory_used(); store.reclaim(); ++steps) {
        size_t left = base::memory_used();
        CHECK(held - std::min(held, left) <= kind.freed_per_step_max);
        held = left;
      }
      CHECK(steps >= kind.steps_min);
      CHECK(full - base::memory_used() > (1 << 20));
    }
  }
  CHECK(base::memory_used() == before);
}

}  // namespace
}  // namespace quoll::store
