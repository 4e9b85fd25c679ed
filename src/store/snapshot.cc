#include "store/snapshot.h"

#include "store/store.h"

namespace quoll::store {
namespace {

constexpr size_t kSamples = 4;               // elements looked at to estimate the size of a value
constexpr unsigned kSnapshotBuckets = 4;     // of a step: about 28 small entries, 10 us
constexpr size_t kSnapshotFetchBytes = 256;  // of each entry

// Whether writing the entry at once would take long. Small ones pay one comparison.
bool is_large(const Entry& entry) {
  if (entry.form() != data::Form::heap) return false;
  return entry.footprint(kSamples) > kSnapshotPieceBytes;
}

// Entries lie anywhere in memory: those of one or several buckets are on their way before the first
// is read.
void fetch(const Entry* entry) {
  for (size_t line = 0; line < kSnapshotFetchBytes; line += 64)
    base::prefetch(reinterpret_cast<const char*>(entry) + line);
}

}  // namespace

Snapshot::Snapshot(Store& store, SnapshotSink& sink, uint32_t number)
    : store_(store), sink_(sink), number_(number) {
  for (DbIndex db = 0; db < store.databases(); ++db) {
    Database* database = store.databases_[db].get();
    if (!database || database->keys == 0) continue;
    covered_.push_back({db, database, nullptr});
    database->snapshot = number;
    keys_total_ += database->keys;
    for (Shard& shard : database->shards) shard.hold_segments(true);
  }
}

Snapshot::~Snapshot() {
  for (Covered& covered : covered_) {
    if (!covered.database) continue;
    covered.database->snapshot = 0;
    for (Shard& shard : covered.database->shards) shard.hold_segments(false);
    if (covered.kept) store_.bury(std::move(covered.kept));
  }
}

DbIndex Snapshot::index_of(const Database& database) const {
  for (const Covered& covered : covered_)
    if (covered.database == &database) return covered.db;
  QUOLL_CHECK(false);
}

void Snapshot::write(DbIndex db, const Entry& entry) {
  if (&entry == awaited_) awaited_ = nullptr;
  sink_.complete(db, entry);
  ++keys_written_;
}

void Snapshot::before_edit(Database& database, const KeyRef& key) {
  if (database.snapshot != number_) return;
  if (unfinished_.entry && unfinished_.entry->key_is(key.bytes) &&
      index_of(database) == unfinished_.db) {
    write(unfinished_.db, *unfinished_.entry);
    unfinished_.entry = nullptr;
    return;
  }
  if (!owed_.empty()) {
    if (auto at = find_owed(index_of(database), key); at != owed_.end()) {
      Owed owed = at->second;
      owed_.erase(at);
      return write(owed.db, *owed.entry);
    }
  }
  save_chain(database, key, true);
}

// Writes the bucket of a key, but for large values: they are owed.
void Snapshot::save_chain(Database& database, const KeyRef& key, bool own_at_once) {
  found_.clear();
  database.shard(key.hash).save_bucket(key.hash, number_, [&](const Entry* entry) {
    fetch(entry);
    found_.push_back({0, entry});
  });
  if (found_.empty()) return;
  DbIndex db = index_of(database);
  for (const Owed& found : found_) {
    if (is_large(*found.entry) && !(own_at_once && found.entry->key_is(key.bytes)))
      owed_.emplace(found.entry->hash(), Owed{db, found.entry});
    else
      write(db, *found.entry);
  }
}

std::multimap<uint64_t, Snapshot::Owed>::iterator Snapshot::find_owed(DbIndex db,
                                                                      const KeyRef& key) {
  auto [from, to] = owed_.equal_range(key.hash);
  for (auto at = from; at != to; ++at)
    if (at->second.entry->key_is(key.bytes) && at->second.db == db) return at;
  return owed_.end();
}

// About how much of it is still to be written.
size_t Snapshot::left_of(const Entry& entry) const {
  size_t all = entry.footprint(kSamples);
  size_t written = &entry == unfinished_.entry ? unfinished_bytes_ : 0;
  return all > written ? all - written : 0;
}

bool Snapshot::defer_edit(DbIndex db, const KeyRef& key) {
  Database* database = store_.databases_[db].get();
  if (!database || database->snapshot != number_) return false;
  const Entry* entry = database->shard(key.hash).find(
      key.hash, [&](const Entry* candidate) { return candidate->key_is(key.bytes); });
  if (!entry || entry->form() != data::Form::heap || left_of(*entry) <= kSnapshotEditBytesMax)
    return false;
  if (entry != unfinished_.entry) {
    save_chain(*database, key, false);
    if (find_owed(index_of(*database), key) == owed_.end()) return false;  // it is written
  }
  if (!awaited_) awaited_ = entry;
  return true;
}

bool Snapshot::keep(std::unique_ptr<Database>& database) {
  if (database->snapshot != number_) return false;
  uint64_t keys = std::max<uint64_t>(database->keys, 1);
  for (DbIndex db = 0; db < store_.databases(); ++db) keys += store_.keys(db);
  kept_bytes_ += base::memory_used() / keys * database->keys;
  for (Covered& covered : covered_)
    if (covered.database == database.get()) covered.kept = std::move(database);
  return true;
}

bool Snapshot::step() {
  if (step_unfinished()) return true;
  if (step_walk()) return true;
  return !owed_.empty() || unfinished_.entry;
}

// Goes on with a large value. False: there is none.
bool Snapshot::step_unfinished() {
  if (!unfinished_.entry) {
    if (owed_.empty()) return false;
    auto next = owed_.begin();
    if (awaited_) {
      next = owed_.lower_bound(awaited_->hash());
      while (next->second.entry != awaited_) ++next;
    }
    unfinished_ = next->second;
    unfinished_bytes_ = 0;
    owed_.erase(next);
  }
  unfinished_bytes_ += kSnapshotPieceBytes;
  if (sink_.piece(unfinished_.db, *unfinished_.entry, kSnapshotPieceBytes)) {
    if (unfinished_.entry == awaited_) awaited_ = nullptr;
    unfinished_.entry = nullptr;
    ++keys_written_;
  }
  return true;
}

bool Snapshot::step_walk() {
  if (at_ == covered_.size()) return false;
  Covered& covered = covered_[at_];
  found_.clear();
  bool more = true;
  for (unsigned bucket = 0; more && bucket < kSnapshotBuckets; ++bucket) {
    more = covered.database->shards[shard_].save_next(cursor_, number_, [&](const Entry* entry) {
      fetch(entry);
      found_.push_back({covered.db, entry});
    });
  }
  for (const Owed& found : found_) {
    if (is_large(*found.entry))
      owed_.emplace(found.entry->hash(), found);
    else
      write(found.db, *found.entry);
  }
  if (more) return true;
  cursor_ = {};
  if (++shard_ < kShards) return true;
  shard_ = 0;
  ++at_;
  return true;
}

}  // namespace quoll::store
