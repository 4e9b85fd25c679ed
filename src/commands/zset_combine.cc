// Commands that combine several sorted sets; plain sets take part with the score 1.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/text.h"
#include "commands/zset_family.h"
#include "data/set.h"
#include "data/zset_builder.h"
#include "server/server.h"

namespace quoll::commands::zsets {
namespace {

enum class Operation : uint8_t { unite, intersect, subtract };
enum class Aggregate : uint8_t { sum, min, max };

// One input: a sorted set, a set, or nothing.
struct Source {
  const store::Entry* entry = nullptr;
  double weight = 1;

  uint64_t size() const { return entry ? entry->collection()->size() : 0; }
  std::optional<double> score(Bytes member) const {
    if (!entry) return std::nullopt;
    if (entry->type() == data::Type::zset) return entry->value<ZSet>()->score(member);
    return entry->value<data::Set>()->contains(member) ? std::optional(1.0) : std::nullopt;
  }
  // visit(const PackedItem&, double) returns false to end.
  template <class Visit>
  void for_each(Visit&& visit) const {
    if (!entry) return;
    if (entry->type() == data::Type::set) {
      entry->value<data::Set>()->for_each(
          [&](const PackedItem& member) { return visit(member, 1.0); });
      return;
    }
    bool go_on = true;
    auto zset = entry->value<ZSet>();
    constexpr uint64_t kMembersPerLook = 256;
    uint64_t size = zset->size();
    for (uint64_t rank = 0; rank < size && go_on; rank += kMembersPerLook) {
      zset->visit(
          rank, std::min(kMembersPerLook, size - rank), false,
          [&](const PackedItem& member, double score) { go_on = go_on && visit(member, score); });
    }
  }
};

// Infinities of both signs add up to 0, and so does nothing times infinity.
double or_zero(double score) { return std::isnan(score) ? 0 : score; }

double combine(Aggregate aggregate, double left, double right) {
  switch (aggregate) {
    case Aggregate::min:
      return right < left ? right : left;
    case Aggregate::max:
      return right > left ? right : left;
    default:
      return or_zero(left + right);
  }
}

struct Query {
  Operation operation;
  bool stores = false;
  bool counts = false;  // ZINTERCARD
  Aggregate aggregate = Aggregate::sum;
  bool with_scores = false;
  int64_t limit = 0;
  std::vector<Source> sources = {};

  // `number` is the argument of numkeys. False with the error replied.
  bool parse(Call& call, size_t number) {
    int64_t keys;
    if (!call.integer(number, keys)) return false;
    if (keys < 1) {
      call.reply.error("ERR at least 1 input key is needed for '" +
                       std::string(call.command.spec->name) + "' command");
      return false;
    }
    if (static_cast<uint64_t>(keys) > call.argc() - number - 1) return syntax(call);
    size_t options = number + 1 + static_cast<size_t>(keys);
    for (size_t i = number + 1; i < options; ++i) {
      const store::Entry* entry = call.find(i);
      if (entry && entry->type() != data::Type::zset && entry->type() != data::Type::set) {
        call.wrong_type();
        return false;
      }
      sources.push_back({entry});
    }
    while (options < call.argc())
      if (!take_option(call, options)) return false;
    return true;
  }

 private:
  static bool syntax(Call& call) {
    call.syntax_error();
    return false;
  }

