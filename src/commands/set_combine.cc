// Intersections, unions and differences: replied, stored, or counted.
//
// Sources are looked up once and read where they lie; a result that is stored is complete before
// its destination, which may be a source, is edited. Results take the forms they have in Redis 7.4.
#include <algorithm>
#include <vector>

#include "base/text.h"
#include "commands/set_family.h"
#include "data/hyperloglog.h"
#include "server/server.h"

namespace quoll::commands::sets {
namespace {

// The sets of a command; absent keys are null.
class Sources {
 public:
  // False: a key is no set, and the error was replied.
  bool find(Call& call, size_t first, size_t count) {
    entries_.reserve(count);
    for (size_t i = first; i < first + count; ++i) {
      const store::Entry* entry = call.find(i);
      if (refused(call, entry)) return false;
      entries_.push_back(entry);
    }
    return true;
  }
  size_t count() const { return entries_.size(); }
  const store::Entry* entry(size_t i) const { return entries_[i]; }
  bool has(size_t i) const { return entries_[i]; }
  data::Lent<Set> operator[](size_t i) const { return entries_[i]->value<Set>(); }
  uint64_t size(size_t i) const { return entries_[i] ? (*this)[i]->size() : 0; }
  bool any_absent() const {
    return std::find(entries_.begin(), entries_.end(), nullptr) != entries_.end();
  }
  void smallest_first() {
    std::stable_sort(entries_.begin(), entries_.end(), [](const auto* a, const auto* b) {
      return a->template value<Set>()->size() < b->template value<Set>()->size();
    });
  }
  // All behind the first by size, largest first: where a member is most likely found.
  void largest_next() {
    std::stable_sort(entries_.begin() + 1, entries_.end(), [](const auto* a, const auto* b) {
      return (a ? a->template value<Set>()->size() : 0) >
             (b ? b->template value<Set>()->size() : 0);
    });
  }
  bool in_any_of_the_rest(const PackedItem& member) const {
    for (size_t i = 1; i < count(); ++i)
      if (entries_[i] && (*this)[i]->contains(member)) return true;
    return false;
  }
  bool in_all_of_the_rest(const PackedItem& member) const {
    for (size_t i = 1; i < count(); ++i)
      if (entries_[i] != entries_[0] && !(*this)[i]->contains(member)) return false;
    return true;
  }

