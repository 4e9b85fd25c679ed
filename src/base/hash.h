// The hash of a key: XXH3 (64 bits) with a secret drawn at boot, so that clients cannot choose keys
// that collide. The secret is 192 bytes, XXH3's own default size. DIGEST and everything visible
// outside the process use the unseeded form.
//
// Cost: about 3 ns for a 16-byte key; inlined into the caller.
#pragma once

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace quoll::base {

class HashSecret {
 public:
  static constexpr size_t kWords = 24;
  static constexpr size_t kBytes = kWords * sizeof(uint64_t);
  static_assert(kBytes >= XXH3_SECRET_SIZE_MIN);

  // Takes 24 numbers from `draw`, normally host::Random.
  template <class Draw>
  static HashSecret drawn(Draw&& draw) {
    HashSecret secret;
    for (auto& word : secret.words_) word = draw();
    return secret;
  }
  // Expands two seeds by SplitMix64 (Steele, Lea, Flood 2014). For tests and simulation.
  static HashSecret from_seeds(uint64_t first, uint64_t second) {
    uint64_t state = first;
    return drawn([&] {
      state += 0x9e3779b97f4a7c15u;
      uint64_t z = state ^ second;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
      return z ^ (z >> 31);
    });
  }

  const void* data() const { return words_.data(); }

 private:
  HashSecret() = default;
  alignas(64) std::array<uint64_t, kWords> words_;
};

inline uint64_t hash_key(Bytes key, const HashSecret& secret) {
  return XXH3_64bits_withSecret(key.data(), key.size(), secret.data(), HashSecret::kBytes);
}

// The secret of this process: tables do not store hashes, splits recompute them. The roof draws it
// before the first item exists; the initial value serves tests.
inline HashSecret process_secret = HashSecret::from_seeds(1, 2);
inline uint64_t hash_key(Bytes key) { return hash_key(key, process_secret); }

inline uint64_t xxh3(Bytes bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace quoll::base
