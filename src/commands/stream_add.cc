// XADD, XTRIM and XSETID.
#include <algorithm>
#include <memory>

#include "commands/stream_family.h"
#include "server/server.h"

namespace quoll::commands::streams {
namespace {

using data::StreamTrim;
using server::Args;

// What XADD and XTRIM have in common.
struct AddOptions {
  StreamTrim trim;
  bool references_given = false;
  bool no_mkstream = false;
  bool id_given = false;  // XADD: not "*"
  ParsedId id;
  size_t id_argument = 0;  // XADD
};

constexpr Bytes kTwoStrategies =
    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";

// How many entries "~" may remove at once when no LIMIT says so, as Redis bounds it.
constexpr uint64_t kLimitNodes = 100;
constexpr uint64_t kLimitDefault = 10'000;
constexpr uint64_t kLimitMax = 1'000'000;

uint64_t default_limit(uint64_t node_entries) {
  if (node_entries == 0) return kLimitDefault;
  return node_entries > kLimitMax / kLimitNodes ? kLimitMax : node_entries * kLimitNodes;
}

// MAXLEN or MINID at argument i; moves i to its threshold.
bool parse_threshold(Call& call, StreamTrim::By by, size_t& i, StreamTrim& trim) {
  if (trim.by != StreamTrim::By::none) {
    call.reply.error(kTwoStrategies);
    return false;
  }
  trim.by = by;
  if (i + 2 < call.argc()) {
    trim.whole_nodes = call.arg(i + 1) == "~";
    if (trim.whole_nodes || call.arg(i + 1) == "=") ++i;
  }
  ++i;
  if (by == StreamTrim::By::id) return parse_id(call, i, IdForm::strict, trim.id);
  int64_t length;
  if (!call.integer(i, length)) return false;
  if (length < 0) {
    call.reply.error("ERR The MAXLEN argument must be >= 0.");
    return false;
  }
  trim.length = static_cast<uint64_t>(length);
  return true;
}

bool check_limit(Call& call, bool xadd, bool given, int64_t limit, StreamTrim& trim) {
  bool none = trim.by == StreamTrim::By::none;
  if (none && limit != 0) {
    call.reply.error(
        "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
    return false;
  }
  if (none && !xadd) {
    call.reply.error("ERR syntax error, XTRIM must be called with a trimming strategy");
    return false;
  }
  if (replayed(call)) return true;
  if (given && !trim.whole_nodes) {
    call.reply.error("ERR syntax error, LIMIT cannot be used without the special ~ option");
    return false;
  }
  if (given) {
    trim.removed_max = static_cast<uint64_t>(limit);
  } else if (trim.whole_nodes) {
    trim.removed_max = default_limit(call.server.packing().stream_node_entries);
  }
  return true;
}

// Options up to the ID (XADD) or the end (XTRIM). False: the error was replied.
bool parse_options(Call& call, bool xadd, AddOptions& options) {
  int64_t limit = 0;
  bool limit_given = false;
  size_t i = 2;
  for (; i < call.argc(); ++i) {
    Bytes word = call.arg(i);
    bool more = i + 1 < call.argc();
    if (xadd && word == "*") break;
    if (more && equals_ignoring_case(word, "maxlen")) {
      if (!parse_threshold(call, StreamTrim::By::length, i, options.trim)) return false;
    } else if (more && equals_ignoring_case(word, "minid")) {
      if (!parse_threshold(call, StreamTrim::By::id, i, options.trim)) return false;
    } else if (more && equals_ignoring_case(word, "limit")) {
      if (!call.integer(++i, limit)) return false;
      if (limit < 0) {
        call.reply.error("ERR The LIMIT argument must be >= 0.");
        return false;
      }
      limit_given = true;
    } else if (!options.references_given && parse_references(word, options.trim.references)) {
      options.references_given = true;
    } else if (xadd && equals_ignoring_case(word, "nomkstream")) {
      options.no_mkstream = true;
    } else if (xadd) {
      if (!parse_id(word, IdForm::sequence, 0, options.id)) {
        call.reply.error(kInvalidId);
        return false;
      }
      options.id_given = true;
      break;
    } else {
      call.syntax_error();
      return false;
    }
  }
  options.id_argument = i;
  return check_limit(call, xadd, limit_given, limit, options.trim);
}

// The ID the new entry gets. False: there is none, and the error was replied.
bool choose_id(Call& call, const AddOptions& options, const StreamId& last, StreamId& id) {
  if (last == StreamId::greatest()) {
    call.reply.error("ERR The stream has exhausted the last possible ID, unable to add more items");
    return false;
  }
  id = options.id.id;
  if (!options.id_given) {
    id = {static_cast<uint64_t>(call.now), 0};
    if (id.ms <= last.ms) {
      id = last;
      id.increment();
    }
  } else if (!options.id.sequence_given && id.ms == last.ms) {
    // The sequence must not overflow into the next millisecond.
    id.seq = last.seq == UINT64_MAX ? last.seq : last.seq + 1;
  }
  if (id > last) return true;
  call.reply.error(
      "ERR The ID specified in XADD is equal or smaller than the target stream top item");
  return false;
}

// XADD key [MAXLEN = n] id pair...: what has been cut is said by the length that was left.
void effect_xadd(Call& call, const AddOptions& options, Bytes id, uint64_t trimmed,
                 uint64_t length) {
  bool exact = !options.references_given &&
               (options.trim.by == StreamTrim::By::none || !options.trim.whole_nodes);
  if (exact && options.id_given && options.id.sequence_given) return call.effect_verbatim();
  constexpr size_t kInlineWords = 64;
  Bytes inline_words[kInlineWords];
  std::unique_ptr<Bytes[]> many;
  Bytes* words = inline_words;
  if (call.argc() + 3 > kInlineWords) {
    many = std::make_unique<Bytes[]>(call.argc() + 3);
    words = many.get();
  }
  size_t count = 0;
  char text[base::kIntTextMax];
  if (exact) {
    for (size_t i = 0; i < options.id_argument; ++i) words[count++] = call.arg(i);
  } else {
    words[count++] = "XADD";
    words[count++] = call.arg(1);
    if (trimmed > 0) {
      words[count++] = "MAXLEN";
      words[count++] = "=";
      words[count++] = {text, base::format_uint(length, text)};
    }
  }
  words[count++] = id;
  for (size_t i = options.id_argument + 1; i < call.argc(); ++i) words[count++] = call.arg(i);
  call.effect(Args(words, count));
}

}  // namespace

void xadd(Call& call) {
  AddOptions options;
  if (!parse_options(call, true, options)) return;
  size_t first_pair = options.id_argument + 1;
  if (call.argc() < first_pair + 2 || (call.argc() - first_pair) % 2 != 0)
    return call.reply.error("ERR wrong number of arguments for 'xadd' command");
  if (options.id_given && options.id.sequence_given && options.id.id.is_zero())
    return call.reply.error("ERR The ID specified in XADD must be greater than 0-0");

  store::Edit edit = call.edit(1);
  if (wrong_type(call, edit.entry())) return;
  if (!edit.found() && options.no_mkstream) return call.reply.null();
  StreamId last, id;
  if (edit.found()) last = edit.value<Stream>().facts().last_id;
  if (!choose_id(call, options, last, id)) return;
  Args pairs = call.args.subspan(first_pair);
  if (!Stream::storable(pairs)) return call.reply.error("ERR Elements are too large to be stored");

  if (!edit.found()) edit.create<Stream>();
  Stream& stream = edit.value<Stream>();
  stream.append(id, pairs, call.server.packing());
  edit.done(kEventXadd);
  StreamIdText text(id);
  if (options.trim.references == References::keep) {
    uint64_t trimmed = stream.trim(options.trim);
    if (trimmed > 0) edit.done(kEventXtrim);
    effect_xadd(call, options, text.bytes(), trimmed, stream.size());
  } else {
    effect_xadd(call, options, text.bytes(), 0, stream.size());
    trim_minding_references(call, edit, options.trim);
  }
  call.reply.bulk(text.bytes());
}

void xtrim(Call& call) {
  AddOptions options;
  if (!parse_options(call, false, options)) return;
  store::Edit edit = call.edit(1);
  if (!edit.found()) return call.reply.integer(0);
  if (wrong_type(call, edit.entry())) return;
  if (options.trim.references != References::keep) {
    uint64_t trimmed = trim_minding_references(call, edit, options.trim);
    return call.reply.integer(static_cast<int64_t>(trimmed));
  }
  Stream& stream = edit.value<Stream>();
  uint64_t trimmed = stream.trim(options.trim);
  call.reply.integer(static_cast<int64_t>(trimmed));
  if (trimmed == 0) return;
  edit.done(kEventXtrim);
  if (!options.trim.whole_nodes && !options.references_given) return call.effect_verbatim();
  char text[base::kIntTextMax];
  Bytes length(text, base::format_uint(stream.size(), text));
  call.effect({"XTRIM", call.arg(1), "MAXLEN", "=", length});
}

void xsetid(Call& call) {
  StreamId id, max_deleted;
  int64_t entries_added = -1;
  if (!parse_id(call, 2, IdForm::strict, id)) return;
  for (size_t i = 3; i < call.argc(); i += 2) {
    if (i + 1 == call.argc()) return call.syntax_error();
    if (equals_ignoring_case(call.arg(i), "entriesadded")) {
      if (!call.integer(i + 1, entries_added)) return;
      if (entries_added < 0) return call.reply.error("ERR entries_added must be positive");
    } else if (equals_ignoring_case(call.arg(i), "maxdeletedid")) {
      if (!parse_id(call, i + 1, IdForm::strict, max_deleted)) return;
      if (id < max_deleted)
        return call.reply.error(
            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
    } else {
      return call.syntax_error();
    }
  }

  store::Edit edit = call.edit(1);
  if (!edit.found()) return call.reply.error(server::errors::kNoSuchKey);
  if (wrong_type(call, edit.entry())) return;
  Stream& stream = edit.value<Stream>();
  if (stream.size() > 0) {
    if (id < stream.last_entry_id())
      return call.reply.error(
          "ERR The ID specified in XSETID is smaller than the target stream top item");
    if (entries_added != -1 && stream.size() > static_cast<uint64_t>(entries_added))
      return call.reply.error(
          "ERR The entries_added specified in XSETID is smaller than the target stream length");
  }
  stream.set_last_id(id);
  if (entries_added != -1) stream.set_entries_added(static_cast<uint64_t>(entries_added));
  if (!max_deleted.is_zero()) stream.set_max_deleted_id(max_deleted);
  edit.done(kEventXsetid);
  call.reply.ok();
}

}  // namespace quoll::commands::streams
