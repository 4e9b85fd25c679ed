// Digests of data, for DEBUG DIGEST: equal data gives equal digests across restarts, replicas and
// reloads, whatever the order of keys or the encoding of values. 160 bits, shown as 40 hex digits;
// no data at all gives zeros.
//
//   key      XXH3 (two seeds) over database, key, type, canonical value, "has a deadline"
//   database the exclusive or of its keys
//
// The bits are not Redis's: digests compare between servers of this family only.
// Cost: one pass over the bytes; computing a database's digest walks all of it.
#pragma once

#include <array>
#include <string>

#include "store/store.h"

namespace quoll::store {

class Digest {
 public:
  // Of one value, without key and database: DEBUG DIGEST-VALUE.
  static Digest of_value(const Entry& entry);
  // Of one key with its value in a database. With a seed that nobody knows beforehand, nobody can
  // choose values that differ and have the same digest.
  static Digest of_key(DbIndex db, const Entry& entry, uint64_t seed = 0);
  // Of all live keys.
  static Digest of_store(const Store& store, Millis now);

  void combine(const Digest& other);  // order does not matter; twice is nothing
  std::string hex() const;
  bool operator==(const Digest&) const = default;
  const std::array<uint64_t, 3>& words() const { return words_; }

 private:
  std::array<uint64_t, 3> words_{};  // of the last one 32 bits are shown
};

}  // namespace quoll::store
