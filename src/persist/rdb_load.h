// RdbLoad puts the bytes of an RDB file, versions 1 to 12, into the store as they arrive. Bytes may
// be cut anywhere; what is complete is consumed.
//
// The input is not trusted: anything Redis would refuse is an error that names the offset, and a
// file whose checksum does not fit is refused as a whole. Keys past their deadline and empty
// collections are left out and counted.
//
// Keys go into the table in groups, whose places in memory are fetched ahead.
// Cost: an item that arrives in many pieces is decoded again each time its buffer has doubled.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "persist/value_codec.h"
#include "store/store.h"

namespace quoll::persist {

struct LoadOptions {
  DecodeOptions decode;
  bool checksum = true;        // verify it
  bool keep_expired = false;   // a replica waits for its primary's DEL
  bool refuse_present = true;  // a key that exists is an error; else it is replaced
};

class RdbLoad {
 public:
  RdbLoad(store::Store& store, LoadOptions options);

  // More of the file. The error says what is wrong and at which offset.
  base::Result<> feed(base::Bytes bytes);
  // True once the file's end, with its checksum, was read; tail() is what followed.
  bool ended() const { return ended_; }
  base::Bytes tail() const { return base::Bytes(buffer_).substr(consumed_); }
  // The input is over: an error unless ended().
  base::Result<> finish() const;

  uint64_t keys_loaded() const { return keys_loaded_; }
  uint64_t keys_expired() const { return keys_expired_; }
  uint64_t keys_empty() const { return keys_empty_; }
  // The first names of empty keys, for the log.
  const std::vector<std::string>& empty_keys() const { return empty_names_; }
  const std::vector<std::pair<std::string, std::string>>& aux() const { return aux_; }
  const std::vector<std::string>& functions() const { return functions_; }
  unsigned version() const { return version_; }

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

  bool parse(wire::RdbReader& in);
  bool parse_header(wire::RdbReader& in);
  bool parse_item(wire::RdbReader& in);
  bool parse_opcode(wire::RdbReader& in, wire::RdbOpcode opcode, Item& item, bool& attribute);
  bool parse_value(wire::RdbReader& in, wire::RdbType type, Item& item);
  bool parse_end(wire::RdbReader& in);
  // False: a key occurs twice.
  bool insert_group();
  bool insert(Item& item);
  base::Result<> failed(const wire::RdbReader& in) const;

  store::Store& store_;
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
  std::string reason_;  // of a failure that names something
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
