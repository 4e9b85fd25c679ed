// List: a sequence of byte strings with two ends. One word, whose low bit tells the form:
//
//   0  listpack   the block of a Listpack (0: empty): small lists
//   1  quicklist  a Quicklist: see quicklist.h
//
// The forms, their names and when they change are Redis 7.4's: a listpack becomes a quicklist when
// what a command adds would exceed list-max-listpack-size (expect), and a quicklist of one listpack
// becomes a listpack again when a command left at most half of that (settle). Redis 7.0 knows only
// the quicklist.
//
//   list.expect(texts, packing);                      before adding
//   for (Bytes text : texts) list.push(ListEnd::tail, text, packing);
//
//   list.pop(ListEnd::head);                          after removing
//   list.settle(packing);
//
// Positions are counted from the head. Cost: both ends O(1) (a memmove of at most a node), index
// O(nodes), everything else O(elements passed).
#pragma once

#include "data/owned_word.h"
#include "data/quicklist.h"
#include "data/type.h"

namespace quoll::data {

class List : public OwnedWord<List> {
 public:
  static constexpr Type kType = Type::list;

  List() = default;
  List(List&&) noexcept = default;
  List& operator=(List&&) noexcept = default;
  ~List();

  uint64_t size() const { return big() ? quicklist().size() : pack_view().count(); }
  base::Bytes encoding_name() const { return big() ? "quicklist" : "listpack"; }
  size_t footprint(size_t samples) const;
  List copy() const;
  bool large() const;
  bool drain(size_t items);
  bool relocate(base::Compaction& blocks, RelocationCursor& at);

  // Visits up to `count` elements from `index` on, towards the tail or (backwards) the head, until
  // `visit` returns false. The index must exist when count > 0. What is visited lasts as long as
  // the visit: nodes under LZF are unpacked one at a time.
  template <class Visit>
  void visit(uint64_t index, uint64_t count, bool backwards, Visit&& visit) const;
  template <class F>
  void for_each(F&& each) const {
    visit(0, size(), false, [&](const PackedItem& item) {
      each(item);
      return true;
    });
  }
  // Both borrow from the list until it changes, at() from `scratch` where it had to be unpacked.
  PackedItem at(uint64_t index, std::string& scratch) const;
  PackedItem at_end(ListEnd end) const;

  // Chooses the form by what will be added: to be called before the changes below that add.
  void expect(base::Args texts, const Packing& packing);
  // Chooses the form by what is left: after the changes that remove or replace.
  void settle(const Packing& packing);
  // The same for a list that was just decoded.
  void settle_decoded(const Packing& packing);

  // `owned`, if given, is the Blob that holds `text`: it may be taken over instead of copied.
  void push(ListEnd end, base::Bytes text, const Packing& packing, base::Blob* owned = nullptr);
  void pop(ListEnd end);
  void replace(uint64_t index, base::Bytes text, const Packing& packing,
               base::Blob* owned = nullptr);
  // Beside the first element equal to `pivot`; false when there is none.
  bool insert(const SoughtItem& pivot, bool after, base::Bytes text, const Packing& packing,
              base::Blob* owned = nullptr);
  // Removes up to `count` equal elements from one end on; returns their number.
  uint64_t remove(const SoughtItem& sought, uint64_t count, ListEnd from, const Packing& packing);
  void erase_range(uint64_t index, uint64_t count);

  // For encoding and decoding: the nodes as they are, and appended as they come.
  bool big() const { return word_ & 1; }
  ListpackView pack_view() const { return ListpackView(Listpack::bytes_of(block())); }
  const Quicklist& quicklist() const {
    return *reinterpret_cast<const Quicklist*>(word_ & ~uintptr_t{1});
  }
  Quicklist& open_quicklist();  // makes the list a quicklist

 private:
  class OpenPack;
  char* block() const { return reinterpret_cast<char*>(word_); }
  Quicklist& opened() { return *reinterpret_cast<Quicklist*>(word_ & ~uintptr_t{1}); }
  void become_pack();
  bool find(const SoughtItem& sought, Quicklist::Place& place) const;

  template <class Visit>
  static bool visit_pack(const ListpackView& pack, int64_t offset, uint64_t count, bool backwards,
                         Visit&& visit);
};

// Visits up to `count` elements of a listpack; false when `visit` said so.
template <class Visit>
bool List::visit_pack(const ListpackView& pack, int64_t offset, uint64_t count, bool backwards,
                      Visit&& visit) {
  ListpackView::Position at = pack.at(offset);
  for (; count > 0; --count) {
    if (!visit(pack.item(at))) return false;
    if (count > 1) at = backwards ? pack.previous(at) : pack.next(at);
  }
  return true;
}

template <class Visit>
void List::visit(uint64_t index, uint64_t count, bool backwards, Visit&& visit) const {
  if (count == 0) return;
  if (!big()) {
    visit_pack(pack_view(), static_cast<int64_t>(index), count, backwards, visit);
    return;
  }
  const ListNodes& nodes = quicklist().nodes();
  Quicklist::Place place = quicklist().locate(index);
  std::string scratch;
  for (;;) {
    const ListNode& node = nodes[place.node];
    uint64_t here = backwards ? place.offset + 1 : node.count - place.offset;
    if (here > count) here = count;
    if (node.plain()) {
      if (!visit(PackedItem::of_bytes(base::Blob::view_of(node.blob())))) return;
    } else if (!visit_pack(node.view(scratch), place.offset, here, backwards, visit)) {
      return;
    }
    count -= here;
    if (count == 0) return;
    place.node += backwards ? size_t(-1) : 1;
    place.offset = backwards ? nodes[place.node].count - 1 : 0;
  }
}

}  // namespace quoll::data
