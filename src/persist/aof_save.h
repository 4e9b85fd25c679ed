// AofSave turns a snapshot into commands: the base of an append-only file when aof-use-rdb-preamble
// is off. Libraries become FUNCTION LOAD, strings SET, everything else RESTORE with the value's RDB
// form.
#pragma once

#include "persist/aof_encoder.h"
#include "persist/rdb_save.h"

namespace quoll::persist {

class AofSave final : public SnapshotEncoder {
 public:
  explicit AofSave(const SaveOptions& options) : options_(options) {
    if (options_.annotated_seconds > 0)
      AofEncoder::append_timestamp(options_.annotated_seconds, out_);
    for (const std::string& code : options_.functions) command({"FUNCTION", "LOAD", code});
  }

  bool piece(store::DbIndex db, const store::Entry& entry, size_t bytes_max) override;
  void complete(store::DbIndex db, const store::Entry& entry) override;
  void finish() override {}
  size_t gathered_bytes() const override { return out_.size(); }
  std::string take() override { return std::exchange(out_, {}); }
  const std::string& refusal() const override { return refusal_; }

 private:
  void command(std::initializer_list<base::Bytes> args);

  SaveOptions options_;
  std::string out_;
  store::DbIndex db_ = UINT32_MAX;
  std::string refusal_;  // of a value too large for one command
};

}  // namespace quoll::persist