 private:
  std::vector<const store::Entry*> entries_;
};

// Calls visit(member) for every member of the intersection; false ends it.
template <class Visit>
void intersect(Sources& sources, Visit&& visit) {
  if (sources.any_absent()) return;
  sources.smallest_first();
  sources[0]->for_each([&](const PackedItem& member) {
    return !sources.in_all_of_the_rest(member) || visit(member);
  });
}

Set unite(const Sources& sources, const data::Packing& packing) {
  Set result;
  for (size_t i = 0; i < sources.count(); ++i)
    if (sources.has(i))
      sources[i]->for_each([&](const PackedItem& member) { result.insert(member, packing); });
  return result;
}

// Redis's choice: looking every member of the first set up in the others, which ends at the first
// hit, against removing the members of all others from a copy of the first.
bool lookups_are_cheaper(const Sources& sources) {
  uint64_t lookups = 0;
  uint64_t removals = 0;
  for (size_t i = 0; i < sources.count(); ++i) {
    if (!sources.has(i)) continue;
    lookups += sources.size(0);
    removals += sources.size(i);
  }
  return lookups / 2 <= removals;
}

// The difference, in the order of the first set; visit as in intersect().
template <class Visit>
void subtract(Sources& sources, const data::Packing& packing, Visit&& visit) {
  if (!sources.has(0)) return;
  // A set without itself is empty.
  for (size_t i = 1; i < sources.count(); ++i)
    if (sources.entry(i) == sources.entry(0)) return;
  if (lookups_are_cheaper(sources)) {
    sources.largest_next();
    return sources[0]->for_each([&](const PackedItem& member) {
      return sources.in_any_of_the_rest(member) || visit(member);
    });
  }
  Set result;
  sources[0]->for_each([&](const PackedItem& member) { result.insert(member, packing); });
  for (size_t i = 1; i < sources.count() && result.size() > 0; ++i)
    if (sources.has(i))
      sources[i]->for_each([&](const PackedItem& member) {
        char text[base::kIntTextMax];
        result.erase(member.text(text));
        return result.size() > 0;
      });
  result.for_each(visit);
}

void reply_set(Call& call, const Set& set) {
  call.reply.set(set.size());
  set.for_each([&](const PackedItem& member) { reply_member(call, member); });
}

// Replies the members that `produce` passes to its visitor.
template <class Produce>
void reply_members(Call& call, Produce&& produce) {
  size_t count = 0;
  call.reply.begin_deferred();
  produce([&](const PackedItem& member) {
    reply_member(call, member);
    ++count;
    return true;
  });
  call.reply.end_deferred(wire::ReplyWriter::Kind::set, count);
}

void store_result(Call& call, Set result, const store::Event& event) {
  auto size = static_cast<int64_t>(result.size());
  store::Edit edit = call.edit(1);
  if (size > 0) {
    edit.put(data::Value::of_collection(data::Collection(std::move(result))), store::Ttl::drop());
    edit.done(event);
  } else if (edit.found()) {
    edit.erase();
    edit.done(store::kEventDel);
  }
  call.reply.integer(size);
}

// The arguments of the CARD forms: numkeys key [key ...] [APPROX] [LIMIT limit].
struct Counting {
  size_t keys = 0;
  uint64_t limit = UINT64_MAX;
  bool approximate = false;
};

bool parse_counting(Call& call, Counting& counting, bool may_approximate) {
  constexpr Bytes kNumkeys = "ERR numkeys should be greater than 0";
  constexpr Bytes kLimit = "ERR LIMIT can't be negative";
  auto refuse = [&](Bytes error) {
    call.reply.error(error);
    return false;
  };
  int64_t keys;
  if (!call.integer(1, keys, kNumkeys)) return false;
  if (keys < 1) return refuse(kNumkeys);
  if (static_cast<uint64_t>(keys) > call.argc() - 2)
    return refuse("ERR Number of keys can't be greater than number of args");
  counting.keys = static_cast<size_t>(keys);
  for (size_t i = counting.keys + 2; i < call.argc(); ++i) {
    if (may_approximate && base::equals_ignoring_case(call.arg(i), "approx")) {
      counting.approximate = true;
    } else if (base::equals_ignoring_case(call.arg(i), "limit") && i + 1 < call.argc()) {
      int64_t limit;
      if (!call.integer(++i, limit, kLimit)) return false;
      if (limit < 0) return refuse(kLimit);
      counting.limit = limit > 0 ? static_cast<uint64_t>(limit) : UINT64_MAX;
    } else {
      return refuse(server::errors::kSyntax);
    }
  }
  return true;
}

// Counts the members that `produce` passes to its visitor, up to the limit.
template <class Produce>
void reply_count(Call& call, const Counting& counting, Produce&& produce) {
  uint64_t count = 0;
  produce([&](const PackedItem&) { return ++count < counting.limit; });
  call.reply.integer(static_cast<int64_t>(count));
}

// Members of the first table need no look-up of their own, those of a later set one in each of the
// sets before it; only when there are many sets is a union worth building.
constexpr size_t kUnionLookupsMax = 4;

template <class Visit>
void unite_without_copy(const Sources& sources, Visit&& visit) {
  bool go_on = true;
  for (size_t i = 0; i < sources.count() && go_on; ++i) {
    if (!sources.has(i)) continue;
    sources[i]->for_each([&](const PackedItem& member) {
      for (size_t j = 0; j < i; ++j)
        if (sources.has(j) && sources[j]->contains(member)) return true;
      return go_on = visit(member);
    });
  }
}

uint64_t estimate_union(const Sources& sources) {
  data::HyperLogLogRegisters registers;
  for (size_t i = 0; i < sources.count(); ++i)
    if (sources.has(i))
      sources[i]->for_each([&](const PackedItem& member) {
        char text[base::kIntTextMax];
        registers.add(member.text(text));
      });
  return registers.estimate();
}

}  // namespace

void sinter(Call& call) {
  Sources sources;
  if (!sources.find(call, 1, call.argc() - 1)) return;
  reply_members(call, [&](auto&& visit) { intersect(sources, visit); });
}

void sinterstore(Call& call) {
  Sources sources;
  if (!sources.find(call, 2, call.argc() - 2)) return;
  const data::Packing& packing = call.server.packing();
  Set result;
  bool integers = true;
  intersect(sources, [&](const PackedItem& member) {
    if (result.size() == 0 && sources[0]->encoding() != Set::Encoding::intset)
      result.begin_listpack();
    int64_t integer;
    integers = integers && (member.is_integer || base::parse_int(member.bytes, integer));
    result.insert(member, packing);
    return true;
  });
  if (integers && result.size() > 0) result.make_intset(packing);
  store_result(call, std::move(result), kEventSinterStore);
}

void sintercard(Call& call) {
  Counting counting;
  if (!parse_counting(call, counting, false)) return;
  Sources sources;
  if (!sources.find(call, 2, counting.keys)) return;
  reply_count(call, counting, [&](auto&& visit) { intersect(sources, visit); });
}

void sunion(Call& call) {
  Sources sources;
  if (!sources.find(call, 1, call.argc() - 1)) return;
  reply_set(call, unite(sources, call.server.packing()));
}

void sunionstore(Call& call) {
  Sources sources;
  if (!sources.find(call, 2, call.argc() - 2)) return;
  store_result(call, unite(sources, call.server.packing()), kEventSunionStore);
}

void sunioncard(Call& call) {
  Counting counting;
  if (!parse_counting(call, counting, true)) return;
  Sources sources;
  if (!sources.find(call, 2, counting.keys)) return;
  if (counting.approximate)
    return call.reply.integer(
        static_cast<int64_t>(std::min(estimate_union(sources), counting.limit)));
  if (sources.count() <= kUnionLookupsMax)
    return reply_count(call, counting, [&](auto&& visit) { unite_without_copy(sources, visit); });
  uint64_t size = unite(sources, call.server.packing()).size();
  call.reply.integer(static_cast<int64_t>(std::min(size, counting.limit)));
}

void sdiff(Call& call) {
  Sources sources;
  if (!sources.find(call, 1, call.argc() - 1)) return;
  reply_members(call, [&](auto&& visit) { subtract(sources, call.server.packing(), visit); });
}

void sdiffstore(Call& call) {
  Sources sources;
  if (!sources.find(call, 2, call.argc() - 2)) return;
  const data::Packing& packing = call.server.packing();
  Set result;
  subtract(sources, packing, [&](const PackedItem& member) {
    result.insert(member, packing);
    return true;
  });
  store_result(call, std::move(result), kEventSdiffStore);
}

void sdiffcard(Call& call) {
  Counting counting;
  if (!parse_counting(call, counting, false)) return;
  Sources sources;
  if (!sources.find(call, 2, counting.keys)) return;
  reply_count(call, counting,
              [&](auto&& visit) { subtract(sources, call.server.packing(), visit); });
}

}  // namespace quoll::commands::sets
