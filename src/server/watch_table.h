// WatchTable: which sessions watch which keys. A commit that touches a watched key marks the
// watchers' transactions dirty; EXEC then replies null.
//
// Redis's rules kept: a key that had already expired at WATCH stays clean when it is removed; a
// flush or swap dirties watchers of keys that exist before or after it.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/session.h"
#include "store/store.h"

namespace quoll::server {

// About what a watched key takes beside its two copies.
constexpr size_t kWatchedKeyBytes = sizeof(WatchedKey) + 160;

class WatchTable final : public store::CommitSink {
 public:
  explicit WatchTable(const store::Store& store) : store_(store) {}

  void watch(Session& session, Bytes key, base::Millis now);
  void unwatch(Session& session);
  // True when a watched key of the session has expired without having been removed yet.
  bool expired(const Session& session, base::Millis now) const;
  // Before a flush or swap: dirties watchers of keys that exist now or will exist in that database.
  // For a flush pass the same database twice.
  void before_database_change(store::DbIndex a, store::DbIndex b, base::Millis now);
  // Every transaction that watches something is to fail.
  void dirty_all();
  size_t sessions() const { return sessions_; }
  size_t keys() const { return watchers_.size(); }

  void absorb(const store::Commit& commit) override;

 private:
  static WatchedKey& watched_key(Session& session, store::DbIndex db, Bytes key);

  using Watched = std::pair<store::DbIndex, std::string>;
  const store::Store& store_;
  std::map<Watched, std::vector<Session*>, std::less<>> watchers_;
  size_t sessions_ = 0;
};

}  // namespace quoll::server
