#include "server/own_keys.h"

namespace quoll::server {

void OwnKeys::begin(bool beside_primary) {
  listen(beside_primary);
  if (!beside_primary) due_.clear();
}

void OwnKeys::absorb(const store::Commit& commit) {
  if (commit.origin != store::Origin::client) return;
  for (const store::Touch& touch : commit.touches) {
    if (touch.change == store::Change::keyless || due_.size() >= kOwnKeysMax) continue;
    constexpr base::Millis kBeforeAllDeadlines = 0;
    const store::Entry* entry = store_.find(touch.db, store_.ref(touch.key), kBeforeAllDeadlines);
    if (entry && entry->has_ttl())
      due_.emplace(entry->deadline(), std::pair{touch.db, std::string(touch.key)});
  }
}

void OwnKeys::expire(base::Millis now) {
  for (size_t count = 0; !due_.empty() && due_.begin()->first <= now && count < kOwnKeysAtOnce;
       ++count) {
    const auto [db, key] = std::move(due_.begin()->second);
    due_.erase(due_.begin());
    if (!store_.holds_expired(db, store_.ref(key), now)) continue;  // it lives longer by now
    store_.commits().begin(store::Origin::expiry, now);
    { store::Edit removal = store_.edit(db, store_.ref(key), now); }
    store_.commits().close();
  }
}

}  // namespace quoll::server
