// RdbLoad puts the bytes of an RDB file, versions 1 to 12, into the store as they arrive. Bytes may
// be cut anywhere; what is complete is consumed.
//
// The input is not trusted: anything Redis would refuse is an error that names the offset, and a
// file whose checksum does not fit is refused as a whole. Keys past their deadline and empty
// collections are left out and counted.
//
// Keys go into the table in groups, whose places in memory are fetched ahead. To check a file, a
// visitor is told of the keys instead: each is decoded, told and dropped, and modules' values,
// which a load refuses, are stepped over. Then no key is looked for twice. Cost: an item that
// arrives in many pieces is decoded again each time its buffer has doubled.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "persist/value_codec.h"
#include "store/store.h"

namespace quoll::persist {

struct LoadOptions {
  DecodeOptions decode;
  bool checksum = true;       // verify it
  bool keep_expired = false;  // a replica waits for its primary's DEL
  // Told of every key that is left out because it has expired.
  std::function<void(store::DbIndex, base::Bytes)> expired = nullptr;
  bool refuse_present = true;  // a key that exists is an error; else it is replaced
};

// A key as it stands in a file.
struct RdbKey {
  store::DbIndex db = 0;
  base::Bytes name;
  wire::RdbType type{};
  const data::Value* value = nullptr;  // nullptr: a module's
  base::Millis deadline = store::kNoDeadline;
  uint64_t offset = 0;  // of its type byte
  uint64_t bytes = 0;   // from there to the end of its value
};

// Who is told what a file holds, item by item; `end` is the offset behind the item. What is lent is
// gone after the call.
struct RdbVisitor {
  virtual ~RdbVisitor() = default;
  virtual void key(const RdbKey& key) = 0;
  virtual void aux(base::Bytes name, base::Bytes value, uint64_t end) = 0;
  virtual void select(store::DbIndex db, uint64_t end) = 0;
  virtual void function(base::Bytes code, uint64_t end) = 0;
  virtual void module_aux(base::Bytes module, uint64_t end) = 0;
};

// Why a file was refused.
struct RdbFault {
  enum class Kind : uint8_t { none, short_read, version, checksum, content } kind = Kind::none;
  uint64_t offset = 0;
  std::string reason;
  bool in_value = false;  // of this key and type
  std::string key;
  wire::RdbType type{};
};

class RdbLoad {
 public:
  RdbLoad(store::Store& store, LoadOptions options);
  RdbLoad(RdbVisitor& visitor, LoadOptions options);

  // More of the file. The error says what is wrong and at which offset.
  base::Result<> feed(base::Bytes bytes);
  // True once the file's end, with its checksum, was read; tail() is what followed.
  bool ended() const { return ended_; }
  base::Bytes tail() const { return base::Bytes(buffer_).substr(consumed_); }
  // In the file: behind what was consumed.
  uint64_t offset() const { return offset_ + consumed_; }
  // The input is over. Looks at what waits for more once again: an error unless the file ended().
  base::Result<> finish();
  // What the error of feed() or finish() says, in parts.
  const RdbFault& fault() const { return fault_; }

  uint64_t keys_loaded() const { return keys_loaded_; }
  uint64_t keys_expired() const { return keys_expired_; }
  uint64_t keys_empty() const { return keys_empty_; }
  // The first names of empty keys, for the log.
  const std::vector<std::string>& empty_keys() const { return empty_names_; }
  const std::vector<std::pair<std::string, std::string>>& aux() const { return aux_; }
  const std::vector<std::string>& functions() const { return functions_; }
  unsigned version() const { return version_; }
  // Of a file that ended: whether it has a checksum.
  bool has_checksum() const { return has_checksum_; }

 private:
  static constexpr size_t kEmptyNamesMax = 10;
  static constexpr size_t kGroup = 16;  // enough to hide the latency of memory

  // A key that waits for its group.
  struct Item {
    store::DbIndex db = 0;
    store::KeyRef key{};
    data::Value value;
    std::string key_scratch;
    std::string value_scratch;
    base::Millis deadline = store::kNoDeadline;
    int64_t idle_seconds = -1;
    int frequency = -1;
  };

  base::Result<> parse_buffer();
  bool parse(wire::RdbReader& in);
  bool parse_header(wire::RdbReader& in);
  bool parse_item(wire::RdbReader& in);
  bool parse_opcode(wire::RdbReader& in, wire::RdbOpcode opcode, Item& item, bool& attribute);
  bool parse_value(wire::RdbReader& in, wire::RdbType type, Item& item);
  bool parse_module_value(wire::RdbReader& in, RdbKey key);
  bool parse_module_aux(wire::RdbReader& in);
  void visit(const wire::RdbReader& in, RdbKey key);
  bool parse_end(wire::RdbReader& in);
  // False: a key occurs twice.
  bool insert_group();
  bool insert(Item& item);
  base::Result<> failed(const wire::RdbReader& in);

  store::Store* store_ = nullptr;  // or the visitor
  RdbVisitor* visitor_ = nullptr;
  LoadOptions options_;
  std::string buffer_;
  size_t consumed_ = 0;     // of buffer_
  size_t retry_bytes_ = 0;  // buffer_ must hold so many before the next attempt
  uint64_t offset_ = 0;     // of buffer_ in the file
  uint64_t crc_ = 0;        // of what was consumed
  size_t summed_ = 0;       // of buffer_, already in crc_
  unsigned version_ = 0;
  store::DbIndex db_ = 0;
  bool ended_ = false;
  bool has_checksum_ = false;
  std::string reason_;  // of a failure that names something
  RdbFault fault_;
  Item group_[kGroup];
  size_t grouped_ = 0;
  uint64_t keys_loaded_ = 0;
  uint64_t keys_expired_ = 0;
  uint64_t keys_empty_ = 0;
  std::vector<std::string> empty_names_;
  std::vector<std::pair<std::string, std::string>> aux_;
  std::vector<std::string> functions_;
};

}  // namespace quoll::persist
