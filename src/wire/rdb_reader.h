// RdbReader reads RDB primitives (layout: rdb_format.h) from borrowed bytes that may end anywhere.
//
// Every read returns false on failure and then moves nothing; failure() tells the two kinds apart:
//   truncated  the bytes end inside the item; with more bytes the same read may succeed.
//              needed_bytes() is a lower bound of what is missing.
//   malformed  no continuation can make the item valid; reason() says why, offset() where.
// A failure is sticky until rewind(), so a run of reads may be checked once at its end.
//
// The input is never trusted: a length is compared with what is left before anything is allocated,
// and LZF may allocate at most kLzfExpansionMax times its compressed bytes. Counts of elements are
// returned as they stand: callers must not reserve memory by them.
//
// Cost: no allocation except for LZF strings (into the caller's scratch).
#pragma once

#include <string>

#include "wire/rdb_format.h"

namespace quoll::wire {

enum class RdbFailure : uint8_t { none = 0, truncated = 1, malformed = 2 };

// A string as stored: integers keep their value, so loading them need not parse text again.
struct RdbString {
  base::Bytes bytes;  // always set; lives in the input or in the scratch
  bool is_integer = false;
  int64_t integer = 0;
};

class RdbReader {
 public:
  // `base_offset`: where `input` starts in its file, for offset().
  explicit RdbReader(base::Bytes input, uint64_t base_offset = 0)
      : input_(input), base_offset_(base_offset) {}

  bool byte(uint8_t& value);
  bool raw(size_t size, base::Bytes& bytes);
  bool length(uint64_t& length);  // an encoded string here is malformed
  bool string(RdbString& string, std::string& scratch);
  bool skip_string();
  bool binary_double(double& value);
  bool binary_float(float& value);
  bool ascii_double(double& value);
  bool millis(int64_t& ms);
  bool seconds(int32_t& seconds);
  bool unsigned_64(uint64_t& value);  // 8 B little-endian, the checksum of a file

  bool header(unsigned& version);  // "REDIS" and four digits
  // The opcodes and fields of one module value, up to and including its eof.
  bool skip_module_value();

  bool at_end() const { return position_ == input_.size(); }
  size_t left() const { return input_.size() - position_; }
  size_t position() const { return position_; }
  void rewind(size_t position);

  RdbFailure failure() const { return failure_; }
  const char* reason() const { return reason_; }
  uint64_t offset() const {
    return base_offset_ + (failure_ == RdbFailure::none ? position_ : failed_at_);
  }
  uint64_t needed_bytes() const { return needed_bytes_; }
  // For the layers above: marks what was read as wrong in meaning, at the current position.
  bool fail(const char* reason) { return malformed(position_, reason); }

 private:
  struct Length {
    uint64_t value;
    bool encoded;  // `value` is an RdbEncoding
  };
  struct Lzf {
    base::Bytes packed;
    size_t plain_bytes;
  };

  bool need(uint64_t size);
  bool truncated(uint64_t needed_bytes);
  bool malformed(size_t at, const char* reason);
  uint64_t take_little_endian(size_t bytes);
  bool take_length(Length& length);
  bool take_integer(RdbEncoding encoding, int64_t& value);
  bool take_lzf(Lzf& lzf);
  bool take_string(RdbString& string, std::string& scratch);
  bool take_ascii_double(double& value);
  bool take_module_value();
  bool done(bool ok, size_t start) {
    if (!ok) position_ = start;
    return ok;
  }

  base::Bytes input_;
  uint64_t base_offset_;
  size_t position_ = 0;
  size_t failed_at_ = 0;
  uint64_t needed_bytes_ = 0;
  const char* reason_ = "";
  RdbFailure failure_ = RdbFailure::none;
};

// LZF's longest back reference turns 3 bytes into 264.
constexpr uint64_t kLzfExpansionMax = 88;

enum class DumpFooter : uint8_t { good, too_short, version, checksum };
// Checks version and CRC64 of a DUMP payload; `body` is then type and value.
DumpFooter check_dump_footer(base::Bytes payload, unsigned version_max, base::Bytes& body);

constexpr size_t kModuleNameBytes = 9;
// A module id is nine characters of six bits and ten bits of the module's own encoding version.
std::string rdb_module_name(uint64_t id);

}  // namespace quoll::wire
