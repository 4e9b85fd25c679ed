// Single bits, and counting and searching them.
#include "base/text.h"
#include "commands/bitmap_core.h"
#include "commands/bitmap_family.h"
#include "server/server.h"

namespace quoll::commands::bitmaps {
namespace {

constexpr uint64_t kOffsetMax = uint64_t{1} << 50;  // beyond it no string can be allocated

// BYTE or BIT at argument i; false with the error replied.
bool parse_unit(Call& call, size_t i, bool& in_bits) {
  in_bits = base::equals_ignoring_case(call.arg(i), "bit");
  if (in_bits || base::equals_ignoring_case(call.arg(i), "byte")) return true;
  call.syntax_error();
  return false;
}

// Bits first ... last, both included; none when first > last.
struct BitRange {
  int64_t first;
  int64_t last;
  bool empty() const { return first > last; }
};

// Negative positions count from the end; what lies outside is cut off.
BitRange range_of(int64_t start, int64_t end, size_t size, bool in_bits) {
  auto total = static_cast<int64_t>(size);
  if (in_bits) total *= 8;
  if (start < 0) start += total;
  if (end < 0) end += total;
  start = std::max<int64_t>(start, 0);
  end = std::min(std::max<int64_t>(end, 0), total - 1);
  if (start > end) return {0, -1};
  return in_bits ? BitRange{start, end} : BitRange{start * 8, end * 8 + 7};
}

}  // namespace

bool bit_offset(Call& call, size_t i, unsigned field_bits, uint64_t& offset) {
  Bytes text = call.arg(i);
  bool counts_fields = field_bits > 0 && text.starts_with('#');
  if (counts_fields) text.remove_prefix(1);
  auto limit = static_cast<uint64_t>(call.server.settings().proto_max_bulk_len);
  bool client = call.store.commits().origin() == store::Origin::client;
  int64_t value;
  if (base::parse_int(text, value) && value >= 0 &&
      !(counts_fields && __builtin_mul_overflow(value, int64_t{field_bits}, &value)) &&
      static_cast<uint64_t>(value) < kOffsetMax &&
      !(client && static_cast<uint64_t>(value) >> 3 >= limit)) {
    offset = static_cast<uint64_t>(value);
    return true;
  }
  call.reply.error(kBadOffset);
  return false;
}

void setbit(Call& call) {
  uint64_t offset;
  if (!bit_offset(call, 2, 0, offset)) return;
  int64_t value;
  constexpr Bytes kBadBit = "ERR bit is not an integer or out of range";
  if (!call.integer(3, value, kBadBit)) return;
  if (value != 0 && value != 1) return call.reply.error(kBadBit);
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  OpenText text(edit);
  bool before = bit_at(text.bytes(), offset);
  uint64_t byte = offset >> 3;
  if (before != value || byte >= text.bytes().size()) {
    char& place = text.open(byte + 1)[byte];
    auto mask = static_cast<uint8_t>(0x80u >> (offset & 7));
    place = static_cast<char>(value ? place | mask : place & ~mask);
    text.close();
    edit.done(kEventSetbit);
  }
  call.reply.integer(before);
}

void getbit(Call& call) {
  uint64_t offset;
  if (!bit_offset(call, 2, 0, offset)) return;
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  char scratch[kTextScratch];
  call.reply.integer(entry && bit_at(entry->text(scratch), offset));
}

void bitcount(Call& call) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  if (!entry) return call.reply.integer(0);
  char scratch[kTextScratch];
  Bytes bytes = entry->text(scratch);
  if (call.argc() == 2) return call.reply.integer(static_cast<int64_t>(count_bits(bytes)));
  if (call.argc() != 4 && call.argc() != 5) return call.syntax_error();
  int64_t start;
  int64_t end;
  if (!call.integer(2, start) || !call.integer(3, end)) return;
  if (start < 0 && end < 0 && start > end) return call.reply.integer(0);
  bool in_bits = false;
  if (call.argc() == 5 && !parse_unit(call, 4, in_bits)) return;
  BitRange range = range_of(start, end, bytes.size(), in_bits);
  if (range.empty()) return call.reply.integer(0);
  call.reply.integer(static_cast<int64_t>(
      count_bits(bytes, static_cast<uint64_t>(range.first), static_cast<uint64_t>(range.last))));
}

// Behind the string there are zeros without end, unless the end of the range is given.
void bitpos(Call& call) {
  int64_t bit;
  if (!call.integer(2, bit)) return;
  if (bit != 0 && bit != 1) return call.reply.error("ERR The bit argument must be 1 or 0.");
  const store::Entry* entry = call.find(1);
  if (!entry) return call.reply.integer(bit ? -1 : 0);
  if (refused(call, entry)) return;
  char scratch[kTextScratch];
  Bytes bytes = entry->text(scratch);
  int64_t start = 0;
  int64_t end = -1;
  bool in_bits = false;
  bool ends = call.argc() >= 5;
  if (call.argc() > 6) return call.syntax_error();
  if (call.argc() > 3 && !call.integer(3, start)) return;
  if (call.argc() == 6 && !parse_unit(call, 5, in_bits)) return;
  if (ends && !call.integer(4, end)) return;
  BitRange range = range_of(start, end, bytes.size(), in_bits);
  if (range.empty()) return call.reply.integer(-1);
  uint64_t found =
      find_bit(bytes, bit, static_cast<uint64_t>(range.first), static_cast<uint64_t>(range.last));
  if (found != kNoBit) return call.reply.integer(static_cast<int64_t>(found));
  call.reply.integer(bit || ends ? -1 : range.last + 1);
}

}  // namespace quoll::commands::bitmaps
