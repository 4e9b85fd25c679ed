#include "data/stream.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "data/relocation.h"

namespace quoll::data {
namespace {

void release_node(const StreamNodeSlot& slot) { Listpack::adopt(slot.block); }

auto position_of(const std::vector<std::unique_ptr<StreamGroup>>& groups, base::Bytes name) {
  return std::lower_bound(groups.begin(), groups.end(), name,
                          [](const std::unique_ptr<StreamGroup>& group, base::Bytes sought) {
                            return group->name() < sought;
                          });
}

}  // namespace

Stream::~Stream() {
  if (!word_) return;
  auto* body = reinterpret_cast<Body*>(word_);
  while (body->nodes.drop_last(SIZE_MAX, release_node)) {
  }
  delete body;
}

bool Stream::relocate(base::Compaction& blocks, RelocationCursor& at) {
  if (!word_) return false;
  auto move = [&](auto* block, size_t bytes) {
    blocks.move(block, bytes);
    return block;
  };
  // What a vector and the index point to does not point back, so the body moves as bytes.
  Body* body = &open();
  if (at.id.is_zero() && blocks.move_object(body)) word_ = reinterpret_cast<uintptr_t>(body);
  auto place = body->nodes.seek(at.id);
  StreamNodeSlot* slot = body->nodes.at(place);
  if (!slot) return false;
  if (place.offset == 0) {
    body->nodes.relocate(place.chunk, move);
    slot = body->nodes.at(place);
  }
  move_packed(blocks, slot->block, Listpack::bytes_of(slot->block));
  at.id = slot->id;
  return at.id.increment();
}

const Stream::Body& Stream::body() const {
  if (__builtin_expect(word_ != 0, 1)) return *reinterpret_cast<const Body*>(word_);
  static const Body kEmpty;
  return kEmpty;
}

Stream::Body& Stream::open() {
  if (!word_) word_ = reinterpret_cast<uintptr_t>(new Body);
  return *reinterpret_cast<Body*>(word_);
}

const Stream::Facts& Stream::facts() const { return body().facts; }
const StreamIndex<StreamNodeSlot>& Stream::nodes() const { return body().nodes; }
const std::vector<std::unique_ptr<StreamGroup>>& Stream::groups() const { return body().groups; }

size_t Stream::footprint(size_t samples) const {
  if (!word_) return 0;
  const Body& body = this->body();
  size_t bytes = base::usable_size(sizeof(Body)) + body.nodes.footprint() +
                 base::usable_size(body.groups.capacity() * sizeof(body.groups[0]));
  if (body.groups.capacity() == 0) bytes -= base::usable_size(0);
  for (const auto& group : body.groups) bytes += group->footprint();
  uint64_t seen = 0;
  size_t seen_bytes = 0;
  for (auto at = body.nodes.first(); body.nodes.at(at) && (samples == 0 || seen < samples);
       at = body.nodes.next(at), ++seen)
    seen_bytes += base::usable_size(Listpack::bytes_of(body.nodes.at(at)->block).size());
  if (seen > 0) bytes += seen_bytes * body.nodes.size() / seen;
  return bytes;
}

Stream Stream::copy() const {
  Stream copy;
  if (!word_) return copy;
  const Body& from = body();
  Body& to = copy.open();
  to.facts = from.facts;
  from.nodes.for_each([&](const StreamNodeSlot& slot) {
    to.nodes.insert({slot.id, Listpack::copy_of(Listpack::bytes_of(slot.block)).detach()});
  });
  to.groups.reserve(from.groups.size());
  for (const auto& group : from.groups) to.groups.push_back(std::make_unique<StreamGroup>(*group));
  return copy;
}

bool Stream::large() const {
  const Body& body = this->body();
  size_t blocks = body.nodes.size();
  for (const auto& group : body.groups) {
    if (blocks > kFreedAtOnceMax) break;
    blocks += group->blocks();
  }
  return blocks > kFreedAtOnceMax;
}

bool Stream::drain(size_t items) {
  if (!word_) return false;
  Body& body = open();
  while (items > 0) {
    size_t freed = 0;
    bool more = body.nodes.drop_last(items, [&](const StreamNodeSlot& slot) {
      release_node(slot);
      ++freed;
    });
    if (!more) break;
    items -= freed;
  }
  if (!body.nodes.empty()) return true;
  while (!body.groups.empty()) {
    if (items == 0 || body.groups.back()->drain(items)) return true;
    body.groups.pop_back();
    --items;
  }
  return false;
}

StreamId Stream::last_entry_id() const {
  StreamWalk walk(*this, StreamId(), StreamId::greatest(), true);
  return walk.next() ? walk.entry().id : StreamId();
}

bool Stream::contains(const StreamId& id) const {
  const Facts& facts = this->facts();
  if (facts.length == 0 || id < facts.first_id || id > facts.last_id) return false;
  return StreamWalk(*this, id, id).next();
}

bool Stream::storable(base::Args pairs) {
  size_t bytes = 0;
  for (base::Bytes text : pairs) bytes += text.size();
  constexpr size_t kNodeElements = 16;  // of master and entry, besides names and values
  return bytes <= stream_node::kBytesMax && Listpack().fits(bytes, pairs.size() + kNodeElements);
}

void Stream::append(const StreamId& id, base::Args pairs, const Packing& packing) {
  Body& body = open();
  QUOLL_CHECK(id > body.facts.last_id);
  bool appended = false;
  if (StreamNodeSlot* slot = body.nodes.at(body.nodes.last())) {
    size_t text_bytes = 0;
    for (base::Bytes text : pairs) text_bytes += text.size();
    Listpack node = Listpack::adopt(slot->block);
    uint64_t bytes_max = packing.stream_node_bytes;
    if (bytes_max == 0 || bytes_max > stream_node::kBytesMax) bytes_max = stream_node::kBytesMax;
    bool room = node.size_bytes() + text_bytes < bytes_max;
    if (room && packing.stream_node_entries > 0)
      room = StreamNodeView(slot->id, node.bytes()).entries() < packing.stream_node_entries;
    appended = room && stream_node::append(node, slot->id, id, pairs);
    slot->block = node.detach();
  }
  if (!appended) {
    Listpack node = stream_node::make(pairs);
    bool ok = stream_node::append(node, id, id, pairs);
    QUOLL_CHECK(ok);  // storable
    body.nodes.insert({id, node.detach()});
  }
  Facts& facts = body.facts;
  ++facts.entries_added;
  facts.last_id = id;
  if (++facts.length == 1) facts.first_id = id;
}

bool Stream::erase(const StreamId& id) {
  if (size() == 0) return false;
  Body& body = open();
  auto place = body.nodes.seek_last(id);
  StreamNodeSlot* slot = body.nodes.at(place);
  if (!slot) return false;
  StreamNodeView view = slot->view();
  StreamEntry entry;
  bool more = view.first(entry);
  while (more && (entry.deleted || entry.id < id)) more = view.next(entry);
  if (!more || entry.id != id) return false;
  if (view.live() == 1) {
    release_node(*slot);
    body.nodes.erase(place);
  } else {
    Listpack node = Listpack::adopt(slot->block);
    stream_node::mark_deleted(node, entry);
    stream_node::count_deleted(node, 1);
    slot->block = node.detach();
  }
  Facts& facts = body.facts;
  --facts.length;
  facts.max_deleted_id = std::max(facts.max_deleted_id, id);
  if (facts.length == 0 || id == facts.first_id) find_first_id();
  return true;
}

void Stream::find_first_id() {
  StreamWalk walk(*this, StreamId(), StreamId::greatest());
  open().facts.first_id = walk.next() ? walk.entry().id : StreamId();
}

uint64_t Stream::trim(const StreamTrim& trim) {
  if (trim.by == StreamTrim::By::none || size() == 0) return 0;
  Body& body = open();
  uint64_t& length = body.facts.length;
  uint64_t removed = 0;
  while (StreamNodeSlot* slot = body.nodes.at(body.nodes.first())) {
    if (trim.by == StreamTrim::By::length && length <= trim.length) break;
    StreamNodeView view = slot->view();
    uint64_t live = view.live();
    if (trim.removed_max > 0 && removed + live > trim.removed_max) break;
    bool whole;
    if (trim.by == StreamTrim::By::length) {
      whole = length - live >= trim.length;
    } else {
      StreamEntry last;
      whole = view.last(last) && last.id < trim.id;
    }
    if (!whole) {
      if (trim.whole_nodes) break;
      uint64_t cut = trim_node(*slot, trim);
      removed += cut;
      // Nothing but entries deleted before is left behind the ones cut.
      if (cut < live) break;
      length += live;
    }
    release_node(*slot);
    body.nodes.erase(body.nodes.first());
    length -= live;
    if (whole) removed += live;
  }
  if (removed > 0) find_first_id();
  return removed;
}

// Deletes entries at the head of the first node, which keeps others.
uint64_t Stream::trim_node(StreamNodeSlot& slot, const StreamTrim& trim) {
  Listpack node = Listpack::adopt(slot.block);
  uint64_t& length = open().facts.length;
  uint64_t removed = 0;
  StreamEntry entry;
  for (bool more = StreamNodeView(slot.id, node.bytes()).first(entry); more;
       more = StreamNodeView(slot.id, node.bytes()).next(entry)) {
    if (trim.by == StreamTrim::By::length ? length <= trim.length : entry.id >= trim.id) break;
    if (entry.deleted) continue;
    stream_node::mark_deleted(node, entry);
    // In a foreign node the flag may have changed its size, and what is behind it its place.
    StreamNodeView(slot.id, node.bytes()).at(entry.begin, entry);
    ++removed;
    --length;
  }
  stream_node::count_deleted(node, removed);
  slot.block = node.detach();
  return removed;
}

const StreamGroup* Stream::find_group(base::Bytes name) const {
  const auto& groups = this->groups();
  auto at = position_of(groups, name);
  return at != groups.end() && (*at)->name() == name ? at->get() : nullptr;
}

StreamGroup* Stream::add_group(base::Bytes name, const StreamId& last_id, int64_t entries_read) {
  auto& groups = open().groups;
  auto at = position_of(groups, name);
  if (at != groups.end() && (*at)->name() == name) return nullptr;
  auto group = std::make_unique<StreamGroup>(name);
  group->last_id = last_id;
  group->entries_read = entries_read;
  return groups.insert(at, std::move(group))->get();
}

bool Stream::remove_group(base::Bytes name) {
  if (!find_group(name)) return false;
  auto& groups = open().groups;
  groups.erase(position_of(groups, name));
  return true;
}

// Whether an entry from `id` on was deleted by itself: counts derived from totals are wrong there.
bool Stream::tombstones_after(const StreamId& id) const {
  const Facts& facts = this->facts();
  if (facts.length == 0 || facts.first_id > facts.max_deleted_id) return false;
  return id <= facts.max_deleted_id;
}

namespace {

// Counters of a foreign payload may be anything: they wrap instead of overflowing.
int64_t plus(int64_t left, int64_t right) {
  return static_cast<int64_t>(static_cast<uint64_t>(left) + static_cast<uint64_t>(right));
}
int64_t minus(int64_t left, int64_t right) {
  return static_cast<int64_t>(static_cast<uint64_t>(left) - static_cast<uint64_t>(right));
}

}  // namespace

int64_t Stream::entries_up_to(const StreamId& id) const {
  const Facts& facts = this->facts();
  auto added = static_cast<int64_t>(facts.entries_added);
  if (added == 0) return 0;
  if (facts.length == 0 && id <= facts.last_id) return added;
  if (id == facts.last_id) return added;
  if (id > facts.last_id) return kEntriesReadUnknown;
  if (facts.max_deleted_id.is_zero() || facts.max_deleted_id < facts.first_id) {
    auto length = static_cast<int64_t>(facts.length);
    if (id < facts.first_id) return minus(added, length);
    if (id == facts.first_id) return plus(minus(added, length), 1);
  }
  return kEntriesReadUnknown;
}

std::optional<int64_t> Stream::lag(const StreamGroup& group) const {
  auto added = static_cast<int64_t>(facts().entries_added);
  if (added == 0) return 0;
  if (group.entries_read != kEntriesReadUnknown && !tombstones_after(group.last_id))
    return minus(added, group.entries_read);
  int64_t read = entries_up_to(group.last_id);
  if (read == kEntriesReadUnknown) return std::nullopt;
  return minus(added, read);
}

void Stream::advance(StreamGroup& group, const StreamId& id) const {
  if (group.entries_read != kEntriesReadUnknown && !tombstones_after(id)) {
    group.entries_read = plus(group.entries_read, 1);
  } else if (facts().entries_added > 0) {
    group.entries_read = entries_up_to(id);
  }
  group.last_id = id;
}

bool Stream::referenced(const StreamId& id) const {
  for (const auto& group : groups())
    if (id > group->last_id || group->pending().find(id)) return true;
  return false;
}

bool Stream::load_node(const StreamId& id, base::Bytes valid) {
  Body& body = open();
  if (const StreamNodeSlot* last = body.nodes.at(body.nodes.last()))
    if (last->id >= id || last_entry_id() >= id) return false;
  uint64_t live = StreamNodeView(id, valid).live();
  if (live == 0) return true;  // Redis may keep such nodes; they mean nothing
  Listpack node = Listpack::copy_of(valid);
  body.facts.length += live;
  body.nodes.insert({id, node.detach()});
  return true;
}

bool Stream::load_facts(const Facts& facts) {
  Body& body = open();
  if (facts.length != body.facts.length || last_entry_id() > facts.last_id) return false;
  body.facts = facts;
  find_first_id();
  return true;
}

StreamWalk::StreamWalk(const Stream& stream, const StreamId& from, const StreamId& to, bool reverse)
    : nodes_(stream.nodes()), from_(from), to_(to), reverse_(reverse) {
  place_ = nodes_.seek_last(reverse ? to : from);
  if (!reverse && !nodes_.at(place_)) place_ = nodes_.first();
}

bool StreamWalk::step() {
  while (true) {
    if (in_node_) {
      in_node_ = reverse_ ? node_.previous(entry_) : node_.next(entry_);
      if (in_node_) return true;
      place_ = reverse_ ? nodes_.previous(place_) : nodes_.next(place_);
    }
    const StreamNodeSlot* slot = nodes_.at(place_);
    if (!slot) return false;
    node_ = slot->view();
    in_node_ = reverse_ ? node_.last(entry_) : node_.first(entry_);
    if (in_node_) return true;
    place_ = reverse_ ? nodes_.previous(place_) : nodes_.next(place_);
  }
}

bool StreamWalk::next() {
  while (step()) {
    if (entry_.deleted) continue;
    if (reverse_ ? entry_.id < from_ : entry_.id > to_) return false;
    if (reverse_ ? entry_.id <= to_ : entry_.id >= from_) return true;
  }
  return false;
}

}  // namespace quoll::data
