#include "persist/rdb_load.h"

#include "base/crc64.h"
#include "base/text.h"

namespace quoll::persist {

using wire::RdbFailure;
using wire::RdbOpcode;
using wire::RdbReader;
using wire::RdbType;

RdbLoad::RdbLoad(store::Store& store, LoadOptions options)
    : store_(&store), options_(std::move(options)) {}

RdbLoad::RdbLoad(RdbVisitor& visitor, LoadOptions options)
    : visitor_(&visitor), options_(std::move(options)) {}

base::Result<> RdbLoad::feed(base::Bytes bytes) {
  buffer_.erase(0, consumed_);
  offset_ += consumed_;
  summed_ -= consumed_;
  consumed_ = 0;
  buffer_ += bytes;
  return buffer_.size() < retry_bytes_ ? base::Result<>() : parse_buffer();
}

base::Result<> RdbLoad::parse_buffer() {
  RdbReader in(buffer_, offset_);
  bool unique = true;
  while (!ended_ && parse(in)) {
    consumed_ = in.position();
    if (grouped_ == kGroup && !(unique = insert_group())) break;
  }
  if (unique) unique = insert_group();
  if (!unique) {
    in.rewind(consumed_);  // it may have stopped for another reason behind
    in.fail("a key that occurs twice, before");
  }
  if (in.failure() == RdbFailure::malformed) return failed(in);
  // What is left is the start of an item: it is looked at again when there is twice as much.
  if (options_.checksum && !ended_) {
    crc_ = base::crc64(base::Bytes(buffer_).substr(summed_, consumed_ - summed_), crc_);
    summed_ = consumed_;
  }
  size_t left = buffer_.size() - consumed_;
  retry_bytes_ = ended_ ? 0 : left + std::max<uint64_t>(left, in.needed_bytes());
  constexpr size_t kRetryBytesMin = 64 * 1024;
  if (left < kRetryBytesMin) retry_bytes_ = 0;
  return {};
}

base::Result<> RdbLoad::finish() {
  if (ended_) return {};
  // What waits for more is all there is.
  retry_bytes_ = 0;
  if (base::Result<> parsed = feed({}); !parsed || ended_) return parsed;
  uint64_t begin = offset_ + consumed_;
  fault_.kind = RdbFault::Kind::short_read;
  fault_.offset = offset_ + buffer_.size();
  fault_.reason =
      "Short read: the file ends inside an item that begins at offset " + std::to_string(begin);
  if (fault_.offset == 0) fault_.reason = "Short read: the file is empty";
  return base::Error{fault_.reason};
}

base::Result<> RdbLoad::failed(const RdbReader& in) {
  if (fault_.kind == RdbFault::Kind::none) fault_.kind = RdbFault::Kind::content;
  fault_.offset = in.offset();
  fault_.reason = in.reason();
  std::string text = fault_.reason + " at offset " + std::to_string(fault_.offset);
  if (fault_.in_value) text += ", in the value of key " + base::quoted(fault_.key);
  return base::Error{std::move(text)};
}

// One header or item. False: it is incomplete or wrong, and nothing was consumed.
bool RdbLoad::parse(RdbReader& in) { return version_ == 0 ? parse_header(in) : parse_item(in); }

bool RdbLoad::parse_header(RdbReader& in) {
  unsigned version;
  if (!in.header(version)) return false;
  if (version < wire::kRdbVersionReadMin || version > wire::kRdbVersionReadMax) {
    fault_.kind = RdbFault::Kind::version;
    reason_ = "Can't handle RDB format version " + std::to_string(version);
    return in.fail(reason_.c_str());
  }
  version_ = version;
  return true;
}

bool RdbLoad::parse_item(RdbReader& in) {
  Item& item = group_[grouped_];
  item.deadline = store::kNoDeadline;
  item.idle_seconds = -1;
  item.frequency = -1;
  for (;;) {
    uint8_t first;
    if (!in.byte(first)) return false;
    if (first == static_cast<uint8_t>(RdbOpcode::eof)) return parse_end(in);
    if (!wire::is_rdb_opcode(first)) {
      if (!wire::is_rdb_type(first)) {
        reason_ = "Invalid object type: " + std::to_string(first);
        return in.fail(reason_.c_str());
      }
      return parse_value(in, static_cast<RdbType>(first), item);
    }
    bool attribute = false;
    if (!parse_opcode(in, static_cast<RdbOpcode>(first), item, attribute)) return false;
    if (!attribute) return true;
  }
}

// `attribute`: the opcode belongs to the key that follows.
bool RdbLoad::parse_opcode(RdbReader& in, RdbOpcode opcode, Item& item, bool& attribute) {
  uint64_t number, more;
  wire::RdbString name, text;
  std::string name_scratch, text_scratch;
  switch (opcode) {
    case RdbOpcode::expire_ms:
      attribute = true;
      return in.millis(item.deadline);
    case RdbOpcode::expire_seconds: {
      attribute = true;
      int32_t seconds;
      if (!in.seconds(seconds)) return false;
      item.deadline = int64_t{seconds} * 1000;
      return true;
    }
    case RdbOpcode::idle:
      attribute = true;
      if (!in.length(number)) return false;
      item.idle_seconds = static_cast<int64_t>(std::min<uint64_t>(number, INT64_MAX));
      return true;
    case RdbOpcode::freq: {
      attribute = true;
      uint8_t counter;
      if (!in.byte(counter)) return false;
      item.frequency = counter;
      return true;
    }
    case RdbOpcode::selectdb:
      if (!in.length(number)) return false;
      if (number >= (store_ ? store_->databases() : store::kDatabasesMax))
        return in.fail("Data file was created with a server configured to handle more databases");
      db_ = static_cast<store::DbIndex>(number);
      if (visitor_) visitor_->select(db_, in.offset());
      return true;
    case RdbOpcode::resizedb:
      return in.length(number) && in.length(more);
    case RdbOpcode::slot_info:
      return in.length(number) && in.length(more) && in.length(number);
    case RdbOpcode::aux:
      if (!in.string(name, name_scratch) || !in.string(text, text_scratch)) return false;
      if (visitor_)
        visitor_->aux(name.bytes, text.bytes, in.offset());
      else
        aux_.emplace_back(name.bytes, text.bytes);
      return true;
    case RdbOpcode::function_2:
      if (!in.string(text, text_scratch)) return false;
      if (visitor_)
        visitor_->function(text.bytes, in.offset());
      else
        functions_.emplace_back(text.bytes);
      return true;
    case RdbOpcode::function_pre_ga:
      return in.fail("Pre-release function format not supported");
    case RdbOpcode::module_aux:
      return parse_module_aux(in);
    case RdbOpcode::eof:
      break;
  }
  return in.fail("Unknown RDB opcode");
}

bool RdbLoad::parse_value(RdbReader& in, RdbType type, Item& item) {
  uint64_t start = in.offset() - 1;
  wire::RdbString key;
  if (!in.string(key, item.key_scratch)) return false;
  if (store_) {
    item.key = store_->ref(key.bytes);
    store::Store::prefetch(store_->bucket_of(db_, item.key.hash));
  }
  if (type == RdbType::module_2 || type == RdbType::module_pre_ga)
    return parse_module_value(in, {db_, key.bytes, type, nullptr, item.deadline, start});
  if (!decode(in, type, options_.decode, item.value_scratch, item.value)) {
    if (in.failure() == RdbFailure::malformed) {
      fault_.in_value = true;
      fault_.key = key.bytes;
      fault_.type = type;
    }
    return false;
  }
  const data::Collection& collection = item.value.collection;
  if (visitor_) visit(in, {db_, key.bytes, type, &item.value, item.deadline, start});
  if (collection && collection.size() == 0 && collection.type() != data::Type::stream) {
    ++keys_empty_;
    if (empty_names_.size() < kEmptyNamesMax) empty_names_.emplace_back(key.bytes);
    return true;
  }
  if (item.deadline <= options_.decode.now && !options_.keep_expired) {
    ++keys_expired_;
    if (options_.expired) options_.expired(db_, key.bytes);
    return true;
  }
  if (visitor_) {
    ++keys_loaded_;
    return true;
  }
  item.db = db_;
  ++grouped_;
  return true;
}

void RdbLoad::visit(const RdbReader& in, RdbKey key) {
  key.bytes = in.offset() - key.offset;
  visitor_->key(key);
}

bool RdbLoad::parse_module_value(RdbReader& in, RdbKey key) {
  uint64_t id;
  if (!in.length(id)) return false;
  if (visitor_ && key.type == RdbType::module_2) {
    if (!in.skip_module_value()) return false;
    visit(in, key);
    ++keys_loaded_;
    return true;
  }
  reason_ = "The RDB file contains module data I can't load: no matching module type '" +
            wire::rdb_module_name(id) + "'";
  return in.fail(reason_.c_str());
}

bool RdbLoad::parse_module_aux(RdbReader& in) {
  uint64_t id;
  if (!in.length(id)) return false;
  std::string name = wire::rdb_module_name(id);
  if (!visitor_) {
    reason_ =
        "The RDB file contains AUX module data I can't load: no matching module '" + name + "'";
    return in.fail(reason_.c_str());
  }
  // Before or after the keys: that comes first, as a number like those of the data.
  if (!in.skip_module_value()) return false;
  visitor_->module_aux(name, in.offset());
  return true;
}

bool RdbLoad::insert_group() {
  bool unique = true;
  for (size_t i = 0; i < grouped_ && unique; ++i) unique = insert(group_[i]);
  grouped_ = 0;
  return unique;
}

bool RdbLoad::insert(Item& item) {
  base::Millis now = options_.decode.now;
  store::Edit edit = store_->edit(item.db, item.key, now, false);
  if (edit.found() && options_.refuse_present) return false;
  edit.put(std::move(item.value), item.deadline == store::kNoDeadline
                                      ? store::Ttl::drop()
                                      : store::Ttl::at(std::max<base::Millis>(item.deadline, 0)));
  if (item.idle_seconds >= 0)
    edit.entry()->set_access_clock(store_->access().idle_for(item.idle_seconds, now));
  if (item.frequency >= 0)
    edit.entry()->set_access_clock(
        store_->access().used_so_often(static_cast<uint32_t>(item.frequency), now));
  edit.done_silently();
  ++keys_loaded_;
  return true;
}

bool RdbLoad::parse_end(RdbReader& in) {
  if (version_ >= wire::kRdbChecksumVersionMin) {
    size_t end = in.position();
    uint64_t stored;
    if (!in.unsigned_64(stored)) return false;
    has_checksum_ = stored != 0;
    if (options_.checksum && has_checksum_) {
      uint64_t crc = base::crc64(base::Bytes(buffer_).substr(summed_, end - summed_), crc_);
      if (crc != stored) {
        fault_.kind = RdbFault::Kind::checksum;
        reason_ = "Wrong RDB checksum expected: (" + base::to_hex(stored) + ") but got (" +
                  base::to_hex(crc) + ")";
        return in.fail(reason_.c_str());
      }
    }
  }
  ended_ = true;
  return true;
}

}  // namespace quoll::persist
