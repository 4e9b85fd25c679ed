// Edit: the only way to a mutable value. Opened by Store::edit for one key; it has already removed
// the key if its deadline passed, so found() is the logical state. Whatever changed must be closed
// with done(event); the destructor checks that. At most one Edit lives at a time.
//
//   Edit edit = store.edit(db, key, now);
//   edit.put(Value::of_text(text), Ttl::drop());
//   edit.done(kEventSet);
//
// A collection is changed where it lies; its type must have been checked:
//
//   Edit edit = store.edit(db, key, now);
//   if (!edit.found()) edit.create<data::Set>();
//   edit.value<data::Set>().insert(member, packing);
//   edit.done(kEventSadd);
//   edit.erase_if_empty();
#pragma once

#include <cstddef>
#include <new>

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
  // A new key with an empty collection.
  template <class T>
  void create() {
    put(data::Value::of_collection(data::Collection(T())), Ttl::drop());
  }
  // The collection of an existing key, open to changes until the Edit puts, takes or erases.
  template <class T>
  T& value() {
    open_collection(T::kType);
    return *std::launder(reinterpret_cast<T*>(opened_));
  }
  // Takes a string's bytes out as a Blob with room for `extra` more; put() must follow.
  base::Blob take_text(size_t extra);
  // Takes the value out in its present form, leaving only erase() or put().
  data::Value take();
  void erase(Change change = Change::erased);
  // Erases the key to make room: complete with event, effect and statistics.
  void evict();
  // A collection without elements is no key: erases it and announces "del". To be called after
  // done() of what emptied it. True when it was erased.
  bool erase_if_empty();
  void set_deadline(Millis deadline);
  void persist();

  // Records what happened. Required iff anything changed; more than one event may be recorded.
  void done(const Event& event);
  // The key counts as modified (WATCH, dirty) though no notification belongs to it.
  void done_silently() { done(Event{"", 0}); }

 private:
  friend class Store;
  Edit(Store& store, DbIndex db, const KeyRef& key, Millis now, bool access);

  void open_collection(data::Type type);
  void settle();
  void insert(const Entry::Shape& shape, data::Value& value, Millis deadline);
  void rebuild(const Entry::Shape& shape, data::Value& value, Millis deadline);
  void reshape(Ttl ttl);
  void file_deadline(Entry* entry, Millis deadline);
  void file_fields();
  void unfile_fields();

  Store& store_;
  Database* database_;
  DbIndex db_;
  KeyRef key_;
  Millis now_;
  Entry* entry_ = nullptr;
  base::Position at_;
  Change change_ = Change::updated;
  uint16_t size_before_ = KeySizes::kNowhere;
  // The collection's own word while it is open: every collection is one word (owned_word.h).
  alignas(uintptr_t) std::byte opened_[sizeof(uintptr_t)];
  bool open_ = false;
  bool changed_ = false;
  bool closed_ = false;
};

}  // namespace quoll::store
