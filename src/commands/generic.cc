// Keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE and WAIT. Databases as a whole are in
// database.cc, deadlines in expire.cc.
#include "base/numbers.h"
#include "base/text.h"
#include "commands/databases.h"
#include "commands/families.h"
#include "server/call.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr store::Event kEventRenameFrom{"rename_from", 'g'};
constexpr store::Event kEventRenameTo{"rename_to", 'g'};
constexpr store::Event kEventMoveFrom{"move_from", 'g'};
constexpr store::Event kEventMoveTo{"move_to", 'g'};
constexpr store::Event kEventCopyTo{"copy_to", 'g'};

constexpr Bytes kSameObject = "ERR source and destination objects are the same";

// DEL and UNLINK do the same here: an entry is one block and a string value at most one more, so
// freeing a key of any size is one or two calls of the allocator.
void del(Call& call) {
  int64_t removed = 0;
  for (size_t i = 1; i < call.argc(); ++i) {
    store::Edit edit = call.edit(i);
    if (!edit.found()) continue;
    edit.erase();
    edit.done(store::kEventDel);
    ++removed;
  }
  call.reply.integer(removed);
}

void exists(Call& call) {
  int64_t count = 0;
  for (size_t i = 1; i < call.argc(); ++i) count += call.look(i) != nullptr;
  call.reply.integer(count);
}

// Counts as an access even for clients whose reads do not (CLIENT NO-TOUCH).
void touch(Call& call) {
  int64_t count = 0;
  for (size_t i = 1; i < call.argc(); ++i) {
    const store::Entry* entry = call.look(i);
    if (!entry) continue;
    call.store.note_access(entry, call.now);
    ++count;
  }
  call.reply.integer(count);
}

void type(Call& call) {
  const store::Entry* entry = call.look(1);
  call.reply.simple(entry ? data::type_name(entry->type()) : "none");
}

struct Taken {
  data::Value value;
  store::Ttl ttl;
};

// Takes value and deadline out of an existing key and removes it. The key's event follows when the
// value has found its new place: Redis announces "new" first.
Taken take_key(store::Edit& edit) {
  store::Ttl ttl =
      edit.entry()->has_ttl() ? store::Ttl::at(edit.entry()->deadline()) : store::Ttl::drop();
  Taken taken{edit.take(), ttl};
  edit.erase();
  edit.done_silently();
  return taken;
}

void put_key(store::Edit edit, Taken taken) {
  if (edit.found()) edit.erase();  // what comes is a new key, not an update
  edit.put(std::move(taken.value), taken.ttl);
  edit.done_silently();
}

Taken take_key_at(Call& call, size_t i) {
  store::Edit edit = call.edit(i);
  return take_key(edit);
}

void rename_generic(Call& call, bool only_new) {
  if (!call.peek(1)) return call.reply.error(errors::kNoSuchKey);
  bool refused = call.arg(1) == call.arg(2) || (only_new && call.peek(2));
  if (!refused) {
    Taken taken = take_key_at(call, 1);
    put_key(call.edit(2), std::move(taken));
    store::CommitBuilder& commits = call.store.commits();
    commits.touch(call.db, call.arg(1), kEventRenameFrom, store::Change::updated);
    commits.touch(call.db, call.arg(2), kEventRenameTo, store::Change::updated);
  }
  if (only_new) return call.reply.integer(refused ? 0 : 1);
  call.reply.ok();
}

void rename(Call& call) { rename_generic(call, false); }
void renamenx(Call& call) { rename_generic(call, true); }

data::Value copy_of(const store::Entry* entry, char* scratch) {
  if (entry->type() != data::Type::string)
    return data::Value::of_collection(entry->collection()->copy());
  if (entry->form() == data::Form::integer) {
    data::Value value = data::Value::of_integer(entry->integer());
    value.raw = true;  // OBJECT REFCOUNT: a copy is no shared integer
    return value;
  }
  return data::Value::of_bytes(entry->text(scratch), entry->raw());
}

struct CopyOptions {
  store::DbIndex db;
  bool replace = false;
};

bool parse_copy(Call& call, CopyOptions& options) {
  for (size_t i = 3; i < call.argc(); ++i) {
    if (base::equals_ignoring_case(call.arg(i), "replace")) {
      options.replace = true;
    } else if (base::equals_ignoring_case(call.arg(i), "db") && i + 1 < call.argc()) {
      if (!database_argument(call, ++i, options.db)) return false;
    } else {
      call.syntax_error();
      return false;
    }
  }
  return true;
}

void copy(Call& call) {
  CopyOptions options{call.db};
  if (!parse_copy(call, options)) return;
  if (call.server.cluster() && options.db != call.db)
    return call.reply.error("ERR Copying to another database is not allowed in cluster mode");
  if (options.db == call.db && call.arg(1) == call.arg(2)) return call.reply.error(kSameObject);
  const store::Entry* source = call.find(1);
  if (!source) return call.reply.integer(0);
  store::Ttl ttl = source->has_ttl() ? store::Ttl::at(source->deadline()) : store::Ttl::drop();
  // Edits of other keys leave the source's block where it is.
  store::Edit edit = call.store.edit(options.db, call.key(2), call.now);
  if (edit.found()) {
    if (!options.replace) return call.reply.integer(0);
    edit.erase();
  }
  char scratch[24];
  edit.put(copy_of(source, scratch), ttl);
  edit.done(kEventCopyTo);
  call.reply.integer(1);
}

