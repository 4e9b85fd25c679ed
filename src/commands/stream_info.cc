// XINFO.
#include <algorithm>
#include <string>
#include <vector>

#include "commands/help.h"
#include "commands/stream_family.h"
#include "server/errors.h"

namespace quoll::commands::streams {
namespace {

using Kind = wire::ReplyWriter::Kind;

constexpr Bytes kInfoHelp[] = {
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
};

constexpr uint64_t kFullCountDefault = 10;

// Nodes whose IDs are looked at to tell how many nodes Redis's radix tree would have.
constexpr uint64_t kTreeSampleNodes = 1000;

// The nodes of a radix tree of the sorted keys [first, last), of which `depth` bytes are already
// told apart: a leaf per key, a node per branch and one per run of bytes without branches.
uint64_t tree_nodes(const std::vector<std::string>& keys, size_t first, size_t last, size_t depth) {
  if (last - first == 1) return depth < data::kStreamIdBytes ? 2 : 1;
  size_t branch = depth;
  while (keys[first][branch] == keys[last - 1][branch]) ++branch;
  uint64_t nodes = branch > depth ? 2 : 1;
  for (size_t begin = first; begin < last;) {
    size_t end = begin;
    while (end < last && keys[end][branch] == keys[begin][branch]) ++end;
    nodes += tree_nodes(keys, begin, end, branch + 1);
    begin = end;
  }
  return nodes;
}

// What Redis replies as the nodes of its radix tree, which we have not. Of large streams told from
// the first keys.
uint64_t radix_tree_nodes(const Stream& stream) {
  const auto& nodes = stream.nodes();
  if (nodes.empty()) return 1;
  std::vector<std::string> keys;
  for (auto at = nodes.first(); nodes.at(at) && keys.size() < kTreeSampleNodes;
       at = nodes.next(at)) {
    char key[data::kStreamIdBytes];
    nodes.at(at)->id.store(key);
    keys.emplace_back(key, sizeof(key));
  }
  return tree_nodes(keys, 0, keys.size(), 0) * nodes.size() / keys.size();
}

// The stream at argument 2, or the error.
const store::Entry* find_stream(Call& call) {
  const store::Entry* entry = call.find(2);
  if (!entry) call.reply.error(server::errors::kNoSuchKey);
  return wrong_type(call, entry) ? nullptr : entry;
}

void field(Call& call, Bytes name, uint64_t value) {
  call.reply.bulk(name);
  call.reply.integer(static_cast<int64_t>(value));
}

void field(Call& call, Bytes name, const StreamId& id) {
  call.reply.bulk(name);
  reply_id(call, id);
}

// A count that may be unknown.
void known(Call& call, Bytes name, std::optional<int64_t> value) {
  call.reply.bulk(name);
  if (value) {
    call.reply.integer(*value);
  } else {
    call.reply.null();
  }
}

std::optional<int64_t> entries_read(const StreamGroup& group) {
  if (group.entries_read == data::kEntriesReadUnknown) return std::nullopt;
  return group.entries_read;
}

void reply_facts(Call& call, const Stream& stream) {
  const Stream::Facts& facts = stream.facts();
  field(call, "length", facts.length);
  field(call, "radix-tree-keys", stream.nodes().size());
  field(call, "radix-tree-nodes", radix_tree_nodes(stream));
  field(call, "last-generated-id", facts.last_id);
  field(call, "max-deleted-entry-id", facts.max_deleted_id);
  field(call, "entries-added", facts.entries_added);
  field(call, "recorded-first-entry-id", facts.first_id);
}

void reply_edge(Call& call, Bytes name, const Stream& stream, bool last) {
  call.reply.bulk(name);
  data::StreamWalk walk(stream, StreamId(), StreamId::greatest(), last);
  if (walk.next()) {
    reply_entry(call, walk.node(), walk.entry());
  } else {
    call.reply.null();
  }
}

void reply_consumer(Call& call, const StreamGroup& group, const StreamConsumer& consumer,
                    uint64_t count) {
  call.reply.map(5);
  call.reply.bulk("name");
  call.reply.bulk(consumer.name());
  call.reply.bulk("seen-time");
  call.reply.integer(consumer.seen_ms);
  call.reply.bulk("active-time");
  call.reply.integer(consumer.active_ms);
  const auto& own = consumer.pending();
  field(call, "pel-count", own.size());
  call.reply.bulk("pending");
  uint64_t shown = count == 0 ? own.size() : std::min(count, own.size());
  call.reply.array(shown);
  for (auto at = own.first(); shown > 0; at = own.next(at), --shown) {
    const data::StreamPending* pending = group.pending().find(own.at(at)->id);
    call.reply.array(3);
    reply_id(call, pending->id);
    call.reply.integer(pending->delivered_ms());
    call.reply.integer(static_cast<int64_t>(pending->deliveries()));
  }
}

void reply_group(Call& call, const Stream& stream, const StreamGroup& group, uint64_t count) {
  call.reply.map(7);
  call.reply.bulk("name");
  call.reply.bulk(group.name());
  field(call, "last-delivered-id", group.last_id);
  known(call, "entries-read", entries_read(group));
  known(call, "lag", stream.lag(group));
  const auto& all = group.pending();
  field(call, "pel-count", all.size());
  call.reply.bulk("pending");
  uint64_t shown = count == 0 ? all.size() : std::min(count, all.size());
  call.reply.array(shown);
  for (auto at = all.first(); shown > 0; at = all.next(at), --shown) {
    const data::StreamPending& pending = *all.at(at);
    call.reply.array(4);
    reply_id(call, pending.id);
    call.reply.bulk(pending.consumer()->name());
    call.reply.integer(pending.delivered_ms());
    call.reply.integer(static_cast<int64_t>(pending.deliveries()));
  }
  call.reply.bulk("consumers");
  call.reply.array(group.consumers().size());
  for (const auto& consumer : group.consumers()) reply_consumer(call, group, *consumer, count);
}

void reply_full(Call& call, const Stream& stream, uint64_t count) {
  call.reply.map(9);
  reply_facts(call, stream);
  call.reply.bulk("entries");
  reply_range(call, stream, StreamId(), StreamId::greatest(), false, count);
  call.reply.bulk("groups");
  call.reply.array(stream.groups().size());
  for (const auto& group : stream.groups()) reply_group(call, stream, *group, count);
}

}  // namespace

void xinfo_help(Call& call) { reply_help(call, kInfoHelp); }

void xinfo_stream(Call& call) {
  const store::Entry* entry = find_stream(call);
  if (!entry) return;
  auto stream = entry->value<Stream>();
  if (call.argc() > 3) {
    bool valid =
        equals_ignoring_case(call.arg(3), "full") &&
        (call.argc() == 4 || (call.argc() == 6 && equals_ignoring_case(call.arg(4), "count")));
    if (!valid) return call.subcommand_error();
    int64_t count = kFullCountDefault;
    if (call.argc() == 6 && !call.integer(5, count)) return;
    return reply_full(call, *stream, count < 0 ? kFullCountDefault : static_cast<uint64_t>(count));
  }
  call.reply.map(10);
  reply_facts(call, *stream);
  field(call, "groups", stream->groups().size());
  reply_edge(call, "first-entry", *stream, false);
  reply_edge(call, "last-entry", *stream, true);
}

void xinfo_groups(Call& call) {
  const store::Entry* entry = find_stream(call);
  if (!entry) return;
  auto stream = entry->value<Stream>();
  call.reply.array(stream->groups().size());
  for (const auto& group : stream->groups()) {
    call.reply.map(6);
    call.reply.bulk("name");
    call.reply.bulk(group->name());
    field(call, "consumers", group->consumers().size());
    field(call, "pending", group->pending().size());
    field(call, "last-delivered-id", group->last_id);
    known(call, "entries-read", entries_read(*group));
    known(call, "lag", stream->lag(*group));
  }
}

void xinfo_consumers(Call& call) {
  const store::Entry* entry = find_stream(call);
  if (!entry) return;
  auto stream = entry->value<Stream>();
  const StreamGroup* group = stream->find_group(call.arg(3));
  if (!group) {
    std::string text = "NOGROUP No such consumer group '";
    text += server::errors::shown(call.arg(3));
    text += "' for key name '";
    text += server::errors::shown(call.arg(2));
    text += '\'';
    return call.reply.error(text);
  }
  call.reply.array(group->consumers().size());
  for (const auto& consumer : group->consumers()) {
    bool never = consumer->active_ms == data::kNeverActive;
    call.reply.map(4);
    call.reply.bulk("name");
    call.reply.bulk(consumer->name());
    field(call, "pending", consumer->pending().size());
    call.reply.bulk("idle");
    call.reply.integer(std::max<base::Millis>(call.now - consumer->seen_ms, 0));
    call.reply.bulk("inactive");
    call.reply.integer(never ? data::kNeverActive : call.now - consumer->active_ms);
  }
}

}  // namespace quoll::commands::streams
