#include "server/unsettled_keys.h"

#include "base/hash.h"

namespace quoll::server {

using store::Seq;

constexpr size_t kPlaces = 64 * 1024;

size_t UnsettledKeys::place(store::DbIndex db, Bytes key) {
  constexpr uint64_t kSpread = 0x9e3779b97f4a7c15u;  // golden ratio: databases fall apart
  return (base::hash_key(key) + db * kSpread) % kPlaces;
}

void UnsettledKeys::set_listening(bool on) {
  if (on && last_at_.empty()) last_at_.resize(kPlaces);
  listen(on);
}

void UnsettledKeys::absorb(const store::Commit& commit) {
  last_ = commit.seq;
  for (const store::Touch& touch : commit.touches) {
    if (touch.change == store::Change::keyless)
      whole_ = commit.seq;
    else
      last_at_[place(touch.db, touch.key)] = commit.seq;
  }
}

Seq UnsettledKeys::of(store::DbIndex db, Bytes key) const {
  if (!any()) return 0;
  const Seq seq = std::max(whole_, last_at_[place(db, key)]);
  return seq > settled_ ? seq : 0;
}

}  // namespace quoll::server
