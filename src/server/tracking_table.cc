#include "server/tracking_table.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/memory.h"

namespace quoll::server {

TrackingTable::~TrackingTable() {
  clear();
  while (reclaim()) {
  }
}

// With room for `clients`, of which none is filled in.
TrackingTable::Entry* TrackingTable::make(Bytes key, size_t clients) {
  size_t bytes = sizeof(Entry) + std::bit_ceil(clients) * sizeof(ClientId) + key.size();
  auto* entry = static_cast<Entry*>(base::allocate(bytes));
  entry->key_bytes = static_cast<uint32_t>(key.size());
  entry->clients = static_cast<uint32_t>(clients);
  if (!key.empty()) std::memcpy(const_cast<char*>(entry->key().data()), key.data(), key.size());
  return entry;
}

void TrackingTable::free_entry(Entry* entry) { base::release(entry, entry->bytes()); }

void TrackingTable::remember(Bytes key, ClientId client) {
  const uint64_t hash = base::hash_key(key);
  base::Position at;
  Entry* entry = table_->find(
      hash, [&](const Entry* one) { return one->key() == key; }, &at);
  if (!entry) {
    entry = make(key, 1);
    entry->ids()[0] = client;
    table_->insert(hash, entry);
    ++items_;
    return;
  }
  ClientId* end = entry->ids() + entry->clients;
  ClientId* place = std::lower_bound(entry->ids(), end, client);
  if (place != end && *place == client) return;
  ++items_;
  const auto before = static_cast<size_t>(place - entry->ids());
  const size_t behind = entry->clients - before;
  if (entry->clients < entry->room()) {
    std::memmove(place + 1, place, behind * sizeof(ClientId));
    *place = client;
    ++entry->clients;
    return;
  }
  Entry* grown = make(key, size_t{entry->clients} + 1);
  std::memcpy(grown->ids(), entry->ids(), before * sizeof(ClientId));
  grown->ids()[before] = client;
  std::memcpy(grown->ids() + before + 1, place, behind * sizeof(ClientId));
  Table::replace(at, grown);
  free_entry(entry);
}

bool TrackingTable::take(Bytes key, std::vector<ClientId>& clients) {
  if (table_->size() == 0) return false;
  const uint64_t hash = base::hash_key(key);
  Entry* entry = table_->find(hash, [&](const Entry* one) { return one->key() == key; });
  if (!entry) return false;
  clients.assign(entry->ids(), entry->ids() + entry->clients);
  QUOLL_DCHECK(items_ >= entry->clients);
  items_ -= entry->clients;
  table_->erase(hash, entry);
  free_entry(entry);
  return true;
}

void TrackingTable::clear() {
  items_ = 0;
  if (table_->size() == 0) return;
  cleared_.push_back(std::move(table_));
  table_ = std::make_unique<Table>();
}

bool TrackingTable::reclaim() {
  if (cleared_.empty()) return false;
  if (!cleared_.back()->drain(free_entry)) cleared_.pop_back();
  return !cleared_.empty();
}

}  // namespace quoll::server
