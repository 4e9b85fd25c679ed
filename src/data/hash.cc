#include "data/hash.h"

#include <string>

#include "base/check.h"
#include "base/memory.h"
#include "data/relocation.h"

namespace quoll::data {
namespace {

constexpr base::Bytes kNoDeadlineText = "0";

bool fits_inline(size_t value_bytes) { return value_bytes <= kHashInlineValueMax; }

base::Blob blob_of(base::Bytes value, base::Blob* given) {
  return given ? std::move(*given) : base::Blob::copy_of(value);
}

void write_value(HashField* field, base::Bytes value, base::Blob* blob) {
  if (field->heap())
    field->write_blob(blob_of(value, blob));
  else
    field->write_inline(value);
}

}  // namespace

void Hash::destroy() {
  if (packed() && !timed()) {
    Listpack::adopt(static_cast<char*>(object()));
  } else {
    while (drain(SIZE_MAX)) {
    }
  }
  word_ = 0;
}

bool Hash::drain(size_t items) {
  if (packed()) {
    if (timed())
      delete &timed_pack();
    else
      Listpack::adopt(static_cast<char*>(object()));
    word_ = 0;
    return false;
  }
  Table& all = table();
  constexpr size_t kItemsPerChunk = 256;
  size_t freed = 0;
  while (all.deadlines && freed < items) {
    freed += kItemsPerChunk;
    if (all.deadlines->drop_chunk()) continue;
    delete all.deadlines;
    all.deadlines = nullptr;
  }
  while (freed < items) {
    bool more = all.fields.drain([&](HashField* field) {
      HashField::destroy(field);
      ++freed;
    });
    if (more) continue;
    delete &all;
    word_ = 0;
    return false;
  }
  return true;
}

bool Hash::relocate(base::Compaction& blocks, RelocationCursor& at) {
  if (packed()) {
    relocate_packed(blocks);
    return false;
  }
  Table* all = &table();
  if (at.at_table_start() && blocks.move_object(all)) hold(all);
  return all->fields.relocate(
      at.table, [&](HashField* field) { return relocate_field(blocks, field); },
      [&](void* block, size_t bytes) {
        blocks.move(block, bytes);
        return block;
      });
}

void Hash::relocate_packed(base::Compaction& blocks) {
  if (!timed()) {
    auto* pack = static_cast<char*>(object());
    if (pack && move_packed(blocks, pack, Listpack::bytes_of(pack))) hold(pack);
    return;
  }
  TimedPack* timed = &timed_pack();
  if (blocks.move_object(timed)) hold(timed);
  char* pack = timed->pack.detach();
  if (pack) move_packed(blocks, pack, Listpack::bytes_of(pack));
  timed->pack = Listpack::adopt(pack);
}

HashField* Hash::relocate_field(base::Compaction& blocks, HashField* field) {
  if (field->heap()) {
    base::Blob::Header* value = field->take_blob().detach();
    move_blob(blocks, value);
    field->write_blob(base::Blob::adopt(value));
  }
  if (blocks.move(field, base::usable_size(field->shape().bytes())) && field->has_deadline())
    table().deadlines->moved(field);
  return field;
}

uint64_t Hash::size() const { return packed() ? pack().count() / stride() : table().fields.size(); }

base::Bytes Hash::encoding_name() const {
  if (!packed()) return "hashtable";
  return timed() ? "listpackex" : "listpack";
}

size_t Hash::footprint(size_t samples) const {
  if (packed()) {
    if (timed()) return base::usable_size(sizeof(TimedPack)) + timed_pack().pack.footprint();
    return object() ? base::usable_size(pack().size_bytes()) : 0;
  }
  size_t bytes = base::usable_size(sizeof(Table));
  if (table().deadlines)
    bytes += base::usable_size(sizeof(HashDeadlines)) + table().deadlines->footprint();
  uint64_t fields = size();
  bytes += fields * 25 / 2;  // the table's own mean share
  size_t seen = 0;
  size_t seen_bytes = 0;
  base::WalkCursor cursor;
  bool more = fields > 0;
  while (more && (samples == 0 || seen < samples)) {
    more = table().fields.walk(cursor, [&](const HashField* field) {
      ++seen;
      seen_bytes += field->footprint();
    });
  }
  if (seen > 0)
    bytes += static_cast<size_t>(static_cast<unsigned __int128>(seen_bytes) * fields / seen);
  return bytes;
}

Hash Hash::copy() const {
  Hash made;
  if (packed()) {
    if (object()) {
      Listpack same = Listpack::copy_of(pack_bytes());
      made = timed() ? of_triples(std::move(same)) : of_pairs(std::move(same));
    }
    return made;
  }
  made.make_table();
  if (timed()) made.make_timed();
  for_each([&](const HashItem& item) {
    made.insert_in_table(item.field.bytes, item.value.bytes, nullptr);
    if (item.deadline != kHashNoDeadline) made.set_deadline(item.field.bytes, item.deadline);
  });
  return made;
}

// ---- reading

HashItem Hash::packed_item(const ListpackView& view, ListpackView::Position& at) const {
  HashItem item;
  item.field = view.item(at);
  at = view.next(at);
  item.value = view.item(at);
  at = view.next(at);
  if (!timed()) return item;
  int64_t deadline = view.item(at).integer;
  if (deadline != 0) item.deadline = deadline;
  at = view.next(at);
  return item;
}

bool Hash::find(base::Bytes field, HashItem& item) const {
  if (packed()) {
    ListpackView view = pack();
    ListpackView::Position at = view.find(view.first(), field, stride() - 1);
    if (at == ListpackView::kNone) return false;
    item = packed_item(view, at);
    return true;
  }
  const HashField* found = find_in_table(base::hash_key(field), field);
  if (!found) return false;
  item = item_of(found);
  return true;
}

base::Millis Hash::timed_earliest() const {
  if (!packed()) {
    const HashDeadlines& deadlines = *table().deadlines;
    return deadlines.empty() ? kHashNoDeadline : deadlines.earliest();
  }
  ListpackView view = pack();
  ListpackView::Position first = view.first();
  return first == ListpackView::kNone ? kHashNoDeadline : packed_item(view, first).deadline;
}

uint64_t Hash::expired(base::Millis now) const {
  if (earliest_deadline() > now) return 0;
  if (packed()) return due_triples(now, SIZE_MAX);
  uint64_t count = 0;
  table().deadlines->for_each_due(now, [&](const HashField*) { ++count; });
  return count;
}

HashField* Hash::due_field(base::Millis now) const {
  const HashDeadlines& deadlines = *table().deadlines;
  return !deadlines.empty() && deadlines.earliest() <= now ? deadlines.first() : nullptr;
}

size_t Hash::due_triples(base::Millis now, size_t max) const {
  ListpackView view = pack();
  size_t due = 0;
  for (ListpackView::Position at = view.first(); at != ListpackView::kNone && due < max; ++due)
    if (!packed_item(view, at).expired(now)) break;
  return due;
}

// ---- forms

Hash Hash::of_pairs(Listpack pairs) { return adopt(reinterpret_cast<uintptr_t>(pairs.detach())); }

Hash Hash::of_triples(Listpack triples) {
  auto* made = new TimedPack;
  made->pack = std::move(triples);
  return adopt(reinterpret_cast<uintptr_t>(made) | kTimedBit);
}

void Hash::make_table() {
  QUOLL_CHECK(packed());
  Hash grown;
  grown.word_ = reinterpret_cast<uintptr_t>(new Table) | kTableBit;
  // A hash that is filed in the wheel takes its handle along, whatever deadlines are left.
  if (timed() && (wheel_handle() != 0 || has_deadlines())) {
    grown.make_timed();
    grown.table().deadlines->wheel_handle = wheel_handle();
  }
  for_each([&](const HashItem& item) {
    char field_text[base::kIntTextMax];
    char value_text[base::kIntTextMax];
    base::Bytes field = item.field.text(field_text);
    grown.insert_in_table(field, item.value.text(value_text), nullptr);
    if (item.deadline != kHashNoDeadline) grown.set_deadline(field, item.deadline);
  });
  std::swap(word_, grown.word_);
}

void Hash::make_timed() {
  if (timed()) return;
  if (!packed()) {
    table().deadlines = new HashDeadlines;
    word_ |= kTimedBit;
    return;
  }
  Listpack triples;
  ListpackView view = pack();
  for (ListpackView::Position at = view.first(); at != ListpackView::kNone;) {
    HashItem item = packed_item(view, at);
    QUOLL_CHECK(triples.append_item(item.field) && triples.append_item(item.value) &&
                triples.append_integer(0));
  }
  *this = of_triples(std::move(triples));
}

uint64_t Hash::wheel_handle() const {
  QUOLL_DCHECK(timed());
  return packed() ? timed_pack().wheel_handle : table().deadlines->wheel_handle;
}

void Hash::set_wheel_handle(uint64_t handle) const {
  QUOLL_DCHECK(timed());
  (packed() ? timed_pack().wheel_handle : table().deadlines->wheel_handle) = handle;
}

// ---- editing, packed

template <class Use>
auto Hash::with_pack(Use&& use) {
  if (timed()) return use(timed_pack().pack);
  Listpack pack = Listpack::adopt(static_cast<char*>(object()));
  auto result = use(pack);
  word_ = reinterpret_cast<uintptr_t>(pack.detach());
  return result;
}

bool Hash::set_packed(base::Bytes field, base::Bytes value, Deadline rule, base::Millis now) {
  return with_pack([&](Listpack& pack) {
    const base::Bytes elements[] = {field, value, kNoDeadlineText};
    base::Args fresh(elements, stride());
    ListpackView view = pack.view();
    ListpackView::Position at = view.find(view.first(), field, stride() - 1);
    if (at == ListpackView::kNone) {
      QUOLL_CHECK(pack.append(fresh));
      return true;
    }
    ListpackView::Position value_at = view.next(at);
    int64_t deadline = timed() ? view.item(view.next(value_at)).integer : 0;
    bool was_expired = deadline != 0 && deadline <= now;
    if (deadline != 0 && (was_expired || rule == Deadline::drop)) {
      pack.erase(at, stride());
      QUOLL_CHECK(pack.append(fresh));
    } else {
      QUOLL_CHECK(pack.replace(value_at, value));
    }
    return was_expired;
  });
}

// Redis's order: before the first field whose deadline is not earlier.
void Hash::insert_triple(base::Bytes field, base::Bytes value, base::Millis deadline) {
  char text[base::kIntTextMax];
  const base::Bytes elements[] = {field, value, {text, base::format_int(deadline, text)}};
  Listpack& pack = timed_pack().pack;
  ListpackView view = pack.view();
  ListpackView::Position at = view.first();
  while (at != ListpackView::kNone) {
    ListpackView::Position here = at;
    if (packed_item(view, at).deadline < deadline) continue;
    QUOLL_CHECK(pack.insert_before(here, elements) != ListpackView::kNone);
    return;
  }
  QUOLL_CHECK(pack.append(elements));
}

void Hash::set_packed_deadline(base::Bytes field, base::Millis deadline) {
  Listpack& pack = timed_pack().pack;
  ListpackView view = pack.view();
  ListpackView::Position at = view.find(view.first(), field, stride() - 1);
  QUOLL_CHECK(at != ListpackView::kNone);
  ListpackView::Position end = at;
  HashItem item = packed_item(view, end);
  // Where the order stays as it is, only the number changes.
  ListpackView::Position after = end;
  bool fits_next = end == ListpackView::kNone || packed_item(view, after).deadline >= deadline;
  ListpackView::Position before = view.previous(at);
  bool fits_before = before == ListpackView::kNone ||
                     (view.item(before).integer != 0 && view.item(before).integer < deadline);
  if (fits_next && fits_before) {
    QUOLL_CHECK(pack.replace_integer(view.next(view.next(at)), deadline));
    return;
  }
  char scratch[base::kIntTextMax];
  std::string value(item.value.text(scratch));
  pack.erase(at, stride());
  insert_triple(field, value, deadline);
}

// ---- editing, table

void Hash::insert_in_table(base::Bytes field, base::Bytes value, base::Blob* blob) {
  HashField* made =
      HashField::make({field.size(), value.size(), !fits_inline(value.size()), false}, field);
  write_value(made, value, blob);
  table().fields.insert(base::hash_key(field), made);
}

bool Hash::set_in_table(base::Bytes field, base::Bytes value, Deadline rule, base::Millis now,
                        base::Blob* blob) {
  uint64_t hash = base::hash_key(field);
  base::Position at;
  HashField* found = find_in_table(hash, field, &at);
  if (!found) {
    HashField* made =
        HashField::make({field.size(), value.size(), !fits_inline(value.size()), false}, field);
    write_value(made, value, blob);
    table().fields.insert(hash, made);
    return true;
  }
  bool was_expired = false;
  bool keep = false;
  if (found->has_deadline()) {
    was_expired = table().deadlines->of(found) <= now;
    keep = rule == Deadline::keep && !was_expired;
    if (!keep) table().deadlines->remove(found);
  }
  rewrite(found, at, value, keep, blob);
  return was_expired;
}

// Gives the field another value: in its block when the size class stays, else in a new one.
void Hash::rewrite(HashField* field, const base::Position& at, base::Bytes value, bool keep,
                   base::Blob* blob) {
  HashField::Shape before = field->shape();
  HashField::Shape shape{before.field_length, value.size(), !fits_inline(value.size()), keep};
  if (before.heap == shape.heap && before.deadline == keep && before.wide() == shape.wide() &&
      base::usable_size(before.bytes()) == base::usable_size(shape.bytes())) {
    if (before.heap) field->take_blob();
    write_value(field, value, blob);
    return;
  }
  HashField* made = HashField::make(shape, field->field());
  write_value(made, value, blob);
  if (keep) {
    made->set_deadline_index(field->deadline_index());
    table().deadlines->moved(made);
  }
  base::HashTable<FieldTraits>::replace(at, made);
  HashField::destroy(field);
}

// The same field and value in a block with or without a place for a deadline's index.
HashField* Hash::rebuild(HashField* field, const base::Position& at, bool deadline) {
  HashField::Shape shape = field->shape();
  shape.deadline = deadline;
  HashField* made = HashField::make(shape, field->field());
  if (shape.heap)
    made->write_blob(field->take_blob());
  else
    made->write_inline(field->value());
  base::HashTable<FieldTraits>::replace(at, made);
  HashField::release_block(field);
  return made;
}

void Hash::erase_from_table(HashField* field, uint64_t hash) {
  if (field->has_deadline()) table().deadlines->remove(field);
  table().fields.erase(hash, field);
  HashField::destroy(field);
}

// ---- editing

void Hash::expect(base::Args pairs, const Packing& packing) {
  if (!packed()) return;
  bool grows = pairs.size() / 2 > packing.hash_entries;
  size_t bytes = 0;
  for (base::Bytes text : pairs) {
    if (grows) break;
    grows = text.size() > packing.hash_value_bytes;
    bytes += text.size();
  }
  if (!grows) {
    grows = with_pack([&](Listpack& pack) { return !pack.fits(bytes, pairs.size() / 2 * 3); });
  }
  if (grows) make_table();
}

bool Hash::set(base::Bytes field, base::Bytes value, Deadline rule, base::Millis now,
               const Packing& packing, base::Blob* blob) {
  if (packed()) {
    bool stays =
        field.size() <= packing.hash_value_bytes && value.size() <= packing.hash_value_bytes &&
        with_pack([&](Listpack& pack) { return pack.fits(field.size() + value.size(), 3); });
    if (stays) {
      bool fresh = set_packed(field, value, rule, now);
      if (fresh && size() > packing.hash_entries) make_table();
      return fresh;
    }
    make_table();
  }
  return set_in_table(field, value, rule, now, blob);
}

bool Hash::erase(base::Bytes field) {
  if (packed()) {
    return with_pack([&](Listpack& pack) {
      ListpackView view = pack.view();
      ListpackView::Position at = view.find(view.first(), field, stride() - 1);
      if (at == ListpackView::kNone) return false;
      pack.erase(at, stride());
      return true;
    });
  }
  uint64_t hash = base::hash_key(field);
  HashField* found = find_in_table(hash, field);
  if (!found) return false;
  erase_from_table(found, hash);
  return true;
}

void Hash::set_deadline(base::Bytes field, base::Millis deadline) {
  QUOLL_CHECK(deadline < kHashNoDeadline);
  if (deadline < 1) deadline = 1;  // 0 means none in the packed form
  make_timed();
  if (packed()) return set_packed_deadline(field, deadline);
  base::Position at;
  HashField* found = find_in_table(base::hash_key(field), field, &at);
  QUOLL_CHECK(found);
  if (found->has_deadline()) return table().deadlines->change(found, deadline);
  table().deadlines->add(rebuild(found, at, true), deadline);
}

bool Hash::drop_deadline(base::Bytes field) {
  if (!timed()) return false;
  if (packed()) {
    Listpack& pack = timed_pack().pack;
    ListpackView view = pack.view();
    ListpackView::Position at = view.find(view.first(), field, stride() - 1);
    if (at == ListpackView::kNone) return false;
    ListpackView::Position end = at;
    HashItem item = packed_item(view, end);
    if (item.deadline == kHashNoDeadline) return false;
    char scratch[base::kIntTextMax];
    std::string value(item.value.text(scratch));
    const base::Bytes elements[] = {field, value, kNoDeadlineText};
    pack.erase(at, stride());
    QUOLL_CHECK(pack.append(elements));
    return true;
  }
  base::Position at;
  HashField* found = find_in_table(base::hash_key(field), field, &at);
  if (!found || !found->has_deadline()) return false;
  table().deadlines->remove(found);
  rebuild(found, at, false);
  return true;
}

}  // namespace quoll::data
