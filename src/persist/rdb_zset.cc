// Sorted sets in RDB form:
//
//   zset           count, (member, score as text)...           read only
//   zset_2         count, (member, score 8 B)...                written from the greatest down
//   zset_ziplist   a ziplist of (member, score) as a string    read only
//   zset_listpack  the listpack form's block as a string
#include <algorithm>
#include <vector>

#include "base/hash.h"
#include "base/numbers.h"
#include "data/ziplist_reader.h"
#include "persist/value_codec.h"

namespace quoll::persist {
namespace {

using data::ListpackView;
using data::PackedItem;
using data::ScoreOutcome;
using data::ZSet;
using wire::RdbType;

constexpr const char* kDuplicateMembers = "Duplicate zset fields detected";
constexpr const char* kBrokenListpack = "Zset listpack integrity check failed";

// Rank of the next member to be written is words[0], counted from the greatest.
bool encode_members(const ZSet& zset, PieceCursor& at, wire::RdbWriter& out, size_t bytes_max) {
  constexpr uint64_t kMembersPerLook = 64;
  uint64_t size = zset.size();
  if (!at.begun) out.length(size);
  at.begun = true;
  uint64_t& done = at.words[0];
  for (size_t written = 0; done < size && written < bytes_max;) {
    uint64_t count = std::min(kMembersPerLook, size - done);
    zset.visit(size - 1 - done, count, true, [&](const PackedItem& member, double score) {
      char text[base::kIntTextMax];
      base::Bytes bytes = member.text(text);
      out.string(bytes);
      out.binary_double(score);
      written += bytes.size() + sizeof(score);
    });
    done += count;
  }
  return done == size;
}

// Puts one member that may come from anywhere.
bool add(wire::RdbReader& in, base::Bytes member, double score, const data::Packing& packing,
         ZSet& zset) {
  if (score != score) return in.fail("Zset with NAN score detected");
  auto result = zset.put(member, score, {.only_new = true}, packing);
  return result.outcome == ScoreOutcome::added || in.fail(kDuplicateMembers);
}

bool decode_members(wire::RdbReader& in, bool binary, const data::Packing& packing, ZSet& zset) {
  uint64_t count;
  if (!in.length(count)) return false;
  std::string scratch;
  for (uint64_t i = 0; i < count; ++i) {
    wire::RdbString member;
    double score;
    if (!in.string(member, scratch)) return false;
    if (binary ? !in.binary_double(score) : !in.ascii_double(score)) return false;
    if (i == 0) zset.expect(member.bytes, count, packing);
    if (!add(in, member.bytes, score, packing, zset)) return false;
  }
  return true;
}

bool score_of(const PackedItem& item, double& score) {
  if (!item.is_integer) return base::parse_double(item.bytes, score);
  score = static_cast<double>(item.integer);
  return true;
}

// What a foreign listpack of pairs turns out to be.
enum class Pairs : uint8_t { ordered, unordered, broken };

Pairs look_through(ListpackView pairs) {
  Pairs found = Pairs::ordered;
  char last_text[base::kIntTextMax];
  base::Bytes last;
  double last_score = 0;
  for (auto at = pairs.first(); at != ListpackView::kNone;) {
    PackedItem item = pairs.item(at);
    auto score_place = pairs.next(at);
    double score;
    if (score_place == ListpackView::kNone || !score_of(pairs.item(score_place), score))
      return Pairs::broken;
    char text[base::kIntTextMax];
    base::Bytes member = item.text(text);
    if (at != pairs.first() && !data::stands_before(last_score, last, score, member))
      found = Pairs::unordered;
    if (item.is_integer) {
      member.copy(last_text, member.size());
      member = {last_text, member.size()};
    }
    last = member;
    last_score = score;
    at = pairs.next(score_place);
  }
  return found;
}

// Equal members have equal hashes; only those are compared.
bool has_duplicate_members(ListpackView pairs) {
  struct Seen {
    uint64_t hash;
    ListpackView::Position position;
  };
  std::vector<Seen> seen;
  for (auto at = pairs.first(); at != ListpackView::kNone; at = pairs.next(pairs.next(at))) {
    char text[base::kIntTextMax];
    seen.push_back({base::hash_key(pairs.item(at).text(text)), at});
  }
  std::sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.hash < b.hash; });
  for (size_t i = 1; i < seen.size(); ++i) {
    char text[base::kIntTextMax];
    for (size_t j = i; j-- > 0 && seen[j].hash == seen[i].hash;)
      if (pairs.equals(seen[j].position, pairs.item(seen[i].position).text(text))) return true;
  }
  return false;
}

// Takes a listpack over, or member by member when its order is not ours.
bool take_pairs(wire::RdbReader& in, data::Listpack pairs, const data::Packing& packing,
                ZSet& zset) {
  ListpackView view = pairs.view();
  Pairs found = look_through(view);
  if (found == Pairs::broken) return in.fail(kBrokenListpack);
  size_t count = view.count() / 2;
  if (found == Pairs::ordered) {
    if (has_duplicate_members(view)) return in.fail(kDuplicateMembers);
    zset = ZSet::of_listpack(std::move(pairs));
    if (count > packing.zset_entries) zset.make_large();
    return true;
  }
  for (auto at = view.first(); at != ListpackView::kNone;) {
    auto score_place = view.next(at);
    double score = 0;
    score_of(view.item(score_place), score);
    char text[base::kIntTextMax];
    base::Bytes member = view.item(at).text(text);
    if (at == view.first()) zset.expect(member, count, packing);
    if (!add(in, member, score, packing, zset)) return false;
    at = view.next(score_place);
  }
  return true;
}

bool decode_listpack(wire::RdbReader& in, const data::Packing& packing, ZSet& zset) {
  wire::RdbString block;
  std::string scratch;
  if (!in.string(block, scratch)) return false;
  if (!ListpackView::validate(block.bytes)) return in.fail(kBrokenListpack);
  return take_pairs(in, data::Listpack::copy_of(block.bytes), packing, zset);
}

bool decode_ziplist(wire::RdbReader& in, const data::Packing& packing, ZSet& zset) {
  constexpr const char* kBroken = "Zset ziplist integrity check failed";
  wire::RdbString block;
  std::string scratch;
  if (!in.string(block, scratch)) return false;
  data::Listpack pairs;
  if (!data::ZiplistReader::validate(block.bytes) || !data::append_ziplist(block.bytes, pairs))
    return in.fail(kBroken);
  return take_pairs(in, std::move(pairs), packing, zset);
}

}  // namespace

bool rdb_type_of(const ZSet& zset, unsigned, RdbType& type) {
  type = zset.large_form() ? RdbType::zset_2 : RdbType::zset_listpack;
  return true;
}

bool encode(const ZSet& zset, RdbType type, PieceCursor& at, wire::RdbWriter& out,
            size_t bytes_max) {
  if (type == RdbType::zset_2) return encode_members(zset, at, out, bytes_max);
  out.string(zset.packed().bytes());
  return true;
}

bool decode(wire::RdbReader& in, RdbType type, const DecodeOptions& options, ZSet& zset) {
  switch (type) {
    case RdbType::zset:
      return decode_members(in, false, options.packing, zset);
    case RdbType::zset_2:
      return decode_members(in, true, options.packing, zset);
    case RdbType::zset_ziplist:
      return decode_ziplist(in, options.packing, zset);
    case RdbType::zset_listpack:
      return decode_listpack(in, options.packing, zset);
    default:
      return in.fail("not an encoding of a sorted set");
  }
}

}  // namespace quoll::persist
