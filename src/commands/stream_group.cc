// XGROUP, XACK and XPENDING.
#include "commands/help.h"
#include "commands/stream_family.h"
#include "server/errors.h"

namespace quoll::commands::streams {
namespace {

constexpr Bytes kGroupHelp[] = {
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
};

constexpr Bytes kNeedsKey =
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use "
    "the MKSTREAM option to create an empty stream automatically.";

struct GroupOptions {
  bool mkstream = false;
  int64_t entries_read = data::kEntriesReadUnknown;
};

// MKSTREAM (of CREATE) and ENTRIESREAD from argument 5 on. False: the error was replied.
bool parse_group_options(Call& call, bool create, GroupOptions& options) {
  for (size_t i = 5; i < call.argc(); ++i) {
    if (create && equals_ignoring_case(call.arg(i), "mkstream")) {
      options.mkstream = true;
    } else if (equals_ignoring_case(call.arg(i), "entriesread") && i + 1 < call.argc()) {
      if (!call.integer(++i, options.entries_read)) return false;
      if (options.entries_read < data::kEntriesReadUnknown) {
        call.reply.error("ERR value for ENTRIESREAD must be positive or -1");
        return false;
      }
    } else {
      call.subcommand_error();
      return false;
    }
  }
  return true;
}

// The group at argument 3 of the stream at argument 2. nullptr: the error was replied.
StreamGroup* open_group(Call& call, store::Edit& edit) {
  if (wrong_type(call, edit.entry())) return nullptr;
  if (!edit.found()) {
    call.reply.error(kNeedsKey);
    return nullptr;
  }
  if (StreamGroup* group = edit.value<Stream>().find_group(call.arg(3))) return group;
  std::string text = "NOGROUP No such consumer group '";
  text += server::errors::shown(call.arg(3));
  text += "' for key name '";
  text += server::errors::shown(call.arg(2));
  text += '\'';
  call.reply.error(text);
  return nullptr;
}

// Where a group is to stand: "$" is the stream's last ID.
bool parse_position(Call& call, IdForm form, const StreamId& last, StreamId& id) {
  id = last;
  return call.arg(4) == "$" || parse_id(call, 4, form, id);
}

struct PendingOptions {
  StreamId start;
  StreamId end;
  int64_t count = 0;
  int64_t idle_ms = 0;
  size_t consumer = 0;  // argument; 0: all
};

bool parse_pending_options(Call& call, PendingOptions& options) {
  size_t i = 3;
  if (equals_ignoring_case(call.arg(3), "idle")) {
    if (!call.integer(4, options.idle_ms)) return false;
    if (call.argc() < 8) {
      call.syntax_error();
      return false;
    }
    i = 5;
  }
  if (!call.integer(i + 2, options.count)) return false;
  if (!parse_start(call, i, options.start) || !parse_end(call, i + 1, options.end)) return false;
  if (i + 3 < call.argc()) options.consumer = i + 3;
  return true;
}

void pending_summary(Call& call, const StreamGroup& group) {
  const auto& pending = group.pending();
  call.reply.array(4);
  call.reply.integer(static_cast<int64_t>(pending.size()));
  if (pending.empty()) {
    call.reply.null();
    call.reply.null();
    return call.reply.null_array();
  }
  reply_id(call, pending.at(pending.first())->id);
  reply_id(call, pending.at(pending.last())->id);
  call.reply.begin_deferred();
  size_t consumers = 0;
  for (const auto& consumer : group.consumers()) {
    if (consumer->pending().empty()) continue;
    ++consumers;
    call.reply.array(2);
    call.reply.bulk(consumer->name());
    call.reply.bulk_integer(static_cast<int64_t>(consumer->pending().size()));
  }
  call.reply.end_deferred(wire::ReplyWriter::Kind::array, consumers);
}

void reply_pending(Call& call, const data::StreamPending& pending) {
  call.reply.array(4);
  reply_id(call, pending.id);
  call.reply.bulk(pending.consumer()->name());
  call.reply.integer(std::max<base::Millis>(pending.idle_ms(call.now), 0));
  call.reply.integer(static_cast<int64_t>(pending.deliveries()));
}

// Entries of `index` in the range, which is that of the group or of one consumer.
template <class Index>
void pending_entries(Call& call, const StreamGroup& group, const Index& index,
                     const PendingOptions& options) {
  call.reply.begin_deferred();
  int64_t replied = 0;
  for (auto at = index.seek(options.start); replied < options.count; at = index.next(at)) {
    const auto* item = index.at(at);
    if (!item || item->id > options.end) break;
    const data::StreamPending* pending = group.pending().find(item->id);
    if (options.idle_ms != 0 && pending->idle_ms(call.now) < options.idle_ms) continue;
    reply_pending(call, *pending);
    ++replied;
  }
  call.reply.end_deferred(wire::ReplyWriter::Kind::array, static_cast<size_t>(replied));
}

}  // namespace

void xgroup_help(Call& call) { reply_help(call, kGroupHelp); }

void xgroup_create(Call& call) {
  GroupOptions options;
  if (!parse_group_options(call, true, options)) return;
  store::Edit edit = call.edit(2);
  if (wrong_type(call, edit.entry())) return;
  if (!edit.found() && !options.mkstream) return call.reply.error(kNeedsKey);
  if (call.argc() > 8) return call.subcommand_error();
  StreamId last, id;
  if (edit.found()) last = edit.value<Stream>().facts().last_id;
  if (!parse_position(call, IdForm::strict, last, id)) return;
  if (edit.found() && edit.value<Stream>().find_group(call.arg(3)))
    return call.reply.error("BUSYGROUP Consumer Group name already exists");
  if (!edit.found()) edit.create<Stream>();
  edit.value<Stream>().add_group(call.arg(3), id, options.entries_read);
  edit.done(kEventGroupCreate);
  call.reply.ok();
}

void xgroup_setid(Call& call) {
  GroupOptions options;
  if (!parse_group_options(call, false, options)) return;
  store::Edit edit = call.edit(2);
  StreamGroup* group = open_group(call, edit);
  if (!group) return;
  if (call.argc() != 5 && call.argc() != 7) return call.subcommand_error();
  StreamId id;
  if (!parse_position(call, IdForm::bounds, edit.value<Stream>().facts().last_id, id)) return;
  group->last_id = id;
  group->entries_read = options.entries_read;
  edit.done(kEventGroupSetid);
  call.reply.ok();
}

void xgroup_destroy(Call& call) {
  store::Edit edit = call.edit(2);
  if (wrong_type(call, edit.entry())) return;
  if (!edit.found()) return call.reply.error(kNeedsKey);
  bool removed = edit.value<Stream>().remove_group(call.arg(3));
  if (removed) edit.done(kEventGroupDestroy);
  call.reply.integer(removed);
}

void xgroup_createconsumer(Call& call) {
  store::Edit edit = call.edit(2);
  StreamGroup* group = open_group(call, edit);
  if (!group) return;
  if (group->find_consumer(call.arg(4))) return call.reply.integer(0);
  open_consumer(call, edit, *group, call.arg(4), call.store.access().not_before(call.now));
  call.reply.integer(1);
}

void xgroup_delconsumer(Call& call) {
  store::Edit edit = call.edit(2);
  StreamGroup* group = open_group(call, edit);
  if (!group) return;
  StreamConsumer* consumer = group->find_consumer(call.arg(4));
  if (!consumer) return call.reply.integer(0);
  call.reply.integer(static_cast<int64_t>(consumer->pending().size()));
  group->remove_consumer(*consumer);
  edit.done(kEventDelConsumer);
}

void xack(Call& call) {
  const store::Entry* entry = call.find(1);
  if (wrong_type(call, entry)) return;
  if (!entry || !entry->value<Stream>()->find_group(call.arg(2))) return call.reply.integer(0);
  if (!check_ids(call, 3, call.argc())) return;
  store::Edit edit = call.store.edit(call.db, call.key(1), call.now, false);
  StreamGroup& group = *edit.value<Stream>().find_group(call.arg(2));
  int64_t acknowledged = 0;
  for (size_t i = 3; i < call.argc(); ++i) acknowledged += group.acknowledge(id_at(call, i));
  if (acknowledged > 0) edit.done_silently();
  call.reply.integer(acknowledged);
}

void xpending(Call& call) {
  bool summary = call.argc() == 3;
  PendingOptions options;
  if (!summary) {
    if (call.argc() < 6 || call.argc() > 9) return call.syntax_error();
    if (!parse_pending_options(call, options)) return;
  }
  const store::Entry* entry = call.find(1);
  if (wrong_type(call, entry)) return;
  const StreamGroup* group =
      entry ? std::as_const(*entry->value<Stream>()).find_group(call.arg(2)) : nullptr;
  if (!group) return reply_no_group(call, call.arg(1), call.arg(2));
  if (summary) return pending_summary(call, *group);
  if (options.consumer == 0) return pending_entries(call, *group, group->pending(), options);
  const StreamConsumer* consumer = group->find_consumer(call.arg(options.consumer));
  if (!consumer) return call.reply.array(0);
  pending_entries(call, *group, consumer->pending(), options);
}

}  // namespace quoll::commands::streams
