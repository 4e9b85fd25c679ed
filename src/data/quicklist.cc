#include "data/quicklist.h"

#include <liblzf/lzf.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "data/relocation.h"

namespace quoll::data {
namespace {

// Redis's safety limit of a node that is bounded by its number of elements.
constexpr size_t kCountedNodeBytesMax = 8192;
// Redis's estimate of what an element adds to a listpack beyond its text.
constexpr size_t kElementOverheadEstimate = 8;
// Redis's: smaller nodes are not worth it, nor are those that hardly become smaller.
constexpr size_t kCompressBytesMin = 48;
constexpr size_t kCompressGainMin = 8;
constexpr size_t kNodesAddedMax = 3;  // by one change: as many may come to lie inside

// A node's listpack without room in front of it.
Listpack take_pack(ListNode& node) {
  RoomyPack pack = node.pack();
  pack.close();
  node.set_pack(pack);
  return Listpack::adopt(pack.block);
}

// A node's listpack while it is being changed.
class OpenPack {
 public:
  explicit OpenPack(ListNode& node) : node_(node), pack_(take_pack(node)) {}
  OpenPack(const OpenPack&) = delete;
  OpenPack& operator=(const OpenPack&) = delete;
  ~OpenPack() { node_.word = reinterpret_cast<uintptr_t>(pack_.detach()); }
  Listpack* operator->() { return &pack_; }
  Listpack& operator*() { return pack_; }

