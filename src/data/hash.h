// Hash: fields with values, each of which may have a deadline of its own.
//
//   word      form            OBJECT ENCODING
//   ...00     packed          listpack     block of a Listpack: field, value, ...
//   ...01     table           hashtable    HashTable of one block per field (hash_field.h)
//   ...10     timed packed    listpackex   TimedPack: a Listpack of field, value, deadline (0:
//   none)
//                                          by ascending deadline, those without at the end
//   ...11     timed table     hashtable    the same table and a heap of deadlines
//   (hash_deadlines.h)
//
// The forms and conversion points are Redis 7.4's: a hash grows into a table and never shrinks
// back, and one that ever had a deadline stays timed. Only timed forms carry what deadlines need,
// the handle in the database's wheel of fields included.
//
// A field past its deadline stays until somebody removes it: whoever reads compares with `now`.
// size() counts it still, as HLEN of Redis does.
//
// Cost: packed 2-11 bytes beside each element, reads and edits O(bytes); table 12.5 bytes and the
// field's block, O(1); a deadline 20 bytes in a table, up to 10 packed.
#pragma once

#include "base/bytes.h"
#include "base/hash.h"
#include "base/hash_table.h"
#include "data/hash_deadlines.h"
#include "data/hash_field.h"
#include "data/listpack.h"
#include "data/owned_word.h"
#include "data/packing.h"
#include "data/type.h"

namespace quoll::data {

constexpr base::Millis kHashNoDeadline = INT64_MAX;
// Redis's own bound: year 4199.
constexpr base::Millis kHashDeadlineMax = (base::Millis{1} << 46) - 1;

struct HashItem {
  PackedItem field;
  PackedItem value;
  base::Millis deadline = kHashNoDeadline;
  bool expired(base::Millis now) const { return deadline <= now; }
};

class Hash : public OwnedWord<Hash> {
 public:
  static constexpr Type kType = Type::hash;
  enum class Form : uint8_t { packed = 0, table = 1, timed_packed = 2, timed_table = 3 };

  Hash() = default;
  Hash(Hash&&) noexcept = default;
  Hash& operator=(Hash&&) noexcept = default;
  ~Hash() { destroy(); }

  Form form() const { return static_cast<Form>(word_ & kFormBits); }
  bool packed() const { return !(word_ & kTableBit); }
  bool timed() const { return word_ & kTimedBit; }

  uint64_t size() const;
  base::Bytes encoding_name() const;
  size_t footprint(size_t samples) const;
  Hash copy() const;
  bool large() const { return !packed() && size() > kFreedAtOnceMax; }
  bool drain(size_t items);
  bool relocate(base::Compaction& blocks, RelocationCursor& at);

  // ---- reading. Items borrow from the hash.
  bool find(base::Bytes field, HashItem& item) const;
  // The same, of a field whose deadline has not come.
  bool find(base::Bytes field, base::Millis now, HashItem& item) const {
    return find(field, item) && !item.expired(now);
  }
  template <class Visit>
  void for_each(Visit&& visit) const;
  // How many fields are past their deadline. O(that many).
  uint64_t expired(base::Millis now) const;
  bool has_deadlines() const { return earliest_deadline() != kHashNoDeadline; }
  base::Millis earliest_deadline() const { return timed() ? timed_earliest() : kHashNoDeadline; }
  // Tables: the fields of the next bucket, as HashTable::walk.
  template <class Visit>
  bool walk(base::WalkCursor& cursor, Visit&& visit) const;
  // Tables that are not empty: a field drawn uniformly.
  template <class Draw>
  HashItem random(Draw&& draw) const {
    return item_of(table().fields.random(draw));
  }
  ListpackView pack() const { return ListpackView(pack_bytes()); }  // packed forms
  unsigned stride() const { return timed() ? 3 : 2; }               // elements of a packed field

  // ---- editing. Arguments must not point into the hash.
  enum class Deadline : uint8_t { drop, keep };
  // What is about to be set, field, value...: converts once where that is certain to happen.
  void expect(base::Args pairs, const Packing& packing);
  // True when the field is new: absent before, or past its deadline (which is dropped then). A
  // large value is taken from `blob` when there is one.
  bool set(base::Bytes field, base::Bytes value, Deadline rule, base::Millis now,
           const Packing& packing, base::Blob* blob = nullptr);
  bool erase(base::Bytes field);
  // The field must exist.
  void set_deadline(base::Bytes field, base::Millis deadline);
  // False: the field has none.
  bool drop_deadline(base::Bytes field);
  // Removes up to `fields_max` fields that are past their deadline, by ascending deadline, and
  // tells `visit` the name of each before it goes. Returns their number.
  template <class Visit>
  size_t drop_expired(base::Millis now, size_t fields_max, Visit&& visit);

