#include "wire/rdb_reader.h"

#include <liblzf/lzf.h>

#include <bit>
#include <limits>

#include "base/crc64.h"
#include "base/numbers.h"

namespace quoll::wire {

namespace {

uint64_t little_endian(const char* bytes, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  }
  return value;
}

uint64_t big_endian(const char* bytes, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

}  // namespace

bool RdbReader::truncated(uint64_t needed_bytes) {
  failure_ = RdbFailure::truncated;
  reason_ = "the bytes end inside an item";
  failed_at_ = position_;
  needed_bytes_ = needed_bytes;
  return false;
}

bool RdbReader::malformed(size_t at, const char* reason) {
  if (failure_ != RdbFailure::none) return false;
  failure_ = RdbFailure::malformed;
  reason_ = reason;
  failed_at_ = at;
  return false;
}

bool RdbReader::need(uint64_t size) {
  if (failure_ != RdbFailure::none) return false;
  if (size > left()) return truncated(size - left());
  return true;
}

void RdbReader::rewind(size_t position) {
  position_ = position < input_.size() ? position : input_.size();
  failure_ = RdbFailure::none;
  reason_ = "";
  needed_bytes_ = 0;
}

uint64_t RdbReader::take_little_endian(size_t bytes) {
  uint64_t value = little_endian(input_.data() + position_, bytes);
  position_ += bytes;
  return value;
}

bool RdbReader::byte(uint8_t& value) {
  if (!need(1)) return false;
  value = static_cast<uint8_t>(input_[position_++]);
  return true;
}

bool RdbReader::raw(size_t size, base::Bytes& bytes) {
  if (!need(size)) return false;
  bytes = input_.substr(position_, size);
  position_ += size;
  return true;
}

bool RdbReader::take_length(Length& length) {
  size_t start = position_;
  uint8_t first;
  if (!byte(first)) return false;
  uint8_t low = first & 0x3f;
  length.encoded = false;
  switch (first >> 6) {
    case 0:
      length.value = low;
      return true;
    case 1: {
      uint8_t second;
      if (!byte(second)) return false;
      length.value = static_cast<uint64_t>(low) << 8 | second;
      return true;
    }
    case 2: {
      if (low > 1) return malformed(start, "unknown length form");
      base::Bytes bytes;
      if (!raw(low == 0 ? 4 : 8, bytes)) return false;
      length.value = big_endian(bytes.data(), bytes.size());
      return true;
    }
    default:
      if (low > static_cast<uint8_t>(RdbEncoding::lzf))
        return malformed(start, "unknown string encoding");
      length.encoded = true;
      length.value = low;
      return true;
  }
}

bool RdbReader::length(uint64_t& value) {
  size_t start = position_;
  Length length;
  bool ok = take_length(length);
  if (ok && length.encoded) ok = malformed(start, "an encoded string where a length must be");
  if (ok) value = length.value;
  return done(ok, start);
}

bool RdbReader::take_integer(RdbEncoding encoding, int64_t& value) {
  size_t bytes = size_t{1} << static_cast<unsigned>(encoding);
  if (!need(bytes)) return false;
  uint64_t bits = take_little_endian(bytes);
  switch (encoding) {
    case RdbEncoding::int8:
      value = static_cast<int8_t>(bits);
      break;
    case RdbEncoding::int16:
      value = static_cast<int16_t>(bits);
      break;
    default:
      value = static_cast<int32_t>(bits);
  }
  return true;
}

bool RdbReader::take_lzf(Lzf& lzf) {
  size_t start = position_;
  Length packed, plain;
  if (!take_length(packed)) return false;
  if (packed.encoded) return malformed(start, "LZF: encoded length");
  if (!take_length(plain)) return false;
  if (plain.encoded) return malformed(start, "LZF: encoded length");
  constexpr uint64_t kSizeMax = std::numeric_limits<uint32_t>::max();  // liblzf's own limit
  if (packed.value == 0 || packed.value > kSizeMax || plain.value == 0 || plain.value > kSizeMax)
    return malformed(start, "LZF: length out of range");
  if (plain.value > packed.value * kLzfExpansionMax)
    return malformed(start, "LZF: length beyond what the bytes can hold");
  lzf.plain_bytes = plain.value;
  return raw(packed.value, lzf.packed);
}

bool RdbReader::take_string(RdbString& string, std::string& scratch) {
  size_t start = position_;
  Length length;
  if (!take_length(length)) return false;
  string.is_integer = false;
  if (!length.encoded) return need(length.value) && raw(length.value, string.bytes);
  auto encoding = static_cast<RdbEncoding>(length.value);
  if (encoding == RdbEncoding::lzf) {
    Lzf lzf;
    if (!take_lzf(lzf)) return false;
    scratch.resize(lzf.plain_bytes);
    unsigned size = lzf_decompress(lzf.packed.data(), static_cast<unsigned>(lzf.packed.size()),
                                   scratch.data(), static_cast<unsigned>(scratch.size()));
    if (size != lzf.plain_bytes) return malformed(start, "LZF: damaged bytes");
  } else {
    if (!take_integer(encoding, string.integer)) return false;
    string.is_integer = true;
    char text[base::kIntTextMax];
    scratch.assign(text, base::format_int(string.integer, text));
  }
  string.bytes = scratch;
  return true;
}

bool RdbReader::string(RdbString& string, std::string& scratch) {
  size_t start = position_;
  return done(take_string(string, scratch), start);
}

bool RdbReader::skip_string() {
  size_t start = position_;
  Length length;
  if (!take_length(length)) return done(false, start);
  base::Bytes ignored;
  if (!length.encoded) return done(need(length.value) && raw(length.value, ignored), start);
  if (length.value == static_cast<uint8_t>(RdbEncoding::lzf)) {
    Lzf lzf;
    return done(take_lzf(lzf), start);
  }
  return done(raw(size_t{1} << length.value, ignored), start);
}

bool RdbReader::unsigned_64(uint64_t& value) {
  if (!need(8)) return false;
  value = take_little_endian(8);
  return true;
}

bool RdbReader::binary_double(double& value) {
  uint64_t bits;
  if (!unsigned_64(bits)) return false;
  value = std::bit_cast<double>(bits);
  return true;
}

bool RdbReader::binary_float(float& value) {
  if (!need(4)) return false;
  value = std::bit_cast<float>(static_cast<uint32_t>(take_little_endian(4)));
  return true;
}

bool RdbReader::take_ascii_double(double& value) {
  size_t start = position_;
  uint8_t size;
  if (!byte(size)) return false;
  switch (size) {
    case kRdbAsciiNan:
      value = std::numeric_limits<double>::quiet_NaN();
      return true;
    case kRdbAsciiInf:
      value = std::numeric_limits<double>::infinity();
      return true;
    case kRdbAsciiMinusInf:
      value = -std::numeric_limits<double>::infinity();
      return true;
    default:
      break;
  }
  base::Bytes text;
  if (!raw(size, text)) return false;
  if (!base::parse_double(text, value)) return malformed(start, "score is not a number");
  return true;
}

bool RdbReader::ascii_double(double& value) {
  size_t start = position_;
  return done(take_ascii_double(value), start);
}

bool RdbReader::millis(int64_t& ms) {
  uint64_t bits;
  if (!unsigned_64(bits)) return false;
  ms = static_cast<int64_t>(bits);
  return true;
}

bool RdbReader::seconds(int32_t& seconds) {
  if (!need(4)) return false;
  seconds = static_cast<int32_t>(take_little_endian(4));
  return true;
}

bool RdbReader::header(unsigned& version) {
  constexpr base::Bytes kMagic = "REDIS";
  if (failure_ != RdbFailure::none) return false;
  // A wrong magic is reported even when fewer bytes than a header are there.
  base::Bytes start = input_.substr(position_, kMagic.size());
  if (start != kMagic.substr(0, start.size())) return malformed(position_, "not an RDB file");
  if (!need(kRdbHeaderBytes)) return false;
  unsigned number = 0;
  for (char digit : input_.substr(position_ + kMagic.size(), kRdbHeaderBytes - kMagic.size())) {
    if (digit < '0' || digit > '9') return malformed(position_, "RDB version is not a number");
    number = number * 10 + static_cast<unsigned>(digit - '0');
  }
  position_ += kRdbHeaderBytes;
  version = number;
  return true;
}

bool RdbReader::take_module_value() {
  for (;;) {
    size_t start = position_;
    uint64_t opcode, number;
    base::Bytes ignored;
    if (!length(opcode)) return false;
    if (opcode > static_cast<uint64_t>(RdbModuleOpcode::string))
      return malformed(start, "unknown module opcode");
    bool ok = true;
    switch (static_cast<RdbModuleOpcode>(opcode)) {
      case RdbModuleOpcode::eof:
        return true;
      case RdbModuleOpcode::signed_integer:
      case RdbModuleOpcode::unsigned_integer:
        ok = length(number);
        break;
      case RdbModuleOpcode::binary_float:
        ok = raw(4, ignored);
        break;
      case RdbModuleOpcode::binary_double:
        ok = raw(8, ignored);
        break;
      case RdbModuleOpcode::string:
        ok = skip_string();
        break;
    }
    if (!ok) return false;
  }
}

bool RdbReader::skip_module_value() {
  size_t start = position_;
  return done(take_module_value(), start);
}

DumpFooter check_dump_footer(base::Bytes payload, unsigned version_max, base::Bytes& body) {
  if (payload.size() < kRdbDumpFooterBytes) return DumpFooter::too_short;
  base::Bytes footer = payload.substr(payload.size() - kRdbDumpFooterBytes);
  if (little_endian(footer.data(), 2) > version_max) return DumpFooter::version;
  base::Bytes checked = payload.substr(0, payload.size() - kRdbChecksumBytes);
  if (base::crc64(checked) != little_endian(footer.data() + 2, kRdbChecksumBytes))
    return DumpFooter::checksum;
  body = payload.substr(0, payload.size() - kRdbDumpFooterBytes);
  return DumpFooter::good;
}

std::string rdb_module_name(uint64_t id) {
  constexpr base::Bytes kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string name(kModuleNameBytes, ' ');
  for (size_t i = 0; i < kModuleNameBytes; ++i) name[i] = kLetters[id >> (58 - 6 * i) & 63];
  return name;
}

}  // namespace quoll::wire
