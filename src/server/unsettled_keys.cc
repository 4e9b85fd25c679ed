#include "server/unsettled_keys.h"

#include "base/hash.h"

namespace quoll::server {

using store::Seq;

uint64_t UnsettledKeys::hash(store::DbIndex db, Bytes key) {
  constexpr uint64_t kSpread = 0x9e3779b97f4a7c15u;  // golden ratio: databases fall apart
  return base::hash_key(key) + db * kSpread;
}

void UnsettledKeys::absorb(const store::Commit& commit) {
  for (const store::Touch& touch : commit.touches) {
    if (touch.change == store::Change::keyless) whole_ = commit.seq;
    uint64_t key = hash(touch.db, touch.key);
    queue_.push_back({commit.seq, key});
    last_[key] = commit.seq;
  }
}

void UnsettledKeys::settle(Seq seq) {
  while (!queue_.empty() && queue_.front().seq <= seq) {
    auto at = last_.find(queue_.front().key);
    if (at != last_.end() && at->second <= seq) last_.erase(at);
    queue_.pop_front();
  }
  if (whole_ <= seq) whole_ = 0;
}

Seq UnsettledKeys::of(store::DbIndex db, Bytes key) const {
  auto at = last_.find(hash(db, key));
  return std::max(whole_, at == last_.end() ? Seq{0} : at->second);
}

}  // namespace quoll::server