 private:
  ListNode& node_;
  Listpack pack_;
};

ListNode node_of(Listpack pack) {
  auto count = static_cast<uint32_t>(pack.count());
  return {reinterpret_cast<uintptr_t>(pack.detach()), count};
}

ListNode node_of(base::Blob blob) { return {reinterpret_cast<uintptr_t>(blob.detach()) | 1, 1}; }

CompressedPack* make_compressed(uint32_t raw_bytes, base::Bytes text) {
  const auto bytes = static_cast<uint32_t>(text.size());
  auto* pack =
      new (base::allocate(sizeof(CompressedPack) + bytes)) CompressedPack{raw_bytes, bytes};
  std::memcpy(pack + 1, text.data(), bytes);
  return pack;
}

}  // namespace

ListpackView ListNode::decompress(std::string& scratch) const {
  const CompressedPack& pack = *compressed_pack();
  scratch.resize(pack.raw_bytes);
  QUOLL_CHECK(lzf_decompress(pack.text(), pack.bytes, scratch.data(), pack.raw_bytes) ==
              pack.raw_bytes);
  return ListpackView(scratch);
}

NodeLimit NodeLimit::of(const Packing& packing) {
  if (packing.list_node >= 0) {
    auto count = static_cast<uint64_t>(std::max<int64_t>(packing.list_node, 1));
    return {kCountedNodeBytesMax, count, true};
  }
  int64_t step = std::min<int64_t>(-packing.list_node, 5) - 1;
  return {size_t{4096} << step, UINT64_MAX, false};
}

Quicklist::~Quicklist() {
  for (size_t i = 0; i < nodes_.size(); ++i) destroy(nodes_[i]);
}

void Quicklist::destroy(const ListNode& node) {
  if (node.compressed()) {
    --compressed_;
    base::release(node.compressed_pack(), node.compressed_pack()->block_bytes());
  } else if (node.plain()) {
    base::Blob::adopt(node.blob());
  } else {
    node.pack().destroy();
  }
}

// --- compression -------------------------------------------------------------------------------

void Quicklist::open(ListNode& node) {
  if (!node.compressed()) return;
  std::string scratch;
  Listpack pack = Listpack::copy_of(node.view(scratch).bytes());
  const uint32_t count = node.count;
  destroy(node);
  node = {reinterpret_cast<uintptr_t>(pack.detach()), count};
}

// Large elements that are nodes of their own stay as they are.
void Quicklist::compress(ListNode& node) {
  if (node.plain() || node.compressed()) return;
  const base::Bytes raw = node.pack().bytes();
  if (raw.size() < kCompressBytesMin) return;
  std::string text(raw.size() - kCompressGainMin, '\0');
  const unsigned bytes = lzf_compress(raw.data(), static_cast<unsigned>(raw.size()), text.data(),
                                      static_cast<unsigned>(text.size()));
  if (bytes == 0) return;
  text.resize(bytes);
  CompressedPack* pack = make_compressed(static_cast<uint32_t>(raw.size()), text);
  destroy(node);
  node = {reinterpret_cast<uintptr_t>(pack) | 2, node.count};
  ++compressed_;
}

void Quicklist::compress_inside(uint64_t open_nodes) {
  depth_ = open_nodes;
  if (depth_ > 0) return settle(0, nodes_.size());
  for (size_t i = 0; compressed_ > 0; ++i) open(nodes_[i]);
}

// After a change of the nodes from `first` to `last`, or of what is an end.
void Quicklist::settle(size_t first, size_t last) {
  if (depth_ == 0) return;
  const size_t count = nodes_.size();
  if (count <= 2 * depth_) {
    for (size_t i = 0; compressed_ > 0; ++i) open(nodes_[i]);
    return;
  }
  for (size_t i = 0; i < depth_ && compressed_ > 0; ++i) {
    open(nodes_[i]);
    open(nodes_[count - 1 - i]);
  }
  const size_t inside_last = count - 1 - depth_;
  for (size_t i = 0; i < kNodesAddedMax && depth_ + i <= inside_last; ++i) {
    compress(nodes_[depth_ + i]);
    compress(nodes_[inside_last - i]);
  }
  last = std::min(last, inside_last);
  for (size_t i = std::max<size_t>(first, depth_); i <= last; ++i) compress(nodes_[i]);
}

// --- the nodes ---------------------------------------------------------------------------------

bool Quicklist::drain(size_t nodes) {
  size_t count = std::min(nodes, nodes_.size());
  for (size_t i = 0; i < count; ++i) destroy(nodes_[nodes_.size() - 1 - i]);
  nodes_.erase(nodes_.size() - count, count);
  size_ = 0;
  return nodes_.size() > 0;
}

bool Quicklist::relocate(base::Compaction& blocks, size_t& at) {
  if (at == 0) nodes_.relocate(blocks);
  if (at >= nodes_.size()) return false;
  ListNode& node = nodes_[at++];
  if (node.compressed()) {
    CompressedPack* pack = node.compressed_pack();
    if (blocks.move(pack, base::usable_size(pack->block_bytes())))
      node.word = reinterpret_cast<uintptr_t>(pack) | 2;
  } else if (node.plain()) {
    base::Blob::Header* blob = node.blob();
    if (move_blob(blocks, blob)) node.word = reinterpret_cast<uintptr_t>(blob) | 1;
  } else {
    RoomyPack pack = node.pack();
    if (blocks.move(pack.block, pack.footprint())) node.set_pack(pack);
  }
  return at < nodes_.size();
}

Quicklist::Place Quicklist::locate(uint64_t index) const {
  QUOLL_DCHECK(index < size_);
  if (index < size_ / 2) {
    size_t node = 0;
    while (index >= nodes_[node].count) index -= nodes_[node++].count;
    return {node, static_cast<uint32_t>(index)};
  }
  uint64_t behind = size_ - index;  // elements from this one on
  size_t node = nodes_.size() - 1;
  while (behind > nodes_[node].count) behind -= nodes_[node--].count;
  return {node, nodes_[node].count - static_cast<uint32_t>(behind)};
}

size_t Quicklist::footprint(size_t samples) const {
  size_t total = base::usable_size(sizeof *this) + nodes_.footprint();
  size_t seen = samples ? std::min(samples, nodes_.size()) : nodes_.size();
  size_t bytes = 0;
  for (size_t i = 0; i < seen; ++i) {
    const ListNode& node = nodes_[i];
    bytes += node.plain()        ? base::Blob::footprint(node.blob())
             : node.compressed() ? base::usable_size(node.compressed_pack()->block_bytes())
                                 : node.pack().footprint();
  }
  return seen ? total + bytes * nodes_.size() / seen : total;
}

Quicklist* Quicklist::copy() const {
  auto* other = new Quicklist;
  other->depth_ = depth_;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const ListNode& node = nodes_[i];
    if (node.compressed()) {
      const CompressedPack& pack = *node.compressed_pack();
      auto* copied = make_compressed(pack.raw_bytes, {pack.text(), pack.bytes});
      other->nodes_.insert(i, {reinterpret_cast<uintptr_t>(copied) | 2, node.count});
      other->size_ += node.count;
      ++other->compressed_;
    } else if (node.plain()) {
      other->append_plain(base::Blob::copy_of(base::Blob::view_of(node.blob())));
    } else {
      other->append_pack(Listpack::copy_of(node.pack().bytes()));
    }
  }
  return other;
}

