// HyperLogLog commands. Unlike in Redis, PFCOUNT changes nothing: it replies the cached count when
// that is valid and does not store a new one, so the cached count of a value that was added to
// stays out of date.
#include "data/hyperloglog.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "base/numbers.h"
#include "base/text.h"
#include "commands/families.h"
#include "server/call.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;
using data::HyperLogLog;
using data::HyperLogLogView;

constexpr store::Event kEventPfadd{"pfadd", '$'};
constexpr Bytes kNotHyperLogLog = "WRONGTYPE Key is not a valid HyperLogLog string value.";
constexpr Bytes kDamaged = "INVALIDOBJ Corrupted HLL object detected";
constexpr size_t kTextScratch = 24;  // of an integer value

// The bytes of a HyperLogLog; false with the error replied when the key holds something else.
bool bytes_of(Call& call, const store::Entry* entry, char* scratch, Bytes& bytes) {
  if (entry->type() != data::Type::string) {
    call.wrong_type();
    return false;
  }
  bytes = entry->text(scratch);
  if (HyperLogLogView::recognised(bytes)) return true;
  call.reply.error(kNotHyperLogLog);
  return false;
}

void put_back(store::Edit& edit, HyperLogLog& hyperloglog) {
  edit.put(data::Value::of_blob(hyperloglog.take(), true), store::Ttl::keep());
}

// The dense form is changed where it lies, and never damaged.
void add_to_dense(Call& call, store::Edit& edit, Bytes bytes) {
  HyperLogLogView view(bytes);
  size_t i = 2;
  while (i < call.argc() && !view.would_raise(data::HyperLogLogPlace::of(call.arg(i)))) ++i;
  if (i == call.argc()) return call.reply.integer(0);
  HyperLogLog hyperloglog(edit.take_text(0));
  for (; i < call.argc(); ++i) hyperloglog.add(call.arg(i), 0);
  hyperloglog.drop_cached_count();
  put_back(edit, hyperloglog);
  edit.done(kEventPfadd);
  call.reply.integer(1);
}

void pfadd(Call& call) {
  store::Edit edit = call.edit(1);
  char scratch[kTextScratch];
  Bytes bytes;
  if (edit.found()) {
    if (!bytes_of(call, edit.entry(), scratch, bytes)) return;
    if (!HyperLogLogView(bytes).sparse()) return add_to_dense(call, edit, bytes);
  }
  // The sparse form is short; a copy leaves the value as it was when it turns out to be damaged.
  HyperLogLog hyperloglog = edit.found() ? HyperLogLog::copy_of(bytes) : HyperLogLog();
  auto sparse_max = static_cast<size_t>(call.server.settings().hll_sparse_max_bytes);
  bool changed = !edit.found();
  for (size_t i = 2; i < call.argc(); ++i) {
    HyperLogLog::Outcome outcome = hyperloglog.add(call.arg(i), sparse_max);
    if (outcome == HyperLogLog::Outcome::damaged) return call.reply.error(kDamaged);
    changed |= outcome == HyperLogLog::Outcome::changed;
  }
  if (!changed) return call.reply.integer(0);
  hyperloglog.drop_cached_count();
  put_back(edit, hyperloglog);
  edit.done(kEventPfadd);
  call.reply.integer(1);
}

// Takes the keys from argument 1 on into `registers`. False: the error was replied.
bool merge_keys(Call& call, data::HyperLogLogRegisters& registers, bool& any_dense) {
  for (size_t i = 1; i < call.argc(); ++i) {
    const store::Entry* entry = call.find(i);
    if (!entry) continue;
    char scratch[kTextScratch];
    Bytes bytes;
    if (!bytes_of(call, entry, scratch, bytes)) return false;
    HyperLogLogView view(bytes);
    any_dense |= !view.sparse();
    if (registers.merge(view)) continue;
    call.reply.error(kDamaged);
    return false;
  }
  return true;
}

