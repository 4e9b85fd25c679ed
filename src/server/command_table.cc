#include "server/command_table.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/numbers.h"
#include "base/text.h"

namespace quoll::server {
namespace {

constexpr Bytes kCategoryNames[kCategories] = {
    "keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
    "string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
    "fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting"};

// The bytes of a short text in one word, without reading past its end.
uint64_t short_word(const char* text, size_t size) {
  uint32_t low = 0;
  uint32_t high = 0;
  if (size >= 4) {
    std::memcpy(&low, text, 4);
    std::memcpy(&high, text + size - 4, 4);
  } else if (size > 0) {
    low = static_cast<uint8_t>(text[0]) | static_cast<uint8_t>(text[size / 2]) << 8 |
          static_cast<uint8_t>(text[size - 1]) << 16;
  }
  return low | uint64_t{high} << 32;
}

uint32_t group_category(Bytes group) {
  constexpr struct {
    Bytes group;
    uint32_t category;
  } kGroups[] = {
      {"generic", kCatKeyspace},
      {"string", kCatString},
      {"list", kCatList},
      {"set", kCatSet},
      {"sorted-set", kCatSortedSet},
      {"hash", kCatHash},
      {"stream", kCatStream},
      {"bitmap", kCatBitmap},
      {"hyperloglog", kCatHyperLogLog},
      {"geo", kCatGeo},
      {"connection", kCatConnection},
      {"transactions", kCatTransaction},
      {"scripting", kCatScripting},
  };
  for (const auto& row : kGroups)
    if (row.group == group) return row.category;
  return 0;
}

uint32_t implied_categories(const CommandSpec& spec) {
  uint32_t bits = spec.categories;
  // Containers have no category of their own; WAIT and SORT are generic by documentation only.
  if (spec.run && !(bits & (kCatConnection | kCatSet))) bits |= group_category(spec.group);
  if (spec.access == Access::write) bits |= kCatWrite;
  // Reads of keys; commands that read nothing from the keyspace are not in @read.
  if (spec.access == Access::read && !(bits & kCatScripting)) bits |= kCatRead;
  if (spec.flags & kAdmin) bits |= kCatAdmin | kCatDangerous;
  if (spec.flags & kPubSub) bits |= kCatPubSub;
  if (spec.flags & kBlocking) bits |= kCatBlocking;
  bits |= spec.flags & kFast ? kCatFast : kCatSlow;
  return bits;
}

int prefetch_key(const CommandSpec& spec) {
  const KeySpec& first = spec.keys.specs[0];
  return first.find == KeySpec::Find::range && first.keyword.empty() ? first.begin : 0;
}

bool has_one_key(const CommandSpec& spec) {
  const KeySpec& first = spec.keys.specs[0];
  return prefetch_key(spec) > 0 && first.last == 0 && spec.keys.count() == 1 &&
         !(spec.flags & kMovableKeys);
}

}  // namespace

Bytes category_name(unsigned bit) { return kCategoryNames[bit]; }

CommandTable::CommandTable(std::span<const std::span<const CommandSpec>> families) {
  for (auto family : families) {
    for (const CommandSpec& spec : family) {
      auto command = std::make_unique<Command>();
      command->spec = &spec;
      command->name = spec.name;
      command->categories = implied_categories(spec);
      command->first_key = prefetch_key(spec);
      command->one_key = has_one_key(spec);
      command->id = static_cast<uint32_t>(all_.size());
      if (!spec.is_subcommand()) top_level_.push_back(command.get());
      all_.push_back(std::move(command));
    }
  }
  index();
  for (auto& command : all_) {
    if (!command->spec->is_subcommand()) continue;
    Command* parent = find(command->name.substr(0, command->name.find('|')));
    QUOLL_CHECK(parent);
    command->parent = parent;
    parent->subcommands.push_back(command.get());
  }
}

// Setting bit 5 folds letters exactly. It also joins a few other bytes ('_' and DEL, say), so
// find() compares names with such bytes themselves before it believes a match.
CommandTable::Folded CommandTable::fold(Bytes name) {
  constexpr uint64_t kLowerBits = 0x2020202020202020;
  if (name.size() < 8) return {short_word(name.data(), name.size()) | kLowerBits, 0};
  Folded folded;
  std::memcpy(&folded.head, name.data(), 8);
  std::memcpy(&folded.tail, name.data() + name.size() - 8, 8);
  folded.head |= kLowerBits;
  folded.tail |= kLowerBits;
  return folded;
}

uint64_t CommandTable::hash_of(const Folded& folded, size_t size) {
  uint64_t hash = (folded.head ^ size) * 0x9e3779b97f4a7c15 ^ folded.tail * 0xc2b2ae3d27d4eb4f;
  return hash >> 32;
}

void CommandTable::index() {
  size_t size = 64;
  while (size < top_level_.size() * 4) size *= 2;
  slots_.assign(size, Slot{});
  mask_ = size - 1;
  for (Command* command : top_level_) {
    Folded folded = fold(command->name);
    size_t at = hash_of(folded, command->name.size()) & mask_;
    while (slots_[at].command) {
      QUOLL_CHECK(slots_[at].command->name != command->name);
      at = (at + 1) & mask_;
    }
    bool letters = std::all_of(command->name.begin(), command->name.end(),
                               [](char c) { return c >= 'a' && c <= 'z'; });
    slots_[at] = {folded, static_cast<uint32_t>(command->name.size()),
                  letters && command->name.size() <= 16, command};
  }
}

Command* CommandTable::find(Bytes name) const {
  Folded folded = fold(name);
  for (size_t at = hash_of(folded, name.size()) & mask_; slots_[at].command;
       at = (at + 1) & mask_) {
    const Slot& slot = slots_[at];
    if (slot.folded == folded && slot.size == name.size() &&
        (slot.exact || base::equals_ignoring_case(slot.command->name, name)))
      return slot.command;
  }
  return nullptr;
}

Command* CommandTable::find_sub(const Command& container, Bytes name) const {
  for (Command* sub : container.subcommands) {
    Bytes own = sub->spec->name.substr(sub->spec->name.find('|') + 1);
    if (base::equals_ignoring_case(own, name)) return sub;
  }
  return nullptr;
}

Command* CommandTable::find_full(Bytes name) const {
  size_t bar = name.find('|');
  Command* command = find(name.substr(0, bar));
  if (!command || bar == Bytes::npos) return command;
  return find_sub(*command, name.substr(bar + 1));
}

Command* CommandTable::find_original(Bytes name) const {
  for (const auto& command : all_)
    if (base::equals_ignoring_case(command->spec->name, name)) return command.get();
  return nullptr;
}

bool CommandTable::rename(Bytes name, Bytes new_name) {
  Command* command = find(name);
  if (!command || (!new_name.empty() && find(new_name))) return false;
  if (new_name.empty()) {
    std::erase(top_level_, command);
  } else {
    renamed_.push_back(std::make_unique<std::string>(base::to_lower(new_name)));
    command->name = *renamed_.back();
  }
  index();
  return true;
}

void CommandTable::reset_counters() {
  for (auto& command : all_) command->counters = CommandCounters{};
}

namespace {

bool range_keys(const KeySpec& spec, int begin, int argc, std::vector<KeyArg>& keys) {
  int last = spec.last >= 0 ? begin + spec.last : argc + spec.last;
  if (spec.last < 0 && spec.limit > 1) last = begin + (argc - begin) / spec.limit - 1;
  if (last >= argc) return false;
  for (int i = begin; i <= last; i += spec.step)
    keys.push_back({static_cast<size_t>(i), spec.flags});
  return true;
}

// The number a word begins with, 0 if with none: the keys of `LMPOP 1x key LEFT` are looked at
// before the command says what it thinks of 1x, as Redis does.
int64_t leading_number(base::Bytes word) {
  char text[24] = {};
  word.copy(text, sizeof text - 1);
  return std::strtoll(text, nullptr, 10);
}

bool counted_keys(const KeySpec& spec, int begin, bool may_be_none, Args args,
                  std::vector<KeyArg>& keys) {
  int argc = static_cast<int>(args.size());
  if (begin + spec.number >= argc) return false;
  const int64_t count = leading_number(args[begin + spec.number]);
  if (count < 0 || count > argc || (count == 0 && !may_be_none) ||
      begin + spec.first + (count - 1) * spec.step >= argc)
    return false;
  for (int64_t i = 0; i < count; ++i)
    keys.push_back({static_cast<size_t>(begin + spec.first + i * spec.step), spec.flags});
  return true;
}

// The last STORE of SORT counts, and words that are patterns or numbers are no options.
void sort_keys(Args args, std::vector<KeyArg>& keys) {
  size_t stored = 0;
  for (size_t i = 2; i < args.size(); ++i) {
    if (base::equals_ignoring_case(args[i], "limit"))
      i += 2;
    else if (base::equals_ignoring_case(args[i], "by") ||
             base::equals_ignoring_case(args[i], "get"))
      i += 1;
    else if (base::equals_ignoring_case(args[i], "store") && i + 1 < args.size())
      stored = ++i;
  }
  keys.push_back({1, kKeyRo | kKeyAccess});
  if (stored > 0) keys.push_back({stored, kKeyOw | kKeyUpdate});
}

// Every destination counts: the command obeys the last one.
void geo_store_keys(const KeySpecs& specs, Args args, std::vector<KeyArg>& keys) {
  const KeySpec& store = specs.specs[1];
  keys.push_back({1, specs.specs[0].flags});
  for (size_t i = static_cast<size_t>(store.begin); i + 1 < args.size(); ++i)
    if (base::equals_ignoring_case(args[i], "store") ||
        base::equals_ignoring_case(args[i], "storedist"))
      keys.push_back({++i, store.flags});
}

// The one key, or those behind KEYS; passwords may be that word.
void migrate_keys(const KeySpecs& specs, Args args, std::vector<KeyArg>& keys) {
  const uint16_t flags = specs.specs[0].flags;
  if (!args[3].empty()) return keys.push_back({3, flags});
  for (size_t i = 6; i < args.size(); ++i) {
    if (base::equals_ignoring_case(args[i], "auth"))
      i += 1;
    else if (base::equals_ignoring_case(args[i], "auth2"))
      i += 2;
    else if (base::equals_ignoring_case(args[i], "keys"))
      for (++i; i < args.size(); ++i) keys.push_back({i, flags});
  }
}

// Where the word STREAMS is, behind options whose values may be that word; or 0.
int streams_at(Args args) {
  size_t i = 1;
  while (i < args.size()) {
    if (base::equals_ignoring_case(args[i], "streams")) return static_cast<int>(i);
    if (base::equals_ignoring_case(args[i], "group"))
      i += 3;
    else if (base::equals_ignoring_case(args[i], "noack"))
      i += 1;
    else if (base::equals_ignoring_case(args[i], "count") ||
             base::equals_ignoring_case(args[i], "block") ||
             base::equals_ignoring_case(args[i], "claim"))
      i += 2;
    else
      return 0;
  }
  return 0;
}

// BITFIELD with nothing but GET; what is not understood may write.
bool bitfield_reads(Args args) {
  for (size_t i = 2; i < args.size();) {
    size_t left = args.size() - i - 1;
    if (left >= 2 && base::equals_ignoring_case(args[i], "get"))
      i += 3;
    else if (left >= 1 && base::equals_ignoring_case(args[i], "overflow"))
      i += 2;
    else
      return false;
  }
  return true;
}

// SET overwrites its key unless an option makes it look at the old value, as DELEX's do.
uint16_t settled_flags(Bytes command, Args args) {
  if (command == "bitfield")
    return bitfield_reads(args) ? kKeyRo | kKeyAccess : kKeyRw | kKeyAccess | kKeyUpdate;
  if (command == "delex")
    return args.size() > 2 ? kKeyRw | kKeyAccess | kKeyDelete : kKeyRm | kKeyDelete;
  constexpr Bytes kLooks[] = {"get", "ifeq", "ifne", "ifdeq", "ifdne"};
  for (size_t i = 3; i < args.size(); ++i)
    for (Bytes word : kLooks)
      if (base::equals_ignoring_case(args[i], word)) return kKeyRw | kKeyAccess | kKeyUpdate;
  return kKeyOw | kKeyUpdate;
}

}  // namespace

bool find_keys(const CommandSpec& command, Args args, std::vector<KeyArg>& keys) {
  if (command.name == "sort") {
    if (args.size() > 1) sort_keys(args, keys);
    return args.size() > 1;
  }
  if (command.name == "georadius" || command.name == "georadiusbymember") {
    if (args.size() > 1) geo_store_keys(command.keys, args, keys);
    return args.size() > 1;
  }
  if (command.name == "migrate") {
    if (args.size() > 3) migrate_keys(command.keys, args, keys);
    return args.size() > 3;
  }
  int argc = static_cast<int>(args.size());
  bool may_be_none = command.flags & kNoMandatoryKeys;
  for (size_t s = 0; s < command.keys.count(); ++s) {
    const KeySpec& spec = command.keys.specs[s];
    int begin = spec.begin;
    if (!spec.keyword.empty()) {
      const bool streams = spec.keyword == "STREAMS";
      int from = streams ? streams_at(args) : begin > 0 ? begin : argc + begin;
      int step = begin > 0 ? 1 : -1;
      while (from > 0 && from < argc && !base::equals_ignoring_case(args[from], spec.keyword))
        from += step;
      if (from <= 0 || from >= argc) continue;  // the word is optional
      begin = from + 1;
    }
    if (begin >= argc) continue;
    bool ok = spec.find == KeySpec::Find::range
                  ? range_keys(spec, begin, argc, keys)
                  : counted_keys(spec, begin, may_be_none, args, keys);
    if (!ok) return false;
  }
  for (KeyArg& key : keys)
    if (key.flags & kKeyVariableFlags) key.flags = settled_flags(command.name, args);
  return true;
}

}  // namespace quoll::server
