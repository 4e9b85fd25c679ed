// Commands that take elements from the ends of lists.
#include <algorithm>
#include <initializer_list>

#include "base/text.h"
#include "commands/list_family.h"
#include "server/blocked_keys.h"

namespace quoll::commands::lists {
namespace {

using server::Session;

void null_array(Session& session) { session.reply().null_array(); }

// Replies up to `count` elements from one end as an array, and removes them.
void pop_many(Call& call, store::Edit& edit, ListEnd end, uint64_t count) {
  List& list = edit.value<List>();
  uint64_t size = list.size();
  count = std::min(count, size);
  bool from_tail = end == ListEnd::tail;
  call.reply.array(count);
  list.visit(from_tail ? size - 1 : 0, count, from_tail, [&](const data::PackedItem& item) {
    reply_item(call, item);
    return true;
  });
  if (count == size) return finish_emptied(edit, pop_event(end));
  list.erase_range(from_tail ? size - count : 0, count);
  finish_removal(call, edit, pop_event(end));
}

void pop_one(Call& call, store::Edit& edit, ListEnd end) {
  List& list = edit.value<List>();
  reply_item(call, list.at_end(end));
  list.pop(end);
  finish_removal(call, edit, pop_event(end));
}

void pop_generic(Call& call, ListEnd end) {
  if (call.argc() > 3) {
    std::string text = "ERR wrong number of arguments for '";
    return call.reply.error(text.append(call.command.spec->name).append("' command"));
  }
  bool many = call.argc() == 3;
  int64_t count = 1;
  if (many) {
    constexpr Bytes kNotPositive = "ERR value is out of range, must be positive";
    if (!call.integer(2, count, kNotPositive)) return;
    if (count < 0) return call.reply.error(kNotPositive);
  }
  store::Edit edit = call.edit(1);
  if (!edit.found()) return many ? call.reply.null_array() : call.reply.null();
  if (!is_list(edit.entry())) return call.wrong_type();
  if (count == 0) return call.reply.array(0);
  if (!many) return pop_one(call, edit, end);
  pop_many(call, edit, end, static_cast<uint64_t>(count));
}

// The first of the arguments [first, first + keys) that holds a list. False: none, or one holds
// something else, which is then replied.
enum class Found : uint8_t { list, nothing, replied };
Found first_list(Call& call, size_t first, size_t keys, size_t& argument) {
  for (argument = first; argument < first + keys; ++argument) {
    const store::Entry* entry = call.peek(argument);
    if (!entry) continue;
    if (is_list(entry)) return Found::list;
    if (call.resumed()) continue;  // it came while the command waited for the others
    call.wrong_type();
    return Found::replied;
  }
  return Found::nothing;
}

// [key, element], and what it means as one line of the journal.
void pop_with_key(Call& call, size_t argument, ListEnd end) {
  store::Edit edit = call.edit(argument);
  call.reply.array(2);
  call.reply.bulk(call.arg(argument));
  pop_one(call, edit, end);
  call.effect({pop_name(end), call.arg(argument)});
}

// [key, [element ...]]
void pop_many_with_key(Call& call, size_t argument, ListEnd end, uint64_t count) {
  store::Edit edit = call.edit(argument);
  char text[base::kIntTextMax];
  size_t length = base::format_uint(std::min(count, edit.value<List>().size()), text);
  call.reply.array(2);
  call.reply.bulk(call.arg(argument));
  pop_many(call, edit, end, count);
  call.effect({pop_name(end), call.arg(argument), Bytes(text, length)});
}

void blocking_pop(Call& call, ListEnd end) {
  size_t keys = call.argc() - 2;
  base::Millis timeout_ms;
  if (!call.timeout_seconds(call.argc() - 1, timeout_ms)) return;
  size_t argument;
  Found found = first_list(call, 1, keys, argument);
  if (found == Found::replied) return;
  if (found == Found::list) return pop_with_key(call, argument, end);
  if (!call.may_block()) return call.reply.null_array();
  call.block({.keys = call.args.subspan(1, keys),
              .type = data::Type::list,
              .timeout_ms = timeout_ms,
              .give_up = null_array});
}

struct ManyPop {
  size_t first_key;
  size_t keys;
  ListEnd end;
  uint64_t count = 1;
};

// numkeys key [key ...] LEFT|RIGHT [COUNT count], with numkeys at `from`.
bool parse_many_pop(Call& call, size_t from, ManyPop& pop) {
  constexpr Bytes kNoKeys = "ERR numkeys should be greater than 0";
  constexpr Bytes kNoCount = "ERR count should be greater than 0";
  int64_t keys;
  if (!call.integer(from, keys, kNoKeys)) return false;
  if (keys <= 0) return call.reply.error(kNoKeys), false;
  size_t behind = call.argc() - from - 1;  // arguments
  if (static_cast<uint64_t>(keys) >= behind) return call.syntax_error(), false;
  pop.first_key = from + 1;
  pop.keys = static_cast<size_t>(keys);
  size_t at = pop.first_key + pop.keys;
  if (!parse_end(call, at, pop.end)) return false;
  if (++at == call.argc()) return true;
  if (at + 2 > call.argc() || !base::equals_ignoring_case(call.arg(at), "count"))
    return call.syntax_error(), false;
  int64_t count;
  if (!call.integer(at + 1, count, kNoCount)) return false;
  if (count <= 0) return call.reply.error(kNoCount), false;
  if (at + 2 < call.argc()) return call.syntax_error(), false;
  pop.count = static_cast<uint64_t>(count);
  return true;
}

}  // namespace

void lpop(Call& call) { pop_generic(call, ListEnd::head); }
void rpop(Call& call) { pop_generic(call, ListEnd::tail); }
void blpop(Call& call) { blocking_pop(call, ListEnd::head); }
void brpop(Call& call) { blocking_pop(call, ListEnd::tail); }

void lmpop(Call& call) {
  ManyPop pop;
  if (!parse_many_pop(call, 1, pop)) return;
  size_t argument;
  Found found = first_list(call, pop.first_key, pop.keys, argument);
  if (found == Found::list) return pop_many_with_key(call, argument, pop.end, pop.count);
  if (found == Found::nothing) call.reply.null_array();
}

void blmpop(Call& call) {
  ManyPop pop;
  if (!parse_many_pop(call, 2, pop)) return;
  base::Millis timeout_ms;
  if (!call.timeout_seconds(1, timeout_ms)) return;
  size_t argument;
  Found found = first_list(call, pop.first_key, pop.keys, argument);
  if (found == Found::replied) return;
  if (found == Found::list) return pop_many_with_key(call, argument, pop.end, pop.count);
  if (!call.may_block()) return call.reply.null_array();
  call.block({.keys = call.args.subspan(pop.first_key, pop.keys),
              .type = data::Type::list,
              .timeout_ms = timeout_ms,
              .give_up = null_array});
}

}  // namespace quoll::commands::lists
