// Stream: entries in the order of their growing IDs, and the groups that read them.
//
//   word  0        an empty stream nothing ever happened to
//         Body*    nodes: StreamIndex of { first ID, listpack block }   (stream_node.h)
//                  length, last ID, first ID, greatest deleted ID, entries ever added
//                  groups, by name                                      (stream_group.h)
//
// Every node holds a live entry.
//
// A node takes entries until it holds stream-node-max-entries of them (deleted ones count) or would
// reach stream-node-max-bytes. Append is O(1), a seek O(log nodes + entries of a node), trimming
// whole nodes O(1) each.
// Cost: 150 bytes per stream, 24 bytes and the size class's rest per node.
//
// A stream without entries is a value like any other: only its deletion removes the key.
#pragma once

#include <optional>

#include "data/owned_word.h"
#include "data/packing.h"
#include "data/stream_group.h"
#include "data/stream_node.h"
#include "data/type.h"

namespace quoll::data {

// An item of the index of nodes.
struct StreamNodeSlot {
  StreamId id;
  char* block;  // a Listpack's

  StreamNodeView view() const { return StreamNodeView(id, Listpack::bytes_of(block)); }
};

// What happens to the references that groups hold to an entry that goes.
enum class StreamReferences : uint8_t {
  keep,   // they stay, to an entry that is no more
  drop,   // they go, too
  acked,  // an entry that has some, or will have, stays
};

// How XADD and XTRIM shorten.
struct StreamTrim {
  enum class By : uint8_t { none, length, id } by = By::none;
  bool whole_nodes = false;  // "~": only nodes that can go as a whole
  uint64_t length = 0;       // keep the last so many
  StreamId id = {};          // keep this and later ones
  uint64_t removed_max = 0;  // 0: any number
  StreamReferences references = StreamReferences::keep;
};

class Stream : public OwnedWord<Stream> {
 public:
  static constexpr Type kType = Type::stream;

  struct Facts {
    uint64_t length = 0;
    uint64_t entries_added = 0;
    StreamId last_id;         // greatest ever added or set
    StreamId first_id;        // of the first entry; zero when there is none
    StreamId max_deleted_id;  // greatest deleted by itself, not by trimming
  };

  Stream() = default;
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&&) noexcept = default;
  ~Stream();

  uint64_t size() const { return facts().length; }
  base::Bytes encoding_name() const { return "stream"; }
  size_t footprint(size_t samples) const;
  Stream copy() const;
  bool large() const;
  bool drain(size_t items);
  bool relocate(base::Compaction& blocks, RelocationCursor& at);

  const Facts& facts() const;
  const StreamIndex<StreamNodeSlot>& nodes() const;
  // The greatest ID an entry has; zero when there is none.
  StreamId last_entry_id() const;
  bool contains(const StreamId& id) const;

  // `id` must be greater than the last one. Names and values alternate in `pairs`; they must be
  // storable().
  void append(const StreamId& id, base::Args pairs, const Packing& packing);
  static bool storable(base::Args pairs);
  // Removes one entry and remembers its ID. False: there is none.
  bool erase(const StreamId& id);
  // Removes from the head; returns how many.
  uint64_t trim(const StreamTrim& trim);
  void set_last_id(const StreamId& id) { open().facts.last_id = id; }
  void set_entries_added(uint64_t entries) { open().facts.entries_added = entries; }
  void set_max_deleted_id(const StreamId& id) { open().facts.max_deleted_id = id; }

  // Groups, ordered by name.
  const std::vector<std::unique_ptr<StreamGroup>>& groups() const;
  const StreamGroup* find_group(base::Bytes name) const;
  StreamGroup* find_group(base::Bytes name) {
    return const_cast<StreamGroup*>(std::as_const(*this).find_group(name));
  }
  // nullptr: a group of this name exists.
  StreamGroup* add_group(base::Bytes name, const StreamId& last_id, int64_t entries_read);
  bool remove_group(base::Bytes name);

  // How many entries were added up to `id`, kEntriesReadUnknown when that cannot be told.
  int64_t entries_up_to(const StreamId& id) const;
  // Entries that the group has still to read, nullopt when that cannot be told. Negative where a
  // client claimed to have read more than there ever was (ENTRIESREAD).
  std::optional<int64_t> lag(const StreamGroup& group) const;
  // The group has read the entry `id`, which is beyond its last one.
  void advance(StreamGroup& group, const StreamId& id) const;
  // Whether some group has not read the entry yet, or not had it acknowledged.
  bool referenced(const StreamId& id) const;

  // For loading: nodes in order, then the facts (the first ID is computed). False: IDs overlap, or
  // contradict the facts.
  bool load_node(const StreamId& id, base::Bytes valid);
  bool load_facts(const Facts& facts);

  // Calls visit(const StreamNodeView&, const StreamEntry&) for every entry in order.
  template <class Visit>
  void for_each(Visit&& visit) const {
    nodes().for_each([&](const StreamNodeSlot& slot) {
      StreamNodeView node = slot.view();
      StreamEntry entry;
      for (bool more = node.first(entry); more; more = node.next(entry))
        if (!entry.deleted) visit(node, entry);
    });
  }

 private:
  struct Body {
    StreamIndex<StreamNodeSlot> nodes;
    Facts facts;
    std::vector<std::unique_ptr<StreamGroup>> groups;
  };

  const Body& body() const;
  Body& open();
  bool tombstones_after(const StreamId& id) const;
  void find_first_id();
  uint64_t trim_node(StreamNodeSlot& slot, const StreamTrim& trim);
};

// The live entries between two IDs, both included, in either direction.
class StreamWalk {
 public:
  StreamWalk(const Stream& stream, const StreamId& from, const StreamId& to, bool reverse = false);
  // Moves to the next entry; false at the end. The first call gives the first one.
  bool next();
  const StreamEntry& entry() const { return entry_; }
  const StreamNodeView& node() const { return node_; }

 private:
  bool step();
  bool open(StreamIndex<StreamNodeSlot>::Place place);

  const StreamIndex<StreamNodeSlot>& nodes_;
  StreamId from_;
  StreamId to_;
  StreamIndex<StreamNodeSlot>::Place place_;
  StreamNodeView node_;
  StreamEntry entry_;
  bool reverse_;
  bool in_node_ = false;
};

}  // namespace quoll::data
