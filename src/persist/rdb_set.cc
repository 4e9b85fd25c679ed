// Sets in RDB form:
//
//   set           count, member...        tables; listpacks in version 10, which lacks the next
//   set_intset    the block as a string
//   set_listpack  the block as a string
#include <algorithm>
#include <vector>

#include "base/hash.h"
#include "persist/value_codec.h"

namespace quoll::persist {
namespace {

using data::ListpackView;
using data::PackedItem;
using data::Set;
using wire::RdbType;

constexpr const char* kDuplicate = "Duplicate set members detected";

size_t append_member(wire::RdbWriter& out, const PackedItem& member) {
  if (member.is_integer) {
    out.integer_string(member.integer);
    return base::int_text_size(member.integer);
  }
  out.string(member.bytes);
  return member.bytes.size();
}

// words: prefix, depth and bucket of the walk.
bool encode_table(const Set::Table& table, PieceCursor& at, wire::RdbWriter& out,
                  size_t bytes_max) {
  if (!at.begun) out.length(table.size());
  at.begun = true;
  base::WalkCursor cursor{at.words[0], static_cast<unsigned>(at.words[1]),
                          static_cast<unsigned>(at.words[2])};
  size_t written = 0;
  auto visit = [&](const data::SetMember* member) {
    written += append_member(out, PackedItem::of_bytes(member->bytes()));
  };
  while (table.walk(cursor, visit)) {
    if (written < bytes_max) continue;
    at.words[0] = cursor.prefix;
    at.words[1] = cursor.depth;
    at.words[2] = cursor.bucket;
    return false;
  }
  return true;
}

// words: position of the next element.
bool encode_members(ListpackView members, PieceCursor& at, wire::RdbWriter& out, size_t bytes_max) {
  if (!at.begun) {
    out.length(members.count());
    at.words[0] = members.first();
  }
  at.begun = true;
  auto position = static_cast<ListpackView::Position>(at.words[0]);
  size_t written = 0;
  for (; position != ListpackView::kNone; position = members.next(position)) {
    if (written >= bytes_max) {
      at.words[0] = position;
      return false;
    }
    written += append_member(out, members.item(position));
  }
  return true;
}

bool decode_members(wire::RdbReader& in, const data::Packing& packing, Set& set) {
  uint64_t count;
  if (!in.length(count)) return false;
  std::string scratch;
  for (uint64_t i = 0; i < count; ++i) {
    wire::RdbString member;
    if (!in.string(member, scratch)) return false;
    // More than an intset may hold: a table at once, whatever the members are, as Redis loads them.
    if (i == 0 && count > packing.set_intset_entries) set.expect(member.bytes, SIZE_MAX, packing);
    if (!set.insert(member.bytes, packing)) return in.fail(kDuplicate);
  }
  return true;
}

bool decode_intset(wire::RdbReader& in, const data::Packing& packing, Set& set) {
  wire::RdbString block;
  std::string scratch;
  if (!in.string(block, scratch)) return false;
  if (!data::IntsetView::validate(block.bytes)) return in.fail("Intset integrity check failed");
  set = Set::of_intset(data::Intset::copy_of(block.bytes));
  set.convert_if_over(packing);
  return true;
}

// Equal members have equal hashes; only those are compared.
bool has_duplicates(ListpackView members) {
  struct Seen {
    uint64_t hash;
    ListpackView::Position position;
  };
  std::vector<Seen> seen;
  for (auto at = members.first(); at != ListpackView::kNone; at = members.next(at)) {
    char text[base::kIntTextMax];
    seen.push_back({base::hash_key(members.item(at).text(text)), at});
  }
  std::sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.hash < b.hash; });
  for (size_t i = 1; i < seen.size(); ++i) {
    char text[base::kIntTextMax];
    for (size_t j = i; j-- > 0 && seen[j].hash == seen[i].hash;)
      if (members.equals(seen[j].position, members.item(seen[i].position).text(text))) return true;
  }
  return false;
}

bool decode_listpack(wire::RdbReader& in, const data::Packing& packing, Set& set) {
  wire::RdbString block;
  std::string scratch;
  if (!in.string(block, scratch)) return false;
  if (!ListpackView::validate(block.bytes)) return in.fail("Set listpack integrity check failed");
  if (has_duplicates(ListpackView(block.bytes))) return in.fail(kDuplicate);
  set = Set::of_listpack(data::Listpack::copy_of(block.bytes));
  set.convert_if_over(packing);
  return true;
}

}  // namespace

bool rdb_type_of(const Set& set, unsigned version, RdbType& type) {
  type = RdbType::set;
  if (set.encoding() == Set::Encoding::intset) type = RdbType::set_intset;
  if (set.encoding() == Set::Encoding::listpack &&
      version >= wire::rdb_version_of(RdbType::set_listpack))
    type = RdbType::set_listpack;
  return true;
}

bool encode(const Set& set, RdbType type, PieceCursor& at, wire::RdbWriter& out, size_t bytes_max) {
  if (type == RdbType::set_intset || type == RdbType::set_listpack) {
    out.string(type == RdbType::set_intset ? set.intset().bytes() : set.listpack().bytes());
    return true;
  }
  switch (set.encoding()) {
    case Set::Encoding::listpack:
      return encode_members(set.listpack(), at, out, bytes_max);
    case Set::Encoding::table:
      return encode_table(set.table(), at, out, bytes_max);
    default:
      out.length(0);
      return true;
  }
}

bool decode(wire::RdbReader& in, RdbType type, const DecodeOptions& options, Set& set) {
  switch (type) {
    case RdbType::set:
      return decode_members(in, options.packing, set);
    case RdbType::set_intset:
      return decode_intset(in, options.packing, set);
    case RdbType::set_listpack:
      return decode_listpack(in, options.packing, set);
    default:
      return in.fail("not an encoding of a set");
  }
}

}  // namespace quoll::persist
