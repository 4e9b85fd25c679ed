#include "store/store.h"

#include <algorithm>

namespace quoll::store {

Store::Store(DbIndex databases, Placement placement) : placement_(placement) {
  QUOLL_CHECK(databases > 0 && databases <= kDatabasesMax);
  databases_.resize(databases);
}

Store::~Store() {
  end_snapshot();
  for (DbIndex db = 0; db < databases(); ++db)
    if (databases_[db]) bury(std::move(databases_[db]));
  while (reclaim()) {
  }
}

uint64_t Store::flush(DbIndex db) {
  uint64_t held = keys(db);
  commits_.note_changes(held);
  std::unique_ptr<Database> flushed = std::move(databases_[db]);
  if (flushed && !(snapshot_ && snapshot_->keep(flushed))) bury(std::move(flushed));
  return held;
}

void Store::adopt(Store& other) {
  QUOLL_CHECK(databases() == other.databases() && placement_ == other.placement_);
  QUOLL_CHECK(!other.snapshot_);
  for (DbIndex db = 0; db < databases(); ++db) {
    flush(db);
    databases_[db] = std::move(other.databases_[db]);
  }
}

void Store::discard(Store& other) {
  QUOLL_CHECK(!other.snapshot_);
  for (DbIndex db = 0; db < other.databases(); ++db)
    if (other.databases_[db]) bury(std::move(other.databases_[db]));
}

Snapshot& Store::begin_snapshot(SnapshotSink& sink) {
  QUOLL_CHECK(!snapshot_);
  snapshot_ = std::make_unique<Snapshot>(*this, sink, ++snapshots_);
  return *snapshot_;
}

void Store::swap(DbIndex a, DbIndex b) { std::swap(databases_[a], databases_[b]); }

Millis Store::average_ttl(DbIndex db, Millis now) const {
  const Database* database = databases_[db].get();
  if (!database || database->expires == 0) return 0;
  auto mean = static_cast<Millis>(database->deadline_sum_ms / database->expires);
  return mean > now ? mean - now : 0;
}

bool Store::has_field_deadlines() const {
  for (const auto& database : databases_)
    if (database && database->field_wheel && database->field_wheel->size() > 0) return true;
  return false;
}

Millis Store::next_expiry() const {
  Millis next = kNoDeadline;
  for (const auto& database : databases_) {
    if (!database) continue;
    if (database->expires > 0) next = std::min(next, database->wheel.next_due());
    if (!database->field_wheel) continue;
    next = std::min(next, database->fields_left.empty() ? database->field_wheel->next_due() : 0);
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
  if (!retired_collections_.empty()) {
    if (!retired_collections_.front().drain(kReclaimItemsPerStep)) retired_collections_.pop_front();
    return reclaiming();
  }
  if (graveyard_.empty()) return false;
  Grave& grave = graveyard_.front();
  for (size_t step = 0; step < kReclaimBucketsPerStep; ++step) {
    if (grave.shard == kShards) {
      constexpr size_t kWheelChunksPerStep = 64;
      if (FieldWheel* fields = grave.database->field_wheel.get();
          fields && !fields->clear_some(kWheelChunksPerStep))
        break;
      if (grave.database->wheel.clear_some(kWheelChunksPerStep)) graveyard_.pop_front();
      break;
    }
    bool more = grave.database->shards[grave.shard].drain([&](Entry* entry) {
      ++counters_.freed_entries;
      if (entry->form() == data::Form::heap) {
        if (entry->type() == data::Type::string)
          free_later(entry->take_blob());
        else
          free_later(entry->take_collection());
      }
      Entry::release_block(entry);
    });
    if (!more) ++grave.shard;
  }
  return reclaiming();
}

uint64_t Store::reclaim_pending() const {
  uint64_t pending = retired_.size() + retired_collections_.size();
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
