// BITFIELD: integers of 1 to 64 bits at any bit of a string.
#include <vector>

#include "base/text.h"
#include "commands/bitmap_core.h"
#include "commands/bitmap_family.h"

namespace quoll::commands::bitmaps {
namespace {

enum class Action : uint8_t { get, set, incrby };
enum class Overflow : uint8_t { wrap, saturate, fail };

struct Field {
  Action action;
  Overflow overflow;
  bool is_signed;
  unsigned bits;
  uint64_t offset;
  int64_t argument;
};

struct Fields {
  std::vector<Field> all;
  bool writes = false;
  uint64_t bits_needed = 0;  // up to the last bit that is written
};

bool parse_type(Call& call, size_t i, Field& field) {
  Bytes text = call.arg(i);
  field.is_signed = text.starts_with('i');
  int64_t bits;
  if ((field.is_signed || text.starts_with('u')) && base::parse_int(text.substr(1), bits) &&
      bits >= 1 && bits <= (field.is_signed ? 64 : 63)) {
    field.bits = static_cast<unsigned>(bits);
    return true;
  }
  call.reply.error(
      "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but "
      "i64 is.");
  return false;
}

bool parse_overflow(Call& call, Bytes text, Overflow& overflow) {
  constexpr Bytes kNames[] = {"wrap", "sat", "fail"};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (!base::equals_ignoring_case(text, kNames[i])) continue;
    overflow = static_cast<Overflow>(i);
    return true;
  }
  call.reply.error("ERR Invalid OVERFLOW type specified");
  return false;
}

bool parse_fields(Call& call, Fields& fields) {
  Overflow overflow = Overflow::wrap;
  for (size_t i = 2; i < call.argc();) {
    Bytes word = call.arg(i);
    size_t left = call.argc() - i - 1;
    Field field{};
    if (left >= 2 && base::equals_ignoring_case(word, "get")) {
      field.action = Action::get;
    } else if (left >= 3 && base::equals_ignoring_case(word, "set")) {
      field.action = Action::set;
    } else if (left >= 3 && base::equals_ignoring_case(word, "incrby")) {
      field.action = Action::incrby;
    } else if (left >= 1 && base::equals_ignoring_case(word, "overflow")) {
      if (!parse_overflow(call, call.arg(i + 1), overflow)) return false;
      i += 2;
      continue;
    } else {
      call.syntax_error();
      return false;
    }
    field.overflow = overflow;
    if (!parse_type(call, i + 1, field) || !bit_offset(call, i + 2, field.bits, field.offset))
      return false;
    i += 3;
    if (field.action != Action::get) {
      if (!call.integer(i++, field.argument)) return false;
      fields.writes = true;
      fields.bits_needed = std::max(fields.bits_needed, field.offset + field.bits);
    }
    fields.all.push_back(field);
  }
  return true;
}

int64_t value_at(Bytes bytes, const Field& field) {
  uint64_t bits = bits_at(bytes, field.offset, field.bits);
  unsigned spare = 64 - field.bits;
  return field.is_signed ? static_cast<int64_t>(bits << spare) >> spare
                         : static_cast<int64_t>(bits);
}

// The value a field takes. False: it would overflow, and the field shall fail then.
bool new_value(const Field& field, int64_t old_value, int64_t& value) {
  using Wide = __int128;
  Wide least = field.is_signed ? -(Wide{1} << (field.bits - 1)) : 0;
  Wide most = (Wide{1} << (field.is_signed ? field.bits - 1 : field.bits)) - 1;
  Wide wanted = field.argument;
  if (field.action == Action::incrby)
    wanted += old_value;
  else if (!field.is_signed)
    wanted = static_cast<uint64_t>(field.argument);  // a negative one is a large one
  value = static_cast<int64_t>(wanted);
  if (wanted >= least && wanted <= most) return true;
  switch (field.overflow) {
    case Overflow::fail:
      return false;
    case Overflow::saturate: {
      // Redis finds the room above a value in 64 bits; it wraps for what SET wants far below the
      // range, which becomes the largest value.
      bool wraps = field.action == Action::set && most - wanted > INT64_MAX;
      bool too_large = wanted > most || wraps;
      value = static_cast<int64_t>(too_large ? most : least);
      return true;
    }
    case Overflow::wrap: {
      auto bits = static_cast<uint64_t>(wanted);
      unsigned spare = 64 - field.bits;
      value = field.is_signed ? static_cast<int64_t>(bits << spare) >> spare
                              : static_cast<int64_t>(bits << spare >> spare);
    }
  }
  return true;
}

// True when the field was written.
bool write_field(Call& call, OpenText& text, const Field& field, size_t bytes_needed) {
  int64_t old_value = value_at(text.bytes(), field);
  int64_t value;
  if (!new_value(field, old_value, value)) {
    call.reply.null();
    return false;
  }
  call.reply.integer(field.action == Action::set ? old_value : value);
  if (value != old_value)
    set_bits_at(text.open(bytes_needed), field.offset, field.bits, static_cast<uint64_t>(value));
  return true;
}

void read_fields(Call& call, const Fields& fields) {
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  char scratch[kTextScratch];
  Bytes bytes = entry ? entry->text(scratch) : Bytes();
  call.reply.array(fields.all.size());
  for (const Field& field : fields.all) call.reply.integer(value_at(bytes, field));
}

}  // namespace

void bitfield(Call& call) {
  Fields fields;
  if (!parse_fields(call, fields)) return;
  if (!fields.writes) return read_fields(call, fields);
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  OpenText text(edit);
  size_t bytes_needed = (fields.bits_needed + 7) / 8;
  bool grows = bytes_needed > text.bytes().size();
  if (grows) text.open(bytes_needed);
  bool written = false;
  call.reply.array(fields.all.size());
  for (const Field& field : fields.all) {
    if (field.action == Action::get)
      call.reply.integer(value_at(text.bytes(), field));
    else
      written |= write_field(call, text, field, bytes_needed);
  }
  if (!text.opened()) return;
  text.close();
  // A string that grew though every field failed is a change nobody is told of.
  written ? edit.done(kEventSetbit) : edit.done_silently();
}

void bitfield_ro(Call& call) {
  Fields fields;
  if (!parse_fields(call, fields)) return;
  if (fields.writes) return call.reply.error("ERR BITFIELD_RO only supports the GET subcommand");
  read_fields(call, fields);
}

}  // namespace quoll::commands::bitmaps
