#include "server/watch_table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace quoll::server {

void WatchTable::watch(Session& session, Bytes key, base::Millis now) {
  for (const WatchedKey& watched : session.transaction.watched)
    if (watched.db == session.db && watched.key == key) return;
  // Logically absent but possibly still in the table: removing it later changes nothing.
  bool absent = store_.find(session.db, store_.ref(key), now) == nullptr;
  if (session.transaction.watched.empty()) ++sessions_;
  session.transaction.watched.push_back({session.db, std::string(key), absent});
  watchers_[{session.db, std::string(key)}].push_back(&session);
  session.transaction.watched_held.add(kWatchedKeyBytes + 2 * key.size());
  listen(true);
}

void WatchTable::unwatch(Session& session) {
  if (session.transaction.watched.empty()) return;
  for (const WatchedKey& watched : session.transaction.watched) {
    auto at = watchers_.find(Watched{watched.db, watched.key});
    if (at == watchers_.end()) continue;
    std::erase(at->second, &session);
    if (at->second.empty()) watchers_.erase(at);
  }
  session.transaction.watched.clear();
  session.transaction.watched_held = {};
  --sessions_;
  listen(!watchers_.empty());
}

bool WatchTable::expired(const Session& session, base::Millis now) const {
  for (const WatchedKey& watched : session.transaction.watched) {
    if (watched.expired) continue;
    if (!store_.find(watched.db, store_.ref(watched.key), now) &&
        store_.holds_expired(watched.db, store_.ref(watched.key), now))
      return true;
  }
  return false;
}

void WatchTable::before_database_change(store::DbIndex a, store::DbIndex b, base::Millis now) {
  for (auto& [watched, sessions] : watchers_) {
    store::DbIndex other;
    if (watched.first == a) {
      other = b;
    } else if (watched.first == b) {
      other = a;
    } else {
      continue;
    }
    store::KeyRef key = store_.ref(watched.second);
    bool alive = store_.find(watched.first, key, now) != nullptr;
    bool present = alive || store_.holds_expired(watched.first, key, now);
    bool replaced = other != watched.first && store_.find(other, key, now);
    for (Session* session : sessions) {
      WatchedKey& own = watched_key(*session, watched.first, watched.second);
      if (replaced || alive || (present && !own.expired)) {
        session->transaction.dirty = true;
      } else {
        own.expired = true;  // absent before and after
      }
    }
  }
}

void WatchTable::dirty_all() {
  for (auto& [watched, sessions] : watchers_)
    for (Session* session : sessions) session->transaction.dirty = true;
}

WatchedKey& WatchTable::watched_key(Session& session, store::DbIndex db, Bytes key) {
  for (WatchedKey& watched : session.transaction.watched)
    if (watched.db == db && watched.key == key) return watched;
  QUOLL_CHECK(!"a session is listed under a key that it does not watch");
}

void WatchTable::absorb(const store::Commit& commit) {
  for (const store::Touch& touch : commit.touches) {
    if (touch.change == store::Change::keyless) continue;  // before_database_change saw it
    auto at = watchers_.find(Watched{touch.db, std::string(touch.key)});
    if (at == watchers_.end()) continue;
    for (Session* session : at->second) {
      if (touch.change == store::Change::expired) {
        WatchedKey& own = watched_key(*session, touch.db, touch.key);
        if (std::exchange(own.expired, false)) continue;
      }
      session->transaction.dirty = true;
    }
  }
}

}  // namespace quoll::server
