// StreamNode: some consecutive entries of a stream in one listpack, laid out as Redis lays them
// out, so RDB carries the block as it is. Source: payloads of redis-server 7.0.15 and the stream
// pages of redis-rdb-tools. Elements of the listpack:
//
//   master   count  deleted  number-of-fields  field...  0
//   entry    flags  ms  seq  value...                              elements   (same fields)
//   entry    flags  ms  seq  number-of-fields  (field value)...    elements
//
//   flags     1: deleted, 2: the fields are those of the master entry
//   ms, seq   differences to the node's ID, which is the ID its first entry had
//   elements  how many elements of the entry stand before: the way back for readers from the end
//
// A deleted entry stays as it is with its flag set until no live one is left in the node; `count`
// is that of live entries. Fields of the first entry become those of the master.
//
// Cost of an entry with the master's fields: 6 to 20 bytes besides its values.
#pragma once

#include "data/listpack.h"
#include "data/stream_id.h"

namespace quoll::data {

// One entry of a node. Its values are read through the node's view.
struct StreamEntry {
  StreamId id;
  ListpackView::Position begin = ListpackView::kNone;  // its flags
  ListpackView::Position first = ListpackView::kNone;  // value (same fields) or field
  ListpackView::Position end = ListpackView::kNone;    // its element count
  uint64_t pairs = 0;
  bool deleted = false;
  bool same_fields = false;
};

class StreamNodeView {
 public:
  using Position = ListpackView::Position;

  StreamNodeView() : listpack_(base::Bytes()) {}
  StreamNodeView(const StreamId& id, base::Bytes valid);

  const StreamId& id() const { return id_; }
  const ListpackView& listpack() const { return listpack_; }
  uint64_t live() const { return live_; }
  uint64_t deleted() const { return deleted_; }
  uint64_t entries() const { return live_ + deleted_; }

  // Entries in order, deleted ones included. False: there is no such entry. O(elements of it).
  bool at(Position begin, StreamEntry& entry) const { return read(begin, entry); }
  bool first(StreamEntry& entry) const { return read(entries_begin_, entry); }
  bool last(StreamEntry& entry) const { return read_before(ListpackView::kNone, entry); }
  bool next(StreamEntry& entry) const { return read(listpack_.next(entry.end), entry); }
  bool previous(StreamEntry& entry) const { return read_before(entry.begin, entry); }

  // Calls visit(PackedItem field, PackedItem value) for each pair.
  template <class Visit>
  void for_each_pair(const StreamEntry& entry, Visit&& visit) const {
    Position at = entry.first;
    Position field = fields_begin_;
    for (uint64_t i = 0; i < entry.pairs; ++i) {
      PackedItem name;
      if (entry.same_fields) {
        name = listpack_.item(field);
        field = listpack_.next(field);
      } else {
        name = listpack_.item(at);
        at = listpack_.next(at);
      }
      visit(name, listpack_.item(at));
      at = listpack_.next(at);
    }
  }
  // Whether the pairs' names are the master's, one by one.
  bool has_fields(base::Args pairs) const;

  // True iff the node is one whose entries can be read safely, with IDs that grow. O(bytes).
  static bool validate(const StreamId& id, base::Bytes foreign);

 private:
  bool read(Position at, StreamEntry& entry) const;
  bool read_before(Position after, StreamEntry& entry) const;
  int64_t integer(Position position) const { return listpack_.item(position).integer; }

  ListpackView listpack_;
  StreamId id_;
  uint64_t live_ = 0;
  uint64_t deleted_ = 0;
  uint64_t fields_ = 0;
  Position fields_begin_ = ListpackView::kNone;
  Position entries_begin_ = ListpackView::kNone;  // kNone: no entry
};

// Changes of a node, which a Listpack holds. Names and values alternate in `pairs`.
namespace stream_node {

// The largest node (and so the largest entry) Redis accepts, in bytes of text.
constexpr size_t kBytesMax = size_t{1} << 30;

Listpack make(base::Args pairs);
// False when the listpack would become too large; nothing has changed then.
[[nodiscard]] bool append(Listpack& node, const StreamId& node_id, const StreamId& id,
                          base::Args pairs);
// Sets the flag of an entry, whose own position stays.
void mark_deleted(Listpack& node, const StreamEntry& entry);
// `entries` of the live ones are no longer.
void count_deleted(Listpack& node, uint64_t entries);

}  // namespace stream_node
}  // namespace quoll::data
