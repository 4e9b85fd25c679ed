#include "store/key_sizes.h"

#include <doctest/doctest.h>

#include <string>

#include "data/list.h"
#include "store/store.h"
#include "tests/unit/givens.h"

namespace {

using namespace quoll;
using store::Edit;
using store::KeySizes;
using store::Ttl;

struct KeySizesFixture {
  store::Store store{2};
  uint64_t chance = 7;

  uint64_t draw(uint64_t below) {
    chance = chance * 6364136223846793005ULL + 1442695040888963407ULL;
    return (chance >> 33) % below;
  }
  void change(const std::string& key) {
    store.commits().begin(store::Origin::client, kNow);
    size_t changes = store.commits().changes();
    {
      Edit edit = store.edit(0, store.ref(key), kNow);
      act(edit);
    }
    base::Bytes line[] = {"X"};
    if (store.commits().changes() > changes) store.commits().effect(0, line);
    store.commits().close();
  }
  void act(Edit& edit) {
    const std::string text(draw(5000), 'x');
    const bool is_list = edit.found() && edit.entry()->type() == data::Type::list;
    switch (draw(6)) {
      case 0:
        if (!edit.found()) return;
        edit.erase();
        break;
      case 1:
        edit.put(data::Value::of_integer(static_cast<int64_t>(draw(1'000'000)) - 500'000),
                 Ttl::keep());
        break;
      case 2:
        if (!edit.found()) return;
        edit.set_deadline(kNow + 1'000'000);
        break;
      case 3:
        if (is_list || !edit.found())
          edit.put(data::Value::of_bytes("short", false), Ttl::drop());
        else if (edit.entry()->type() == data::Type::string)
          edit.put(data::Value::of_blob(edit.take_text(0)), Ttl::keep());
        else
          return;
        break;
      case 4:
        if (!edit.found()) edit.create<data::List>();
        if (edit.entry()->type() != data::Type::list) return;
        for (uint64_t i = draw(20) + 1; i > 0; --i)
          edit.value<data::List>().push(data::ListEnd::tail, "element", data::Packing{});
        break;
      default:
        edit.put(data::Value::of_blob(base::Blob::copy_of(text)), Ttl::drop());
    }
    edit.done(store::kSet);
  }
};

}  // namespace

TEST_CASE("key sizes: what edits count is what a walk counts") {
  KeySizesFixture fixture;
  for (int i = 0; i < 20'000; ++i) fixture.change("key-" + std::to_string(fixture.draw(300)));
  KeySizes walked;
  uint64_t cursor = 0;
  do {
    cursor = fixture.store.scan(0, cursor, 100, [&](const store::Entry* entry) {
      walked.move(KeySizes::kNowhere, KeySizes::place_of(entry));
    });
  } while (cursor != 0);
  const KeySizes& counted = *fixture.store.key_sizes(0);
  uint64_t keys = 0;
  for (size_t i = 0; i < std::size(counted.counts); ++i) {
    CHECK(counted.counts[i] == walked.counts[i]);
    keys += counted.counts[i];
  }
  CHECK(keys == fixture.store.keys(0));
  CHECK(keys > 100);
}

TEST_CASE("key sizes: a size's place") {
  KeySizesFixture fixture;
  const auto place = [&](data::Value value) {
    fixture.store.commits().begin(store::Origin::client, kNow);
    unsigned found;
    {
      Edit edit = fixture.store.edit(0, fixture.store.ref("k"), kNow);
      edit.put(std::move(value), Ttl::drop());
      edit.done(store::kSet);
      found = KeySizes::place_of(edit.entry());
    }
    base::Bytes line[] = {"X"};
    fixture.store.commits().effect(0, line);
    fixture.store.commits().close();
    return found;
  };
  CHECK(place(data::Value::of_bytes("", false)) == 0);
  CHECK(place(data::Value::of_bytes("x", false)) == 1);
  CHECK(place(data::Value::of_bytes("xyz", false)) == 2);
  CHECK(place(data::Value::of_integer(0)) == 1);
  CHECK(place(data::Value::of_integer(-9)) == 2);
  CHECK(place(data::Value::of_integer(INT64_MIN)) == 5);  // 20 bytes
  CHECK(place(data::Value::of_blob(base::Blob::copy_of(std::string(4096, 'x')))) == 13);
}
