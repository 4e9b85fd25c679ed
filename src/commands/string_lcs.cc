// LCS: the longest common subsequence of two strings.
//
// Redis refuses pairs whose table of 32-bit lengths would exceed proto-max-bulk-len, and so do we,
// with the same text, because the time grows likewise. Our memory is a 32nd of that at most for
// each of the rows and the marks (see LcsTable): 16 MiB where Redis takes 512.
#include "commands/lcs_table_core.h"
#include "commands/string_options.h"
#include "server/server.h"

namespace quoll::commands::strings {
namespace {

constexpr uint64_t kCellBytes = 4;  // of Redis's table
constexpr size_t kTextMax = UINT32_MAX - 1;

struct LcsOptions {
  bool indexes = false;
  bool length = false;
  bool with_lengths = false;
  int64_t shortest = 0;  // MINMATCHLEN
};

bool parse_lcs(Call& call, LcsOptions& options) {
  for (size_t i = 3; i < call.argc(); ++i) {
    Bytes option = call.arg(i);
    if (word(option) == word("idx")) {
      options.indexes = true;
    } else if (word(option) == word("len")) {
      options.length = true;
    } else if (base::equals_ignoring_case(option, "withmatchlen")) {
      options.with_lengths = true;
    } else if (base::equals_ignoring_case(option, "minmatchlen") && i + 1 < call.argc()) {
      if (!call.integer(++i, options.shortest)) return false;
    } else {
      call.syntax_error();
      return false;
    }
  }
  if (!options.indexes || !options.length) return true;
  call.reply.error("ERR If you want both the length and indexes, please just use IDX.");
  return false;
}

bool fits(Call& call, size_t a, size_t b) {
  if (a >= kTextMax || b >= kTextMax) {
    call.reply.error("ERR String too long for LCS");
    return false;
  }
  uint64_t cells;
  uint64_t bytes;
  auto limit = static_cast<uint64_t>(call.server.settings().proto_max_bulk_len);
  if (!__builtin_mul_overflow(uint64_t{a} + 1, uint64_t{b} + 1, &cells) &&
      !__builtin_mul_overflow(cells, kCellBytes, &bytes) && bytes <= limit)
    return true;
  call.reply.error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
  return false;
}

void reply_range(Call& call, size_t start, size_t length) {
  call.reply.array(2);
  call.reply.integer(static_cast<int64_t>(start));
  call.reply.integer(static_cast<int64_t>(start + length - 1));
}

void reply_indexes(Call& call, const LcsTable& table, const LcsOptions& options) {
  size_t matches = 0;
  call.reply.map(2);
  call.reply.bulk("matches");
  call.reply.begin_deferred();
  table.walk([&](size_t a, size_t b, size_t length) {
    if (static_cast<int64_t>(length) < options.shortest) return;
    call.reply.array(options.with_lengths ? 3 : 2);
    reply_range(call, a, length);
    reply_range(call, b, length);
    if (options.with_lengths) call.reply.integer(static_cast<int64_t>(length));
    ++matches;
  });
  call.reply.end_deferred(wire::ReplyWriter::Kind::array, matches);
  call.reply.bulk("len");
  call.reply.integer(static_cast<int64_t>(table.length()));
}

void reply_subsequence(Call& call, const LcsTable& table, Bytes a) {
  std::string text(table.length(), '\0');
  size_t end = text.size();
  table.walk([&](size_t start, size_t, size_t length) {
    end -= length;
    a.copy(text.data() + end, length, start);
  });
  call.reply.bulk(text);
}

}  // namespace

void lcs(Call& call) {
  const store::Entry* first = call.find(1);
  const store::Entry* second = call.find(2);
  if ((first && !is_string(first)) || (second && !is_string(second)))
    return call.reply.error("ERR The specified keys must contain string values");
  LcsOptions options;
  if (!parse_lcs(call, options)) return;
  char first_scratch[kTextScratch];
  char second_scratch[kTextScratch];
  Bytes a = first ? first->text(first_scratch) : Bytes();
  Bytes b = second ? second->text(second_scratch) : Bytes();
  if (!fits(call, a.size(), b.size())) return;
  bool length_only = options.length && !options.indexes;
  LcsTable table(a, b, length_only ? LcsTable::Keep::last_row : LcsTable::Keep::all_rows);
  if (options.indexes) return reply_indexes(call, table, options);
  if (length_only) return call.reply.integer(static_cast<int64_t>(table.length()));
  reply_subsequence(call, table, a);
}

}  // namespace quoll::commands::strings
