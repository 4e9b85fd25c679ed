#include "store/eviction.h"

#include <algorithm>

namespace quoll::store {
namespace {

constexpr uint64_t kCellKeysMin = 4096;  // of a database: with fewer, most table cells are empty
constexpr int kCellTries = 64;           // cells drawn before keys are drawn one by one
constexpr size_t kCellKeysMax = 32;      // looked at; longer cells are made of collisions
constexpr unsigned kSoonestDraws = 4;    // looks into the wheel's first slot per choice,
constexpr unsigned kSoonestLooks = 16;   // and keys that are compared at each
constexpr int kRefills = 4;              // of the pool, when all in it were used again
constexpr uint32_t kRankMax = UINT32_MAX;

}  // namespace

void Eviction::set_rules(const EvictionRules& rules) {
  if (rules == rules_) return;
  rules_ = rules;
  pooled_ = 0;
}

// xorshift64* (Vigna 2016), replayable from the seed.
uint64_t Eviction::draw() {
  state_ ^= state_ >> 12;
  state_ ^= state_ << 25;
  state_ ^= state_ >> 27;
  return state_ * 0x2545F4914F6CDD1D;
}

bool Eviction::choosable(const Database* database) const {
  return database && (rules_.only_expiring ? database->expires : database->keys) > 0;
}

// Databases take turns; the pool compares their keys. Sets db_.
Database* Eviction::next_database() {
  for (DbIndex step = 0; step < store_.databases(); ++step) {
    db_ = (db_ + 1) % store_.databases();
    if (choosable(store_.databases_[db_].get())) return store_.databases_[db_].get();
  }
  return nullptr;
}

Entry* Eviction::draw_entry(Database& database) {
  if (rules_.only_expiring) return database.wheel.at_rank(draw() % database.wheel.size());
  return database.random([this] { return draw(); });
}

bool Eviction::evict_one(Millis now) {
  Entry* victim = nullptr;
  switch (rules_.by) {
    case EvictionRules::By::chance:
      if (Database* database = next_database()) victim = draw_entry(*database);
      break;
    default:
      for (int round = 0; !victim && round < kRefills; ++round) {
        refill(now);
        victim = best_of_pool(now);
      }
      // Keys are used faster than they are looked at: then any key is as good as another.
      if (!victim)
        if (Database* database = next_database()) victim = draw_entry(*database);
  }
  if (!victim) return false;
  remove(victim, now);
  return true;
}

void Eviction::remove(Entry* entry, Millis now) {
  Edit edit = store_.edit(db_, store_.ref(entry->key()), now, false);
  if (edit.found()) edit.evict();  // else opening it has removed the expired key
}

// --- by recency and by frequency ---------------------------------------------------------------

uint32_t Eviction::rank(const Entry* entry, Millis now) const {
  if (entry->expired(now)) return kRankMax;
  if (rules_.by == EvictionRules::By::frequency) return 255 - store_.frequency(entry, now);
  if (rules_.by == EvictionRules::By::recency)
    return AccessClock::idle_sixteenths(entry->access_clock(), now);
  // In steps of the wheel: two years and more are all the same.
  const Millis steps = (entry->deadline() - now) / Wheel::kTickMs;
  return kRankMax - 1 - static_cast<uint32_t>(std::min<Millis>(steps, kRankMax - 1));
}

void Eviction::refill(Millis now) {
  if (rules_.by == EvictionRules::By::deadline) return look_for_soonest(now);
  Database* database = next_database();
  if (!database) return;
  if (!rules_.only_expiring && database->keys >= kCellKeysMin) return sample_cells(*database, now);
  for (size_t i = 0; i < rules_.samples; ++i) consider(draw_entry(*database), now);
}

// New keys take the first free slot of a cell, so its keys are considered from a random one on:
// else among equals the newest would go again and again.
void Eviction::sample_cells(Database& database, Millis now) {
  size_t seen = 0;
  for (int i = 0; seen < rules_.samples && i < kCellTries; ++i) {
    uint64_t point = database.random_point([this] { return draw(); });
    Entry* found[kCellKeysMax];
    size_t count = 0;
    database.shard(point).sample(point, [&](Entry* entry) {
      if (count < kCellKeysMax) found[count++] = entry;
    });
    const size_t first = count > 1 ? draw() % count : 0;
    for (size_t k = 0; k < count; ++k) consider(found[(first + k) % count], now);
    seen += count;
  }
  for (; seen < rules_.samples; ++seen) consider(draw_entry(database), now);
}

// Puts the key into the pool if it is better than the worst there, or there is room.
void Eviction::consider(Entry* entry, Millis now) {
  Candidate* begin = pool_.data();
  Candidate* end = begin + pooled_;
  const uint32_t its_rank = rank(entry, now);
  if (pooled_ == kEvictionPool && its_rank <= begin->rank) return;
  const Candidate candidate{entry->hash(), db_, its_rank};
  Candidate* same = std::find_if(begin, end, [&](const Candidate& other) {
    return other.hash == candidate.hash && other.db == candidate.db;
  });
  if (same != end) {
    std::move(same + 1, end, same);
    --end;
  } else if (pooled_ == kEvictionPool) {
    std::move(begin + 1, end, begin);
    --end;
  }
  Candidate* place =
      std::lower_bound(begin, end, candidate,
                       [](const Candidate& a, const Candidate& b) { return a.rank < b.rank; });
  std::move_backward(place, end, end + 1);
  *place = candidate;
  pooled_ = static_cast<size_t>(end + 1 - begin);
}

// Takes candidates from the top of the pool until one is as idle as it was. Sets db_.
Entry* Eviction::best_of_pool(Millis now) {
  while (pooled_ > 0) {
    const Candidate best = pool_[--pooled_];
    if (best.db >= store_.databases() || !choosable(store_.databases_[best.db].get())) continue;
    Database& database = *store_.databases_[best.db];
    Entry* entry = database.shard(best.hash).find(
        best.hash, [&](const Entry* candidate) { return candidate->hash() == best.hash; });
    if (!entry || (rules_.only_expiring && !entry->has_ttl())) continue;
    if (rank(entry, now) < best.rank) continue;
    db_ = best.db;
    return entry;
  }
  return nullptr;
}

// --- by deadline -------------------------------------------------------------------------------

// The earliest of all databases. A slot far ahead holds many keys; the pool keeps the best of them.
void Eviction::look_for_soonest(Millis now) {
  for (db_ = 0; db_ < store_.databases(); ++db_) {
    Database* database = store_.databases_[db_].get();
    if (!choosable(database)) continue;
    for (unsigned i = 0; i < kSoonestDraws; ++i)
      consider(database->wheel.earliest(draw(), kSoonestLooks), now);
  }
  db_ = 0;
}

}  // namespace quoll::store