void pfcount(Call& call) {
  if (call.argc() > 2) {
    data::HyperLogLogRegisters registers;
    bool any_dense = false;
    if (!merge_keys(call, registers, any_dense)) return;
    return call.reply.integer(static_cast<int64_t>(registers.estimate()));
  }
  const store::Entry* entry = call.find(1);
  if (!entry) return call.reply.integer(0);
  char scratch[kTextScratch];
  Bytes bytes;
  if (!bytes_of(call, entry, scratch, bytes)) return;
  uint64_t count;
  if (!HyperLogLogView(bytes).count(count)) return call.reply.error(kDamaged);
  call.reply.integer(static_cast<int64_t>(count));
}

void pfmerge(Call& call) {
  data::HyperLogLogRegisters registers;
  bool dense = false;
  if (!merge_keys(call, registers, dense)) return;
  store::Edit edit = call.edit(1);
  char scratch[kTextScratch];
  HyperLogLog merged =
      edit.found() ? HyperLogLog::copy_of(edit.entry()->text(scratch)) : HyperLogLog();
  bool whole = !dense || merged.make_dense();
  auto sparse_max = static_cast<size_t>(call.server.settings().hll_sparse_max_bytes);
  for (unsigned index = 0; index < data::kHyperLogLogRegisters && whole; ++index)
    if (registers[index] > 0)
      whole = merged.raise({index, registers[index]}, sparse_max) != HyperLogLog::Outcome::damaged;
  if (!whole) return call.reply.error(kDamaged);
  merged.drop_cached_count();
  put_back(edit, merged);
  edit.done(kEventPfadd);
  call.reply.ok();
}

// Makes the value dense; false with the error replied when it is damaged. `converted`: it was not.
bool convert_to_dense(Call& call, store::Edit& edit, Bytes bytes, bool& converted) {
  converted = HyperLogLogView(bytes).sparse();
  if (!converted) return true;
  HyperLogLog hyperloglog = HyperLogLog::copy_of(bytes);
  if (!hyperloglog.make_dense()) {
    call.reply.error(kDamaged);
    return false;
  }
  put_back(edit, hyperloglog);
  edit.done_silently();
  return true;
}

void pfdebug_getreg(Call& call, store::Edit& edit, Bytes bytes) {
  bool converted;
  if (!convert_to_dense(call, edit, bytes, converted)) return;
  data::HyperLogLogRegisters registers;
  registers.merge(HyperLogLogView(edit.entry()->text(nullptr)));
  call.reply.array(data::kHyperLogLogRegisters);
  for (unsigned index = 0; index < data::kHyperLogLogRegisters; ++index)
    call.reply.integer(registers[index]);
}

// "Z:100 v:3,1 z:20": runs of zeros in their long and short form, and of ranks. Damaged values are
// shown as well.
void pfdebug_decode(Call& call, Bytes bytes) {
  HyperLogLogView view(bytes);
  if (!view.sparse()) return call.reply.error("ERR HLL encoding is not sparse");
  std::string text;
  auto append = [&](uint64_t number) {
    char digits[base::kIntTextMax];
    text.append(digits, base::format_uint(number, digits));
  };
  auto append_run = [&](unsigned, unsigned count, uint8_t rank, bool xzero) {
    if (!text.empty()) text += ' ';
    text += rank > 0 ? "v:" : xzero ? "Z:" : "z:";
    if (rank > 0) {
      append(rank);
      text += ',';
    }
    append(count);
  };
  view.for_each_run(append_run, true);
  call.reply.bulk(text);
}

