// Set: distinct byte strings. Three forms, told apart by the two low bits of the word:
//
//   0          no form chosen yet: an empty set
//   block | 1  intset    all members are integers, ascending (intset.h)
//   block | 2  listpack  few short members, in the order of their arrival (listpack.h)
//   table | 3  table     base::HashTable of member blocks
//
//   member block: size 1 B, bytes...            a member of 16 bytes takes 32
//                 0xff, size 8 B, bytes...      longer than 254 bytes
//
// Conversion points are those of Redis 7.4; a set never goes back to a smaller form by itself.
//
// Cost: intset O(log n) to look up, O(n) to change; listpack O(n), n being bounded by Packing;
// table O(1), 12.5 bytes per member beside its block.
#pragma once

#include <type_traits>

#include "base/hash.h"
#include "base/hash_table.h"
#include "data/intset.h"
#include "data/listpack.h"
#include "data/owned_word.h"
#include "data/packing.h"
#include "data/type.h"

namespace quoll::data {

// A member of the table form. Made, read and freed here only.
class SetMember {
 public:
  static SetMember* make(base::Bytes bytes);
  static void destroy(SetMember* member);
  base::Bytes bytes() const {
    const auto* place = reinterpret_cast<const char*>(this);
    if (__builtin_expect(size_ != kLong, 1)) return {place + 1, size_};
    uint64_t size;
    std::memcpy(&size, place + 1, sizeof(size));
    return {place + kLongHeaderBytes, size};
  }
  size_t block_bytes() const { return block_bytes(bytes().size()); }  // as requested
  size_t footprint() const { return base::usable_size(block_bytes()); }

 private:
  static constexpr uint8_t kLong = 0xff;
  static constexpr size_t kLongHeaderBytes = 9;
  static size_t block_bytes(size_t size) {
    return size + (size < kLong ? size_t{1} : kLongHeaderBytes);
  }

  uint8_t size_;  // the block continues behind
};

struct SetTraits {
  using Item = SetMember;
  static constexpr unsigned kSkipBits = 0;
  static uint64_t hash(const SetMember* member) { return base::hash_key(member->bytes()); }
};

class Set : public OwnedWord<Set> {
 public:
  static constexpr Type kType = Type::set;
  using Table = base::HashTable<SetTraits>;
  enum class Encoding : uint8_t { none = 0, intset = 1, listpack = 2, table = 3 };

  Set() = default;
  Set(Set&&) noexcept = default;
  Set& operator=(Set&&) noexcept = default;
  ~Set() {
    if (word_) destroy();
  }
  // Valid blocks, taken over as they are, without duplicates.
  static Set of_intset(Intset intset);
  static Set of_listpack(Listpack listpack);

  uint64_t size() const;
  Encoding encoding() const { return static_cast<Encoding>(word_ & kTagMask); }
  base::Bytes encoding_name() const;
  size_t footprint(size_t samples) const;
  Set copy() const;
  bool large() const;
  bool drain(size_t items);
  bool relocate(base::Compaction& blocks, RelocationCursor& at);

  bool contains(base::Bytes member) const;
  bool contains(const PackedItem& member) const;
  // Calls visit(const PackedItem&) for every member; a visit that returns false ends it.
  template <class Visit>
  void for_each(Visit&& visit) const;
  // A member drawn uniformly from a set that is not empty. `draw` yields 64 uniform bits.
  template <class Draw>
  PackedItem random(Draw&& draw) const;
  template <class Draw>
  static SetMember* random_member(const Table& table, Draw&& draw);  // not empty

  // The packed forms' bytes, and the table; the set must have that form.
  IntsetView intset() const { return IntsetView(Intset::bytes_of(block())); }
  ListpackView listpack() const { return ListpackView(Listpack::bytes_of(block())); }
  const Table& table() const { return *table_of(word_); }

  // Chooses the form for `members` more of them, the first being `first`, as SADD does before it
  // adds any: many at once go straight into a table.
  void expect(base::Bytes first, size_t members, const Packing& packing);
  // An empty set begins as a listpack even if its members will be integers.
  void begin_listpack();
  // False: was there already. `member` must not point into this set.
  bool insert(base::Bytes member, const Packing& packing);
  bool insert(const PackedItem& member, const Packing& packing);
  bool erase(base::Bytes member);  // false: was not there
  // Removes a drawn member, which `told` is given before it goes.
  template <class Draw, class Told>
  void take_random(Draw&& draw, Told&& told);
  // A set whose members are all integers becomes an intset, unless they are too many for one.
  void make_intset(const Packing& packing);
  // Into the table form when the packed one holds more than `packing` allows.
  void convert_if_over(const Packing& packing);

