#include "store/store.h"

namespace quoll::store {

Store::Store(DbIndex databases) {
  QUOLL_CHECK(databases > 0 && databases <= kDatabasesMax);
  databases_.resize(databases);
}

Store::~Store() {
  for (DbIndex db = 0; db < databases(); ++db)
    if (databases_[db]) graveyard_.push_back({std::move(databases_[db]), 0});
  while (reclaim()) {
  }
}

Database& Store::open(DbIndex db, Millis now) {
  QUOLL_CHECK(db < databases());
  if (!databases_[db]) databases_[db] = std::make_unique<Database>(now);
  return *databases_[db];
}

uint64_t Store::flush(DbIndex db) {
  uint64_t held = keys(db);
  if (databases_[db]) graveyard_.push_back({std::move(databases_[db]), 0});
  return held;
}

void Store::swap(DbIndex a, DbIndex b) { std::swap(databases_[a], databases_[b]); }

Millis Store::average_ttl(DbIndex db, Millis now) const {
  const Database* database = databases_[db].get();
  if (!database || database->expires == 0) return 0;
  auto mean = static_cast<Millis>(database->deadline_sum_ms / database->expires);
  return mean > now ? mean - now : 0;
}

Millis Store::next_expiry() const {
  Millis next = kNoDeadline;
  for (const auto& database : databases_) {
    if (!database || database->expires == 0) continue;
    Millis due = database->wheel.next_due();
    if (due < next) next = due;
  }
  return next;
}

void Store::queue_blob(base::Blob blob) {
  retired_bytes_ += blob.capacity();
  retired_.push_back(std::move(blob));
  if (retired_.size() > 1) std::swap(retired_.back(), retired_[retired_.size() - 2]);
}

// Works on the last blob: gives its pages back from the end, then frees the block.
void Store::reclaim_blob() {
  base::Blob& blob = retired_.back();
  size_t left = blob.capacity() - discarded_bytes_;
  if (left > kReclaimBytesPerStep) {
    left -= kReclaimBytesPerStep;
    base::discard_pages(blob.data() + left, kReclaimBytesPerStep);
    discarded_bytes_ += kReclaimBytesPerStep;
    return;
  }
  retired_bytes_ -= blob.capacity();
  discarded_bytes_ = 0;
  retired_.pop_back();
}

bool Store::reclaim() {
  if (!retired_.empty()) {
    reclaim_blob();
    return reclaiming();
  }
  if (graveyard_.empty()) return false;
  Grave& grave = graveyard_.front();
  for (size_t step = 0; step < kReclaimSegmentsPerStep; ++step) {
    if (grave.shard == kShards) {
      constexpr size_t kWheelChunksPerStep = 64;
      if (grave.database->wheel.clear_some(kWheelChunksPerStep)) graveyard_.pop_front();
      break;
    }
    bool more = grave.database->shards[grave.shard].drain([&](Entry* entry) {
      ++counters_.freed_entries;
      if (entry->form() == data::Form::heap) free_later(entry->take_heap());
      Entry::release_block(entry);
    });
    if (!more) ++grave.shard;
  }
  return reclaiming();
}

uint64_t Store::reclaim_pending() const {
  uint64_t pending = retired_.size();
  for (const Grave& grave : graveyard_)
    for (unsigned s = grave.shard; s < kShards; ++s) pending += grave.database->shards[s].size();
  return pending;
}

ScanCursor ScanCursor::unpack(uint64_t packed) {
  constexpr unsigned kDepthLimit = 31;
  ScanCursor at;
  at.shard = packed & 0xFF;
  at.walk.bucket = (packed >> 8) & 0x3F;
  at.walk.depth = (packed >> 14) & kDepthLimit;
  at.walk.prefix = (packed >> 19) & ((uint64_t{1} << at.walk.depth) - 1);
  return at;
}

uint64_t ScanCursor::pack() const {
  return shard | uint64_t{walk.bucket} << 8 | uint64_t{walk.depth} << 14 | walk.prefix << 19;
}

}  // namespace quoll::store
