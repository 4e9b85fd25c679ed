// COMMAND INFO's ten elements.
#include <algorithm>
#include <bit>

#include "commands/introspection.h"

namespace quoll::commands {
namespace {

using namespace server;
using wire::ReplyWriter;

struct FlagName {
  uint32_t flag;
  Bytes name;
};

// In the order of the reply. kMayReplicate and kTouchesArbitraryKeys are not shown.
constexpr FlagName kFlagNames[] = {
    {kDenyOom, "denyoom"},
    {kAdmin, "admin"},
    {kPubSub, "pubsub"},
    {kNoScript, "noscript"},
    {kBlocking, "blocking"},
    {kLoading, "loading"},
    {kStale, "stale"},
    {kSkipMonitor, "skip_monitor"},
    {kSkipSlowLog, "skip_slowlog"},
    {kAsking, "asking"},
    {kFast, "fast"},
    {kNoAuth, "no_auth"},
    {kNoMandatoryKeys, "no_mandatory_keys"},
    {kNoAsyncLoading, "no_async_loading"},
    {kNoMulti, "no_multi"},
    {kMovableKeys, "movablekeys"},
    {kAllowBusy, "allow_busy"},
};

constexpr FlagName kKeyFlagNames[] = {
    {kKeyRo, "RO"},
    {kKeyRw, "RW"},
    {kKeyOw, "OW"},
    {kKeyRm, "RM"},
    {kKeyAccess, "access"},
    {kKeyUpdate, "update"},
    {kKeyInsert, "insert"},
    {kKeyDelete, "delete"},
    {kKeyNotKey, "not_key"},
    {kKeyIncomplete, "incomplete"},
    {kKeyVariableFlags, "variable_flags"},
};

// The one range of keys that clients older than key specs understand. Zeros: there is none.
struct LegacyRange {
  int first = 0;
  int last = 0;
  int step = 0;
};

bool is_plain_range(const KeySpec& spec) {
  return spec.find == KeySpec::Find::range && spec.keyword.empty();
}

int last_index(const KeySpec& spec) { return spec.last < 0 ? spec.last : spec.begin + spec.last; }

// Several plain specs that follow each other join into one range, the others are passed over.
LegacyRange legacy_range(const KeySpecs& keys) {
  size_t count = keys.count();
  if (count == 1 && is_plain_range(keys.specs[0])) {
    const KeySpec& only = keys.specs[0];
    return {only.begin, last_index(only), only.step};
  }
  LegacyRange range;
  for (size_t i = 0; i < count; ++i) {
    const KeySpec& spec = keys.specs[i];
    if (!is_plain_range(spec)) continue;
    if (spec.step != 1 || (range.last != 0 && range.last != spec.begin - 1)) break;
    if (range.first == 0) range.first = spec.begin;
    range.last = last_index(spec);
    range.step = 1;
  }
  return range;
}

bool has_movable_keys(const CommandSpec& spec) {
  if (spec.flags & kMovableKeys) return true;
  for (size_t i = 0; i < spec.keys.count(); ++i)
    if (!is_plain_range(spec.keys.specs[i]) || (spec.keys.specs[i].flags & kKeyIncomplete))
      return true;
  return false;
}

void reply_flags(ReplyWriter& reply, const CommandSpec& spec) {
  uint32_t flags = spec.flags;
  if (has_movable_keys(spec)) flags |= kMovableKeys;
  size_t count = spec.access == Access::none ? 0 : 1;
  for (const FlagName& row : kFlagNames) count += (flags & row.flag) != 0;
  reply.set(count);
  if (spec.access == Access::write) reply.simple("write");
  if (spec.access == Access::read) reply.simple("readonly");
  for (const FlagName& row : kFlagNames)
    if (flags & row.flag) reply.simple(row.name);
}

void reply_categories(ReplyWriter& reply, uint32_t categories) {
  reply.set(static_cast<size_t>(std::popcount(categories)));
  for (unsigned bit = 0; bit < kCategories; ++bit) {
    if (!(categories & 1u << bit)) continue;
    std::string name = "@";
    name += category_name(bit);
    reply.simple(name);
  }
}

void reply_tips(ReplyWriter& reply, Bytes tips) {
  if (tips.empty()) return reply.set(0);
  reply.set(1 + static_cast<size_t>(std::count(tips.begin(), tips.end(), ',')));
  for (;;) {
    size_t comma = tips.find(',');
    reply.bulk(tips.substr(0, comma));
    if (comma == Bytes::npos) return;
    tips.remove_prefix(comma + 1);
  }
}

void reply_field(ReplyWriter& reply, Bytes name, int value) {
  reply.bulk(name);
  reply.integer(value);
}

void reply_begin_search(ReplyWriter& reply, const KeySpec& spec) {
  reply.bulk("begin_search");
  reply.map(2);
  reply.bulk("type");
  reply.bulk(spec.keyword.empty() ? "index" : "keyword");
  reply.bulk("spec");
  if (spec.keyword.empty()) {
    reply.map(1);
    reply_field(reply, "index", spec.begin);
  } else {
    reply.map(2);
    reply.bulk("keyword");
    reply.bulk(spec.keyword);
    reply_field(reply, "startfrom", spec.begin);
  }
}

void reply_find_keys(ReplyWriter& reply, const KeySpec& spec) {
  reply.bulk("find_keys");
  reply.map(2);
  reply.bulk("type");
  bool range = spec.find == KeySpec::Find::range;
  reply.bulk(range ? "range" : "keynum");
  reply.bulk("spec");
  reply.map(3);
  if (range) {
    reply_field(reply, "lastkey", spec.last);
    reply_field(reply, "keystep", spec.step);
    reply_field(reply, "limit", spec.limit);
  } else {
    reply_field(reply, "keynumidx", spec.number);
    reply_field(reply, "firstkey", spec.first);
    reply_field(reply, "keystep", spec.step);
  }
}

void reply_key_specs(ReplyWriter& reply, const KeySpecs& keys) {
  reply.set(keys.count());
  for (size_t i = 0; i < keys.count(); ++i) {
    const KeySpec& spec = keys.specs[i];
    reply.map(spec.notes.empty() ? 3 : 4);
    if (!spec.notes.empty()) {
      reply.bulk("notes");
      reply.bulk(spec.notes);
    }
    reply.bulk("flags");
    reply_key_flags(reply, spec.flags);
    reply_begin_search(reply, spec);
    reply_find_keys(reply, spec);
  }
}

}  // namespace

void reply_key_flags(ReplyWriter& reply, uint16_t flags) {
  reply.set(static_cast<size_t>(std::popcount(flags)));
  for (const FlagName& row : kKeyFlagNames)
    if (flags & row.flag) reply.simple(row.name);
}

void reply_command_info(ReplyWriter& reply, const Command& command) {
  const CommandSpec& spec = *command.spec;
  LegacyRange range = legacy_range(spec.keys);
  reply.array(10);
  reply.bulk(spec.name);
  reply.integer(spec.arity);
  reply_flags(reply, spec);
  reply.integer(range.first);
  reply.integer(range.last);
  reply.integer(range.step);
  reply_categories(reply, command.categories);
  reply_tips(reply, spec.tips);
  reply_key_specs(reply, spec.keys);
  if (command.subcommands.empty()) return reply.set(0);
  reply.array(command.subcommands.size());
  for (const Command* sub : command.subcommands) reply_command_info(reply, *sub);
}

}  // namespace quoll::commands
