#include "commands/debug_keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "commands/words.h"
#include "persist/dump_payload.h"
#include "server/server.h"
#include "store/digest.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr uint64_t kPopulateBatch = 1024;  // keys of one commit
constexpr size_t kIntegerTextMax = 11;     // an RDB stores up to 32 bits as a number
constexpr size_t kOneByteLengthMax = 63;
constexpr size_t kTwoByteLengthMax = 16383;

size_t serialized_length(Call& call, const store::Entry& entry) {
  constexpr size_t kTypeAndFooter = 1 + wire::kRdbDumpFooterBytes;
  const auto version = static_cast<unsigned>(call.server.settings().rdb_version);
  return persist::dump_payload(entry, version, true).size() - kTypeAndFooter;
}

// Bytes of a string in an RDB file, uncompressed.
size_t serialized_length(Bytes text) {
  int64_t integer;
  if (text.size() <= kIntegerTextMax && base::parse_int(text, integer)) {
    if (integer == static_cast<int8_t>(integer)) return 2;
    if (integer == static_cast<int16_t>(integer)) return 3;
    if (integer == static_cast<int32_t>(integer)) return 5;
  }
  if (text.size() <= kOneByteLengthMax) return 1 + text.size();
  return (text.size() <= kTwoByteLengthMax ? 2 : 5) + text.size();
}

std::string quicklist_fields(const data::List& list, const Settings& settings) {
  const data::ListNodes& nodes = list.quicklist().nodes();
  size_t bytes = 0;
  for (size_t i = 0; i < nodes.size(); ++i) bytes += nodes[i].bytes();
  return fmt::format(
      " ql_nodes:{} ql_avg_node:{:.2f} ql_listpack_max:{} ql_compressed:{} "
      "ql_uncompressed_size:{}",
      nodes.size(), static_cast<double>(list.size()) / static_cast<double>(nodes.size()),
      settings.list_max_listpack_size, list.quicklist().open_nodes() > 0 ? 1 : 0, bytes);
}

void populate_key(Call& call, Bytes prefix, uint64_t number, size_t size) {
  const std::string key = fmt::format("{}:{}", prefix, number);
  std::string value = fmt::format("value:{}", number);
  store::Edit edit = call.edit_key(key);
  if (edit.found()) return;
  if (size > 0) value.resize(size);  // cut, or filled with zero bytes
  edit.put(data::Value::of_bytes(value), store::Ttl::drop());
  edit.done_silently();
  call.effect({"SET", key, value});
}

void reply_positive_error(Call& call) {
  call.reply.error("ERR value is out of range, must be positive");
}

}  // namespace

void debug_object(Call& call) {
  // Also one whose deadline has passed: tests look whether it is still there.
  const store::Entry* entry = call.store.find(call.db, call.key(2), 0);
  if (!entry) return call.reply.error(errors::kNoSuchKey);
  char scratch[base::kIntTextMax];
  const bool shared = entry->form() == data::Form::integer && entry->integer() >= 0 &&
                      entry->integer() < kSharedIntegers;
  std::string nodes;
  if (entry->encoding_name() == "quicklist")
    nodes = quicklist_fields(*entry->value<data::List>(), call.server.settings());
  // In place of an address, which would differ between replays, a number that belongs to the key.
  call.reply.simple(fmt::format(
      "Value at:0x{:012x} refcount:{} encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}{}",
      call.key(2).hash >> 16, shared ? kSharedReferences : 1, entry->encoding_name(),
      entry->type() == data::Type::string ? serialized_length(entry->text(scratch))
                                          : serialized_length(call, *entry),
      entry->access_clock() & store::kAccessClockMask, store::Store::idle_seconds(entry, call.now),
      nodes));
}

void debug_digest(Call& call) {
  call.reply.simple(store::Digest::of_store(call.store, call.now).hex());
}

void debug_digest_value(Call& call) {
  call.reply.array(call.argc() - 2);
  for (size_t i = 2; i < call.argc(); ++i) {
    const store::Entry* entry = call.peek(i);
    call.reply.simple((entry ? store::Digest::of_value(*entry) : store::Digest()).hex());
  }
}

void debug_populate(Call& call) {
  int64_t count = 0;
  int64_t size = 0;
  if (!base::parse_int(call.arg(2), count) || count < 0) return reply_positive_error(call);
  const Bytes prefix = call.argc() > 3 ? call.arg(3) : Bytes("key");
  if (call.argc() > 4 && (!base::parse_int(call.arg(4), size) || size < 0))
    return reply_positive_error(call);
  if (static_cast<uint64_t>(size) >
      static_cast<uint64_t>(call.server.settings().proto_max_bulk_len))
    return call.reply.error(errors::kStringTooLong);
  // DEBUG is not a write command, so the dispatcher opened no commit, except for an EXEC.
  store::CommitBuilder& commits = call.store.commits();
  const bool own_commit = !commits.open();
  const auto end = static_cast<uint64_t>(count);
  for (uint64_t next = 0; next < end;) {
    if (own_commit) commits.begin(store::Origin::client, call.now);
    const uint64_t stop = std::min(end, next + kPopulateBatch);
    for (; next < stop; ++next) populate_key(call, prefix, next, static_cast<size_t>(size));
    if (own_commit) call.server.after_commit(call.session, commits.close());
  }
  call.reply.ok();
}

void debug_htstats(Call& call) {
  int64_t db;
  if (!call.integer(2, db)) return;
  if (db < 0 || db >= static_cast<int64_t>(call.store.databases()))
    return call.reply.error("ERR Out of range database");
  const auto index = static_cast<store::DbIndex>(db);
  constexpr Bytes kEmpty = "No stats available for empty dictionaries\n";
  std::string text = "[Dictionary HT]\n";
  if (call.store.keys(index) == 0) {
    text += kEmpty;
  } else {
    text += fmt::format(" shards: {}\n number of elements: {}\n average per shard: {:.2f}\n",
                        store::kShards, call.store.keys(index),
                        static_cast<double>(call.store.keys(index)) / store::kShards);
  }
  text += "[Expires HT]\n";
  if (call.store.expires(index) == 0) {
    text += kEmpty;
  } else {
    text += fmt::format(" number of elements: {}\n", call.store.expires(index));
  }
  call.reply.verbatim(text);
}

void debug_htstats_key(Call& call) {
  if (!call.peek(2)) return call.reply.error(errors::kNoSuchKey);
  call.reply.error(
      "ERR The value stored at the specified key is not represented using an hash table");
}

}  // namespace quoll::commands
