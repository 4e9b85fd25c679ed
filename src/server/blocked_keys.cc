#include "server/blocked_keys.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace quoll::server {

BlockedKeys::Places BlockedKeys::add(Session& session, const WaitFor& wait) {
  Places places;
  places.reserve(wait.keys.size());
  for (Bytes key : wait.keys) {
    auto at = queues_.find(KeyView{session.db, key});
    if (at == queues_.end()) at = queues_.emplace(Key{session.db, key}, Queue{}).first;
    std::list<Waiter>& waiters = at->second.waiters;
    // The same key twice: the session just came, so it can only be the last.
    if (!waiters.empty() && waiters.back().session == &session) continue;
    waiters.push_back({&session, wait.type, wait.any_change});
    places.push_back({at, std::prev(waiters.end())});
  }
  listen(!queues_.empty());
  return places;
}

void BlockedKeys::remove(const Places& places) {
  for (const Place& place : places) {
    std::list<Waiter>& waiters = place.queue->second.waiters;
    waiters.erase(place.waiter);
    if (waiters.empty()) queues_.erase(place.queue);
  }
  listen(!queues_.empty());
}

size_t BlockedKeys::keys_of_any_change() const {
  size_t count = 0;
  for (const auto& [key, queue] : queues_) {
    auto any = [](const Waiter& waiter) { return waiter.any_change; };
    count += std::any_of(queue.waiters.begin(), queue.waiters.end(), any);
  }
  return count;
}

void BlockedKeys::mark(Queues::iterator at) {
  if (std::exchange(at->second.ready, true)) return;
  ready_.push_back(at->first);
}

void BlockedKeys::absorb(const store::Commit& commit) {
  for (const store::Touch& touch : commit.touches) {
    if (touch.change == store::Change::keyless) {
      // The database was emptied or swapped: any of its keys may be another one now.
      auto at = queues_.lower_bound(KeyView{touch.db, {}});
      for (; at != queues_.end() && at->first.first == touch.db; ++at) mark(at);
      continue;
    }
    auto at = queues_.find(KeyView{touch.db, touch.key});
    if (at != queues_.end()) mark(at);
  }
}

void BlockedKeys::serve(base::Millis now) {
  if (std::exchange(serving_, true)) return;
  while (!ready_.empty()) {
    std::vector<Key> keys = std::move(ready_);
    ready_.clear();
    for (const Key& key : keys) serve_key(key, now);
  }
  serving_ = false;
}

void BlockedKeys::serve_key(const Key& key, base::Millis now) {
  auto at = queues_.find(key);
  if (at == queues_.end()) return;
  at->second.ready = false;
  std::list<Waiter>& waiters = at->second.waiters;
  store::KeyRef ref = store_.ref(key.second);
  for (auto waiter = waiters.begin(); waiter != waiters.end();) {
    // Taken before the command runs: it may be the last of the queue, which then is no more.
    bool last = std::next(waiter) == waiters.end();
    Waiter current = *waiter++;
    const store::Entry* entry = store_.find(key.first, ref, now);
    if ((entry && entry->type() == current.type) || current.any_change)
      current.session->run_again();
    if (last) return;
  }
}

}  // namespace quoll::server
