#include "data/list.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "data/relocation.h"

namespace quoll::data {

constexpr size_t kLargeNodes = kFreedAtOnceMax / 2;  // as drain() counts

// The listpack of a small list while it is being changed.
class List::OpenPack {
 public:
  explicit OpenPack(List& list) : list_(list), pack_(Listpack::adopt(list.block())) {}
  OpenPack(const OpenPack&) = delete;
  OpenPack& operator=(const OpenPack&) = delete;
  ~OpenPack() { list_.word_ = reinterpret_cast<uintptr_t>(pack_.detach()); }
  Listpack* operator->() { return &pack_; }
  Listpack& operator*() { return pack_; }

 private:
  List& list_;
  Listpack pack_;
};

List::~List() {
  if (word_ == 0) return;
  if (big()) {
    delete &opened();
  } else {
    Listpack::adopt(block());
  }
}

size_t List::footprint(size_t samples) const {
  if (big()) return quicklist().footprint(samples);
  return word_ ? base::usable_size(pack_view().size_bytes()) : 0;
}

List List::copy() const {
  if (big()) return adopt(reinterpret_cast<uintptr_t>(quicklist().copy()) | 1);
  if (word_ == 0) return List();
  return adopt(reinterpret_cast<uintptr_t>(Listpack::copy_of(pack_view().bytes()).detach()));
}

bool List::large() const { return big() && quicklist().nodes().size() > kLargeNodes; }

bool List::relocate(base::Compaction& blocks, RelocationCursor& at) {
  if (!big()) {
    char* pack = block();
    if (pack && move_packed(blocks, pack, Listpack::bytes_of(pack)))
      word_ = reinterpret_cast<uintptr_t>(pack);
    return false;
  }
  Quicklist* list = &opened();
  if (at.index == 0 && blocks.move_object(list)) word_ = reinterpret_cast<uintptr_t>(list) | 1;
  return list->relocate(blocks, at.index);
}

bool List::drain(size_t items) {
  // A node costs about as much as two small elements of other types.
  if (big() && opened().drain(std::max<size_t>(items / 2, 1))) return true;
  *this = List();
  return false;
}

PackedItem List::at(uint64_t index, std::string& scratch) const {
  if (!big()) return pack_view().item(pack_view().at(static_cast<int64_t>(index)));
  Quicklist::Place place = quicklist().locate(index);
  const ListNode& node = quicklist().nodes()[place.node];
  if (node.plain()) return PackedItem::of_bytes(base::Blob::view_of(node.blob()));
  const ListpackView pack = node.view(scratch);
  return pack.item(pack.at(place.offset));
}

PackedItem List::at_end(ListEnd end) const {
  bool head = end == ListEnd::head;
  auto of = [head](ListpackView pack) { return pack.item(head ? pack.first() : pack.last()); };
  if (!big()) return of(pack_view());
  const ListNodes& nodes = quicklist().nodes();
  const ListNode& node = nodes[head ? 0 : nodes.size() - 1];
  if (node.plain()) return PackedItem::of_bytes(base::Blob::view_of(node.blob()));
  return of(ListpackView(node.pack().bytes()));
}

// --- the forms ---------------------------------------------------------------------------------

Quicklist& List::open_quicklist() {
  if (big()) return opened();
  auto* quicklist = new Quicklist;
  Listpack pack = Listpack::adopt(block());
  if (!pack.empty()) quicklist->append_pack(std::move(pack));
  word_ = reinterpret_cast<uintptr_t>(quicklist) | 1;
  return *quicklist;
}

void List::become_pack() {
  Quicklist* old = &opened();
  word_ = reinterpret_cast<uintptr_t>(old->take_only_pack().detach());
  delete old;
}

void List::expect(base::Args texts, const Packing& packing) {
  if (big()) return;
  ListpackView pack = pack_view();
  size_t bytes = pack.size_bytes();
  for (base::Bytes text : texts) bytes += text.size();
  if (!NodeLimit::of(packing).holds(bytes, pack.count() + texts.size()))
    open_quicklist().compress_inside(packing.list_open_nodes);
}

void List::settle(const Packing& packing) {
  if (!big() || quicklist().nodes().size() != 1) return;
  const ListNode& node = quicklist().nodes()[0];
  NodeLimit limit = NodeLimit::of(packing);
  if (!node.plain() &&
      (limit.is_by_count ? node.count <= limit.count / 2 : node.bytes() <= limit.bytes / 2))
    become_pack();
}

void List::settle_decoded(const Packing& packing) {
  if (!big()) return;
  opened().compress_inside(packing.list_open_nodes);
  if (quicklist().nodes().size() != 1) return;
  const ListNode& node = quicklist().nodes()[0];
  NodeLimit limit = NodeLimit::of(packing);
  if (!node.plain() &&
      (limit.is_by_count ? node.count <= limit.count : node.bytes() <= limit.bytes))
    become_pack();
}

// --- changes -----------------------------------------------------------------------------------

void List::push(ListEnd end, base::Bytes text, const Packing& packing, base::Blob* owned) {
  if (big()) return opened().push(end, text, owned, NodeLimit::of(packing));
  OpenPack pack(*this);
  QUOLL_CHECK(end == ListEnd::head ? pack->prepend(text) : pack->append(text));
}

void List::pop(ListEnd end) {
  if (big()) return opened().pop(end);
  OpenPack pack(*this);
  pack->erase(end == ListEnd::head ? pack->view().first() : pack->view().last());
}

void List::replace(uint64_t index, base::Bytes text, const Packing& packing, base::Blob* owned) {
  if (big()) return opened().replace(opened().locate(index), text, owned, NodeLimit::of(packing));
  OpenPack pack(*this);
  QUOLL_CHECK(pack->replace(pack->view().at(static_cast<int64_t>(index)), text));
}

bool List::find(const SoughtItem& sought, Quicklist::Place& place) const {
  const ListNodes& nodes = quicklist().nodes();
  std::string scratch;
  for (place.node = 0; place.node < nodes.size(); ++place.node) {
    const ListNode& node = nodes[place.node];
    place.offset = 0;
    if (node.plain()) {
      if (sought.is(PackedItem::of_bytes(base::Blob::view_of(node.blob())))) return true;
      continue;
    }
    bool missing =
        visit_pack(node.view(scratch), 0, node.count, false, [&](const PackedItem& item) {
          if (sought.is(item)) return false;
          ++place.offset;
          return true;
        });
    if (!missing) return true;
  }
  return false;
}

bool List::insert(const SoughtItem& pivot, bool after, base::Bytes text, const Packing& packing,
                  base::Blob* owned) {
  if (big()) {
    Quicklist::Place place;
    if (!find(pivot, place)) return false;
    opened().insert(place, after, text, owned, NodeLimit::of(packing));
    return true;
  }
  OpenPack pack(*this);
  auto at = pack->view().find(pack->view().first(), pivot.text);
  if (at == Listpack::kNone) return false;
  base::Args texts(&text, 1);
  QUOLL_CHECK(after ? pack->insert_after(at, texts) : pack->insert_before(at, texts));
  return true;
}

uint64_t List::remove(const SoughtItem& sought, uint64_t count, ListEnd from,
                      const Packing& packing) {
  if (big()) return opened().remove(sought, count, from, NodeLimit::of(packing));
  OpenPack pack(*this);
  return remove_from_pack(*pack, sought, count, from);
}

void List::erase_range(uint64_t index, uint64_t count) {
  if (big()) return opened().erase_range(index, count);
  OpenPack pack(*this);
  pack->erase_range(static_cast<int64_t>(index), count);
}

}  // namespace quoll::data
