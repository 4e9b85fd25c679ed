// XDEL, and the commands of 8.2 that mind what consumer groups still refer to: XDELEX, XACKDEL.
#include <vector>

#include "commands/stream_family.h"
#include "server/errors.h"

namespace quoll::commands::streams {
namespace {

enum Outcome : int64_t { kNoSuchId = -1, kDeleted = 1, kStillReferenced = 2 };

struct DeleteOptions {
  References references = References::keep;
  size_t first_id = 0;
  size_t ids = 0;
};

// [KEEPREF | DELREF | ACKED] IDS numids id..., in any order. False: the error was replied.
bool parse_options(Call& call, size_t i, DeleteOptions& options) {
  bool references_given = false;
  while (i < call.argc()) {
    if (equals_ignoring_case(call.arg(i), "ids") && i + 1 < call.argc() && options.ids == 0) {
      int64_t ids;
      if (!base::parse_int(call.arg(i + 1), ids) || ids <= 0) {
        call.reply.error("ERR Number of IDs must be a positive integer");
        return false;
      }
      if (static_cast<uint64_t>(ids) > call.argc() - i - 2) {
        call.reply.error("ERR The `numids` parameter must match the number of arguments");
        return false;
      }
      options.first_id = i + 2;
      options.ids = static_cast<size_t>(ids);
      i += 2 + options.ids;
    } else if (!references_given && parse_references(call.arg(i), options.references)) {
      references_given = true;
      ++i;
    } else {
      call.syntax_error();
      return false;
    }
  }
  if (options.ids > 0) return true;
  call.syntax_error();
  return false;
}

void reply_no_such_ids(Call& call, size_t ids) {
  call.reply.array(ids);
  for (; ids > 0; --ids) call.reply.integer(kNoSuchId);
}

// What was done, to be told in the order of deletion and of groups once all is over.
struct Deletions {
  std::vector<StreamId> deleted;
  struct Released {
    const StreamGroup* group;
    StreamId id;
  };
  std::vector<Released> released;

  bool any() const { return !deleted.empty() || !released.empty(); }
};

void release_everywhere(Stream& stream, const StreamId& id, Deletions& done) {
  for (const auto& group : stream.groups())
    if (group->acknowledge(id)) done.released.push_back({group.get(), id});
}

Outcome delete_entry(Stream& stream, const StreamId& id, References references, Deletions& done) {
  if (references == References::acked && stream.contains(id) && stream.referenced(id))
    return kStillReferenced;
  if (references == References::drop) release_everywhere(stream, id, done);
  if (!stream.erase(id)) return kNoSuchId;
  done.deleted.push_back(id);
  return kDeleted;
}

// The lines are those every Redis since 5 knows.
void tell(Call& call, store::Edit& edit, const Deletions& done) {
  if (!done.any()) return;
  if (done.deleted.empty()) {
    edit.done_silently();
  } else {
    edit.done(kEventXdel);
  }
  const StreamGroup* group = nullptr;
  for (size_t i = 0; i < done.released.size();) {
    group = done.released[i].group;
    IdLines lines(call, {"XACK", call.arg(1), group->name()});
    for (; i < done.released.size() && done.released[i].group == group; ++i)
      lines.add(done.released[i].id);
  }
  IdLines lines(call, {"XDEL", call.arg(1)});
  for (const StreamId& id : done.deleted) lines.add(id);
}

}  // namespace

bool parse_references(Bytes word, References& references) {
  if (equals_ignoring_case(word, "keepref")) {
    references = References::keep;
  } else if (equals_ignoring_case(word, "delref")) {
    references = References::drop;
  } else if (equals_ignoring_case(word, "acked")) {
    references = References::acked;
  } else {
    return false;
  }
  return true;
}

void xdel(Call& call) {
  store::Edit edit = call.edit(1);
  if (!edit.found()) return call.reply.integer(0);
  if (wrong_type(call, edit.entry()) || !check_ids(call, 2, call.argc())) return;
  Stream& stream = edit.value<Stream>();
  int64_t deleted = 0;
  for (size_t i = 2; i < call.argc(); ++i) deleted += stream.erase(id_at(call, i));
  if (deleted > 0) edit.done(kEventXdel);
  call.reply.integer(deleted);
}

void xdelex(Call& call) {
  DeleteOptions options;
  if (!parse_options(call, 2, options)) return;
  store::Edit edit = call.edit(1);
  if (!edit.found()) return reply_no_such_ids(call, options.ids);
  size_t end = options.first_id + options.ids;
  if (wrong_type(call, edit.entry()) || !check_ids(call, options.first_id, end)) return;
  Stream& stream = edit.value<Stream>();
  Deletions done;
  call.reply.array(options.ids);
  for (size_t i = options.first_id; i < end; ++i)
    call.reply.integer(delete_entry(stream, id_at(call, i), options.references, done));
  tell(call, edit, done);
}

void xackdel(Call& call) {
  DeleteOptions options;
  if (!parse_options(call, 3, options)) return;
  if (wrong_type(call, call.find(1))) return;
  store::Edit edit = call.store.edit(call.db, call.key(1), call.now, false);
  StreamGroup* group = edit.found() ? edit.value<Stream>().find_group(call.arg(2)) : nullptr;
  if (!group) return reply_no_such_ids(call, options.ids);
  size_t end = options.first_id + options.ids;
  if (!check_ids(call, options.first_id, end)) return;
  Stream& stream = edit.value<Stream>();
  Deletions done;
  call.reply.array(options.ids);
  for (size_t i = options.first_id; i < end; ++i) {
    StreamId id = id_at(call, i);
    if (!group->acknowledge(id)) {
      call.reply.integer(kNoSuchId);
      continue;
    }
    done.released.push_back({group, id});
    Outcome outcome = delete_entry(stream, id, options.references, done);
    // The entry may have been deleted before: acknowledging it was all there was to do.
    call.reply.integer(outcome == kStillReferenced ? kStillReferenced : kDeleted);
  }
  tell(call, edit, done);
}

}  // namespace quoll::commands::streams
