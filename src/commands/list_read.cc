// Commands that read lists, and how positions are read from arguments.
#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "commands/list_family.h"

namespace quoll::commands::lists {

bool parse_end(Call& call, size_t argument, ListEnd& end) {
  bool left = base::equals_ignoring_case(call.arg(argument), "left");
  if (!left && !base::equals_ignoring_case(call.arg(argument), "right")) {
    call.syntax_error();
    return false;
  }
  end = left ? ListEnd::head : ListEnd::tail;
  return true;
}

Range Range::of(int64_t start, int64_t stop, uint64_t size) {
  auto length = static_cast<int64_t>(size);
  if (start < 0) start = std::max<int64_t>(start + length, 0);
  if (stop < 0) stop += length;
  stop = std::min(stop, length - 1);
  if (start > stop) return {0, 0};
  return {static_cast<uint64_t>(start), static_cast<uint64_t>(stop - start + 1)};
}

void llen(Call& call) {
  const store::Entry* entry = call.find(1);
  if (!entry) return call.reply.integer(0);
  if (!is_list(entry)) return call.wrong_type();
  call.reply.integer(static_cast<int64_t>(entry->value<List>()->size()));
}

void lrange(Call& call) {
  int64_t start;
  int64_t stop;
  if (!call.integer(2, start) || !call.integer(3, stop)) return;
  const store::Entry* entry = call.find(1);
  if (!entry) return call.reply.array(0);
  if (!is_list(entry)) return call.wrong_type();
  auto list = entry->value<List>();
  Range range = Range::of(start, stop, list->size());
  call.reply.array(range.count);
  list->visit(range.start, range.count, false, [&](const data::PackedItem& item) {
    reply_item(call, item);
    return true;
  });
}

void lindex(Call& call) {
  const store::Entry* entry = call.find(1);
  if (!entry) return call.reply.null();
  if (!is_list(entry)) return call.wrong_type();
  int64_t index;
  if (!call.integer(2, index)) return;
  auto list = entry->value<List>();
  auto size = static_cast<int64_t>(list->size());
  if (index < 0) index += size;
  if (index < 0 || index >= size) return call.reply.null();
  std::string scratch;
  reply_item(call, list->at(static_cast<uint64_t>(index), scratch));
}

namespace {

struct LposOptions {
  uint64_t rank = 1;  // of the first match that counts
  bool from_tail = false;
  bool many = false;          // COUNT was given
  uint64_t count = 1;         // matches wanted, 0: all
  uint64_t compared_max = 0;  // 0: all elements
};

bool parse_not_negative(Call& call, size_t argument, Bytes error, uint64_t& value) {
  int64_t number;
  if (!call.integer(argument, number, error)) return false;
  value = static_cast<uint64_t>(number);
  if (number >= 0) return true;
  call.reply.error(error);
  return false;
}

bool parse_rank(Call& call, size_t argument, LposOptions& options) {
  int64_t rank;
  if (!call.integer(argument, rank)) return false;
  if (rank == 0) {
    call.reply.error(
        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use "
        "negative to start from the end of the list");
    return false;
  }
  options.from_tail = rank < 0;
  // The least value has no magnitude: the first match from the tail, as in Redis.
  options.rank = rank == INT64_MIN ? 1 : static_cast<uint64_t>(std::abs(rank));
  return true;
}

bool parse_lpos(Call& call, LposOptions& options) {
  for (size_t i = 3; i < call.argc(); i += 2) {
    auto is = [&](Bytes word) {
      return i + 1 < call.argc() && base::equals_ignoring_case(call.arg(i), word);
    };
    if (is("rank")) {
      if (!parse_rank(call, i + 1, options)) return false;
    } else if (is("count")) {
      options.many = true;
      if (!parse_not_negative(call, i + 1, "ERR COUNT can't be negative", options.count))
        return false;
    } else if (is("maxlen")) {
      if (!parse_not_negative(call, i + 1, "ERR MAXLEN can't be negative", options.compared_max))
        return false;
    } else {
      call.syntax_error();
      return false;
    }
  }
  return true;
}

}  // namespace

void lpos(Call& call) {
  LposOptions options;
  if (!parse_lpos(call, options)) return;
  const store::Entry* entry = call.find(1);
  if (!entry) return options.many ? call.reply.array(0) : call.reply.null();
  if (!is_list(entry)) return call.wrong_type();
  auto list = entry->value<List>();
  uint64_t size = list->size();
  uint64_t compared = options.compared_max ? std::min(options.compared_max, size) : size;
  data::SoughtItem sought(call.arg(2));
  uint64_t seen = 0;
  uint64_t matches = 0;
  uint64_t given = 0;
  if (options.many) call.reply.begin_deferred();
  list->visit(
      options.from_tail ? size - 1 : 0, compared, options.from_tail,
      [&](const data::PackedItem& item) {
        uint64_t index = seen++;
        if (!sought.is(item) || ++matches < options.rank) return true;
        call.reply.integer(static_cast<int64_t>(options.from_tail ? size - 1 - index : index));
        return ++given != options.count;
      });
  if (options.many) return call.reply.end_deferred(wire::ReplyWriter::Kind::array, given);
  if (given == 0) call.reply.null();
}

}  // namespace quoll::commands::lists
