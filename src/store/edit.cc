#include "store/edit.h"

#include "base/check.h"
#include "store/store.h"

namespace quoll::store {
namespace {

// Whether the entry may be in the wheel of fields, or belongs there.
bool has_timed_fields(const Entry* entry) {
  return entry->type() == data::Type::hash && entry->value<data::Hash>()->timed();
}

}  // namespace

Edit::Edit(Store& store, DbIndex db, const KeyRef& key, Millis now, bool access)
    : store_(store), database_(&store.open(db, now)), db_(db), key_(key), now_(now) {
  QUOLL_CHECK(!store.editing_ && store.commits_.open());
  store.editing_ = true;
  if (__builtin_expect(store.snapshot_ != nullptr, 0))
    store.snapshot_->before_edit(*database_, key_);
  entry_ = database_->shard(key.hash).find(
      key.hash, [&](const Entry* candidate) { return candidate->key_is(key.bytes); }, &at_);
  if (!entry_) return;
  size_before_ = KeySizes::place_of(entry_);
  if (__builtin_expect(!entry_->expired(now), 1)) {
    if (access) store_.note_access(entry_, now);
    return;
  }
  // The logical removal happened at the deadline; make it so before anyone sees the key.
  erase(Change::expired);
  ++store_.counters_.expired_keys;
  changed_ = false;
  change_ = Change::updated;
}

Edit::~Edit() {
  settle();
  QUOLL_CHECK(!changed_ || closed_);
  if (closed_ || !entry_) database_->sizes.move(size_before_, KeySizes::place_of(entry_));
  if (closed_) store_.commits_.note_changes(1);
  store_.editing_ = false;
}

void Edit::open_collection(data::Type type) {
  QUOLL_CHECK(entry_ && entry_->type() == type);
  if (open_) return;
  uintptr_t word = entry_->word();
  std::memcpy(opened_, &word, sizeof(word));
  open_ = true;
}

// The word goes back into the entry: changes may have moved what it points to.
void Edit::settle() {
  if (!open_) return;
  uintptr_t word;
  std::memcpy(&word, opened_, sizeof(word));
  entry_->set_word(word);
  if (__builtin_expect(has_timed_fields(entry_), 0)) file_fields();
}

// The hash's place in the wheel of fields, by the earliest deadline it has now.
void Edit::file_fields() {
  if (!database_->field_wheel) database_->field_wheel = std::make_unique<FieldWheel>(now_);
  if (FieldWheelTraits::deadline(entry_) == data::kHashNoDeadline)
    unfile_fields();
  else
    database_->field_wheel->move(entry_);
}

void Edit::unfile_fields() {
  if (has_timed_fields(entry_) && FieldWheelTraits::handle(entry_))
    database_->field_wheel->remove(FieldWheelTraits::handle(entry_));
}

void Edit::file_deadline(Entry* entry, Millis deadline) {
  entry->set_deadline(deadline);
  database_->wheel.add(entry);
  database_->count_deadline(deadline, 1);
}

void Edit::put(data::Value value, Ttl ttl) {
  settle();
  open_ = false;
  changed_ = true;
  // Not told by the value of the deadline: the last millisecond of all is a deadline, too.
  bool has_ttl =
      ttl.kind == Ttl::Kind::at || (ttl.kind == Ttl::Kind::keep && entry_ && entry_->has_ttl());
  Millis deadline = ttl.kind == Ttl::Kind::at ? ttl.deadline
                    : has_ttl                 ? entry_->deadline()
                                              : kNoDeadline;
  QUOLL_CHECK(deadline >= 0);
  bool wide = key_.bytes.size() > 255 || (has_ttl && deadline > kNarrowDeadlineMax);

  Entry::Shape shape{key_.bytes.size(), value.bytes.size(), value.form, has_ttl, wide};
  if (value.form == data::Form::heap && value.type == data::Type::string) {
    // A blob that fits inline is copied in: one block instead of two.
    Entry::Shape inlined = shape;
    inlined.form = data::Form::bytes;
    inlined.value_length = value.blob.size();
    if (value.blob.size() <= 255 && inlined.bytes() <= kInlineBlockMax) {
      base::Blob blob = std::move(value.blob);
      return put(data::Value::of_bytes(blob.view(), value.raw),
                 has_ttl ? Ttl::at(deadline) : Ttl::drop());
    }
  } else if (value.form == data::Form::bytes &&
             (value.bytes.size() > 255 || shape.bytes() > kInlineBlockMax)) {
    shape.form = data::Form::heap;
    value.blob = base::Blob::copy_of(value.bytes);
    value.form = data::Form::heap;
  }
  if (entry_) {
    rebuild(shape, value, deadline);
  } else {
    insert(shape, value, deadline);
    change_ = Change::created;
  }
  if (__builtin_expect(has_timed_fields(entry_), 0)) file_fields();
}

void Edit::insert(const Entry::Shape& shape, data::Value& value, Millis deadline) {
  entry_ = Entry::make(shape, key_.bytes);
  entry_->set_placement(store_.placement());
  entry_->write_value(value);
  entry_->set_access_clock(store_.access_.fresh(now_));
  at_ = database_->shard(key_.hash).insert(key_.hash, entry_);
  database_->count_key(key_.hash, 1);
  if (shape.ttl) file_deadline(entry_, deadline);
}

// Replaces the value of an existing entry: in its block when the size class stays, else in a new
// block that takes over the table slot and the wheel handle.
void Edit::rebuild(const Entry::Shape& shape, data::Value& value, Millis deadline) {
  Entry* old = entry_;
  Entry::Shape before = old->shape();
  Millis deadline_before = old->deadline();
  unfile_fields();
  store_.retire_value(old);
  const size_t bytes_before = before.bytes(), bytes = shape.bytes();
  if (before.ttl == shape.ttl && before.wide == shape.wide &&
      (bytes_before == bytes || base::usable_size(bytes_before) == base::usable_size(bytes))) {
    old->write_value(value);
  } else {
    Entry* fresh = Entry::make(shape, old->key());
    fresh->set_placement(old->placement());
    fresh->write_value(value);
    fresh->set_access_clock(old->access_clock());
    Shard::replace(at_, fresh);
    if (before.ttl && shape.ttl) {
      fresh->set_deadline(deadline);
      fresh->set_wheel_handle(old->wheel_handle());
      database_->wheel.replace(WheelTraits::handle(old), fresh);
    } else if (before.ttl) {
      database_->wheel.remove(WheelTraits::handle(old));
      database_->count_deadline(deadline_before, -1);
    }
    // The caller's key may be a view into the old block.
    if (key_.bytes.data() == old->key().data()) key_.bytes = fresh->key();
    base::release(old, bytes_before);
    entry_ = fresh;
  }
  if (!shape.ttl) return;
  if (!before.ttl) {
    file_deadline(entry_, deadline);
  } else if (deadline != deadline_before) {
    database_->count_deadline(deadline_before, -1);
    entry_->set_deadline(deadline);
    database_->wheel.move(entry_);
    database_->count_deadline(deadline, 1);
  }
}

base::Blob Edit::take_text(size_t extra) {
  QUOLL_CHECK(entry_ && entry_->type() == data::Type::string);
  changed_ = true;
  if (entry_->form() == data::Form::heap) {
    base::Blob blob = entry_->take_blob();
    blob.grow_for(blob.size() + extra);
    return blob;
  }
  char scratch[24];
  Bytes text = entry_->text(scratch);
  base::Blob blob(text.size() + extra);
  blob.append(text);
  return blob;
}

data::Value Edit::take() {
  QUOLL_CHECK(entry_);
  settle();
  open_ = false;
  changed_ = true;
  data::Value value;
  value.type = entry_->type();
  value.form = entry_->form();
  value.raw = entry_->raw();
  switch (entry_->form()) {
    case data::Form::bytes: {
      char scratch[24];
      value.blob = base::Blob::copy_of(entry_->text(scratch));
      value.form = data::Form::heap;  // put() copies it back inline where it fits
      break;
    }
    case data::Form::integer:
      value.integer = entry_->integer();
      break;
    case data::Form::heap:
      unfile_fields();
      if (value.type == data::Type::string)
        value.blob = entry_->take_blob();
      else
        value.collection = entry_->take_collection();
      break;
  }
  return value;
}

void Edit::erase(Change change) {
  QUOLL_CHECK(entry_);
  settle();
  open_ = false;
  unfile_fields();
  if (entry_->has_ttl()) {
    database_->wheel.remove(WheelTraits::handle(entry_));
    database_->count_deadline(entry_->deadline(), -1);
  }
  if (change == Change::expired || change == Change::evicted) {
    // Recorded before the entry goes: the caller's key may be a view into it.
    const Event& event = change == Change::expired ? kEventExpired : kEventEvicted;
    store_.commits_.touch(db_, key_.bytes, event, change);
    const Bytes del[] = {"DEL", key_.bytes};
    store_.commits_.effect(db_, del);
  }
  database_->shard(key_.hash).erase(key_.hash, entry_);
  database_->count_key(key_.hash, -1);
  store_.destroy(entry_);
  entry_ = nullptr;
  at_ = {};
  changed_ = true;
  change_ = change;
}

void Edit::evict() {
  erase(Change::evicted);
  ++store_.counters_.evicted_keys;
  changed_ = false;  // all is said
}

bool Edit::erase_if_empty() {
  settle();
  if (!entry_ || entry_->collection()->size() > 0) return false;
  erase();
  done(kEventDel);
  return true;
}

void Edit::set_deadline(Millis deadline) {
  QUOLL_CHECK(entry_);
  changed_ = true;
  if (entry_->has_ttl() && (entry_->wide() || deadline <= kNarrowDeadlineMax)) {
    database_->count_deadline(entry_->deadline(), -1);
    entry_->set_deadline(deadline);
    database_->wheel.move(entry_);
    database_->count_deadline(deadline, 1);
    return;
  }
  reshape(Ttl::at(deadline));
}

void Edit::persist() {
  QUOLL_CHECK(entry_ && entry_->has_ttl());
  reshape(Ttl::drop());
}

// The same value in a block with another header. Adding or dropping a deadline always moves the
// entry to a new block, so inline bytes may be read from the old one.
void Edit::reshape(Ttl ttl) {
  if (entry_->form() != data::Form::bytes) return put(take(), ttl);
  char scratch[24];
  put(data::Value::of_bytes(entry_->text(scratch), entry_->raw()), ttl);
}

void Edit::done(const Event& event) {
  QUOLL_CHECK(changed_ || open_);
  settle();
  changed_ = true;
  closed_ = true;
  store_.commits_.touch(db_, key_.bytes, event, change_);
  if (change_ == Change::created) change_ = Change::updated;  // further events of the same key
}

}  // namespace quoll::store
