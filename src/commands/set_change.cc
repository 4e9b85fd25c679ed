// Commands that add and remove members by name.
#include "commands/set_family.h"
#include "server/server.h"

namespace quoll::commands::sets {

void sadd(Call& call) {
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  const data::Packing& packing = call.server.packing();
  if (!edit.found()) edit.create<Set>();
  Set& set = edit.value<Set>();
  set.expect(call.arg(2), call.argc() - 2, packing);
  int64_t added = 0;
  for (size_t i = 2; i < call.argc(); ++i) added += set.insert(call.arg(i), packing);
  if (added > 0) edit.done(kEventSadd);
  call.reply.integer(added);
}

void srem(Call& call) {
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  if (!edit.found()) return call.reply.integer(0);
  Set& set = edit.value<Set>();
  int64_t removed = 0;
  for (size_t i = 2; i < call.argc() && set.size() > 0; ++i) removed += set.erase(call.arg(i));
  if (removed > 0) {
    edit.done(kEventSrem);
    edit.erase_if_empty();
  }
  call.reply.integer(removed);
}

void smove(Call& call) {
  const store::Entry* source = call.peek(1);
  const store::Entry* destination = call.peek(2);
  Bytes member = call.arg(3);
  if (!source) return call.reply.integer(0);
  if (refused(call, source) || refused(call, destination)) return;
  if (source == destination) return call.reply.integer(source->value<Set>()->contains(member));
  {
    store::Edit edit = call.edit(1);
    if (!edit.value<Set>().erase(member)) return call.reply.integer(0);
    edit.done(kEventSrem);
    edit.erase_if_empty();
  }
  store::Edit edit = call.edit(2);
  if (!edit.found()) edit.create<Set>();
  if (edit.value<Set>().insert(member, call.server.packing())) edit.done(kEventSadd);
  call.reply.integer(1);
}

}  // namespace quoll::commands::sets
