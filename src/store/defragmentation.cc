#include "store/defragmentation.h"

namespace quoll::store {

bool Defragmentation::step() {
  QUOLL_CHECK(!store_.snapshot_ && !store_.editing_);
  if (!unfinished_.empty()) {
    step_unfinished();
    return true;
  }
  while (db_ < store_.databases() && !store_.databases_[db_]) ++db_;
  if (db_ == store_.databases()) {
    db_ = 0;
    shard_ = 0;
    cursor_ = {};
    return false;
  }
  Database& database = *store_.databases_[db_];
  bool more = database.shards[shard_].relocate(
      cursor_, [&](Entry* entry) { return move_key(database, entry); },
      [&](void* block, size_t bytes) {
        blocks_.move(block, bytes);
        return block;
      });
  if (more) return true;
  cursor_ = {};
  if (++shard_ < kShards) return true;
  shard_ = 0;
  ++db_;
  return true;
}

Entry* Defragmentation::move_key(Database& database, Entry* entry) {
  const uint64_t moved_before = blocks_.moved();
  entry = move_entry(database, entry);
  if (entry->form() == data::Form::heap) move_value(entry);
  ++(blocks_.moved() > moved_before ? keys_moved_ : keys_left_);
  return entry;
}

Entry* Defragmentation::move_entry(Database& database, Entry* entry) {
  if (!blocks_.move(entry, base::usable_size(entry->block_bytes()))) return entry;
  if (entry->has_ttl()) database.wheel.replace(WheelTraits::handle(entry), entry);
  if (entry->type() == data::Type::hash && entry->value<data::Hash>()->timed())
    if (base::WheelHandle handle = FieldWheelTraits::handle(entry))
      database.field_wheel->replace(handle, entry);
  return entry;
}

void Defragmentation::move_value(Entry* entry) {
  if (entry->type() == data::Type::string) {
    base::Blob::Header* blob = entry->heap();
    if (data::move_blob(blocks_, blob)) entry->set_word(reinterpret_cast<uintptr_t>(blob));
    return;
  }
  data::RelocationCursor at;
  data::Collection value = entry->take_collection();
  if (value.relocate(blocks_, at)) unfinished_.push_back({db_, std::string(entry->key()), at});
  entry->set_word(value.detach());
}

// The key may have gone, or be another value by now.
void Defragmentation::step_unfinished() {
  Unfinished& rest = unfinished_.back();
  const KeyRef key = store_.ref(rest.key);
  Database* database = store_.databases_[rest.db].get();
  Entry* entry = database ? database->shard(key.hash).find(
                                key.hash, [&](const Entry* it) { return it->key_is(key.bytes); })
                          : nullptr;
  bool more = false;
  if (entry && entry->type() != data::Type::string) {
    data::Collection value = entry->take_collection();
    more = value.relocate(blocks_, rest.at);
    entry->set_word(value.detach());
  }
  if (!more) unfinished_.pop_back();
}

}  // namespace quoll::store
