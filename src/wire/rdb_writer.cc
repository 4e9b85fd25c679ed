#include "wire/rdb_writer.h"

#include <liblzf/lzf.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/crc64.h"
#include "base/numbers.h"

namespace quoll::wire {

namespace {

constexpr size_t kLzfSavingMin = 4;  // Redis stores LZF only when it saves at least this much

void append_little_endian(std::string& out, uint64_t value, size_t bytes) {
  char text[8];
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(value >> (8 * i));
  out.append(text, bytes);
}

void append_big_endian(std::string& out, uint64_t value, size_t bytes) {
  char text[8];
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(value >> (8 * (bytes - 1 - i)));
  out.append(text, bytes);
}

}  // namespace

void RdbWriter::length(uint64_t length) {
  if (length < 1 << 6) {
    byte(static_cast<uint8_t>(length));
  } else if (length < 1 << 14) {
    byte(static_cast<uint8_t>(0x40 | length >> 8));
    byte(static_cast<uint8_t>(length));
  } else if (length <= std::numeric_limits<uint32_t>::max()) {
    byte(0x80);
    append_big_endian(out_, length, 4);
  } else {
    byte(0x81);
    append_big_endian(out_, length, 8);
  }
}

void RdbWriter::string(base::Bytes bytes) {
  int64_t value;
  if (bytes.size() <= kRdbIntegerTextMax && base::parse_int(bytes, value) && encoded_integer(value))
    return;
  if (compress_ && bytes.size() >= kRdbLzfSizeMin && lzf_string(bytes)) return;
  plain_string(bytes);
}

void RdbWriter::integer_string(int64_t value) {
  if (encoded_integer(value)) return;
  char text[base::kIntTextMax];
  plain_string({text, base::format_int(value, text)});
}

void RdbWriter::plain_string(base::Bytes bytes) {
  length(bytes.size());
  out_.append(bytes);
}

bool RdbWriter::encoded_integer(int64_t value) {
  RdbEncoding encoding;
  if (value == static_cast<int8_t>(value)) {
    encoding = RdbEncoding::int8;
  } else if (value == static_cast<int16_t>(value)) {
    encoding = RdbEncoding::int16;
  } else if (value == static_cast<int32_t>(value)) {
    encoding = RdbEncoding::int32;
  } else {
    return false;
  }
  byte(static_cast<uint8_t>(0xc0 | static_cast<uint8_t>(encoding)));
  append_little_endian(out_, static_cast<uint64_t>(value),
                       size_t{1} << static_cast<unsigned>(encoding));
  return true;
}

// liblzf leaves its hash table uninitialised, yet the output depends on the input alone: the first
// occurrence of every three bytes is always entered, so a stale slot never names a real match.
bool RdbWriter::lzf_string(base::Bytes bytes) {
  constexpr size_t kHeaderMax = 1 + 5 + 5;  // marker and two lengths of up to 32 bits
  if (bytes.size() > std::numeric_limits<uint32_t>::max()) return false;
  size_t start = out_.size();
  size_t room = bytes.size() - kLzfSavingMin;
  // Compressed behind the largest header, then moved to where the real header ends.
  out_.resize(start + kHeaderMax + room);
  unsigned packed = lzf_compress(bytes.data(), static_cast<unsigned>(bytes.size()),
                                 out_.data() + start + kHeaderMax, static_cast<unsigned>(room));
  if (packed == 0) {
    out_.resize(start);
    return false;
  }
  out_.resize(start + kHeaderMax + packed);
  std::string header;
  RdbWriter head(header, false);
  head.byte(0xc0 | static_cast<uint8_t>(RdbEncoding::lzf));
  head.length(packed);
  head.length(bytes.size());
  out_.replace(start, kHeaderMax, header);
  return true;
}

void RdbWriter::binary_double(double value) {
  append_little_endian(out_, std::bit_cast<uint64_t>(value), 8);
}
void RdbWriter::binary_float(float value) {
  append_little_endian(out_, std::bit_cast<uint32_t>(value), 4);
}

void RdbWriter::ascii_double(double value) {
  if (std::isnan(value)) return byte(kRdbAsciiNan);
  if (std::isinf(value)) return byte(value > 0 ? kRdbAsciiInf : kRdbAsciiMinusInf);
  char text[base::kDoubleTextMax];
  size_t size = base::format_double(value, text);
  byte(static_cast<uint8_t>(size));
  out_.append(text, size);
}

void RdbWriter::millis(int64_t ms) { append_little_endian(out_, static_cast<uint64_t>(ms), 8); }
void RdbWriter::seconds(int32_t seconds) {
  append_little_endian(out_, static_cast<uint32_t>(seconds), 4);
}

void RdbWriter::header(unsigned version) {
  QUOLL_CHECK(version <= 9999);
  out_.append("REDIS");
  for (unsigned unit = 1000; unit > 0; unit /= 10) {
    out_.push_back(static_cast<char>('0' + version / unit % 10));
  }
}

void RdbWriter::select_db(uint64_t index) {
  opcode(RdbOpcode::selectdb);
  length(index);
}
void RdbWriter::resize_db(uint64_t keys, uint64_t expires) {
  opcode(RdbOpcode::resizedb);
  length(keys);
  length(expires);
}
void RdbWriter::expire_ms(int64_t deadline_ms) {
  opcode(RdbOpcode::expire_ms);
  millis(deadline_ms);
}
void RdbWriter::idle(uint64_t idle_seconds) {
  opcode(RdbOpcode::idle);
  length(idle_seconds);
}
void RdbWriter::freq(uint8_t counter) {
  opcode(RdbOpcode::freq);
  byte(counter);
}
void RdbWriter::aux(base::Bytes name, base::Bytes value) {
  opcode(RdbOpcode::aux);
  string(name);
  string(value);
}
void RdbWriter::function(base::Bytes code) {
  opcode(RdbOpcode::function_2);
  string(code);
}
void RdbWriter::slot_info(uint64_t slot, uint64_t keys, uint64_t expires) {
  opcode(RdbOpcode::slot_info);
  length(slot);
  length(keys);
  length(expires);
}
void RdbWriter::checksum(uint64_t crc) { append_little_endian(out_, crc, kRdbChecksumBytes); }

void append_dump_footer(std::string& payload, unsigned version) {
  append_little_endian(payload, version, 2);
  append_little_endian(payload, base::crc64(payload), kRdbChecksumBytes);
}

}  // namespace quoll::wire