 private:
  static constexpr uintptr_t kTagMask = 3;

  char* block() const { return reinterpret_cast<char*>(word_ & ~kTagMask); }
  static Table* table_of(uintptr_t word) { return reinterpret_cast<Table*>(word & ~kTagMask); }
  void hold(Encoding encoding, const void* place) {
    word_ = reinterpret_cast<uintptr_t>(place) | static_cast<uintptr_t>(encoding);
  }
  // The packed form as its owning type, put back by hold().
  Intset take_intset() { return Intset::adopt(block()); }
  Listpack take_listpack() { return Listpack::adopt(block()); }

  void destroy();
  bool insert_into_table(base::Bytes member);
  bool insert_into_listpack(base::Bytes member, const Packing& packing);
  bool insert_into_intset(int64_t member, const Packing& packing);
  void leave_intset(base::Bytes member, const Packing& packing);
  void convert_to_table();
  static void erase_member(Table& table, uint64_t hash, SetMember* member);
  void erase_from_listpack(ListpackView::Position position);

  template <class Visit>
  static bool visit_item(Visit&& visit, const PackedItem& item) {
    if constexpr (std::is_same_v<decltype(visit(item)), bool>) {
      return visit(item);
    } else {
      visit(item);
      return true;
    }
  }
};

template <class Visit>
void Set::for_each(Visit&& visit) const {
  switch (encoding()) {
    case Encoding::none:
      return;
    case Encoding::intset: {
      IntsetView members = intset();
      size_t count = members.count();
      for (size_t i = 0; i < count; ++i)
        if (!visit_item(visit, PackedItem::of_integer(members.at(i)))) return;
      return;
    }
    case Encoding::listpack: {
      ListpackView members = listpack();
      for (auto at = members.first(); at != ListpackView::kNone; at = members.next(at))
        if (!visit_item(visit, members.item(at))) return;
      return;
    }
    case Encoding::table: {
      bool go_on = true;
      base::WalkCursor cursor;
      while (go_on && table().walk(cursor, [&](const SetMember* member) {
        if (go_on) go_on = visit_item(visit, PackedItem::of_bytes(member->bytes()));
      })) {
      }
    }
  }
}

template <class Draw>
PackedItem Set::random(Draw&& draw) const {
  switch (encoding()) {
    case Encoding::none:
      break;
    case Encoding::intset: {
      IntsetView members = intset();
      return PackedItem::of_integer(members.at(draw() % members.count()));
    }
    case Encoding::listpack: {
      ListpackView members = listpack();
      return members.item(members.at(static_cast<int64_t>(draw() % members.count())));
    }
    case Encoding::table:
      return PackedItem::of_bytes(random_member(table(), draw)->bytes());
  }
  QUOLL_CHECK(false);
}

// Draws a cell of the table and a place in it, until a member is there. Cells with more members
// than places, which would be less likely than others, are one in hundreds at most.
template <class Draw>
SetMember* Set::random_member(const Table& table, Draw&& draw) {
  constexpr int kTries = 100;  // a young or thinned-out table has few members in a cell
  constexpr unsigned kPlaces = 16;
  for (int i = 0; i < kTries; ++i) {
    uint64_t wanted = draw() % kPlaces;
    SetMember* found = nullptr;
    table.sample(draw(), [&](SetMember* member) {
      if (wanted-- == 0) found = member;
    });
    if (found) return found;
  }
  return table.random(draw);
}

template <class Draw, class Told>
void Set::take_random(Draw&& draw, Told&& told) {
  switch (encoding()) {
    case Encoding::none:
      QUOLL_CHECK(false);
    case Encoding::intset: {
      Intset members = take_intset();
      int64_t member = members.at(draw() % members.count());
      told(PackedItem::of_integer(member));
      members.erase(member);
      return hold(Encoding::intset, members.detach());
    }
    case Encoding::listpack: {
      ListpackView members = listpack();
      auto at = members.at(static_cast<int64_t>(draw() % members.count()));
      told(members.item(at));
      return erase_from_listpack(at);
    }
    case Encoding::table: {
      Table& members = *table_of(word_);
      SetMember* member = random_member(members, draw);
      told(PackedItem::of_bytes(member->bytes()));
      erase_member(members, SetTraits::hash(member), member);
    }
  }
}

}  // namespace quoll::data
