// Commands that add, rescore and remove members by name.
#include <vector>

#include "base/numbers.h"
#include "base/text.h"
#include "commands/zset_family.h"
#include "server/server.h"

namespace quoll::commands::zsets {
namespace {

using data::ScoreOutcome;
using data::ScoreResult;
using data::ScoreRule;

struct AddOptions {
  ScoreRule rule;
  bool count_changed = false;  // CH
  size_t first = 2;            // argument where (score, member) pairs begin

  // False with the error replied.
  bool parse(Call& call) {
    for (; first < call.argc() && take(call.arg(first)); ++first) {
    }
    size_t rest = call.argc() - first;
    if (rest == 0 || rest % 2 != 0) return fail(call, server::errors::kSyntax);
    if (rule.only_new && rule.only_old)
      return fail(call, "ERR XX and NX options at the same time are not compatible");
    if (rule.only_new + rule.only_greater + rule.only_less > 1)
      return fail(call, "ERR GT, LT, and/or NX options at the same time are not compatible");
    if (rule.increase && rest > 2)
      return fail(call, "ERR INCR option supports a single increment-element pair");
    return true;
  }

 private:
  bool take(Bytes word) {
    auto is = [&](Bytes name) { return base::equals_ignoring_case(word, name); };
    if (word.size() != 2) return is("incr") && (rule.increase = true);
    if (is("nx")) return rule.only_new = true;
    if (is("xx")) return rule.only_old = true;
    if (is("ch")) return count_changed = true;
    if (is("gt")) return rule.only_greater = true;
    if (is("lt")) return rule.only_less = true;
    return false;
  }
  static bool fail(Call& call, Bytes error) {
    call.reply.error(error);
    return false;
  }
};

constexpr size_t kScoresNear = 16;  // pairs whose scores are kept on the stack

// ZADD and ZINCRBY behind their options; `scores` are those of the pairs.
void add_all(Call& call, const AddOptions& options, const double* scores) {
  const ScoreRule& rule = options.rule;
  size_t pairs = (call.argc() - options.first) / 2;
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  if (!edit.found()) {
    if (rule.only_old) return rule.increase ? call.reply.null() : call.reply.integer(0);
    edit.create<ZSet>();
  }
  const data::Packing& packing = call.server.packing();
  ZSet& zset = edit.value<ZSet>();
  zset.expect(call.arg(options.first + 1), pairs, packing);
  int64_t added = 0;
  int64_t updated = 0;
  ScoreResult last{};
  for (size_t i = 0; i < pairs; ++i) {
    last = zset.put(call.arg(options.first + 2 * i + 1), scores[i], rule, packing);
    added += last.outcome == ScoreOutcome::added;
    updated += last.outcome == ScoreOutcome::updated;
  }
  if (added + updated > 0) edit.done(rule.increase ? kEventZincr : kEventZadd);
  if (!rule.increase) return call.reply.integer(options.count_changed ? added + updated : added);
  if (last.outcome == ScoreOutcome::not_a_number)
    return call.reply.error("ERR resulting score is not a number (NaN)");
  if (last.outcome == ScoreOutcome::refused) return call.reply.null();
  call.reply.real(last.score);
}

void add_generic(Call& call, AddOptions options) {
  if (!options.parse(call)) return;
  size_t pairs = (call.argc() - options.first) / 2;
  double near[kScoresNear];
  std::vector<double> far;
  if (pairs > kScoresNear) far.resize(pairs);
  double* scores = pairs > kScoresNear ? far.data() : near;
  for (size_t i = 0; i < pairs; ++i) {
    if (!base::parse_double(call.arg(options.first + 2 * i), scores[i]))
      return call.reply.error(server::errors::kNotFloat);
  }
  add_all(call, options, scores);
}

}  // namespace

void zadd(Call& call) { add_generic(call, {}); }

// Takes the options of ZADD in the place of its increment as well, as Redis does: errors agree.
void zincrby(Call& call) {
  AddOptions options;
  options.rule.increase = true;
  add_generic(call, options);
}

void zrem(Call& call) {
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  if (!edit.found()) return call.reply.integer(0);
  ZSet& zset = edit.value<ZSet>();
  int64_t removed = 0;
  for (size_t i = 2; i < call.argc() && zset.size() > 0; ++i) removed += zset.erase(call.arg(i));
  if (removed > 0) {
    edit.done(kEventZrem);
    edit.erase_if_empty();
  }
  call.reply.integer(removed);
}

}  // namespace quoll::commands::zsets
