// RDB forms of hashes.
//
//   hash              count, then field value ...
//   hash_listpack     a listpack of field, value, ...    (hash_ziplist, hash_zipmap: read only)
//   hash_metadata     earliest deadline: 8 B ms, count, then ttl field value ...
//                     ttl: 0 = none, else deadline - earliest + 1
//   hash_listpack_ex  earliest deadline: 8 B ms, a listpack of field, value, deadline (0: none),
//   ...
//   *_pre_ga          the last two without the earliest deadline; ttl is the deadline itself
//
// Source: the redis-rdb-tools page for the old forms; for those with deadlines, payloads as
// described in Redis 7.4's rdb.h. A packed hash that has lost its last deadline is written as
// pairs.
#include <algorithm>
#include <vector>

#include "base/hash.h"
#include "data/ziplist_reader.h"
#include "data/zipmap_reader.h"
#include "persist/value_codec.h"

namespace quoll::persist {
namespace {

using data::Hash;
using data::HashItem;
using data::Listpack;
using data::ListpackView;
using wire::RdbReader;
using wire::RdbType;
using wire::RdbWriter;

constexpr uint64_t kDeadlineEnd = (uint64_t{1} << 48) - 1;  // Redis's "no deadline"
constexpr size_t kItemOverheadBytes = 8;                    // about what lengths take per field

void write_item(RdbWriter& out, const data::PackedItem& item) {
  if (item.is_integer)
    out.integer_string(item.integer);
  else
    out.string(item.bytes);
}

Listpack pairs_of(const Hash& hash) {
  Listpack pairs;
  hash.for_each([&](const HashItem& item) {
    QUOLL_CHECK(pairs.append_item(item.field) && pairs.append_item(item.value));
  });
  return pairs;
}

// ---- decoding

// The limits of a value that is being put together field by field. False: it is there already.
bool add_field(Hash& hash, base::Bytes field, base::Bytes value, const DecodeOptions& options) {
  return hash.set(field, value, Hash::Deadline::drop, INT64_MIN, options.packing);
}

bool duplicate(RdbReader& in) { return in.fail("Duplicate hash fields detected"); }

// Whether no two fields of a listpack are equal. O(n log n), no copy of a field.
bool fields_differ(const ListpackView& view, unsigned stride) {
  std::vector<uint64_t> hashes;
  for (auto at = view.first(); at != ListpackView::kNone;) {
    char text[base::kIntTextMax];
    hashes.push_back(base::hash_key(view.item(at).text(text)));
    for (unsigned i = 0; i < stride; ++i) at = view.next(at);
  }
  std::sort(hashes.begin(), hashes.end());
  if (std::adjacent_find(hashes.begin(), hashes.end()) == hashes.end()) return true;
  // Equal hashes of different fields are possible, if only just: look at the fields themselves.
  for (auto at = view.first(); at != ListpackView::kNone;) {
    char text[base::kIntTextMax];
    base::Bytes field = view.item(at).text(text);
    for (unsigned i = 0; i < stride; ++i) at = view.next(at);
    if (at != ListpackView::kNone && view.find(at, field, stride - 1) != ListpackView::kNone)
      return false;
  }
  return true;
}

bool take_pairs(RdbReader& in, Listpack pairs, const DecodeOptions& options, Hash& hash) {
  size_t count = pairs.count();
  if (count % 2 != 0)
    return in.fail("Hash listpack integrity check failed: it ends without the last value");
  if (!fields_differ(pairs.view(), 2)) return duplicate(in);
  hash = Hash::of_pairs(std::move(pairs));
  if (count / 2 > options.packing.hash_entries) hash.make_table();
  return true;
}

bool read_block(RdbReader& in, std::string& scratch, base::Bytes& block) {
  wire::RdbString string;
  if (!in.string(string, scratch)) return false;
  block = string.bytes;
  return true;
}

bool decode_listpack(RdbReader& in, const DecodeOptions& options, Hash& hash) {
  std::string scratch;
  base::Bytes block;
  if (!read_block(in, scratch, block)) return false;
  if (!ListpackView::validate(block)) return in.fail("Hash listpack integrity check failed");
  return take_pairs(in, Listpack::copy_of(block), options, hash);
}

bool decode_ziplist(RdbReader& in, const DecodeOptions& options, Hash& hash) {
  std::string scratch;
  base::Bytes block;
  if (!read_block(in, scratch, block)) return false;
  if (!data::ZiplistReader::validate(block)) return in.fail("Hash ziplist integrity check failed");
  Listpack pairs;
  if (!data::append_ziplist(block, pairs)) return in.fail("hash ziplist is too large");
  return take_pairs(in, std::move(pairs), options, hash);
}

bool decode_zipmap(RdbReader& in, const DecodeOptions& options, Hash& hash) {
  std::string scratch;
  base::Bytes block;
  if (!read_block(in, scratch, block)) return false;
  if (!data::ZipmapReader::validate(block)) return in.fail("Zipmap integrity check failed");
  Hash made;
  data::ZipmapReader reader(block);
  base::Bytes field, value;
  while (reader.next(field, value))
    if (!add_field(made, field, value, options)) return duplicate(in);
  hash = std::move(made);
  return true;
}

// One field of a listpack with deadlines, which is 0 for none.
struct Triple {
  data::PackedItem field;
  data::PackedItem value;
  int64_t deadline;
  uint64_t order() const { return static_cast<uint64_t>(deadline) - 1; }  // none comes last
};

bool read_triples(RdbReader& in, const ListpackView& view, std::vector<Triple>& triples) {
  if (view.count() % 3 != 0)
    return in.fail("Hash listpack integrity check failed: it ends without the last deadline");
  for (auto at = view.first(); at != ListpackView::kNone; at = view.next(at)) {
    Triple triple;
    triple.field = view.item(at);
    at = view.next(at);
    triple.value = view.item(at);
    at = view.next(at);
    data::PackedItem deadline = view.item(at);
    if (!deadline.is_integer || deadline.integer < 0 ||
        static_cast<uint64_t>(deadline.integer) >= kDeadlineEnd)
      return in.fail("hash field deadline out of range");
    triple.deadline = deadline.integer;
    triples.push_back(triple);
  }
  return true;
}

bool read_earliest(RdbReader& in, int64_t& earliest) {
  if (!in.millis(earliest)) return false;
  if (earliest < 0 || static_cast<uint64_t>(earliest) > kDeadlineEnd)
    return in.fail("earliest hash field deadline out of range");
  return true;
}

bool decode_triples(RdbReader& in, bool with_earliest, const DecodeOptions& options, Hash& hash) {
  int64_t earliest;
  if (with_earliest && !read_earliest(in, earliest)) return false;
  std::string scratch;
  base::Bytes block;
  if (!read_block(in, scratch, block)) return false;
  if (!ListpackView::validate(block)) return in.fail("Hash listpack integrity check failed");
  ListpackView view(block);
  std::vector<Triple> triples;
  if (!read_triples(in, view, triples)) return false;
  if (!fields_differ(view, 3)) return duplicate(in);
  std::stable_sort(triples.begin(), triples.end(), [](const Triple& left, const Triple& right) {
    return left.order() < right.order();
  });
  Listpack kept;
  size_t count = 0;
  for (const Triple& triple : triples) {
    if (triple.deadline != 0 && triple.deadline <= options.now) continue;
    if (!kept.append_item(triple.field) || !kept.append_item(triple.value) ||
        !kept.append_integer(triple.deadline))
      return in.fail("hash listpack is too large");
    ++count;
  }
  hash = Hash::of_triples(std::move(kept));
  if (count > options.packing.hash_entries) hash.make_table();
  return true;
}

bool decode_fields(RdbReader& in, const DecodeOptions& options, Hash& hash) {
  uint64_t count;
  if (!in.length(count)) return false;
  Hash made;
  if (count > options.packing.hash_entries) made.make_table();
  std::string field_scratch, value_scratch;
  for (uint64_t i = 0; i < count; ++i) {
    wire::RdbString field, value;
    if (!in.string(field, field_scratch) || !in.string(value, value_scratch)) return false;
    if (!add_field(made, field.bytes, value.bytes, options)) return duplicate(in);
  }
  hash = std::move(made);
  return true;
}

// `earliest` is 1 where deadlines are stated in full.
bool read_deadline(RdbReader& in, int64_t earliest, int64_t& deadline) {
  uint64_t ttl;
  if (!in.length(ttl)) return false;
  deadline = 0;
  if (ttl == 0) return true;
  if (ttl >= kDeadlineEnd || static_cast<uint64_t>(earliest) + ttl - 1 >= kDeadlineEnd)
    return in.fail("hash field deadline out of range");
  deadline = earliest + static_cast<int64_t>(ttl) - 1;
  return true;
}

bool decode_timed(RdbReader& in, bool with_earliest, const DecodeOptions& options, Hash& hash) {
  int64_t earliest = 1;
  if (with_earliest && !read_earliest(in, earliest)) return false;
  uint64_t count;
  if (!in.length(count)) return false;
  Hash made;
  if (count > options.packing.hash_entries) made.make_table();
  std::string field_scratch, value_scratch;
  for (uint64_t i = 0; i < count; ++i) {
    int64_t deadline;
    wire::RdbString field, value;
    if (!read_deadline(in, earliest, deadline) || !in.string(field, field_scratch) ||
        !in.string(value, value_scratch))
      return false;
    if (deadline != 0 && deadline <= options.now) continue;
    if (!add_field(made, field.bytes, value.bytes, options)) return duplicate(in);
    if (deadline != 0) made.set_deadline(field.bytes, deadline);
  }
  hash = std::move(made);
  return true;
}

}  // namespace

bool rdb_type_of(const Hash& hash, unsigned version, RdbType& type) {
  if (hash.has_deadlines())
    type = hash.packed() ? RdbType::hash_listpack_ex : RdbType::hash_metadata;
  else if (hash.packed() && version >= rdb_version_of(RdbType::hash_listpack))
    type = RdbType::hash_listpack;
  else
    type = RdbType::hash;
  return version >= rdb_version_of(type);
}

bool encode(const Hash& hash, RdbType type, PieceCursor& at, RdbWriter& out, size_t bytes_max) {
  bool timed = type == RdbType::hash_listpack_ex || type == RdbType::hash_metadata;
  if (!at.begun && timed) out.millis(hash.earliest_deadline());
  if (type == RdbType::hash_listpack || type == RdbType::hash_listpack_ex) {
    if (hash.timed() == timed)
      out.string(hash.pack().bytes());
    else
      out.string(pairs_of(hash).bytes());
    return true;
  }
  if (!at.begun) out.length(hash.size());
  at.begun = true;
  size_t written = 0;
  auto write = [&](const HashItem& item) {
    if (timed) {
      bool has_one = item.deadline != data::kHashNoDeadline;
      out.length(has_one ? static_cast<uint64_t>(item.deadline - hash.earliest_deadline()) + 1 : 0);
    }
    write_item(out, item.field);
    write_item(out, item.value);
    written += item.field.bytes.size() + item.value.bytes.size() + kItemOverheadBytes;
  };
  if (hash.packed()) {
    hash.for_each(write);
    return true;
  }
  base::WalkCursor walk{at.words[0], static_cast<unsigned>(at.words[1]),
                        static_cast<unsigned>(at.words[2])};
  bool more = true;
  while (more && written < bytes_max) more = hash.walk(walk, write);
  at.words[0] = walk.prefix;
  at.words[1] = walk.depth;
  at.words[2] = walk.bucket;
  return !more;
}

bool decode(RdbReader& in, RdbType type, const DecodeOptions& options, Hash& hash) {
  switch (type) {
    case RdbType::hash:
      return decode_fields(in, options, hash);
    case RdbType::hash_listpack:
      return decode_listpack(in, options, hash);
    case RdbType::hash_ziplist:
      return decode_ziplist(in, options, hash);
    case RdbType::hash_zipmap:
      return decode_zipmap(in, options, hash);
    case RdbType::hash_metadata:
    case RdbType::hash_metadata_pre_ga:
      return decode_timed(in, type == RdbType::hash_metadata, options, hash);
    case RdbType::hash_listpack_ex:
    case RdbType::hash_listpack_ex_pre_ga:
      return decode_triples(in, type == RdbType::hash_listpack_ex, options, hash);
    default:
      return in.fail("not a hash");
  }
}

}  // namespace quoll::persist
