// Quicklist: the form of lists that are too big for one listpack: a ring of listpacks, each within
// the node limit of list-max-listpack-size, and of single elements larger than that ("plain"
// nodes).
//
//   [listpack: a b c ...] [plain: 20 KiB] [listpack: x y z ...]
//
// Which node takes an element, and when nodes split and join, follows Redis 7.4's quicklist, so
// that OBJECT ENCODING changes at the same points. Source: behaviour of redis-server and the design
// notes of "Redis quicklist" by M. Stancliff.
//
// list-compress-depth: that many nodes at each end lie open, the listpacks between are under LZF.
// As in Redis a list keeps the depth that was set when it became a quicklist. Readers unpack a node
// beside it; what changes a node opens it, and settle() closes what lies inside again.
//
// Cost: push and pop O(element) at both ends (roomy_pack.h); index O(nodes) over the ring only;
// insert and erase in the middle O(node + nodes).
// Invariant: no node is empty; size() is the sum of their counts; with a depth the nodes at both
// ends are open.
#pragma once

#include "data/list_nodes.h"
#include "data/packing.h"

namespace quoll::data {

// How much one node may hold.
struct NodeLimit {
  size_t bytes;      // of the listpack; larger elements get a node of their own
  uint64_t count;    // elements
  bool is_by_count;  // list-max-listpack-size is a number of elements

  static NodeLimit of(const Packing& packing);
  bool holds(size_t node_bytes, uint64_t node_count) const {
    return node_bytes <= bytes && node_count <= count;
  }
  bool is_large(size_t text_bytes) const { return text_bytes > bytes; }
};

// An element to compare with: its text and, where it has one, its integer form.
struct SoughtItem {
  explicit SoughtItem(base::Bytes wanted)
      : text(wanted), is_integer(base::parse_int(wanted, integer)) {}
  bool is(const PackedItem& item) const {
    if (item.is_integer) return is_integer && item.integer == integer;
    return item.bytes.size() == text.size() && !is_integer && item.bytes == text;
  }
  base::Bytes text;
  int64_t integer = 0;
  bool is_integer;
};

enum class ListEnd : uint8_t { head, tail };

class Quicklist {
 public:
  // Where an element is: a node and the element's number in it.
  struct Place {
    size_t node;
    uint32_t offset;
  };

  Quicklist() = default;
  Quicklist(const Quicklist&) = delete;
  Quicklist& operator=(const Quicklist&) = delete;
  ~Quicklist();

  uint64_t size() const { return size_; }
  const ListNodes& nodes() const { return nodes_; }
  Place locate(uint64_t index) const;
  size_t footprint(size_t samples) const;
  Quicklist* copy() const;
  // How many nodes at each end stay open, from now on and for all nodes there are; 0: all.
  void compress_inside(uint64_t open_nodes);
  uint64_t open_nodes() const { return depth_; }

  // `owned`, if given, is the Blob that holds `text`; a large element takes it over.
  void push(ListEnd end, base::Bytes text, base::Blob* owned, const NodeLimit& limit);
  void pop(ListEnd end);
  void insert(Place at, bool after, base::Bytes text, base::Blob* owned, const NodeLimit& limit);
  void replace(Place at, base::Bytes text, base::Blob* owned, const NodeLimit& limit);
  // Removes up to `count` equal elements from one end on; returns their number.
  uint64_t remove(const SoughtItem& sought, uint64_t count, ListEnd from, const NodeLimit& limit);
  void erase_range(uint64_t index, uint64_t count);

  // A whole listpack as the last node; it must not be empty.
  void append_pack(Listpack pack);
  void append_plain(base::Blob blob);
  // Takes the only node, a listpack, out; the list is empty then.
  Listpack take_only_pack();
  // Frees up to about `nodes` nodes; true while more are left. The list is useless then.
  bool drain(size_t nodes);
  // Moves the blocks of the node `at` if they lie badly, and goes on to the next; false at the end.
  bool relocate(base::Compaction& blocks, size_t& at);

 private:
  void open(ListNode& node);
  void compress(ListNode& node);
  void settle(size_t first, size_t last);
  // A change in the middle splits and joins no nodes that are further away than two.
  void settle_near(size_t node) { settle(node < 3 ? 0 : node - 3, node + 3); }
  void insert_beside(Place at, bool after, base::Bytes text, base::Blob* owned,
                     const NodeLimit& limit);
  void exchange(Place at, base::Bytes text, base::Blob* owned, const NodeLimit& limit);
  static bool contains(const ListNode& node, const SoughtItem& sought);
  ListNode make_node(base::Bytes text, base::Blob* owned, const NodeLimit& limit) const;
  void destroy(const ListNode& node);
  bool takes(size_t node, base::Bytes text, const NodeLimit& limit) const;
  void insert_in_pack(size_t node, uint32_t offset, base::Bytes text);
  void erase_in_pack(size_t node, uint32_t offset, uint64_t count);
  void split(size_t node, uint32_t offset);
  static bool fit_together(const ListNode& left, const ListNode& right, const NodeLimit& limit);
  void append_node(ListNode& left, const ListNode& right);
  void compact(size_t first, size_t count, const NodeLimit& limit);
  bool joins(size_t node, const NodeLimit& limit) const;
  void join(size_t node);
  void join_around(size_t node, const NodeLimit& limit);

  ListNodes nodes_;
  uint64_t size_ = 0;
  uint64_t depth_ = 0;       // open nodes at each end; 0: nothing is compressed
  uint64_t compressed_ = 0;  // nodes
};

// Removes up to `count` equal elements from one end of a listpack on; returns their number.
uint64_t remove_from_pack(Listpack& pack, const SoughtItem& sought, uint64_t count, ListEnd from);

}  // namespace quoll::data
