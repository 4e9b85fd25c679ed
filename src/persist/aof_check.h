// AofCheck reads the commands of an append-only file for what is in it: which commands, how many,
// in which databases, between which instants, and where the last whole commit ends.
//
// It reads with the loader itself (AofReader). Memory is that of the largest command or MULTI
// block, and of kAofNamesMax names.
#pragma once

#include <map>
#include <set>
#include <string>

#include "persist/aof_reader.h"
#include "persist/rdb_check.h"

namespace quoll::persist {

constexpr size_t kAofNamesMax = 1000;  // of commands, counted apart

class AofCheck {
 public:
  // `known`: whether this is a command of the server; unset: all are.
  AofCheck(AofReaderOptions options, std::function<bool(base::Args)> known, TellLine tell);

  // More of the file. False: it is damaged.
  bool feed(std::string bytes);
  AofEnd finish() { return reader_.finish(); }
  const AofReader& reader() const { return reader_; }
  void report() const;

 private:
  struct Name {
    uint64_t commands = 0;
    bool known = true;
    uint64_t first_offset = 0;
  };

  void count(const AofCommand& command);
  void note_timestamp();

  AofReader reader_;
  std::function<bool(base::Args)> known_;
  TellLine tell_;
  std::map<std::string, Name> names_;
  std::set<store::DbIndex> databases_;
  uint64_t commands_ = 0;
  uint64_t blocks_ = 0;
  uint64_t argument_bytes_ = 0;
  uint64_t longest_argument_ = 0;
  int64_t first_timestamp_ = 0;
};

}  // namespace quoll::persist