  bool take_option(Call& call, size_t& at) {
    auto is = [&](Bytes name) { return base::equals_ignoring_case(call.arg(at), name); };
    size_t left = call.argc() - at;
    bool weighs = operation != Operation::subtract && !counts;
    if (weighs && left > sources.size() && is("weights")) {
      for (Source& source : sources) {
        if (base::parse_double(call.arg(++at), source.weight)) continue;
        call.reply.error("ERR weight value is not a float");
        return false;
      }
    } else if (weighs && left >= 2 && is("aggregate")) {
      ++at;
      if (is("sum")) {
        aggregate = Aggregate::sum;
      } else if (is("min")) {
        aggregate = Aggregate::min;
      } else if (is("max")) {
        aggregate = Aggregate::max;
      } else {
        return syntax(call);
      }
    } else if (!stores && !counts && is("withscores")) {
      with_scores = true;
    } else if (counts && left >= 2 && is("limit")) {
      constexpr Bytes kNegative = "ERR LIMIT can't be negative";
      if (!call.integer(++at, limit, kNegative)) return false;
      if (limit < 0) {
        call.reply.error(kNegative);
        return false;
      }
    } else {
      return syntax(call);
    }
    ++at;
    return true;
  }
};

// From the smallest input to the largest: the order in which scores are added up, too.
void sort_by_size(std::vector<Source>& sources) {
  std::stable_sort(sources.begin(), sources.end(),
                   [](const Source& a, const Source& b) { return a.size() < b.size(); });
}

// Tells visit(member, score) every member that all inputs have; false from it ends that.
template <class Visit>
void intersect(const Query& query, Visit&& visit) {
  const Source& smallest = query.sources[0];
  smallest.for_each([&](const PackedItem& item, double score) {
    char text[base::kIntTextMax];
    Bytes member = item.text(text);
    double total = or_zero(smallest.weight * score);
    for (size_t i = 1; i < query.sources.size(); ++i) {
      const Source& source = query.sources[i];
      auto other = source.entry == smallest.entry ? std::optional(score) : source.score(member);
      if (!other) return true;
      total = combine(query.aggregate, total, *other * source.weight);
    }
    return visit(member, total);
  });
}

// The members of the first input that no other has.
template <class Visit>
void subtract(const Query& query, Visit&& visit) {
  query.sources[0].for_each([&](const PackedItem& item, double score) {
    char text[base::kIntTextMax];
    Bytes member = item.text(text);
    for (size_t i = 1; i < query.sources.size(); ++i)
      if (query.sources[i].score(member)) return true;
    visit(member, score);
    return true;
  });
}

ZSet result_of(Query& query, const data::Packing& packing) {
  data::ZSetBuilder builder;
  auto keep = [](double old, double) { return old; };
  auto add = [&](Bytes member, double score) {
    builder.add(member, score, keep);
    return true;
  };
  if (query.operation != Operation::subtract) sort_by_size(query.sources);
  switch (query.operation) {
    case Operation::intersect:
      intersect(query, add);
      break;
    case Operation::subtract:
      subtract(query, add);
      break;
    case Operation::unite:
      for (const Source& source : query.sources) {
        source.for_each([&](const PackedItem& item, double score) {
          char text[base::kIntTextMax];
          builder.add(item.text(text), or_zero(source.weight * score),
                      [&](double old, double more) { return combine(query.aggregate, old, more); });
          return true;
        });
      }
  }
  return builder.finish(packing);
}

void reply_generic(Call& call, Operation operation) {
  Query query{.operation = operation};
  if (!query.parse(call, 1)) return;
  // What is only replied is not packed: a listpack holds -0 as 0.
  ZSet result = result_of(query, {.zset_entries = 0});
  reply_head(call, result.size(), query.with_scores);
  result.for_each([&](const PackedItem& member, double score) {
    reply_element(call, member, score, query.with_scores);
  });
}

void store_generic(Call& call, Operation operation, const store::Event& event) {
  Query query{.operation = operation, .stores = true};
  if (!query.parse(call, 2)) return;
  store_result(call, 1, result_of(query, call.server.packing()), event);
}

}  // namespace

void zunion(Call& call) { reply_generic(call, Operation::unite); }
void zinter(Call& call) { reply_generic(call, Operation::intersect); }
void zdiff(Call& call) { reply_generic(call, Operation::subtract); }

void zunionstore(Call& call) { store_generic(call, Operation::unite, kEventZunionStore); }
void zinterstore(Call& call) { store_generic(call, Operation::intersect, kEventZinterStore); }
void zdiffstore(Call& call) { store_generic(call, Operation::subtract, kEventZdiffStore); }

void zintercard(Call& call) {
  Query query{.operation = Operation::intersect, .counts = true};
  if (!query.parse(call, 1)) return;
  sort_by_size(query.sources);
  int64_t count = 0;
  intersect(query, [&](Bytes, double) { return ++count != query.limit; });
  call.reply.integer(count);
}

}  // namespace quoll::commands::zsets