void pfdebug(Call& call) {
  Bytes subcommand = call.arg(1);
  store::Edit edit = call.edit(2);
  if (!edit.found()) return call.reply.error("ERR The specified key does not exist");
  char scratch[kTextScratch];
  Bytes bytes;
  if (!bytes_of(call, edit.entry(), scratch, bytes)) return;
  if (base::equals_ignoring_case(subcommand, "getreg")) return pfdebug_getreg(call, edit, bytes);
  if (base::equals_ignoring_case(subcommand, "decode")) return pfdebug_decode(call, bytes);
  if (base::equals_ignoring_case(subcommand, "encoding"))
    return call.reply.simple(HyperLogLogView(bytes).sparse() ? "sparse" : "dense");
  if (base::equals_ignoring_case(subcommand, "todense")) {
    bool converted;
    if (convert_to_dense(call, edit, bytes, converted)) call.reply.integer(converted);
    return;
  }
  std::string error = "ERR Unknown PFDEBUG subcommand '";
  error.append(errors::shown(subcommand)).append("'");
  call.reply.error(error);
}

void pfselftest(Call& call) {
  const char* failure = data::hyperloglog_self_test();
  if (!failure) return call.reply.ok();
  call.reply.error(std::string("ERR ") + failure);
}

constexpr KeySpecs kDestinationAndSources = {
    {keys::at(1, kKeyRw | kKeyAccess | kKeyInsert), keys::rest(2, kKeyRo | kKeyAccess).specs[0]}};

constexpr CommandSpec kHyperLogLogCommands[] = {
    {.name = "pfadd",
     .arity = -2,
     .run = pfadd,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::first(kKeyRw | kKeyInsert),
     .flags = kDenyOom | kFast,
     .group = "hyperloglog",
     .since = "2.8.9",
     .summary = "Adds elements to a HyperLogLog; tells whether its estimate may have changed.",
     .complexity = "O(1) for each element in the dense form.",
     .syntax = "key [element [element ...]]"},
    {.name = "pfcount",
     .arity = -2,
     .run = pfcount,
     .access = Access::read,
     .keys = keys::noted(keys::rest(1, kKeyRw | kKeyAccess),
                         "RW because it may change the internal representation of the key, and "
                         "propagate to replicas"),
     .group = "hyperloglog",
     .since = "2.8.9",
     .summary = "Estimates how many different elements one HyperLogLog, or several together, saw.",
     .complexity = "O(1) for each key, with 16384 registers to look at.",
     .syntax = "key [key ...]"},
    {.name = "pfmerge",
     .arity = -2,
     .run = pfmerge,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = kDestinationAndSources,
     .flags = kDenyOom,
     .group = "hyperloglog",
     .since = "2.8.9",
     .summary = "Merges HyperLogLogs into the one at the destination.",
     .complexity = "O(N) where N is the number of keys, each about as large as 16384 registers.",
     .syntax = "destkey sourcekey [sourcekey ...]"},
    {.name = "pfdebug",
     .arity = 3,
     .run = pfdebug,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = {{keys::at(2, kKeyRw | kKeyAccess)}},
     .flags = kDenyOom | kAdmin,
     .group = "hyperloglog",
     .since = "2.8.9",
     .summary = "Shows the inside of a HyperLogLog: GETREG, DECODE, ENCODING, TODENSE.",
     .complexity = "N/A",
     .syntax = "subcommand key"},
    {.name = "pfselftest",
     .arity = 1,
     .run = pfselftest,
     .flags = kAdmin,
     .group = "hyperloglog",
     .since = "2.8.9",
     .summary = "Checks the HyperLogLog implementation.",
     .complexity = "N/A"},
};
// PFMERGE's sources are optional, though its row does not say so by a flag: neither does Redis's.
static_assert([] {
  CommandSpec rows[std::size(kHyperLogLogCommands)];
  std::copy(std::begin(kHyperLogLogCommands), std::end(kHyperLogLogCommands), rows);
  for (CommandSpec& row : rows)
    if (row.run == pfmerge) row.arity = -3;
  return well_formed(rows);
}());

}  // namespace

Family hyperloglog_commands() { return kHyperLogLogCommands; }

}  // namespace quoll::commands
