// Removal of hash fields whose deadline has come. The wheel of fields names the hashes; each gives
// up its due fields in pieces, so that a hash with very many of them never holds a loop turn.
#include <string>
#include <utility>
#include <vector>

#include "store/store.h"

namespace quoll::store {
namespace {

constexpr Event kEventFieldsExpired{"hexpired", 'h'};

}  // namespace

// Removes up to `fields_max` due fields of the hash at the key `fields_left`, which is cleared
// unless more of them wait. Returns how many were removed.
size_t Store::expire_fields_of(DbIndex db, Millis now, size_t fields_max) {
  // The entry may go, and the wheel's own next choice come, while the key is in use.
  std::string key = std::exchange(databases_[db]->fields_left, {});
  Edit edit = this->edit(db, ref(key), now, false);
  if (!edit.found() || edit.entry()->type() != data::Type::hash) return 0;
  data::Hash& hash = edit.value<data::Hash>();
  std::string names;
  std::vector<size_t> ends;
  size_t removed = hash.drop_expired(now, fields_max, [&](Bytes name) {
    names.append(name);
    ends.push_back(names.size());
  });
  if (removed == 0) return 0;
  bool more = hash.earliest_deadline() <= now;
  counters_.expired_fields += removed;
  edit.done(kEventFieldsExpired);
  std::vector<Bytes> effect = {"HDEL", key};
  size_t start = 0;
  for (size_t end : ends) {
    effect.push_back(Bytes(names).substr(start, end - start));
    start = end;
  }
  commits_.effect(db, effect);
  edit.erase_if_empty();
  if (more) databases_[db]->fields_left = std::move(key);
  return removed;
}

// Returns about how many steps it took: touched hashes and removed fields; `steps_max` or more when
// work may be left.
size_t Store::expire_fields(DbIndex db, Millis now, size_t steps_max) {
  Database& database = *databases_[db];
  size_t used = 0;
  while (used < steps_max) {
    if (!database.fields_left.empty()) {
      used += 1 + expire_fields_of(db, now, steps_max - used);
      continue;
    }
    size_t touched = database.field_wheel->advance(now, 1, [&](Entry* entry) {
      database.fields_left = entry->key();
      used += expire_fields_of(db, now, steps_max - used);
    });
    if (touched == 0) break;
    used += touched;
  }
  return used;
}

}  // namespace quoll::store
