// Commands that take members from one end, and wait for some where they block.
#include <algorithm>

#include "base/numbers.h"
#include "base/text.h"
#include "commands/zset_family.h"
#include "server/server.h"

namespace quoll::commands::zsets {
namespace {

enum class End : uint8_t { min, max };

// How a pop replies: with the key in front or not, pairs as arrays of their own or flat.
struct PopReply {
  bool key;
  bool nested;
};

constexpr int64_t kNoCount = -1;

// Takes up to `count` members of the sorted set that is being edited and replies them. Returns how
// many that were.
int64_t pop(Call& call, store::Edit& edit, End end, int64_t count, PopReply form) {
  Bytes key = edit.key().bytes;
  ZSet& zset = edit.value<ZSet>();
  uint64_t size = zset.size();
  uint64_t taken = std::min(static_cast<uint64_t>(count), size);
  if (form.nested) {
    if (form.key) {
      call.reply.array(2);
      call.reply.bulk(key);
    }
    call.reply.array(taken);
  } else {
    call.reply.array(2 * taken + form.key);
    if (form.key) call.reply.bulk(key);
  }
  auto reply = [&](const PackedItem& member, double score) {
    if (form.nested) call.reply.array(2);
    reply_member(call, member);
    call.reply.real(score);
  };
  if (end == End::min) {
    zset.take(0, taken, reply);
  } else {
    zset.visit(size - 1, taken, true, reply);
    zset.take(size - taken, taken, [](const PackedItem&, double) {});
  }
  edit.done(end == End::min ? kEventZpopMin : kEventZpopMax);
  edit.erase_if_empty();
  return static_cast<int64_t>(taken);
}

void pop_generic(Call& call, End end) {
  if (call.argc() > 3) return call.syntax_error();
  int64_t count = kNoCount;
  if (call.argc() == 3) {
    constexpr Bytes kNotPositive = "ERR value is out of range, must be positive";
    if (!call.integer(2, count, kNotPositive)) return;
    if (count < 0) return call.reply.error(kNotPositive);
  }
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  if (!edit.found() || count == 0) return call.reply.array(0);
  bool nested = count != kNoCount && call.reply.protocol() > 2;
  pop(call, edit, end, count == kNoCount ? 1 : count, {.key = false, .nested = nested});
}

// Which argument is the first of the keys that holds members; 0: none. False: a key before it holds
// something else, and the error was replied.
bool first_filled(Call& call, size_t first, size_t keys, size_t& found) {
  found = 0;
  for (size_t i = first; i < first + keys && found == 0; ++i) {
    const store::Entry* entry = call.peek(i);
    if (refused(call, entry)) return false;
    if (entry) found = i;
  }
  return true;
}

// Pops from one of several keys; the effect names that key.
void pop_from(Call& call, size_t argument, End end, int64_t count, PopReply form) {
  Bytes key = call.arg(argument);
  {
    store::Edit edit = call.edit(argument);
    count = pop(call, edit, end, count, form);
  }
  Bytes name = end == End::min ? "ZPOPMIN" : "ZPOPMAX";
  if (!form.nested) return call.effect({name, key});
  char text[base::kIntTextMax];
  call.effect({name, key, {text, base::format_int(count, text)}});
}

// The arguments behind "numkeys" of ZMPOP and BZMPOP.
struct ManyKeys {
  size_t first;
  size_t keys;
  End end;
  int64_t count = kNoCount;

  bool parse(Call& call, size_t number) {
    constexpr Bytes kNoKeys = "ERR numkeys should be greater than 0";
    constexpr Bytes kNothing = "ERR count should be greater than 0";
    int64_t stated;
    if (!call.integer(number, stated, kNoKeys)) return false;
    if (stated < 1) return fail(call, kNoKeys);
    if (static_cast<uint64_t>(stated) >= call.argc() - number - 1)
      return fail(call, server::errors::kSyntax);
    first = number + 1;
    keys = static_cast<size_t>(stated);
    Bytes where = call.arg(first + keys);
    if (base::equals_ignoring_case(where, "min")) {
      end = End::min;
    } else if (base::equals_ignoring_case(where, "max")) {
      end = End::max;
    } else {
      return fail(call, server::errors::kSyntax);
    }
    for (size_t i = first + keys + 1; i < call.argc(); i += 2) {
      bool names = count == kNoCount && base::equals_ignoring_case(call.arg(i), "count");
      if (!names || i + 1 == call.argc()) return fail(call, server::errors::kSyntax);
      if (!call.integer(i + 1, count, kNothing)) return false;
      if (count < 1) return fail(call, kNothing);
    }
    if (count == kNoCount) count = 1;
    return true;
  }

 private:
  static bool fail(Call& call, Bytes error) {
    call.reply.error(error);
    return false;
  }
};

constexpr PopReply kMany{.key = true, .nested = true};

void wait_for(Call& call, size_t first, size_t keys, base::Millis timeout_ms) {
  if (!call.may_block()) return call.reply.null_array();
  call.block({.keys = call.args.subspan(first, keys),
              .type = data::Type::zset,
              .timeout_ms = timeout_ms,
              .give_up = [](server::Session& session) { session.reply().null_array(); }});
}

void blocking_pop(Call& call, End end) {
  size_t timeout = call.argc() - 1;
  base::Millis timeout_ms;
  if (!call.timeout_seconds(timeout, timeout_ms)) return;
  size_t key;
  if (!first_filled(call, 1, timeout - 1, key)) return;
  if (key == 0) return wait_for(call, 1, timeout - 1, timeout_ms);
  pop_from(call, key, end, 1, {.key = true, .nested = false});
}

}  // namespace

void zpopmin(Call& call) { pop_generic(call, End::min); }
void zpopmax(Call& call) { pop_generic(call, End::max); }

void zmpop(Call& call) {
  ManyKeys many;
  if (!many.parse(call, 1)) return;
  size_t key;
  if (!first_filled(call, many.first, many.keys, key)) return;
  if (key == 0) return call.reply.null_array();
  pop_from(call, key, many.end, many.count, kMany);
}

void bzpopmin(Call& call) { blocking_pop(call, End::min); }
void bzpopmax(Call& call) { blocking_pop(call, End::max); }

void bzmpop(Call& call) {
  ManyKeys many;
  if (!many.parse(call, 2)) return;
  base::Millis timeout_ms;
  if (!call.timeout_seconds(1, timeout_ms)) return;
  size_t key;
  if (!first_filled(call, many.first, many.keys, key)) return;
  if (key == 0) return wait_for(call, many.first, many.keys, timeout_ms);
  pop_from(call, key, many.end, many.count, kMany);
}

}  // namespace quoll::commands::zsets