void move(Call& call) {
  if (call.server.cluster()) return call.reply.error("ERR MOVE is not allowed in cluster mode");
  store::DbIndex to;
  if (!database_argument(call, 2, to)) return;
  if (to == call.db) return call.reply.error(kSameObject);
  if (!call.peek(1) || call.store.find(to, call.key(1), call.now)) return call.reply.integer(0);
  Taken taken = take_key_at(call, 1);
  put_key(call.store.edit(to, call.key(1), call.now), std::move(taken));
  store::CommitBuilder& commits = call.store.commits();
  commits.touch(call.db, call.arg(1), kEventMoveFrom, store::Change::updated);
  commits.touch(to, call.arg(1), kEventMoveTo, store::Change::updated);
  call.reply.integer(1);
}

constexpr CommandSpec kGenericCommands[] = {
    {.name = "del",
     .arity = -2,
     .run = del,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::rest(1, kKeyRm | kKeyDelete),
     .group = "generic",
     .since = "1.0.0",
     .summary = "Removes keys and tells how many existed.",
     .complexity = "O(N) where N is the number of keys.",
     .syntax = "key [key ...]",
     .tips = "request_policy:multi_shard,response_policy:agg_sum"},
    {.name = "unlink",
     .arity = -2,
     .run = del,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::rest(1, kKeyRm | kKeyDelete),
     .flags = kFast,
     .group = "generic",
     .since = "4.0.0",
     .summary = "Removes keys as DEL does, leaving the freeing of large values for later.",
     .complexity = "O(1) for each key.",
     .syntax = "key [key ...]",
     .tips = "request_policy:multi_shard,response_policy:agg_sum"},
    {.name = "exists",
     .arity = -2,
     .run = exists,
     .access = Access::read,
     .keys = keys::rest(1, kKeyRo),
     .flags = kFast,
     .group = "generic",
     .since = "1.0.0",
     .summary = "Counts how many of the given keys exist; a key named twice counts twice.",
     .complexity = "O(N) where N is the number of keys.",
     .syntax = "key [key ...]",
     .tips = "request_policy:multi_shard,response_policy:agg_sum"},
    {.name = "touch",
     .arity = -2,
     .run = touch,
     .access = Access::read,
     .keys = keys::rest(1, kKeyRo),
     .flags = kFast,
     .group = "generic",
     .since = "3.2.1",
     .summary = "Records an access of each key and tells how many exist.",
     .complexity = "O(N) where N is the number of keys.",
     .syntax = "key [key ...]",
     .tips = "request_policy:multi_shard,response_policy:agg_sum"},
    {.name = "type",
     .arity = 2,
     .run = type,
     .access = Access::read,
     .keys = keys::first(kKeyRo),
     .flags = kFast,
     .group = "generic",
     .since = "1.0.0",
     .summary = "Tells the type of the value at a key.",
     .complexity = "O(1)",
     .syntax = "key"},
    {.name = "rename",
     .arity = 3,
     .run = rename,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::two(kKeyRw | kKeyAccess | kKeyDelete, kKeyOw | kKeyUpdate),
     .group = "generic",
     .since = "1.0.0",
     .summary = "Gives a key another name, replacing what was there.",
     .complexity = "O(1)",
     .syntax = "key newkey"},
    {.name = "renamenx",
     .arity = 3,
     .run = renamenx,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::two(kKeyRw | kKeyAccess | kKeyDelete, kKeyOw | kKeyInsert),
     .flags = kFast,
     .group = "generic",
     .since = "1.0.0",
     .summary = "Gives a key another name unless that name is taken.",
     .complexity = "O(1)",
     .syntax = "key newkey"},
    {.name = "copy",
     .arity = -3,
     .run = copy,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::two(kKeyRo | kKeyAccess, kKeyOw | kKeyUpdate),
     .flags = kDenyOom,
     .group = "generic",
     .since = "6.2.0",
     .summary = "Copies a value and its deadline to another key, in any database.",
     .complexity = "O(N) where N is the size of the value.",
     .syntax = "source destination [DB destination-db] [REPLACE]"},
    {.name = "move",
     .arity = 3,
     .run = move,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::first(kKeyRw | kKeyAccess | kKeyUpdate),
     .flags = kFast,
     .group = "generic",
     .since = "1.0.0",
     .summary = "Moves a key to another database unless it exists there.",
     .complexity = "O(1)",
     .syntax = "key db"},
};
static_assert(well_formed(kGenericCommands));

}  // namespace

Family generic_commands() { return kGenericCommands; }

}  // namespace quoll::commands
