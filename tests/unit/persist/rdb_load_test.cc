#include "persist/rdb_load.h"

#include <doctest/doctest.h>

#include <random>

#include "data/list.h"
#include "persist/rdb_save.h"
#include "store/store.h"

namespace quoll::persist {
namespace {

constexpr base::Millis kNow = 1'000'000;

// A file of one list whose nodes hold `nodes` times 8 KB that do not compress.
std::string file_of_list(int nodes) {
  store::Store store(1);
  data::List list;
  std::mt19937_64 random(7);
  for (int i = 0; i < nodes; ++i) {
    std::string item(8'000, ' ');
    for (char& c : item) c = static_cast<char>(random());
    list.push(data::ListEnd::tail, item, data::Packing{});
  }
  store.commits().begin(store::Origin::load, kNow);
  {
    store::Edit edit = store.edit(0, store.ref("list"), kNow);
    edit.put(data::Value::of_collection(data::Collection(std::move(list))), store::Ttl::drop());
    edit.done_silently();
  }
  store.commits().effect(0, {});
  store.commits().close();
  RdbSave save({}, kNow);
  const store::Entry* entry = store.find(0, store.ref("list"), kNow);
  while (!save.piece(0, *entry, 1 << 16)) {
  }
  save.finish();
  return save.take();
}

struct Loaded {
  store::Store store{1};
  RdbLoad load{store, {}};

  base::Result<> feed(base::Bytes bytes, bool last) {
    store.commits().begin(store::Origin::load, kNow);
    base::Result<> fed = load.feed(bytes, last);
    store.commits().close();
    return fed;
  }
};

}  // namespace

// A large item that is incomplete is looked at again when there is twice as much of it; at the end
// of the file there never is.
TEST_CASE("a large value at the end of a file loads wherever the pieces end") {
  const std::string file = file_of_list(40);
  for (size_t cut = 1'000; cut < file.size(); cut += 9'973) {
    Loaded loaded;
    REQUIRE(loaded.feed(base::Bytes(file).substr(0, cut), false));
    REQUIRE(loaded.feed(base::Bytes(file).substr(cut), true));
    CHECK(loaded.load.ended());
    CHECK(loaded.load.finish());
    CHECK(loaded.load.keys_loaded() == 1);
  }
}

TEST_CASE("a file that ends inside an item is an error that says where the item begins") {
  const std::string file = file_of_list(40);
  Loaded loaded;
  REQUIRE(loaded.feed(base::Bytes(file).substr(0, file.size() / 2), true));
  CHECK_FALSE(loaded.load.ended());
  CHECK(loaded.load.finish().error().find("ends inside an item that begins at offset") !=
        std::string::npos);
}

}  // namespace quoll::persist
