#include "server/own_keys.h"

namespace quoll::server {

void OwnKeys::begin(bool beside_primary) {
  listen(beside_primary);
  if (beside_primary) return;
  due_.clear();
  deadlines_.clear();
}

void OwnKeys::forget(const Key& key) {
  const auto at = deadlines_.find(key);
  if (at == deadlines_.end()) return;
  due_.erase({at->second, &at->first});
  deadlines_.erase(at);
}

void OwnKeys::absorb(const store::Commit& commit) {
  if (commit.origin != store::Origin::client) return;
  for (const store::Touch& touch : commit.touches) {
    if (touch.change == store::Change::keyless) continue;
    constexpr base::Millis kBeforeAllDeadlines = 0;
    const store::Entry* entry = store_.find(touch.db, store_.ref(touch.key), kBeforeAllDeadlines);
    Key key{touch.db, std::string(touch.key)};
    forget(key);
    if (!entry || !entry->has_ttl() || deadlines_.size() >= kOwnKeysMax) continue;
    const auto at = deadlines_.emplace(std::move(key), entry->deadline()).first;
    due_.emplace(at->second, &at->first);
  }
}

void OwnKeys::expire(base::Millis now) {
  for (size_t count = 0; !due_.empty() && due_.begin()->first <= now && count < kOwnKeysAtOnce;
       ++count) {
    const Key key = *due_.begin()->second;
    forget(key);
    // The primary may have given it another deadline, or taken it away.
    if (!store_.holds_expired(key.first, store_.ref(key.second), now)) continue;
    store_.commits().begin(store::Origin::expiry, now);
    { store::Edit removal = store_.edit(key.first, store_.ref(key.second), now); }
    store_.commits().close();
  }
}

}  // namespace quoll::server
