// Commands that add to lists, replace and cut.
#include <cstdlib>

#include "base/text.h"
#include "commands/list_family.h"

namespace quoll::commands::lists {
namespace {

void push_generic(Call& call, ListEnd end, bool only_existing) {
  store::Edit edit = call.edit(1);
  if (!edit.found()) {
    if (only_existing) return call.reply.integer(0);
    edit.create<List>();
  } else if (!is_list(edit.entry())) {
    return call.wrong_type();
  }
  const data::Packing& packing = call.server.packing();
  List& list = edit.value<List>();
  list.expect(call.args.subspan(2), packing);
  for (size_t i = 2; i < call.argc(); ++i) list.push(end, call.arg(i), packing, large(call, i));
  call.reply.integer(static_cast<int64_t>(list.size()));
  edit.done(push_event(end));
}

}  // namespace

void lpush(Call& call) { push_generic(call, ListEnd::head, false); }
void rpush(Call& call) { push_generic(call, ListEnd::tail, false); }
void lpushx(Call& call) { push_generic(call, ListEnd::head, true); }
void rpushx(Call& call) { push_generic(call, ListEnd::tail, true); }

void linsert(Call& call) {
  bool after = base::equals_ignoring_case(call.arg(2), "after");
  if (!after && !base::equals_ignoring_case(call.arg(2), "before")) return call.syntax_error();
  store::Edit edit = call.edit(1);
  if (!edit.found()) return call.reply.integer(0);
  if (!is_list(edit.entry())) return call.wrong_type();
  const data::Packing& packing = call.server.packing();
  List& list = edit.value<List>();
  list.expect(call.args.subspan(4, 1), packing);
  if (!list.insert(data::SoughtItem(call.arg(3)), after, call.arg(4), packing, large(call, 4)))
    return call.reply.integer(-1);
  call.reply.integer(static_cast<int64_t>(list.size()));
  edit.done({"linsert", 'l'});
}

void lset(Call& call) {
  store::Edit edit = call.edit(1);
  if (!edit.found()) return call.reply.error(server::errors::kNoSuchKey);
  if (!is_list(edit.entry())) return call.wrong_type();
  int64_t index;
  if (!call.integer(2, index)) return;
  const data::Packing& packing = call.server.packing();
  List& list = edit.value<List>();
  auto size = static_cast<int64_t>(list.size());
  if (index < 0) index += size;
  if (index < 0 || index >= size) return call.reply.error(server::errors::kOutOfRange);
  list.expect(call.args.subspan(3, 1), packing);
  list.replace(static_cast<uint64_t>(index), call.arg(3), packing, large(call, 3));
  list.settle(packing);
  edit.done({"lset", 'l'});
  call.reply.ok();
}

void lrem(Call& call) {
  int64_t count;
  if (!call.integer(2, count)) return;
  store::Edit edit = call.edit(1);
  if (!edit.found()) return call.reply.integer(0);
  if (!is_list(edit.entry())) return call.wrong_type();
  ListEnd from = count < 0 ? ListEnd::tail : ListEnd::head;
  // Its least value has no magnitude: all, as in Redis.
  uint64_t most =
      count == 0 || count == INT64_MIN ? UINT64_MAX : static_cast<uint64_t>(std::abs(count));
  uint64_t removed =
      edit.value<List>().remove(data::SoughtItem(call.arg(3)), most, from, call.server.packing());
  call.reply.integer(static_cast<int64_t>(removed));
  if (removed > 0) finish_removal(call, edit, {"lrem", 'l'});
}

// A list that is not cut counts as changed nevertheless, as in Redis.
void ltrim(Call& call) {
  int64_t start;
  int64_t stop;
  if (!call.integer(2, start) || !call.integer(3, stop)) return;
  store::Edit edit = call.edit(1);
  if (!edit.found()) return call.reply.ok();
  if (!is_list(edit.entry())) return call.wrong_type();
  List& list = edit.value<List>();
  uint64_t size = list.size();
  Range kept = Range::of(start, stop, size);
  call.reply.ok();
  if (kept.count == 0) return finish_emptied(edit, {"ltrim", 'l'});
  uint64_t behind = kept.start + kept.count;
  list.erase_range(behind, size - behind);
  list.erase_range(0, kept.start);
  finish_removal(call, edit, {"ltrim", 'l'});
}

}  // namespace quoll::commands::lists
