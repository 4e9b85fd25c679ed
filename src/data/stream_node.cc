#include "data/stream_node.h"

#include "base/check.h"

namespace quoll::data {
namespace {

constexpr int64_t kDeleted = 1;
constexpr int64_t kSameFields = 2;
constexpr uint64_t kEntryElements = 3;  // flags, ms, seq

// Elements in front of the master's first field.
constexpr int64_t kMasterElements = 3;

// Reads elements one by one where nothing is certain but the listpack itself.
class Checker {
 public:
  explicit Checker(base::Bytes valid) : view_(valid), at_(view_.first()) {}

  bool integer(int64_t& value) {
    if (at_ == ListpackView::kNone) return false;
    PackedItem item = view_.item(at_);
    value = item.integer;
    at_ = view_.next(at_);
    return item.is_integer;
  }
  bool skip(uint64_t elements) {
    for (; elements > 0 && at_ != ListpackView::kNone; --elements) at_ = view_.next(at_);
    return elements == 0;
  }
  bool at_end() const { return at_ == ListpackView::kNone; }

 private:
  ListpackView view_;
  ListpackView::Position at_;
};

StreamId plus(const StreamId& id, int64_t ms, int64_t seq) {
  return {id.ms + static_cast<uint64_t>(ms), id.seq + static_cast<uint64_t>(seq)};
}

bool check_entry(Checker& in, uint64_t master_fields, int64_t& flags, int64_t& ms, int64_t& seq) {
  if (!in.integer(flags) || !in.integer(ms) || !in.integer(seq)) return false;
  uint64_t elements = kEntryElements;
  if (flags & kSameFields) {
    if (!in.skip(master_fields)) return false;
    elements += master_fields;
  } else {
    int64_t fields;
    if (!in.integer(fields) || fields < 0 || fields > INT32_MAX) return false;
    uint64_t texts = 2 * static_cast<uint64_t>(fields);
    if (!in.skip(texts)) return false;
    elements += 1 + texts;
  }
  int64_t stated;
  return in.integer(stated) && static_cast<uint64_t>(stated) == elements;
}

}  // namespace

StreamNodeView::StreamNodeView(const StreamId& id, base::Bytes valid) : listpack_(valid), id_(id) {
  Position at = listpack_.first();
  live_ = static_cast<uint64_t>(integer(at));
  at = listpack_.next(at);
  deleted_ = static_cast<uint64_t>(integer(at));
  at = listpack_.next(at);
  fields_ = static_cast<uint64_t>(integer(at));
  at = fields_begin_ = listpack_.next(at);
  for (uint64_t i = 0; i < fields_; ++i) at = listpack_.next(at);
  entries_begin_ = listpack_.next(at);
}

bool StreamNodeView::read(Position at, StreamEntry& entry) const {
  if (at == ListpackView::kNone) return false;
  entry.begin = at;
  int64_t flags = integer(at);
  at = listpack_.next(at);
  int64_t ms = integer(at);
  at = listpack_.next(at);
  int64_t seq = integer(at);
  at = listpack_.next(at);
  entry.id = plus(id_, ms, seq);
  entry.deleted = flags & kDeleted;
  entry.same_fields = flags & kSameFields;
  uint64_t elements;
  if (entry.same_fields) {
    elements = entry.pairs = fields_;
  } else {
    entry.pairs = static_cast<uint64_t>(integer(at));
    at = listpack_.next(at);
    elements = 2 * entry.pairs;
  }
  entry.first = at;
  for (uint64_t i = 0; i < elements; ++i) at = listpack_.next(at);
  entry.end = at;
  return true;
}

bool StreamNodeView::read_before(Position after, StreamEntry& entry) const {
  Position at = after == ListpackView::kNone ? listpack_.last() : listpack_.previous(after);
  // The element in front of the first entry is the 0 that ends the master.
  int64_t elements = integer(at);
  if (elements == 0) return false;
  for (; elements > 0; --elements) at = listpack_.previous(at);
  return read(at, entry);
}

bool StreamNodeView::has_fields(base::Args pairs) const {
  if (fields_ != pairs.size() / 2) return false;
  Position field = fields_begin_;
  for (size_t i = 0; i < pairs.size(); i += 2) {
    if (!listpack_.equals(field, pairs[i])) return false;
    field = listpack_.next(field);
  }
  return true;
}

bool StreamNodeView::validate(const StreamId& id, base::Bytes foreign) {
  if (!ListpackView::validate(foreign)) return false;
  Checker in(foreign);
  int64_t live, deleted, fields, terminator;
  if (!in.integer(live) || live < 0 || !in.integer(deleted) || deleted < 0) return false;
  if (!in.integer(fields) || fields < 0 || !in.skip(static_cast<uint64_t>(fields))) return false;
  if (!in.integer(terminator) || terminator != 0) return false;
  int64_t seen_live = 0, seen_deleted = 0;
  StreamId previous;
  while (!in.at_end()) {
    int64_t flags, ms, seq;
    if (!check_entry(in, static_cast<uint64_t>(fields), flags, ms, seq)) return false;
    if (flags & kDeleted) {
      ++seen_deleted;
      continue;
    }
    StreamId entry = plus(id, ms, seq);
    if (entry < id || (seen_live > 0 && entry <= previous)) return false;
    previous = entry;
    ++seen_live;
  }
  return seen_live == live && seen_deleted == deleted;
}

namespace stream_node {

Listpack make(base::Args pairs) {
  Listpack node;
  bool ok = node.append_integer(0) && node.append_integer(0) &&
            node.append_integer(static_cast<int64_t>(pairs.size() / 2));
  for (size_t i = 0; ok && i < pairs.size(); i += 2) ok = node.append(pairs[i]);
  ok = ok && node.append_integer(0);
  QUOLL_CHECK(ok);  // the names and values of one entry are at most kBytesMax / 2
  return node;
}

bool append(Listpack& node, const StreamId& node_id, const StreamId& id, base::Args pairs) {
  size_t bytes = 0;
  for (base::Bytes text : pairs) bytes += text.size();
  if (!node.fits(bytes, pairs.size() + kEntryElements + 2)) return false;
  bool same = StreamNodeView(node_id, node.bytes()).has_fields(pairs);
  bool ok = node.append_integer(same ? kSameFields : 0) &&
            node.append_integer(static_cast<int64_t>(id.ms - node_id.ms)) &&
            node.append_integer(static_cast<int64_t>(id.seq - node_id.seq));
  uint64_t elements = kEntryElements;
  if (same) {
    for (size_t i = 1; ok && i < pairs.size(); i += 2) ok = node.append(pairs[i]);
    elements += pairs.size() / 2;
  } else {
    ok = ok && node.append_integer(static_cast<int64_t>(pairs.size() / 2)) && node.append(pairs);
    elements += 1 + pairs.size();
  }
  ok = ok && node.append_integer(static_cast<int64_t>(elements));
  ListpackView view = node.view();
  ListpackView::Position live = view.first();
  ok = ok && node.replace_integer(live, view.item(live).integer + 1);
  QUOLL_CHECK(ok);  // fits() said so
  return true;
}

void mark_deleted(Listpack& node, const StreamEntry& entry) {
  int64_t flags = kDeleted | (entry.same_fields ? kSameFields : 0);
  bool ok = node.replace_integer(entry.begin, flags);
  QUOLL_CHECK(ok);
}

void count_deleted(Listpack& node, uint64_t entries) {
  auto change = static_cast<int64_t>(entries);
  ListpackView::Position at = node.view().first();
  bool ok = node.replace_integer(at, node.view().item(at).integer - change);
  at = node.view().next(at);
  ok = ok && node.replace_integer(at, node.view().item(at).integer + change);
  QUOLL_CHECK(ok);
}

}  // namespace stream_node
}  // namespace quoll::data
