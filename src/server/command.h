// CommandSpec: one row per command, stated beside its handler. Dispatch, COMMAND INFO and DOCS, ACL
// categories, key extraction, prefetch and cluster routing all read this row.
//
//   constexpr CommandSpec kStringCommands[] = {
//     {.name = "get", .arity = 2, .run = get, .access = Access::read, .keys = keys::first(kKeyRo),
//      .flags = kFast, .group = "string", .since = "1.0.0", ...},
//   };
//   static_assert(well_formed(kStringCommands));
//
// Subcommands are rows named "container|sub"; the container row has no handler.
#pragma once

#include <span>

#include "base/bytes.h"

namespace quoll::server {

using base::Args;
using base::Bytes;

class Call;
using Handler = void (*)(Call&);

enum class Access : uint8_t { none, read, write };
// How a write becomes effects: its own argv, or lines the handler states with Call::effect.
enum class Journal : uint8_t { none, verbatim, rewritten };

// Behaviour flags, named after COMMAND INFO's. write/readonly follow from Access.
enum CommandFlag : uint32_t {
  kDenyOom = 1 << 0,
  kAdmin = 1 << 1,
  kPubSub = 1 << 2,
  kNoScript = 1 << 3,
  kBlocking = 1 << 4,
  kLoading = 1 << 5,
  kStale = 1 << 6,
  kSkipMonitor = 1 << 7,
  kSkipSlowLog = 1 << 8,
  kAsking = 1 << 9,
  kFast = 1 << 10,
  kNoAuth = 1 << 11,
  kMayReplicate = 1 << 12,
  kNoAsyncLoading = 1 << 13,
  kNoMulti = 1 << 14,
  kMovableKeys = 1 << 15,
  kAllowBusy = 1 << 16,
  kNoMandatoryKeys = 1 << 17,
  kTouchesArbitraryKeys = 1 << 18,
  kNeedsPermission = 1 << 19,  // runs only as enable-debug-command or enable-module-command allow
  kAgreed = 1 << 20,  // changes what all nodes of a cluster agree on, not the data: on any node
};

// ACL categories beyond those that follow from access, flags and group.
enum CommandCategory : uint32_t {
  kCatKeyspace = 1 << 0,
  kCatRead = 1 << 1,
  kCatWrite = 1 << 2,
  kCatSet = 1 << 3,
  kCatSortedSet = 1 << 4,
  kCatList = 1 << 5,
  kCatHash = 1 << 6,
  kCatString = 1 << 7,
  kCatBitmap = 1 << 8,
  kCatHyperLogLog = 1 << 9,
  kCatGeo = 1 << 10,
  kCatStream = 1 << 11,
  kCatPubSub = 1 << 12,
  kCatAdmin = 1 << 13,
  kCatFast = 1 << 14,
  kCatSlow = 1 << 15,
  kCatBlocking = 1 << 16,
  kCatDangerous = 1 << 17,
  kCatConnection = 1 << 18,
  kCatTransaction = 1 << 19,
  kCatScripting = 1 << 20,
};

enum KeyFlag : uint16_t {
  kKeyRo = 1 << 0,
  kKeyRw = 1 << 1,
  kKeyOw = 1 << 2,
  kKeyRm = 1 << 3,
  kKeyAccess = 1 << 4,
  kKeyUpdate = 1 << 5,
  kKeyInsert = 1 << 6,
  kKeyDelete = 1 << 7,
  kKeyNotKey = 1 << 8,
  kKeyIncomplete = 1 << 9,
  kKeyVariableFlags = 1 << 10,
};

// Where keys stand among the arguments. `range`: from index `begin` to `last` (relative to begin;
// negative counts from the end) every `step`. `counted`: argument `begin` + `number` holds how many
// keys follow from `begin` + `first`, every `step`.
struct KeySpec {
  enum class Find : uint8_t { none, range, counted };
  uint16_t flags = 0;
  Find find = Find::none;
  int16_t begin = 0;
  Bytes keyword = {};  // search this word from argument |begin| instead (negative: from the end)
  int16_t last = 0;
  int16_t step = 1;
  int16_t limit = 0;   // range: only the first 1/limit of the rest are keys (0 or 1: all)
  int16_t number = 0;  // counted
  int16_t first = 0;   // counted
  Bytes notes = {};    // a remark that COMMAND INFO shows
};

struct KeySpecs {
  KeySpec specs[4];
  constexpr size_t count() const {
    size_t n = 0;
    while (n < 4 && specs[n].find != KeySpec::Find::none) ++n;
    return n;
  }
};

namespace keys {
constexpr KeySpecs none() { return {}; }
constexpr KeySpec at(int index, uint16_t flags) {
  return {.flags = flags, .find = KeySpec::Find::range, .begin = static_cast<int16_t>(index)};
}
constexpr KeySpecs first(uint16_t flags) { return {{at(1, flags)}}; }
constexpr KeySpecs two(uint16_t first_flags, uint16_t second_flags) {
  return {{at(1, first_flags), at(2, second_flags)}};
}
// All arguments from `index` on, every `step`.
constexpr KeySpecs rest(int index, uint16_t flags, int step = 1) {
  return {{{.flags = flags,
            .find = KeySpec::Find::range,
            .begin = static_cast<int16_t>(index),
            .last = -1,
            .step = static_cast<int16_t>(step)}}};
}
// The same keys with a remark on the first.
constexpr KeySpecs noted(KeySpecs keys, Bytes notes) {
  keys.specs[0].notes = notes;
  return keys;
}
// "numkeys key [key ...]" with the number at `index`.
constexpr KeySpecs counted(int index, uint16_t flags, int step = 1) {
  return {{{.flags = flags,
            .find = KeySpec::Find::counted,
            .begin = static_cast<int16_t>(index),
            .step = static_cast<int16_t>(step),
            .number = 0,
            .first = 1}}};
}
}  // namespace keys

struct CommandSpec {
  Bytes name = {};
  int arity = 0;  // exact count with the name, or minus the least count
  Handler run = nullptr;
  Access access = Access::none;
  Journal journal = Journal::none;
  KeySpecs keys = {};
  uint32_t flags = 0;
  uint32_t categories = 0;
  Bytes group = {};
  Bytes since = {};
  Bytes summary = {};
  Bytes complexity = {};
  // Arguments after the name, in the notation of commands/syntax_tree.h:
  // "key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]"
  Bytes syntax = {};
  Bytes tips = {};      // comma separated: "nondeterministic_output"
  Bytes alias_of = {};  // COMMAND LIST omits nothing; the alias shares handler and behaviour
  Bytes deprecated_since = {};
  Bytes replaced_by = {};  // what to use instead of a deprecated command

  constexpr bool is_subcommand() const { return name.find('|') != Bytes::npos; }
};

// Checked at compile time for every family.
template <size_t N>
constexpr bool well_formed(const CommandSpec (&table)[N]) {
  for (const CommandSpec& spec : table) {
    if (spec.name.empty() || spec.arity == 0 || spec.group.empty() || spec.summary.empty())
      return false;
    for (char c : spec.name)
      if (c >= 'A' && c <= 'Z') return false;
    if ((spec.access == Access::write) != (spec.journal != Journal::none)) return false;
    for (const KeySpec& key : spec.keys.specs) {
      int least = spec.arity < 0 ? -spec.arity : spec.arity;
      if (key.find != KeySpec::Find::none && key.keyword.empty() && key.begin >= least &&
          !(spec.flags & kNoMandatoryKeys) && !(key.flags & kKeyNotKey))
        return false;
    }
  }
  return true;
}

}  // namespace quoll::server
