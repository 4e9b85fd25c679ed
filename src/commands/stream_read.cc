// XLEN, XRANGE, XREVRANGE and XREAD.
#include <vector>

#include "commands/stream_family.h"
#include "server/server.h"

namespace quoll::commands::streams {
namespace {

using Kind = wire::ReplyWriter::Kind;

void range(Call& call, bool reverse) {
  StreamId start, end;
  if (!parse_start(call, reverse ? 3 : 2, start)) return;
  if (!parse_end(call, reverse ? 2 : 3, end)) return;
  int64_t count = -1;
  for (size_t i = 4; i < call.argc(); i += 2) {
    if (i + 1 == call.argc() || !equals_ignoring_case(call.arg(i), "count"))
      return call.syntax_error();
    if (!call.integer(i + 1, count)) return;
    if (count < 0) count = 0;
  }
  const store::Entry* entry = call.find(1);
  if (wrong_type(call, entry)) return;
  if (!entry) return call.reply.array(0);
  if (count == 0) return call.reply.null_array();
  reply_range(call, *entry->value<Stream>(), start, end, reverse,
              count == -1 ? 0 : static_cast<uint64_t>(count));
}

// Reads one option in front of STREAMS. False: the error was replied.
bool parse_read_option(Call& call, bool grouped, size_t& i, ReadOptions& options) {
  Bytes word = call.arg(i);
  size_t more = call.argc() - i - 1;
  int64_t number;
  if (more >= 1 && equals_ignoring_case(word, "block")) {
    options.block = true;
    if (!call.integer(++i, options.timeout_ms, "ERR timeout is not an integer or out of range"))
      return false;
    if (options.timeout_ms >= 0) return true;
    call.reply.error(server::errors::kTimeoutNegative);
    return false;
  }
  if (more >= 1 && equals_ignoring_case(word, "count")) {
    if (!call.integer(++i, number)) return false;
    options.count = number < 0 ? 0 : static_cast<uint64_t>(number);
    return true;
  }
  if (more >= 2 && equals_ignoring_case(word, "group")) {
    options.group = call.arg(i + 1);
    options.consumer = call.arg(i + 2);
    i += 2;
    if (grouped) return true;
    call.reply.error(
        "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.");
    return false;
  }
  if (equals_ignoring_case(word, "noack")) {
    options.no_ack = true;
    if (grouped) return true;
    call.reply.error(
        "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.");
    return false;
  }
  if (grouped && more >= 1 && equals_ignoring_case(word, "claim")) {
    if (!call.integer(++i, number, "ERR min-idle-time is not an integer")) return false;
    options.claim_idle_ms = number;
    if (number >= 0) return true;
    call.reply.error("ERR min-idle-time must be a positive integer");
    return false;
  }
  call.syntax_error();
  return false;
}

// What to read after, for each stream in turn.
struct Wanted {
  StreamId after;
  const store::Entry* entry;
};

// The ID argument of a stream that XREAD names. False: the error was replied.
bool parse_read_id(Call& call, size_t argument, const store::Entry* entry, StreamId& after) {
  Bytes text = call.arg(argument);
  after = StreamId();
  if (text == "$") {
    if (entry) after = entry->value<Stream>()->facts().last_id;
    return true;
  }
  if (text == "+") {
    // The last entry there is, whatever was added and deleted behind it.
    if (entry) after = entry->value<Stream>()->last_entry_id();
    after.decrement();
    return true;
  }
  if (text == ">") {
    call.reply.error(
        "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> "
        "<consumer> option.");
    return false;
  }
  return parse_id(call, argument, IdForm::strict, after);
}

bool has_after(const store::Entry* entry, const StreamId& after) {
  if (!entry) return false;
  auto stream = entry->value<Stream>();
  return stream->size() > 0 && stream->last_entry_id() > after;
}

// Waits; "$" becomes the ID it stands for now.
void wait(Call& call, const ReadOptions& options, const std::vector<Wanted>& wanted) {
  std::vector<Bytes> line(call.args.begin(), call.args.end());
  std::vector<StreamIdText> texts;
  texts.reserve(wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    Bytes& id = line[options.first_key + options.streams + i];
    if (id != "$") continue;
    texts.emplace_back(wanted[i].after);
    id = texts.back().bytes();
  }
  call.block({.keys = call.args.subspan(options.first_key, options.streams),
              .type = Stream::kType,
              .timeout_ms = options.timeout_ms,
              .give_up = [](server::Session& session) { session.reply().null_array(); },
              .line = line});
}

}  // namespace

bool parse_read_options(Call& call, bool grouped, ReadOptions& options) {
  for (size_t i = 1; i < call.argc(); ++i) {
    if (!equals_ignoring_case(call.arg(i), "streams") || i + 1 == call.argc()) {
      if (!parse_read_option(call, grouped, i, options)) return false;
      continue;
    }
    options.first_key = i + 1;
    options.streams = (call.argc() - i - 1) / 2;
    if ((call.argc() - i - 1) % 2 == 0) break;
    call.reply.error(
        "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be "
        "specified.");
    return false;
  }
  if (options.streams == 0) {
    call.syntax_error();
    return false;
  }
  if (!grouped || options.group.data()) return true;
  call.reply.error("ERR Missing GROUP option for XREADGROUP");
  return false;
}

void reply_stream_name(Call& call, Bytes key) {
  if (call.reply.protocol() == 2) call.reply.array(2);
  call.reply.bulk(key);
}

void xlen(Call& call) {
  const store::Entry* entry = call.find(1);
  if (wrong_type(call, entry)) return;
  call.reply.integer(entry ? static_cast<int64_t>(entry->value<Stream>()->size()) : 0);
}

void xrange(Call& call) { range(call, false); }
void xrevrange(Call& call) { range(call, true); }

void xread(Call& call) {
  ReadOptions options;
  if (!parse_read_options(call, false, options)) return;
  std::vector<Wanted> wanted(options.streams);
  size_t ready = 0;
  for (size_t i = 0; i < options.streams; ++i) {
    Wanted& stream = wanted[i];
    stream.entry = call.find(options.first_key + i);
    if (wrong_type(call, stream.entry)) return;
    size_t argument = options.first_key + options.streams + i;
    if (!parse_read_id(call, argument, stream.entry, stream.after)) return;
    ready += has_after(stream.entry, stream.after);
  }
  if (ready == 0) {
    if (!options.block || !call.may_block()) return call.reply.null_array();
    return wait(call, options, wanted);
  }
  call.reply.protocol() == 2 ? call.reply.array(ready) : call.reply.map(ready);
  for (size_t i = 0; i < options.streams; ++i) {
    const Wanted& stream = wanted[i];
    if (!has_after(stream.entry, stream.after)) continue;
    reply_stream_name(call, call.arg(options.first_key + i));
    StreamId from = stream.after;
    from.increment();
    reply_range(call, *stream.entry->value<Stream>(), from, StreamId::greatest(), false,
                options.count);
  }
}

}  // namespace quoll::commands::streams
