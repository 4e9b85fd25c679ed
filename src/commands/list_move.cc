// Commands that take an element from one list and give it to another, or to the other end.
#include "commands/list_family.h"
#include "server/blocked_keys.h"

namespace quoll::commands::lists {
namespace {

using server::Session;

struct Ends {
  ListEnd from;
  ListEnd to;
};

// Within one list: the element passes from end to end.
void rotate(Call& call, Ends ends) {
  const data::Packing& packing = call.server.packing();
  store::Edit edit = call.edit(1);
  List& list = edit.value<List>();
  data::PackedItem item = list.at_end(ends.from);
  reply_item(call, item);
  char buffer[base::kIntTextMax];
  std::string text(item.text(buffer));  // of its own: the list changes
  Bytes moved = text;
  list.pop(ends.from);
  list.expect({&moved, 1}, packing);
  list.push(ends.to, moved, packing);
  edit.done(push_event(ends.to));
  finish_removal(call, edit, pop_event(ends.from));
}

// From the list at argument 1, which exists, to that at argument 2. False: an error was replied.
bool move_element(Call& call, Ends ends) {
  const store::Entry* destination = call.peek(2);
  if (destination && !is_list(destination)) return call.wrong_type(), false;
  if (call.arg(1) == call.arg(2)) return rotate(call, ends), true;
  const data::Packing& packing = call.server.packing();
  {
    auto source = call.peek(1)->value<List>();
    data::PackedItem item = source->at_end(ends.from);
    reply_item(call, item);
    char buffer[base::kIntTextMax];
    Bytes text = item.text(buffer);  // borrowed from the source, which only changes afterwards
    store::Edit edit = call.edit(2);
    if (!edit.found()) edit.create<List>();
    List& list = edit.value<List>();
    list.expect({&text, 1}, packing);
    list.push(ends.to, text, packing);
    edit.done(push_event(ends.to));
  }
  store::Edit edit = call.edit(1);
  edit.value<List>().pop(ends.from);
  finish_removal(call, edit, pop_event(ends.from));
  return true;
}

// True when argument 1 holds a list. Else the null reply, an error, or the wait was given.
bool has_source(Call& call) {
  const store::Entry* source = call.peek(1);
  if (!source) return call.reply.null(), false;
  if (!is_list(source)) return call.wrong_type(), false;
  return true;
}

bool has_source_or_waits(Call& call, base::Millis timeout_ms) {
  if (call.peek(1) || !call.may_block()) return has_source(call);
  call.block({.keys = call.args.subspan(1, 1),
              .type = data::Type::list,
              .timeout_ms = timeout_ms,
              .give_up = [](Session& session) { session.reply().null_array(); }});
  return false;
}

}  // namespace

void lmove(Call& call) {
  Ends ends;
  if (!parse_end(call, 3, ends.from) || !parse_end(call, 4, ends.to)) return;
  if (has_source(call) && move_element(call, ends)) call.effect_verbatim();
}

void rpoplpush(Call& call) {
  if (has_source(call) && move_element(call, {ListEnd::tail, ListEnd::head}))
    call.effect_verbatim();
}

void blmove(Call& call) {
  Ends ends;
  if (!parse_end(call, 3, ends.from) || !parse_end(call, 4, ends.to)) return;
  base::Millis timeout_ms;
  if (!call.timeout_seconds(5, timeout_ms)) return;
  if (has_source_or_waits(call, timeout_ms) && move_element(call, ends))
    call.effect({"LMOVE", call.arg(1), call.arg(2), call.arg(3), call.arg(4)});
}

void brpoplpush(Call& call) {
  base::Millis timeout_ms;
  if (!call.timeout_seconds(3, timeout_ms)) return;
  if (has_source_or_waits(call, timeout_ms) && move_element(call, {ListEnd::tail, ListEnd::head}))
    call.effect({"RPOPLPUSH", call.arg(1), call.arg(2)});
}

}  // namespace quoll::commands::lists
