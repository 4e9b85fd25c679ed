// TrackingTable: which clients may have which keys in their caches. Keys are known by name alone: a
// change in any database counts.
//
//   entry   0  key length (4)   4  clients (4)
//           8  client ids, 8 bytes each, ascending; room for 1, 2, 4, 8, ...
//              key bytes
//
// Cost per tracked key: 8 bytes + 8 per client + the key, in one block, and 12.5 of the hash table:
// a 16-byte key that one client read takes 44.5 bytes, one that ten clients read 176 + 12.5.
// remember and take: one lookup, and a binary search among the clients.
//
// The number of keys is limited by tracking-table-max-keys, which is the owner's to enforce. A
// table emptied as a whole is given back in steps: see reclaim().
#pragma once

#include <bit>
#include <memory>
#include <vector>

#include "base/hash.h"
#include "base/hash_table.h"

namespace quoll::server {

using base::Bytes;

class TrackingTable {
 public:
  using ClientId = uint64_t;

  TrackingTable() : table_(std::make_unique<Table>()) {}
  ~TrackingTable();
  TrackingTable(const TrackingTable&) = delete;
  TrackingTable& operator=(const TrackingTable&) = delete;

  void remember(Bytes key, ClientId client);
  // Forgets the key; the clients that read it replace `clients`. False when nobody did.
  bool take(Bytes key, std::vector<ClientId>& clients);
  // Any one key, nearly every one equally likely; empty and false when there is none. Valid until
  // the table changes.
  template <class Draw>
  bool any_key(Draw&& draw, Bytes& key) const {
    const Entry* entry = table_->random(draw);
    if (entry) key = entry->key();
    return entry != nullptr;
  }
  // Forgets all at once; the memory goes by reclaim().
  void clear();
  // Frees a bounded part of what was cleared; false when nothing is left to free.
  bool reclaim();
  bool reclaiming() const { return !cleared_.empty(); }

  uint64_t keys() const { return table_->size(); }
  uint64_t items() const { return items_; }  // (key, client) pairs

 private:
  struct Entry {
    uint32_t key_bytes;
    uint32_t clients;

    ClientId* ids() { return reinterpret_cast<ClientId*>(this + 1); }
    const ClientId* ids() const { return reinterpret_cast<const ClientId*>(this + 1); }
    size_t room() const { return std::bit_ceil(size_t{clients}); }
    Bytes key() const { return {reinterpret_cast<const char*>(ids() + room()), key_bytes}; }
    size_t bytes() const { return sizeof(Entry) + room() * sizeof(ClientId) + key_bytes; }
  };
  struct Traits {
    using Item = Entry;
    static constexpr unsigned kSkipBits = 0;
    static uint64_t hash(const Entry* entry) { return base::hash_key(entry->key()); }
  };
  using Table = base::HashTable<Traits>;

  static Entry* make(Bytes key, size_t clients);
  static void free_entry(Entry* entry);

  std::unique_ptr<Table> table_;
  std::vector<std::unique_ptr<Table>> cleared_;
  uint64_t items_ = 0;
};

}  // namespace quoll::server
