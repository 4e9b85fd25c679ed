#include "persist/slots_left_out.h"

#include <doctest/doctest.h>

#include "persist/rdb_load.h"
#include "persist/rdb_save.h"
#include "tests/unit/givens.h"

namespace quoll::persist {
namespace {

void put(store::Store& store, const std::string& key, std::string text) {
  store.commits().begin(store::Origin::load, kNow);
  {
    store::Edit edit = store.edit(0, store.ref(key), kNow);
    edit.put(data::Value::of_text(text), store::Ttl::drop());
    edit.done_silently();
  }
  store.commits().close();
}

TEST_CASE("a snapshot without some slots holds the others, and changes meanwhile do not matter") {
  store::Store store(1, store::Placement::by_slot);
  store::SlotSet left_out;
  const auto key = [](int i) { return "key:" + std::to_string(i); };
  size_t expected = 0;
  for (int i = 0; i < 3000; ++i) {
    put(store, key(i), "before");
    const unsigned slot = base::key_slot(key(i));
    left_out[slot] = slot % 3 == 0;
    expected += slot % 3 != 0;
  }
  put(store, "{large}", std::string(1 << 20, 'x'));  // goes in pieces
  left_out[base::key_slot("large")] = true;
  SlotsLeftOut encoder(std::make_unique<RdbSave>(SaveOptions{}, kNow), left_out);
  store::Snapshot& snapshot = store.begin_snapshot(encoder);
  for (int i = 0; i < 3000; i += 7) put(store, key(i), "after");
  std::string bytes;
  while (snapshot.step()) bytes += encoder.take();
  store.end_snapshot();
  encoder.finish();
  bytes += encoder.take();

  store::Store read(1, store::Placement::by_slot);
  read.commits().begin(store::Origin::load, kNow);
  RdbLoad load(read, {});
  CHECK(load.feed(bytes).ok());
  CHECK(load.finish().ok());
  read.commits().close();
  CHECK(read.keys(0) == expected);
  for (int i = 0; i < 3000; ++i) {
    const store::Entry* entry = read.find(0, read.ref(key(i)), kNow);
    CHECK((entry == nullptr) == left_out[base::key_slot(key(i))]);
    char scratch[24];
    if (entry) CHECK(entry->text(scratch) == "before");
  }
}

}  // namespace
}  // namespace quoll::persist