void Quicklist::append_pack(Listpack pack) {
  ListNode node = node_of(std::move(pack));
  size_ += node.count;
  nodes_.insert(nodes_.size(), node);
}

void Quicklist::append_plain(base::Blob blob) {
  nodes_.insert(nodes_.size(), node_of(std::move(blob)));
  ++size_;
}

Listpack Quicklist::take_only_pack() {
  QUOLL_CHECK(nodes_.size() == 1 && !nodes_[0].plain() && !nodes_[0].compressed());
  Listpack pack = take_pack(nodes_[0]);
  nodes_.erase(0);
  size_ = 0;
  return pack;
}

ListNode Quicklist::make_node(base::Bytes text, base::Blob* owned, const NodeLimit& limit) const {
  if (limit.is_large(text.size()))
    return node_of(owned ? std::move(*owned) : base::Blob::copy_of(text));
  Listpack pack;
  QUOLL_CHECK(pack.append(text));
  return node_of(std::move(pack));
}

// Whether the node exists and has room for the element, as Redis reckons.
bool Quicklist::takes(size_t node, base::Bytes text, const NodeLimit& limit) const {
  if (node >= nodes_.size() || nodes_[node].plain() || limit.is_large(text.size())) return false;
  return limit.holds(nodes_[node].bytes() + text.size() + kElementOverheadEstimate,
                     uint64_t{nodes_[node].count} + 1);
}

void Quicklist::push(ListEnd end, base::Bytes text, base::Blob* owned, const NodeLimit& limit) {
  bool front = end == ListEnd::head;
  size_t node = front ? 0 : nodes_.size() - 1;  // of an empty list: none
  ++size_;
  if (!takes(node, text, limit)) {
    nodes_.insert(front ? 0 : nodes_.size(), make_node(text, owned, limit));
    return settle(nodes_.size(), 0);
  }
  ++nodes_[node].count;
  if (front) {
    RoomyPack pack = nodes_[node].pack();
    pack.prepend(text);
    return nodes_[node].set_pack(pack);
  }
  OpenPack pack(nodes_[node]);
  QUOLL_CHECK(pack->append(text));
}

void Quicklist::pop(ListEnd end) {
  size_t node = end == ListEnd::head ? 0 : nodes_.size() - 1;
  --size_;
  if (--nodes_[node].count == 0) {
    destroy(nodes_[node]);
    nodes_.erase(node);
    return settle(nodes_.size(), 0);
  }
  RoomyPack pack = nodes_[node].pack();
  if (end == ListEnd::head)
    pack.drop_first();
  else
    pack.drop_last();
  nodes_[node].set_pack(pack);
}

void Quicklist::insert_in_pack(size_t node, uint32_t offset, base::Bytes text) {
  open(nodes_[node]);
  bool at_end = offset == nodes_[node].count;
  OpenPack pack(nodes_[node]);
  bool done = at_end ? pack->append(text)
                     : pack->insert_before(pack->view().at(offset), base::Args(&text, 1)) != 0;
  QUOLL_CHECK(done);
  ++nodes_[node].count;
}

void Quicklist::insert(Place at, bool after, base::Bytes text, base::Blob* owned,
                       const NodeLimit& limit) {
  insert_beside(at, after, text, owned, limit);
  settle_near(at.node);
}

