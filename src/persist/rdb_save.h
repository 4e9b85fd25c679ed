// RdbSave turns a snapshot into the bytes of an RDB file (layout: wire/rdb_format.h): header, aux
// fields, keys as the walk and its barrier yield them, end and CRC64.
//
// While a large value is unfinished, entries that the barrier needs written gather behind it.
// Bytes are taken out as they come; the checksum runs along.
//
// A value that the version cannot hold fails the save: refusal() names the key. Nothing is dropped.
#pragma once

#include <string>
#include <vector>

#include "persist/snapshot_encoder.h"
#include "persist/value_codec.h"
#include "store/access_clock.h"

namespace quoll::persist {

struct SaveOptions {
  unsigned version = 11;
  bool compress = true;
  bool checksum = true;
  enum class Access : uint8_t { none, idle, frequency } access = Access::none;
  std::vector<std::pair<std::string, std::string>> aux;
  std::vector<std::string> functions;  // code of libraries
  int64_t annotated_seconds = 0;       // unix time an AOF begins with; 0: it does not
};

class RdbSave final : public SnapshotEncoder {
 public:
  RdbSave(SaveOptions options, base::Millis now);

  bool piece(store::DbIndex db, const store::Entry& entry, size_t bytes_max) override;
  void complete(store::DbIndex db, const store::Entry& entry) override;
  void finish() override;
  size_t gathered_bytes() const override { return out_.size() + held_.size(); }
  std::string take() override;
  const std::string& refusal() const override { return refusal_; }

 private:
  void head(std::string& out, store::DbIndex db, const store::Entry& entry, wire::RdbType& type);

  SaveOptions options_;
  base::Millis now_;
  std::string out_;
  std::string held_;  // complete entries to follow the unfinished one
  const store::Entry* unfinished_ = nullptr;
  wire::RdbType unfinished_type_{};
  PieceCursor cursor_;
  store::DbIndex db_ = UINT32_MAX;
  uint64_t crc_ = 0;
  std::string refusal_;
};

}  // namespace quoll::persist
