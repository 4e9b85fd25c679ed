#include "persist/dump_payload.h"

namespace quoll::persist {

std::string dump_payload(const store::Entry& entry, unsigned version, bool compress) {
  wire::RdbType type;
  while (!rdb_type_of(entry, version, type)) {
    QUOLL_CHECK(version < wire::kRdbVersionReadMax);
    ++version;
  }
  std::string payload;
  wire::RdbWriter writer(payload, compress);
  writer.type(type);
  PieceCursor cursor;
  while (!encode(entry, type, cursor, writer, SIZE_MAX)) {
  }
  wire::append_dump_footer(payload, version);
  return payload;
}

PayloadFault read_payload(base::Bytes payload, const DecodeOptions& options, std::string& scratch,
                          data::Value& value, bool verify) {
  base::Bytes body;
  const auto footer = wire::check_dump_footer(payload, wire::kRdbVersionReadMax, body);
  if (footer == wire::DumpFooter::checksum && !verify)
    body = payload.substr(0, payload.size() - wire::kRdbDumpFooterBytes);
  else if (footer != wire::DumpFooter::good)
    return PayloadFault::footer;
  wire::RdbReader in(body);
  uint8_t type;
  if (!in.byte(type) || !wire::is_rdb_type(type)) return PayloadFault::value;
  if (!decode(in, static_cast<wire::RdbType>(type), options, scratch, value) || !in.at_end())
    return PayloadFault::value;
  bool empty = value.collection && value.collection.size() == 0 &&
               value.collection.type() != data::Type::stream;
  return empty ? PayloadFault::value : PayloadFault::none;
}

}  // namespace quoll::persist
