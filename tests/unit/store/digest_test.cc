#include "store/digest.h"

#include <doctest/doctest.h>

#include "tests/unit/givens.h"

namespace quoll::store {
namespace {

const std::string kZeros(40, '0');

void put(Store& store, DbIndex db, Bytes key, data::Value value, Ttl ttl = Ttl::drop()) {
  store.commits().begin(Origin::client, kNow);
  {
    Edit edit = store.edit(db, store.ref(key), kNow);
    edit.put(std::move(value), ttl);
    edit.done(kSet);
  }
  const Bytes line[] = {"SET", key};
  store.commits().effect(db, line);
  store.commits().close();
}

std::string digest_of(const Store& store, Millis now = kNow) {
  return Digest::of_store(store, now).hex();
}

TEST_CASE("no data gives zeros") {
  Store store(2);
  CHECK(digest_of(store) == kZeros);
}

TEST_CASE("the order of insertion does not matter, the data does") {
  Store one(2), two(2);
  for (int i = 0; i < 1000; ++i) put(one, 0, "k" + std::to_string(i), data::Value::of_integer(i));
  for (int i = 999; i >= 0; --i) put(two, 0, "k" + std::to_string(i), data::Value::of_integer(i));
  CHECK(digest_of(one) == digest_of(two));
  CHECK(digest_of(one) != kZeros);
  put(two, 0, "k7", data::Value::of_integer(8));
  CHECK(digest_of(one) != digest_of(two));
}

TEST_CASE("the encoding of a value does not matter") {
  Store one(1), two(1);
  put(one, 0, "k", data::Value::of_integer(12));
  put(two, 0, "k", data::Value::of_bytes("12", true));
  CHECK(digest_of(one) == digest_of(two));
}

TEST_CASE("database, key, and whether it expires matter") {
  Store plain(2), moved(2), renamed(2), expiring(2), later(2);
  put(plain, 0, "k", data::Value::of_bytes("v"));
  put(moved, 1, "k", data::Value::of_bytes("v"));
  put(renamed, 0, "kv", data::Value::of_bytes(""));
  put(expiring, 0, "k", data::Value::of_bytes("v"), Ttl::at(kNow + 1000));
  put(later, 0, "k", data::Value::of_bytes("v"), Ttl::at(kNow + 2000));
  CHECK(digest_of(plain) != digest_of(moved));
  CHECK(digest_of(plain) != digest_of(renamed));
  CHECK(digest_of(plain) != digest_of(expiring));
  CHECK(digest_of(expiring) ==
        digest_of(later));  // deadlines may differ by the way they were replicated
  CHECK(digest_of(expiring, kNow + 1000) == kZeros);
}

TEST_CASE("the digest of a value leaves the key out") {
  Store store(1);
  put(store, 0, "a", data::Value::of_bytes("v"));
  put(store, 0, "b", data::Value::of_bytes("v"));
  const Entry* a = store.find(0, store.ref("a"), kNow);
  const Entry* b = store.find(0, store.ref("b"), kNow);
  CHECK(Digest::of_value(*a) == Digest::of_value(*b));
  CHECK(!(Digest::of_key(0, *a) == Digest::of_key(0, *b)));
  CHECK(Digest::of_value(*a).hex().size() == 40);
}

}  // namespace
}  // namespace quoll::store
