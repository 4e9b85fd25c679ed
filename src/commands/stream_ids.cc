// IDs among the arguments of stream commands, and what all of these commands reply.
#include <cerrno>
#include <cstdlib>

#include "commands/stream_family.h"
#include "server/errors.h"

namespace quoll::commands::streams {
namespace {

constexpr size_t kIdTextMax = 127;  // longer texts are no IDs

// A number as Redis reads it in IDs: besides the canonical form whatever strtoull accepts (blanks
// in front, signs, leading zeros), but no negative number in canonical form. `text` ends with NUL.
bool parse_number(const char* text, uint64_t& value) {
  int64_t integer;
  if (base::parse_int(Bytes(text), integer)) {
    value = static_cast<uint64_t>(integer);
    return integer >= 0;
  }
  errno = 0;
  char* end = nullptr;
  value = std::strtoull(text, &end, 10);
  return errno == 0 && *text != '\0' && *end == '\0';
}

// "<ms>-<seq>" and "<ms>" of plain digits, the only forms that programs write.
bool parse_digits(Bytes text, uint64_t missing_seq, StreamId& id) {
  constexpr size_t kSafeDigits = 18;
  uint64_t numbers[2] = {0, missing_seq};
  size_t at = 0;
  for (uint64_t& number : numbers) {
    size_t begin = at;
    uint64_t value = 0;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9' && at - begin <= kSafeDigits)
      value = value * 10 + static_cast<uint64_t>(text[at++] - '0');
    if (at == begin || at - begin > kSafeDigits) return false;
    number = value;
    if (at == text.size()) break;
    if (&number == &numbers[1] || text[at++] != '-') return false;
  }
  if (at != text.size()) return false;
  id = {numbers[0], numbers[1]};
  return true;
}

bool parse_bound(Call& call, size_t argument, uint64_t missing_seq, StreamId& id, bool& excluded) {
  Bytes text = call.arg(argument);
  excluded = text.size() > 1 && text[0] == '(';
  ParsedId parsed;
  IdForm form = excluded ? IdForm::strict : IdForm::bounds;
  if (!parse_id(excluded ? text.substr(1) : text, form, missing_seq, parsed)) {
    call.reply.error(kInvalidId);
    return false;
  }
  id = parsed.id;
  return true;
}

}  // namespace

bool parse_id(Bytes text, IdForm form, uint64_t missing_seq, ParsedId& parsed) {
  parsed.sequence_given = true;
  if (parse_digits(text, missing_seq, parsed.id)) return true;
  if (text.size() > kIdTextMax) return false;
  char copy[kIdTextMax + 1];
  if (!text.empty()) std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  if (Bytes(copy) == "-" || Bytes(copy) == "+") {
    parsed.id = copy[0] == '-' ? StreamId() : StreamId::greatest();
    return form == IdForm::bounds;
  }
  char* dash = std::strchr(copy, '-');
  if (dash) *dash = '\0';
  if (!parse_number(copy, parsed.id.ms)) return false;
  parsed.id.seq = missing_seq;
  if (!dash) return true;
  if (form == IdForm::sequence && Bytes(dash + 1) == "*") {
    parsed.id.seq = 0;
    parsed.sequence_given = false;
    return true;
  }
  return parse_number(dash + 1, parsed.id.seq);
}

bool parse_id(Call& call, size_t argument, IdForm form, StreamId& id) {
  ParsedId parsed;
  if (!parse_id(call.arg(argument), form, 0, parsed)) {
    call.reply.error(kInvalidId);
    return false;
  }
  id = parsed.id;
  return true;
}

bool check_ids(Call& call, size_t first, size_t end) {
  StreamId id;
  for (size_t i = first; i < end; ++i)
    if (!parse_id(call, i, IdForm::strict, id)) return false;
  return true;
}

StreamId id_at(const Call& call, size_t argument) {
  ParsedId parsed;
  parse_id(call.arg(argument), IdForm::strict, 0, parsed);
  return parsed.id;
}

bool parse_start(Call& call, size_t argument, StreamId& start) {
  bool excluded;
  if (!parse_bound(call, argument, 0, start, excluded)) return false;
  if (!excluded || start.increment()) return true;
  call.reply.error("ERR invalid start ID for the interval");
  return false;
}

bool parse_end(Call& call, size_t argument, StreamId& end) {
  bool excluded;
  if (!parse_bound(call, argument, UINT64_MAX, end, excluded)) return false;
  if (!excluded || end.decrement()) return true;
  call.reply.error("ERR invalid end ID for the interval");
  return false;
}

void reply_no_group(Call& call, Bytes key, Bytes group, Bytes suffix) {
  std::string text = "NOGROUP No such key '";
  text += server::errors::shown(key);
  text += "' or consumer group '";
  text += server::errors::shown(group);
  text += '\'';
  text += suffix;
  call.reply.error(text);
}

void reply_pairs(Call& call, const StreamNodeView& node, const StreamEntry& entry) {
  auto item = [&](const data::PackedItem& item) {
    if (item.is_integer) {
      call.reply.bulk_integer(item.integer);
    } else {
      call.reply.bulk(item.bytes);
    }
  };
  call.reply.array(2 * entry.pairs);
  node.for_each_pair(entry, [&](const data::PackedItem& name, const data::PackedItem& value) {
    item(name);
    item(value);
  });
}

void reply_entry(Call& call, const StreamNodeView& node, const StreamEntry& entry) {
  call.reply.array(2);
  reply_id(call, entry.id);
  reply_pairs(call, node, entry);
}

bool reply_entry_of(Call& call, const Stream& stream, const StreamId& id) {
  data::StreamWalk walk(stream, id, id);
  if (!walk.next()) return false;
  reply_entry(call, walk.node(), walk.entry());
  return true;
}

void reply_range(Call& call, const Stream& stream, const StreamId& from, const StreamId& to,
                 bool reverse, uint64_t count) {
  data::StreamWalk walk(stream, from, to, reverse);
  call.reply.begin_deferred();
  uint64_t entries = 0;
  while ((count == 0 || entries < count) && walk.next()) {
    reply_entry(call, walk.node(), walk.entry());
    ++entries;
  }
  call.reply.end_deferred(wire::ReplyWriter::Kind::array, entries);
}

void IdLines::close() {
  if (ids_ == 0) return;
  size_t words = head_ + ids_;
  for (size_t i = 0; i < tail_; ++i) words_[words++] = tail_words_[i];
  call_.effect(server::Args(words_, words));
  ids_ = 0;
}

ClaimLines::ClaimLines(Call& call, Bytes key, Bytes group, Bytes consumer, base::Millis at)
    : lines_(call, {"XCLAIM", key, group, consumer, "0"}),
      at_text_(at_, base::format_int(at, at_)) {}

void ClaimLines::add(const StreamId& id, uint64_t deliveries) {
  if (deliveries != deliveries_) {
    lines_.close();
    deliveries_ = deliveries;
    Bytes count(count_, base::format_uint(deliveries, count_));
    lines_.set_tail({"TIME", at_text_, "RETRYCOUNT", count, "FORCE", "JUSTID"});
  }
  lines_.add(id);
}

void effect_group_position(Call& call, Bytes key, const StreamGroup& group) {
  char read[base::kIntTextMax];
  Bytes read_text(read, base::format_int(group.entries_read, read));
  StreamIdText id(group.last_id);
  call.effect({"XGROUP", "SETID", key, group.name(), id.bytes(), "ENTRIESREAD", read_text});
}

StreamConsumer& open_consumer(Call& call, store::Edit& edit, StreamGroup& group, Bytes name,
                              base::Millis seen_ms) {
  StreamConsumer* consumer = group.find_consumer(name);
  if (!consumer) {
    consumer = &group.add_consumer(name, seen_ms);
    edit.done(kEventCreateConsumer);
    call.effect({"XGROUP", "CREATECONSUMER", edit.key().bytes, group.name(), name});
  }
  consumer->seen_ms = seen_ms;
  return *consumer;
}

}  // namespace quoll::commands::streams
