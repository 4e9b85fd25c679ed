#include "persist/rdb_save.h"

#include "base/crc64.h"
#include "store/entry.h"

namespace quoll::persist {

RdbSave::RdbSave(SaveOptions options, base::Millis now) : options_(std::move(options)), now_(now) {
  wire::RdbWriter writer(out_);
  writer.header(options_.version);
  for (const auto& [name, value] : options_.aux) writer.aux(name, value);
  for (const std::string& code : options_.functions) writer.function(code);
}

// Everything in front of the value.
void RdbSave::head(std::string& out, store::DbIndex db, const store::Entry& entry,
                   wire::RdbType& type) {
  wire::RdbWriter writer(out, options_.compress);
  if (db != db_) writer.select_db(db);
  db_ = db;
  if (entry.has_ttl()) writer.expire_ms(entry.deadline());
  if (options_.access == SaveOptions::Access::idle)
    writer.idle(
        static_cast<uint64_t>(store::AccessClock::idle_seconds(entry.access_clock(), now_)));
  if (options_.access == SaveOptions::Access::frequency)
    writer.freq(static_cast<uint8_t>(entry.access_clock() & 0xFF));
  if (!rdb_type_of(entry, options_.version, type)) {
    if (refusal_.empty())
      refusal_ = "RDB version " + std::to_string(options_.version) +
                 " cannot hold the value of key '" + std::string(entry.key()) +
                 "' (see rdb-version)";
    type = wire::RdbType::string;
  }
  writer.type(type);
  writer.string(entry.key());
}

bool RdbSave::piece(store::DbIndex db, const store::Entry& entry, size_t bytes_max) {
  if (!unfinished_) {
    head(out_, db, entry, unfinished_type_);
    unfinished_ = &entry;
    cursor_ = {};
  }
  QUOLL_CHECK(unfinished_ == &entry);
  wire::RdbWriter writer(out_, options_.compress);
  if (refusal_.empty() && !encode(entry, unfinished_type_, cursor_, writer, bytes_max))
    return false;
  unfinished_ = nullptr;
  out_ += held_;
  held_ = {};
  return true;
}

void RdbSave::complete(store::DbIndex db, const store::Entry& entry) {
  if (&entry == unfinished_) {
    piece(db, entry, SIZE_MAX);
    return;
  }
  std::string& out = unfinished_ ? held_ : out_;
  wire::RdbType type;
  head(out, db, entry, type);
  if (!refusal_.empty()) return;
  wire::RdbWriter writer(out, options_.compress);
  PieceCursor cursor;
  while (!encode(entry, type, cursor, writer, SIZE_MAX)) {
  }
}

void RdbSave::finish() {
  QUOLL_CHECK(!unfinished_);
  wire::RdbWriter writer(out_);
  writer.opcode(wire::RdbOpcode::eof);
  uint64_t crc = options_.checksum ? base::crc64(out_, crc_) : 0;
  writer.checksum(crc);
}

std::string RdbSave::take() {
  if (options_.checksum) crc_ = base::crc64(out_, crc_);
  return std::exchange(out_, {});
}

}  // namespace quoll::persist
