// XADD and XTRIM with DELREF or ACKED (8.2): shortening a stream with an eye on what its groups still
// refer to.
#include <vector>

#include "commands/stream_family.h"

namespace quoll::commands::streams {
namespace {

using data::StreamTrim;

// What every Redis since 5 understands of it.
void effect_cut(Call& call, Bytes key, Bytes by, Bytes threshold) {
  call.effect({"XTRIM", key, by, "=", threshold});
}

// The pending entries of all groups from `from` on, before `until`, go.
void release_between(Call& call, Bytes key, Stream& stream, const StreamId& from,
                     const StreamId& until) {
  for (const auto& group : stream.groups()) {
    std::vector<StreamId> gone;
    group->pending().for_each([&](const data::StreamPending& pending) {
      if (pending.id >= from && pending.id < until) gone.push_back(pending.id);
    });
    IdLines lines(call, {"XACK", key, group->name()});
    for (const StreamId& id : gone) {
      group->acknowledge(id);
      lines.add(id);
    }
  }
}

uint64_t trim_and_release(Call& call, store::Edit& edit, const StreamTrim& trim) {
  Stream& stream = edit.value<Stream>();
  StreamId from = stream.facts().first_id;
  uint64_t trimmed = stream.trim(trim);
  if (trimmed == 0) return 0;
  edit.done(kEventXtrim);
  char text[base::kIntTextMax];
  effect_cut(call, edit.key().bytes, "MAXLEN",
             {text, base::format_uint(stream.size(), text)});
  // Entries that were deleted among those trimmed may still be referred to.
  StreamId until = stream.facts().first_id;
  if (stream.size() == 0) {
    until = stream.facts().last_id;
    until.increment();
  }
  release_between(call, edit.key().bytes, stream, from, until);
  return trimmed;
}

// Entries nobody refers to, oldest first; `head`: how many of them no other entry precedes.
struct Unreferenced {
  std::vector<StreamId> ids;
  size_t head = 0;
};

Unreferenced find_unreferenced(const Stream& stream, const StreamTrim& trim) {
  Unreferenced found;
  bool by_length = trim.by == StreamTrim::By::length;
  uint64_t length = stream.size();
  bool kept_one = false;
  const auto& nodes = stream.nodes();
  for (auto place = nodes.first(); const data::StreamNodeSlot* slot = nodes.at(place);
       place = nodes.next(place)) {
    data::StreamNodeView view = slot->view();
    uint64_t live = view.live();
    if (trim.removed_max > 0 && found.ids.size() + live > trim.removed_max) return found;
    data::StreamEntry entry;
    if (trim.whole_nodes) {
      bool whole = by_length ? length >= live && length - live >= trim.length
                             : view.last(entry) && entry.id < trim.id;
      if (!whole) return found;
    }
    for (bool more = view.first(entry); more; more = view.next(entry)) {
      if (by_length ? length <= trim.length : entry.id >= trim.id) return found;
      if (entry.deleted) continue;
      if (stream.referenced(entry.id)) {
        kept_one = true;
        continue;
      }
      found.ids.push_back(entry.id);
      found.head += !kept_one;
      --length;
    }
  }
  return found;
}

uint64_t trim_unreferenced(Call& call, store::Edit& edit, const StreamTrim& trim) {
  Stream& stream = edit.value<Stream>();
  Unreferenced found = find_unreferenced(stream, trim);
  if (found.ids.empty()) return 0;
  edit.done(kEventXtrim);
  if (found.head > 0) {
    StreamId keep_from = found.ids[found.head - 1];
    keep_from.increment();
    stream.trim({.by = StreamTrim::By::id, .id = keep_from});
    effect_cut(call, edit.key().bytes, "MINID", StreamIdText(keep_from).bytes());
  }
  // Behind an entry that stays the others leave a gap, as those that are deleted by themselves.
  IdLines lines(call, {"XDEL", edit.key().bytes});
  for (size_t i = found.head; i < found.ids.size(); ++i) {
    stream.erase(found.ids[i]);
    lines.add(found.ids[i]);
  }
  return found.ids.size();
}

}  // namespace

uint64_t trim_minding_references(Call& call, store::Edit& edit, const StreamTrim& trim) {
  if (trim.by == StreamTrim::By::none) return 0;
  return trim.references == References::drop ? trim_and_release(call, edit, trim)
                                             : trim_unreferenced(call, edit, trim);
}

}  // namespace quoll::commands::streams
