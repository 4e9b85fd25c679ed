// SlowLog: the last commands that took longer than slowlog-log-slower-than. Bounded by
// slowlog-max-len entries; arguments are cut as Redis cuts them.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::server {

constexpr size_t kSlowArgsMax = 32;       // arguments kept; the last then says how many were cut
constexpr size_t kSlowArgBytesMax = 128;  // bytes kept of an argument

struct SlowEntry {
  uint64_t id;
  int64_t unix_seconds;
  int64_t micros;
  std::vector<std::string> args;
  std::string peer;
  std::string client_name;
};

class SlowLog {
 public:
  void add(base::Args args, int64_t micros, int64_t unix_seconds, std::string peer,
           std::string client_name, size_t entries_max);
  void shorten(size_t entries_max);
  void reset() { entries_.clear(); }
  const std::deque<SlowEntry>& entries() const { return entries_; }  // newest first

 private:
  std::deque<SlowEntry> entries_;
  uint64_t next_id_ = 0;
};

}  // namespace quoll::server
