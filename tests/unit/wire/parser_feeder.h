// Plays the transport and the session for a RespParser in tests: feeds pieces through
// receive_buffer() and received(), collects the commands as owned strings, and spoils the scratch
// after every turn, so that a view into it which outlived release() shows.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "wire/resp_parser.h"

namespace quoll::wire {

struct ParserOutcome {
  std::vector<std::vector<std::string>> commands;
  RespParser::Status status = RespParser::Status::ok;
  std::string error;
  size_t wire_bytes = 0;
  bool operator==(const ParserOutcome&) const = default;
};

class ParserFeeder {
 public:
  ParserFeeder(const ParserLimits& limits, size_t scratch_bytes, size_t batch_max)
      : parser_(limits), scratch_(scratch_bytes, '7'), batch_max_(batch_max) {}

  RespParser& parser() { return parser_; }
  const ParserOutcome& outcome() const { return outcome_; }
  size_t blobs() const { return blobs_; }

  void feed(base::Bytes bytes) {
    while (!bytes.empty() && outcome_.status == RespParser::Status::ok) {
      std::span<char> span = parser_.receive_buffer(scratch_);
      QUOLL_CHECK(!span.empty());
      size_t n = std::min(span.size(), bytes.size());
      std::memcpy(span.data(), bytes.data(), n);
      parser_.received(n);
      if (span.data() >= scratch_.data() && span.data() < scratch_.data() + scratch_.size()) {
        used_ = static_cast<size_t>(span.data() + n - scratch_.data());
      }
      bytes.remove_prefix(n);
      drain();
    }
  }

 private:
  void drain() {
    do {
      outcome_.status = parser_.parse(batch_, batch_max_);
      for (size_t i = 0; i < batch_.size(); ++i) collect(i);
      batch_.clear();
    } while (outcome_.status == RespParser::Status::ok && parser_.has_unparsed());
    outcome_.error = parser_.error_text();
    parser_.release();
    std::memset(scratch_.data(), '7', used_);
    used_ = 0;
  }

  void collect(size_t command) {
    std::vector<std::string> args;
    size_t blobs = 0;
    for (base::Bytes arg : batch_.args(command)) {
      base::Blob* blob = batch_.blob(command, args.size());
      if (blob != nullptr) {
        QUOLL_CHECK(blob->data() == arg.data() && blob->size() == arg.size());
        QUOLL_CHECK(arg.size() >= kBlobThreshold);
        ++blobs;
      }
      args.emplace_back(arg);
    }
    QUOLL_CHECK(!args.empty());
    // A command with a blob is the last of its batch.
    QUOLL_CHECK(blobs == 0 || command + 1 == batch_.size());
    QUOLL_CHECK(batch_.blob(command, args.size()) == nullptr);
    blobs_ += blobs;
    outcome_.wire_bytes += batch_.wire_bytes(command);
    outcome_.commands.push_back(std::move(args));
  }

  RespParser parser_;
  std::vector<char> scratch_;
  size_t batch_max_;
  size_t used_ = 0;  // bytes of the scratch written since it was spoiled
  CommandBatch batch_;
  ParserOutcome outcome_;
  size_t blobs_ = 0;
};

}  // namespace quoll::wire
