#include "persist/rdb_check.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "base/text.h"

namespace quoll::persist {
namespace {

// As redis-check-rdb names the encodings.
const char* encoding_of(wire::RdbType type) {
  using wire::RdbType;
  switch (type) {
    case RdbType::string:
      return "string";
    case RdbType::list:
      return "list-linked";
    case RdbType::set:
      return "set-hashtable";
    case RdbType::zset:
      return "zset-v1";
    case RdbType::hash:
      return "hash-hashtable";
    case RdbType::zset_2:
      return "zset-v2";
    case RdbType::module_pre_ga:
    case RdbType::module_2:
      return "module-value";
    case RdbType::hash_zipmap:
      return "hash-zipmap";
    case RdbType::list_ziplist:
      return "list-ziplist";
    case RdbType::set_intset:
      return "set-intset";
    case RdbType::zset_ziplist:
      return "zset-ziplist";
    case RdbType::hash_ziplist:
      return "hash-ziplist";
    case RdbType::list_quicklist:
      return "quicklist";
    case RdbType::stream_listpacks:
      return "stream";
    case RdbType::hash_listpack:
      return "hash-listpack";
    case RdbType::zset_listpack:
      return "zset-listpack";
    case RdbType::list_quicklist_2:
      return "quicklist-v2";
    case RdbType::stream_listpacks_2:
      return "stream-v2";
    case RdbType::set_listpack:
      return "set-listpack";
    case RdbType::stream_listpacks_3:
      return "stream-v3";
    case RdbType::hash_metadata_pre_ga:
      return "hash-hashtable-md-pre-release";
    case RdbType::hash_listpack_ex_pre_ga:
      return "hash-listpack-md-pre-release";
    case RdbType::hash_metadata:
      return "hash-hashtable-md";
    case RdbType::hash_listpack_ex:
      return "hash-listpack-md";
  }
  return "unknown";
}

uint64_t elements_of(const data::Value& value) {
  return value.collection ? value.collection.size() : 1;
}

bool has_field_deadlines(wire::RdbType type) {
  return wire::rdb_version_of(type) >= wire::rdb_version_of(wire::RdbType::hash_metadata);
}

std::string counted(uint64_t number, const std::string& what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

}  // namespace

std::string told(base::Bytes bytes) {
  std::string text = base::quoted(bytes.substr(0, kToldBytesMax));
  text = text.substr(1, text.size() - 2);
  if (bytes.size() > kToldBytesMax) text += "... (" + counted(bytes.size(), "byte") + ")";
  return text;
}

std::string told_instant(base::Millis unix_ms) {
  constexpr base::Millis kYear9999Ms = 253'402'300'799'000;
  if (unix_ms < 0 || unix_ms > kYear9999Ms) return std::to_string(unix_ms) + " ms";
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  const size_t size = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  std::snprintf(text + size, sizeof text - size, ".%03d UTC", static_cast<int>(unix_ms % 1000));
  return text;
}

RdbCheck::RdbCheck(std::string file_name, base::Millis now, TellLine tell)
    : file_name_(std::move(file_name)),
      now_(now),
      tell_(std::move(tell)),
      load_(*this, {.decode = {.packing = {}, .now = 0}}) {
  this->tell(0, "Checking RDB file " + file_name_);
}

void RdbCheck::tell(uint64_t offset, const std::string& text) const {
  tell_("[offset " + std::to_string(offset) + "] " + text);
}

bool RdbCheck::feed(base::Bytes bytes) {
  const base::Result<> fed = load_.feed(bytes);
  if (!fed)
    tell_fault();
  else if (load_.ended())
    tell_end();
  return fed.ok();
}

bool RdbCheck::finish() {
  const base::Result<> whole = load_.finish();
  if (!whole)
    tell_fault();
  else
    tell_end();
  return whole.ok();
}

void RdbCheck::tell_end() const {
  const uint64_t end = load_.offset();
  if (load_.has_checksum())
    tell(end, "Checksum OK");
  else
    tell(end, "RDB file was saved with checksum disabled: no check performed.");
  tell(end, "\\o/ RDB looks OK! \\o/");
}

void RdbCheck::tell_fault() const {
  using Kind = RdbFault::Kind;
  const RdbFault& fault = load_.fault();
  tell_("--- RDB ERROR DETECTED ---");
  std::string text = fault.reason;
  if (fault.kind == Kind::short_read) text = "Unexpected EOF reading RDB file: " + text;
  if (fault.kind == Kind::checksum) text = "RDB CRC error: " + text;
  tell(fault.offset, text);
  tell_("[additional info] In file " + file_name_);
  if (fault.in_value) {
    tell_("[additional info] Reading key '" + told(fault.key) + "'");
    tell_("[additional info] Reading type " + std::to_string(static_cast<int>(fault.type)) + " (" +
          encoding_of(fault.type) + ")");
  }
}

void RdbCheck::key(const RdbKey& key) {
  ++keys_;
  ++encodings_[encoding_of(key.type)];
  timed_hashes_ += has_field_deadlines(key.type);
  note_deadline(key.deadline);
  const std::string type =
      key.value ? std::string(data::type_name(key.value->type)) : std::string("module");
  const uint64_t elements = key.value ? elements_of(*key.value) : 1;
  Kind& kind = kinds_[{std::min<store::DbIndex>(key.db, kToldDatabasesMax), type}];
  ++kind.keys;
  kind.elements += elements;
  kind.bytes += key.bytes;
  note_size(key, type, elements);
}

void RdbCheck::note_deadline(base::Millis deadline) {
  if (deadline == store::kNoDeadline) return;
  ++deadlines_;
  expired_ += deadline <= now_;
  first_deadline_ = std::min(first_deadline_, deadline);
  last_deadline_ = std::max(last_deadline_, deadline);
}

void RdbCheck::note_size(const RdbKey& key, const std::string& type, uint64_t elements) {
  if (biggest_.size() == kBiggestKeys && biggest_.back().bytes >= key.bytes) return;
  const auto place = std::find_if(biggest_.begin(), biggest_.end(),
                                  [&](const Big& big) { return big.bytes < key.bytes; });
  biggest_.insert(place, {key.db, type, told(key.name), elements, key.bytes});
  if (biggest_.size() > kBiggestKeys) biggest_.pop_back();
}

void RdbCheck::aux(base::Bytes name, base::Bytes value, uint64_t end) {
  tell(end, "AUX FIELD " + told(name) + " = '" + told(value) + "'");
}

void RdbCheck::select(store::DbIndex db, uint64_t end) {
  tell(end, "Selecting DB ID " + std::to_string(db));
}

void RdbCheck::function(base::Bytes code, uint64_t end) {
  ++functions_;
  tell(end, "FUNCTION library of " + counted(code.size(), "byte") + ": " +
                told(code.substr(0, code.find('\n'))));
}

void RdbCheck::module_aux(base::Bytes module, uint64_t end) {
  ++module_parts_;
  tell(end, "MODULE AUX for: " + told(module));
}

void RdbCheck::report() const {
  tell_("[info] " + std::to_string(keys_) + " keys read");
  tell_("[info] " + std::to_string(deadlines_) + " expires");
  tell_("[info] " + std::to_string(expired_) + " already expired");
  if (load_.version() == 0) return;
  tell_("[info] RDB version " + std::to_string(load_.version()));
  report_keys();
  if (deadlines_ > 0)
    tell_("[info] keys expire from " + told_instant(first_deadline_) + " to " +
          told_instant(last_deadline_));
  if (timed_hashes_ > 0)
    tell_("[info] hashes stored with field deadlines: " + std::to_string(timed_hashes_));
  if (functions_ > 0) tell_("[info] function libraries: " + std::to_string(functions_));
  if (load_.keys_empty() > 0)
    tell_("[info] empty keys, which a load leaves out: " + std::to_string(load_.keys_empty()));
  if (module_parts_ > 0 || encodings_.contains("module-value"))
    tell_("[info] WARNING: data of modules, with which the server refuses to load this file");
}

void RdbCheck::report_keys() const {
  for (const auto& [place, kind] : kinds_) {
    const auto& [db, type] = place;
    std::string line = "[info] db" + std::to_string(db);
    if (db == kToldDatabasesMax) line += " and above";
    line += " " + type + ": " + counted(kind.keys, "key");
    if (type != "string" && type != "module") line += ", " + counted(kind.elements, "element");
    tell_(line + ", " + counted(kind.bytes, "byte") + " in the file");
  }
  std::string line;
  for (const auto& [name, count] : encodings_)
    line += (line.empty() ? "" : ", ") + name + " " + std::to_string(count);
  if (!line.empty()) tell_("[info] encodings: " + line);
  for (const Big& big : biggest_)
    tell_("[info] big key: db" + std::to_string(big.db) + " " + big.type + " '" + big.name +
          "': " + counted(big.bytes, "byte") + ", " + counted(big.elements, "element"));
}

}  // namespace quoll::persist