  // ---- for loading: a listpack of pairs (triples in order of deadline) becomes the packed form.
  static Hash of_pairs(Listpack pairs);
  static Hash of_triples(Listpack triples);
  void make_table();

  // ---- the handle in the database's wheel of fields; timed forms only.
  uint64_t wheel_handle() const;
  void set_wheel_handle(uint64_t handle) const;

 private:
  static constexpr uintptr_t kTableBit = 1, kTimedBit = 2, kFormBits = 3;

  struct FieldTraits {
    using Item = HashField;
    static constexpr unsigned kSkipBits = 0;
    static uint64_t hash(const HashField* field) { return base::hash_key(field->field()); }
  };
  struct Table {
    base::HashTable<FieldTraits> fields;
    HashDeadlines* deadlines = nullptr;  // set iff the form is timed_table
  };
  struct TimedPack {
    uint64_t wheel_handle = 0;
    Listpack pack;
  };

  void* object() const { return reinterpret_cast<void*>(word_ & ~kFormBits); }
  Table& table() const { return *static_cast<Table*>(object()); }
  TimedPack& timed_pack() const { return *static_cast<TimedPack*>(object()); }
  base::Bytes pack_bytes() const {
    return timed() ? timed_pack().pack.bytes() : Listpack::bytes_of(static_cast<char*>(object()));
  }
  HashItem item_of(const HashField* field) const {
    return {PackedItem::of_bytes(field->field()), PackedItem::of_bytes(field->value()),
            field->has_deadline() ? table().deadlines->of(field) : kHashNoDeadline};
  }
  // `at` is a packed field's position; moved behind it.
  HashItem packed_item(const ListpackView& view, ListpackView::Position& at) const;
  HashField* find_in_table(uint64_t hash, base::Bytes field, base::Position* at = nullptr) const {
    return table().fields.find(
        hash, [&](const HashField* candidate) { return candidate->is(field); }, at);
  }

  void destroy();
  void hold(void* object) { word_ = reinterpret_cast<uintptr_t>(object) | (word_ & kFormBits); }
  void relocate_packed(base::Compaction& blocks);
  HashField* relocate_field(base::Compaction& blocks, HashField* field);
  base::Millis timed_earliest() const;
  template <class Use>
  auto with_pack(Use&& use);
  bool set_packed(base::Bytes field, base::Bytes value, Deadline rule, base::Millis now);
  bool set_in_table(base::Bytes field, base::Bytes value, Deadline rule, base::Millis now,
                    base::Blob* blob);
  void insert_in_table(base::Bytes field, base::Bytes value, base::Blob* blob);
  void rewrite(HashField* field, const base::Position& at, base::Bytes value, bool keep,
               base::Blob* blob);
  HashField* rebuild(HashField* field, const base::Position& at, bool deadline);
  void erase_from_table(HashField* field, uint64_t hash);
  void make_timed();
  void set_packed_deadline(base::Bytes field, base::Millis deadline);
  void insert_triple(base::Bytes field, base::Bytes value, base::Millis deadline);

  HashField* due_field(base::Millis now) const;
  size_t due_triples(base::Millis now, size_t max) const;
};

// ---- templates

template <class Visit>
void Hash::for_each(Visit&& visit) const {
  if (packed()) {
    ListpackView view = pack();
    for (ListpackView::Position at = view.first(); at != ListpackView::kNone;)
      visit(packed_item(view, at));
    return;
  }
  base::WalkCursor cursor;
  while (walk(cursor, visit)) {
  }
}

template <class Visit>
bool Hash::walk(base::WalkCursor& cursor, Visit&& visit) const {
  return table().fields.walk(cursor, [&](const HashField* field) { visit(item_of(field)); });
}

template <class Visit>
size_t Hash::drop_expired(base::Millis now, size_t fields_max, Visit&& visit) {
  if (!timed()) return 0;
  size_t dropped = 0;
  if (!packed()) {
    for (; dropped < fields_max; ++dropped) {
      HashField* due = due_field(now);
      if (!due) break;
      visit(due->field());
      erase_from_table(due, FieldTraits::hash(due));
    }
    return dropped;
  }
  dropped = due_triples(now, fields_max);
  ListpackView view = pack();
  ListpackView::Position at = view.first();
  for (size_t i = 0; i < dropped; ++i) {
    char scratch[base::kIntTextMax];
    visit(packed_item(view, at).field.text(scratch));
  }
  if (dropped > 0) timed_pack().pack.erase(view.first(), dropped * stride());
  return dropped;
}

}  // namespace quoll::data
