#include "data/set.h"

#include <algorithm>

#include "base/check.h"
#include "data/relocation.h"

namespace quoll::data {
namespace {

constexpr uint64_t kIntsetEntriesMax = uint64_t{1} << 30;  // Redis's limit, whatever is configured
// Share of the table in a member's cost: buckets, headers and directory, averaged over a doubling.
constexpr size_t kTableBytesPer8Members = 100;

uint64_t intset_entries_max(const Packing& packing) {
  return std::min(packing.set_intset_entries, kIntsetEntriesMax);
}

}  // namespace

SetMember* SetMember::make(base::Bytes bytes) {
  auto* place = static_cast<char*>(base::allocate(block_bytes(bytes.size())));
  auto* member = reinterpret_cast<SetMember*>(place);
  if (__builtin_expect(bytes.size() < kLong, 1)) {
    member->size_ = static_cast<uint8_t>(bytes.size());
    if (!bytes.empty()) std::memcpy(place + 1, bytes.data(), bytes.size());
    return member;
  }
  uint64_t size = bytes.size();
  member->size_ = kLong;
  std::memcpy(place + 1, &size, sizeof(size));
  std::memcpy(place + kLongHeaderBytes, bytes.data(), bytes.size());
  return member;
}

void SetMember::destroy(SetMember* member) {
  base::release(member, block_bytes(member->bytes().size()));
}

Set Set::of_intset(Intset intset) {
  Set set;
  set.hold(Encoding::intset, intset.detach());
  return set;
}

Set Set::of_listpack(Listpack listpack) {
  Set set;
  set.hold(Encoding::listpack, listpack.detach());
  return set;
}

bool Set::relocate(base::Compaction& blocks, RelocationCursor& at) {
  if (encoding() == Encoding::none) return false;
  if (encoding() != Encoding::table) {
    char* pack = block();
    base::Bytes bytes =
        encoding() == Encoding::intset ? Intset::bytes_of(pack) : Listpack::bytes_of(pack);
    if (pack && move_packed(blocks, pack, bytes)) hold(encoding(), pack);
    return false;
  }
  Table* members = table_of(word_);
  if (at.at_table_start() && blocks.move_object(members)) hold(Encoding::table, members);
  auto move = [&](auto* block, size_t bytes) {
    blocks.move(block, bytes);
    return block;
  };
  return members->relocate(
      at.table, [&](SetMember* member) { return move(member, member->block_bytes()); }, move);
}

void Set::destroy() {
  switch (encoding()) {
    case Encoding::none:
      break;
    case Encoding::intset:
      take_intset();
      break;
    case Encoding::listpack:
      take_listpack();
      break;
    case Encoding::table: {
      Table* members = table_of(word_);
      while (members->drain([](SetMember* member) { SetMember::destroy(member); })) {
      }
      delete members;
    }
  }
  word_ = 0;
}

uint64_t Set::size() const {
  switch (encoding()) {
    case Encoding::none:
      return 0;
    case Encoding::intset:
      return intset().count();
    case Encoding::listpack:
      return listpack().count();
    case Encoding::table:
      return table().size();
  }
  return 0;
}

base::Bytes Set::encoding_name() const {
  switch (encoding()) {
    case Encoding::listpack:
      return "listpack";
    case Encoding::table:
      return "hashtable";
    default:
      return "intset";
  }
}

size_t Set::footprint(size_t samples) const {
  if (encoding() != Encoding::table) {
    if (!block()) return 0;
    return base::usable_size(encoding() == Encoding::intset ? Intset::bytes_of(block()).size()
                                                            : Listpack::bytes_of(block()).size());
  }
  size_t seen = 0;
  size_t bytes = 0;
  base::WalkCursor cursor;
  auto visit = [&](const SetMember* member) {
    bytes += member->footprint();
    ++seen;
  };
  while (table().walk(cursor, visit) && (samples == 0 || seen < samples)) {
  }
  size_t members = size();
  if (seen < members && seen > 0)
    bytes = static_cast<size_t>(static_cast<double>(bytes) / static_cast<double>(seen) *
                                static_cast<double>(members));
  return base::usable_size(sizeof(Table)) + members * kTableBytesPer8Members / 8 + bytes;
}

Set Set::copy() const {
  Set copy;
  switch (encoding()) {
    case Encoding::none:
      break;
    case Encoding::intset:
      copy.hold(Encoding::intset, block() ? Intset::copy_of(intset().bytes()).detach() : nullptr);
      break;
    case Encoding::listpack:
      copy.hold(Encoding::listpack,
                block() ? Listpack::copy_of(listpack().bytes()).detach() : nullptr);
      break;
    case Encoding::table: {
      auto* members = new Table;
      for_each([&](const PackedItem& item) {
        SetMember* member = SetMember::make(item.bytes);
        members->insert(SetTraits::hash(member), member);
      });
      copy.hold(Encoding::table, members);
    }
  }
  return copy;
}

bool Set::large() const { return encoding() == Encoding::table && table().size() > kFreedAtOnceMax; }

bool Set::drain(size_t items) {
  if (encoding() != Encoding::table) {
    if (word_) destroy();
    return false;
  }
  Table* members = table_of(word_);
  size_t freed = 0;
  while (freed < items) {
    bool more = members->drain([&](SetMember* member) {
      SetMember::destroy(member);
      ++freed;
    });
    if (more) continue;
    delete members;
    word_ = 0;
    return false;
  }
  return true;
}

bool Set::contains(base::Bytes member) const {
  switch (encoding()) {
    case Encoding::none:
      return false;
    case Encoding::intset: {
      int64_t integer;
      return base::parse_int(member, integer) && intset().contains(integer);
    }
    case Encoding::listpack: {
      ListpackView members = listpack();
      return members.find(members.first(), member) != ListpackView::kNone;
    }
    case Encoding::table:
      return table().find(base::hash_key(member), [&](const SetMember* candidate) {
        return base::equal_short(candidate->bytes(), member);
      });
  }
  return false;
}

bool Set::contains(const PackedItem& member) const {
  if (member.is_integer && encoding() == Encoding::intset) return intset().contains(member.integer);
  char text[base::kIntTextMax];
  return contains(member.text(text));
}

void Set::expect(base::Bytes first, size_t members, const Packing& packing) {
  int64_t integer;
  switch (encoding()) {
    case Encoding::none:
      if (members <= intset_entries_max(packing) && base::parse_int(first, integer))
        return hold(Encoding::intset, nullptr);
      if (members <= packing.set_entries) return hold(Encoding::listpack, nullptr);
      return hold(Encoding::table, new Table);
    case Encoding::intset:
      if (members > packing.set_intset_entries) convert_to_table();
      return;
    case Encoding::listpack:
      if (members > packing.set_entries) convert_to_table();
      return;
    case Encoding::table:
      return;
  }
}

void Set::begin_listpack() {
  QUOLL_CHECK(word_ == 0);
  hold(Encoding::listpack, nullptr);
}

bool Set::insert(base::Bytes member, const Packing& packing) {
  if (__builtin_expect(encoding() == Encoding::table, 1)) return insert_into_table(member);
  if (encoding() == Encoding::listpack) return insert_into_listpack(member, packing);
  int64_t integer;
  if (base::parse_int(member, integer)) return insert_into_intset(integer, packing);
  leave_intset(member, packing);
  return insert(member, packing);
}

bool Set::insert(const PackedItem& member, const Packing& packing) {
  if (member.is_integer && (encoding() == Encoding::none || encoding() == Encoding::intset))
    return insert_into_intset(member.integer, packing);
  char text[base::kIntTextMax];
  return insert(member.text(text), packing);
}

bool Set::insert_into_table(base::Bytes member) {
  Table& members = *table_of(word_);
  uint64_t hash = base::hash_key(member);
  if (members.find(hash, [&](const SetMember* candidate) {
        return base::equal_short(candidate->bytes(), member);
      }))
    return false;
  members.insert(hash, SetMember::make(member));
  return true;
}

bool Set::insert_into_listpack(base::Bytes member, const Packing& packing) {
  ListpackView view = listpack();
  if (view.find(view.first(), member) != ListpackView::kNone) return false;
  Listpack members = take_listpack();
  bool stays = members.count() < packing.set_entries && member.size() <= packing.set_value_bytes &&
               members.fits(member.size()) && members.append(member);
  hold(Encoding::listpack, members.detach());
  if (stays) return true;
  convert_to_table();
  return insert_into_table(member);
}

bool Set::insert_into_intset(int64_t member, const Packing& packing) {
  Intset members = take_intset();
  bool inserted = members.insert(member);
  size_t count = members.count();
  hold(Encoding::intset, members.detach());
  if (inserted && count > intset_entries_max(packing)) convert_to_table();
  return inserted;
}

// `member`, which is no integer, comes: the integers move to a listpack or to a table.
void Set::leave_intset(base::Bytes member, const Packing& packing) {
  IntsetView members = intset();
  size_t count = encoding() == Encoding::none ? 0 : members.count();
  size_t widest = 0;
  if (count > 0)
    widest =
        std::max(base::int_text_size(members.at(0)), base::int_text_size(members.at(count - 1)));
  bool small = count < packing.set_entries && member.size() <= packing.set_value_bytes &&
               widest <= packing.set_value_bytes &&
               count * (widest + kListpackElementOverheadMax) + member.size() < kListpackBytesMax;
  if (!small) return convert_to_table();
  Listpack grown;
  for (size_t i = 0; i < count; ++i) QUOLL_CHECK(grown.append_integer(members.at(i)));
  if (word_) take_intset();
  hold(Encoding::listpack, grown.detach());
}

void Set::convert_to_table() {
  auto* members = new Table;
  for_each([&](const PackedItem& item) {
    char text[base::kIntTextMax];
    SetMember* member = SetMember::make(item.text(text));
    members->insert(SetTraits::hash(member), member);
  });
  destroy();
  hold(Encoding::table, members);
}

bool Set::erase(base::Bytes member) {
  switch (encoding()) {
    case Encoding::none:
      return false;
    case Encoding::intset: {
      int64_t integer;
      if (!base::parse_int(member, integer)) return false;
      Intset members = take_intset();
      bool erased = members.erase(integer);
      hold(Encoding::intset, members.detach());
      return erased;
    }
    case Encoding::listpack: {
      ListpackView members = listpack();
      auto at = members.find(members.first(), member);
      if (at == ListpackView::kNone) return false;
      erase_from_listpack(at);
      return true;
    }
    case Encoding::table: {
      Table& members = *table_of(word_);
      uint64_t hash = base::hash_key(member);
      SetMember* found = members.find(hash, [&](const SetMember* candidate) {
        return base::equal_short(candidate->bytes(), member);
      });
      if (found) erase_member(members, hash, found);
      return found;
    }
  }
  return false;
}

void Set::erase_member(Table& table, uint64_t hash, SetMember* member) {
  table.erase(hash, member);
  SetMember::destroy(member);
}

void Set::erase_from_listpack(ListpackView::Position position) {
  Listpack members = take_listpack();
  members.erase(position);
  hold(Encoding::listpack, members.detach());
}

void Set::make_intset(const Packing& packing) {
  if (encoding() == Encoding::intset || size() > intset_entries_max(packing)) return;
  Intset members;
  for_each([&](const PackedItem& item) {
    int64_t integer = item.integer;
    QUOLL_CHECK(item.is_integer || base::parse_int(item.bytes, integer));
    members.insert(integer);
  });
  destroy();
  hold(Encoding::intset, members.detach());
}

void Set::convert_if_over(const Packing& packing) {
  if (encoding() == Encoding::intset
          ? size() > intset_entries_max(packing)
          : encoding() == Encoding::listpack && size() > packing.set_entries)
    convert_to_table();
}

}  // namespace quoll::data
