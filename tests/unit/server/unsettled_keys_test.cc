#include "server/unsettled_keys.h"

#include <doctest/doctest.h>

#include <string>

namespace quoll::server {
namespace {

void change(UnsettledKeys& keys, store::Seq seq, Bytes key,
            store::Change what = store::Change::updated) {
  const store::Touch touch{0, key, store::kEventDel, what};
  keys.absorb({seq, 0, store::Origin::client, false, {&touch, 1}, {}});
}

}  // namespace

TEST_CASE("unsettled keys: the last change of a key is what a reply about it waits for") {
  UnsettledKeys keys;
  keys.set_listening(true);
  CHECK(!keys.any());
  CHECK(keys.of(0, "a") == 0);
  change(keys, 1, "a");
  change(keys, 2, "b");
  change(keys, 3, "a");
  CHECK(keys.of(0, "a") == 3);
  CHECK(keys.of(0, "b") == 2);
  CHECK(keys.of(0, "c") == 0);
  CHECK(keys.of(1, "a") == 0);
  CHECK(keys.latest() == 3);
}

TEST_CASE("unsettled keys: what is settled is waited for no more") {
  UnsettledKeys keys;
  keys.set_listening(true);
  change(keys, 1, "a");
  change(keys, 2, "b");
  keys.settle(1);
  CHECK(keys.of(0, "a") == 0);
  CHECK(keys.of(0, "b") == 2);
  CHECK(keys.any());
  keys.settle(2);
  keys.settle(1);  // never goes back
  CHECK(keys.of(0, "b") == 0);
  CHECK(!keys.any());
  CHECK(keys.latest() == 0);
}

TEST_CASE("unsettled keys: a change of whole databases concerns every key until it is settled") {
  UnsettledKeys keys;
  keys.set_listening(true);
  change(keys, 1, "a");
  change(keys, 2, {}, store::Change::keyless);
  CHECK(keys.of(0, "a") == 2);
  CHECK(keys.of(0, "whatever") == 2);
  change(keys, 3, "a");
  keys.settle(2);
  CHECK(keys.of(0, "a") == 3);
  CHECK(keys.of(0, "whatever") == 0);
}

TEST_CASE("unsettled keys: of many keys none is missed, and few others wait in vain") {
  UnsettledKeys keys;
  keys.set_listening(true);
  constexpr store::Seq kChanges = 1000;
  for (store::Seq seq = 1; seq <= kChanges; ++seq) change(keys, seq, "key:" + std::to_string(seq));
  int in_vain = 0;
  for (store::Seq seq = 1; seq <= kChanges; ++seq) {
    CHECK(keys.of(0, "key:" + std::to_string(seq)) >= seq);
    in_vain += keys.of(0, "other:" + std::to_string(seq)) != 0;
  }
  CHECK(in_vain < 50);
}

}  // namespace quoll::server
