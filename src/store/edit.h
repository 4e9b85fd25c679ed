// Edit: the only way to a mutable value. Opened by Store::edit for one key; it has already removed
// the key if its deadline passed, so found() is the logical state. Whatever changed must be closed
// with done(event); the destructor checks that. At most one Edit lives at a time.
//
//   Edit edit = store.edit(db, key, now);
//   edit.put(Value::of_text(text), Ttl::drop());
//   edit.done(kEventSet);
#pragma once

#include "data/value.h"
#include "store/commit.h"
#include "store/database.h"

namespace quoll::store {

class Store;

// What a put does to the key's deadline.
struct Ttl {
  enum class Kind : uint8_t { keep, drop, at } kind;
  Millis deadline;
  static Ttl keep() { return {Kind::keep, 0}; }
  static Ttl drop() { return {Kind::drop, 0}; }
  static Ttl at(Millis deadline) { return {Kind::at, deadline}; }
};

class Edit {
 public:
  Edit(const Edit&) = delete;
  Edit& operator=(const Edit&) = delete;
  ~Edit();

  bool found() const { return entry_ != nullptr; }
  const Entry* entry() const { return entry_; }
  const KeyRef& key() const { return key_; }

  // Creates or replaces the value.
  void put(data::Value value, Ttl ttl);
  // Takes a string's bytes out as a Blob with room for `extra` more; put() must follow.
  base::Blob take_text(size_t extra);
  // Takes the value out in its present form, leaving only erase() or put().
  data::Value take();
  void erase(Change change = Change::erased);
  void set_deadline(Millis deadline);
  void persist();

  // Records what happened. Required iff anything changed; more than one event may be recorded.
  void done(const Event& event);
  // The key counts as modified (WATCH, dirty) though no notification belongs to it.
  void done_silently() { done(Event{"", 0}); }

 private:
  friend class Store;
  Edit(Store& store, DbIndex db, const KeyRef& key, Millis now, bool access);

  void insert(const Entry::Shape& shape, data::Value& value, Millis deadline);
  void rebuild(const Entry::Shape& shape, data::Value& value, Millis deadline);
  void reshape(Ttl ttl);
  void file_deadline(Entry* entry, Millis deadline);

  Store& store_;
  Database* database_;
  DbIndex db_;
  KeyRef key_;
  Millis now_;
  Entry* entry_ = nullptr;
  base::Position at_;
  Change change_ = Change::updated;
  bool changed_ = false;
  bool closed_ = false;
};

}  // namespace quoll::store