void Quicklist::insert_beside(Place at, bool after, base::Bytes text, base::Blob* owned,
                              const NodeLimit& limit) {
  const ListNode& node = nodes_[at.node];
  uint32_t offset = at.offset + after;  // of the new element, or of what comes behind it
  bool at_edge = after ? offset == node.count : offset == 0;
  ++size_;
  if (takes(at.node, text, limit)) return insert_in_pack(at.node, offset, text);
  if (limit.is_large(text.size())) {
    if (!at_edge) split(at.node, offset);
    bool behind = after || !at_edge;
    return nodes_.insert(at.node + behind, make_node(text, owned, limit));
  }
  if (at_edge) {
    size_t beside = after ? at.node + 1 : at.node - 1;  // SIZE_MAX: none
    if (takes(beside, text, limit))
      return insert_in_pack(beside, after ? 0 : nodes_[beside].count, text);
    return nodes_.insert(at.node + after, make_node(text, owned, limit));
  }
  split(at.node, offset);
  size_t target = at.node + after;
  insert_in_pack(target, after ? 0 : nodes_[target].count, text);
  join_around(after ? at.node : at.node + 1, limit);
}

void Quicklist::replace(Place at, base::Bytes text, base::Blob* owned, const NodeLimit& limit) {
  exchange(at, text, owned, limit);
  settle_near(at.node);
}

void Quicklist::exchange(Place at, base::Bytes text, base::Blob* owned, const NodeLimit& limit) {
  ListNode& node = nodes_[at.node];
  bool large = limit.is_large(text.size());
  if (!node.plain() && !large) {
    open(node);
    OpenPack pack(node);
    QUOLL_CHECK(pack->replace(pack->view().at(at.offset), text));
  } else if (node.plain() && large) {
    destroy(node);
    node = make_node(text, owned, limit);
  } else {
    // One node of its own: it takes the place of the old element, which splits its node.
    insert_beside(at, true, text, owned, limit);
    bool was_only = nodes_[at.node].count == 1;
    erase_in_pack(at.node, at.offset, 1);
    if (!was_only) join_around(at.node + 1, limit);
    return;
  }
  // Growing elements must not make a node ever larger.
  if (!node.plain() && node.count > 1 && node.bytes() > 2 * limit.bytes)
    split(at.node, node.count / 2);
}

// Removes elements from a node, and the node with its last one.
void Quicklist::erase_in_pack(size_t node, uint32_t offset, uint64_t count) {
  size_ -= count;
  nodes_[node].count -= static_cast<uint32_t>(count);
  if (nodes_[node].count == 0) {
    destroy(nodes_[node]);
    return nodes_.erase(node);
  }
  open(nodes_[node]);
  OpenPack pack(nodes_[node]);
  pack->erase_range(offset, count);
}

void Quicklist::erase_range(uint64_t index, uint64_t count) {
  if (count == 0) return;
  Place at = locate(index);
  if (at.offset > 0) {
    uint64_t here = std::min<uint64_t>(count, nodes_[at.node].count - at.offset);
    erase_in_pack(at.node, at.offset, here);
    count -= here;
    ++at.node;
  }
  size_t whole = at.node;
  while (whole < nodes_.size() && count >= nodes_[whole].count) {
    count -= nodes_[whole].count;
    size_ -= nodes_[whole].count;
    destroy(nodes_[whole++]);
  }
  nodes_.erase(at.node, whole - at.node);
  if (count > 0) erase_in_pack(at.node, 0, count);
  settle_near(at.node);
}

uint64_t remove_from_pack(Listpack& pack, const SoughtItem& sought, uint64_t count, ListEnd from) {
  uint64_t removed = 0;
  ListpackView view = pack.view();
  auto at = from == ListEnd::head ? view.first() : view.last();
  while (at != Listpack::kNone && removed < count) {
    if (!sought.is(view.item(at))) {
      at = from == ListEnd::head ? view.next(at) : view.previous(at);
      continue;
    }
    auto before = from == ListEnd::head ? Listpack::kNone : view.previous(at);
    auto behind = pack.erase(at);
    view = pack.view();
    at = from == ListEnd::head ? behind : before;
    ++removed;
  }
  return removed;
}

