// RdbWriter appends RDB primitives to a byte buffer (layout: rdb_format.h). It knows no values:
// what a hash or a stream looks like is built from these calls.
//
// Choices follow Redis so that payloads match byte for byte: the shortest length form; a string of
// at most 11 bytes that is a canonical int32 becomes an encoded integer; a string of more than 20
// bytes is stored as LZF where `compress` is on and LZF saves at least 4 bytes.
//
// Cost: amortised O(bytes); LZF about 2 to 4 ns per byte of text. The buffer may be taken or
// cleared between calls; the writer holds no position.
#pragma once

#include <string>

#include "wire/rdb_format.h"

namespace quoll::wire {

class RdbWriter {
 public:
  explicit RdbWriter(std::string& out, bool compress = true) : out_(out), compress_(compress) {}

  void byte(uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void type(RdbType type) { byte(static_cast<uint8_t>(type)); }
  void opcode(RdbOpcode opcode) { byte(static_cast<uint8_t>(opcode)); }
  void raw(base::Bytes bytes) { out_.append(bytes); }
  void length(uint64_t length);
  void string(base::Bytes bytes);
  void integer_string(int64_t value);  // the same bytes as string(decimal text)
  void binary_double(double value);    // 8 B little-endian
  void binary_float(float value);      // 4 B little-endian
  void ascii_double(double value);     // scores of type zset
  void millis(int64_t ms);             // 8 B little-endian
  void seconds(int32_t seconds);       // 4 B little-endian

  void header(unsigned version);  // "REDIS0011"
  void select_db(uint64_t index);
  void resize_db(uint64_t keys, uint64_t expires);
  void expire_ms(int64_t deadline_ms);
  void idle(uint64_t idle_seconds);
  void freq(uint8_t counter);
  void aux(base::Bytes name, base::Bytes value);
  void function(base::Bytes code);
  void slot_info(uint64_t slot, uint64_t keys, uint64_t expires);
  void checksum(uint64_t crc);  // 8 B little-endian: after the eof opcode of a file

 private:
  void plain_string(base::Bytes bytes);
  bool encoded_integer(int64_t value);
  bool lzf_string(base::Bytes bytes);

  std::string& out_;
  bool compress_;
};

// Completes a DUMP payload: `payload` holds type and value, version and CRC64 of it all follow.
void append_dump_footer(std::string& payload, unsigned version);

}  // namespace quoll::wire
