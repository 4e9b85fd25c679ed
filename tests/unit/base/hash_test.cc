#include "base/hash.h"

#include <doctest/doctest.h>

#include <bit>
#include <set>
#include <string>

using namespace quoll::base;

TEST_CASE("hash: unseeded form has XXH3's published values") {
  CHECK(xxh3("") == 0x2d06800538d394c2u);
  CHECK(xxh3("abc") == 0x78af5f94892f3950u);
}

TEST_CASE("hash: depends on the secret and on every byte, for every length") {
  HashSecret secret = HashSecret::from_seeds(1, 2);
  HashSecret same = HashSecret::from_seeds(1, 2);
  HashSecret other = HashSecret::from_seeds(1, 3);
  std::set<uint64_t> seen;
  std::string key;
  for (int length = 0; length < 600; ++length) {
    uint64_t hash = hash_key(key, secret);
    CHECK(hash == hash_key(key, same));
    CHECK(hash != hash_key(key, other));
    CHECK(hash != xxh3(key));
    seen.insert(hash);
    if (!key.empty()) {
      std::string changed = key;
      changed[static_cast<size_t>(length) / 2] ^= 1;
      seen.insert(hash_key(changed, secret));
    }
    key += 'k';
  }
  CHECK(seen.size() == 600 + 599);
}

TEST_CASE("hash: the secret is what was drawn") {
  uint64_t next = 0;
  HashSecret secret = HashSecret::drawn([&] { return ++next; });
  CHECK(next == HashSecret::kWords);
  const auto* words = static_cast<const uint64_t*>(secret.data());
  CHECK(words[0] == 1);
  CHECK(words[23] == 24);
  int bits = 0;
  HashSecret spread = HashSecret::from_seeds(0, 0);
  for (size_t i = 0; i < HashSecret::kWords; ++i) {
    bits += std::popcount(static_cast<const uint64_t*>(spread.data())[i]);
  }
  CHECK(bits > 24 * 26);
  CHECK(bits < 24 * 38);
}