bool Quicklist::contains(const ListNode& node, const SoughtItem& sought) {
  std::string scratch;
  const ListpackView pack = node.view(scratch);
  for (auto at = pack.first(); at != Listpack::kNone; at = pack.next(at))
    if (sought.is(pack.item(at))) return true;
  return false;
}

uint64_t Quicklist::remove(const SoughtItem& sought, uint64_t count, ListEnd from,
                           const NodeLimit& limit) {
  uint64_t removed = 0;
  size_t visited = 0;
  for (; visited < nodes_.size() && removed < count; ++visited) {
    ListNode& node = nodes_[from == ListEnd::head ? visited : nodes_.size() - 1 - visited];
    uint64_t here = 0;
    if (node.compressed() && !contains(node, sought)) continue;
    if (!node.plain()) {
      open(node);
      OpenPack pack(node);
      here = remove_from_pack(*pack, sought, count - removed, from);
    } else if (sought.is(PackedItem::of_bytes(base::Blob::view_of(node.blob())))) {
      here = 1;
    }
    removed += here;
    size_ -= here;
    node.count -= static_cast<uint32_t>(here);
  }
  if (removed > 0) {
    const size_t first = from == ListEnd::head ? 0 : nodes_.size() - visited;
    compact(first, visited, limit);
    settle(first, first + visited);
  }
  return removed;
}

// Drops nodes that are empty and joins neighbours that became small, though never to a single node:
// whether a list is still big is decided by what Redis would have left.
void Quicklist::compact(size_t first, size_t count, const NodeLimit& limit) {
  size_t alive = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) alive += nodes_[i].count > 0;
  size_t kept = first;
  for (size_t i = first; i < first + count; ++i) {
    ListNode node = nodes_[i];
    if (node.count == 0) {
      destroy(node);
    } else if (alive > 2 && kept > first && fit_together(nodes_[kept - 1], node, limit) &&
               nodes_[kept - 1].bytes() + node.bytes() <= limit.bytes / 2) {
      append_node(nodes_[kept - 1], node);
      --alive;
    } else {
      nodes_[kept++] = node;
    }
  }
  nodes_.erase(kept, first + count - kept);
}

// The elements from `offset` on become a node of their own.
void Quicklist::split(size_t node, uint32_t offset) {
  QUOLL_DCHECK(offset > 0 && offset < nodes_[node].count);
  open(nodes_[node]);
  uint32_t behind = nodes_[node].count - offset;
  Listpack rest = Listpack::copy_of(nodes_[node].pack().bytes());
  rest.erase_range(0, offset);
  {
    OpenPack pack(nodes_[node]);
    pack->erase_range(offset, behind);
  }
  nodes_[node].count = offset;
  nodes_.insert(node + 1, node_of(std::move(rest)));
}

bool Quicklist::fit_together(const ListNode& left, const ListNode& right, const NodeLimit& limit) {
  return !left.plain() && !right.plain() &&
         limit.holds(left.bytes() + right.bytes() - kListpackEmptyBytes,
                     uint64_t{left.count} + right.count);
}

// Moves the elements of the right node to the end of the left.
void Quicklist::append_node(ListNode& left, const ListNode& right) {
  open(left);
  std::string scratch;
  OpenPack pack(left);
  QUOLL_CHECK(pack->merge_back(right.view(scratch)));
  left.count += right.count;
  destroy(right);
}

// Whether the node and the next fit into one.
bool Quicklist::joins(size_t node, const NodeLimit& limit) const {
  return node + 1 < nodes_.size() && fit_together(nodes_[node], nodes_[node + 1], limit);
}

void Quicklist::join(size_t node) {
  append_node(nodes_[node], nodes_[node + 1]);
  nodes_.erase(node + 1);
}

// After a split: in Redis's order, so that the same nodes result.
void Quicklist::join_around(size_t node, const NodeLimit& limit) {
  if (node >= 2 && joins(node - 2, limit)) join(--node - 1);
  if (joins(node + 1, limit)) join(node + 1);
  if (node >= 1 && joins(node - 1, limit)) join(--node);
  if (joins(node, limit)) join(node);
}

}  // namespace quoll::data
