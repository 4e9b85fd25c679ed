// Feeds an AofReader in pieces and collects what it hands out as owned text. Shared by its unit
// tests and its fuzzer.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "persist/aof_reader.h"

namespace quoll::persist {

struct AofSeen {
  struct Command {
    store::DbIndex database;
    std::vector<std::string> args;
    uint64_t offset;
    bool in_block;
    bool last_of_block;
    bool operator==(const Command&) const = default;
  };
  std::vector<Command> commands;
  AofEnd end;
  int64_t timestamp = 0;
  uint64_t timestamp_offset = 0;

  bool same(const AofSeen& other) const {
    return commands == other.commands && end.kind == other.end.kind &&
           end.valid_bytes == other.end.valid_bytes && end.offset == other.end.offset &&
           end.reason == other.end.reason && end.open_block == other.end.open_block &&
           end.unknown_command == other.end.unknown_command && timestamp == other.timestamp &&
           timestamp_offset == other.timestamp_offset;
  }
};

// Pieces of 1 to piece_max bytes, chosen by the seed.
inline AofSeen read_aof(base::Bytes bytes, size_t piece_max, AofReaderOptions options = {},
                        uint64_t seed = 1) {
  AofReader reader(std::move(options));
  AofSeen seen;
  for (;;) {
    AofCommand command;
    const AofReader::Step step = reader.next(command);
    if (step == AofReader::Step::command) {
      seen.commands.push_back({command.database,
                               {command.args.begin(), command.args.end()},
                               command.offset,
                               command.in_block,
                               command.last_of_block});
      continue;
    }
    if (step == AofReader::Step::damaged || bytes.empty()) break;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    const size_t size = std::min<size_t>(bytes.size(), 1 + (seed >> 33) % piece_max);
    reader.feed(std::string(bytes.substr(0, size)));
    bytes.remove_prefix(size);
  }
  seen.end = reader.finish();
  seen.timestamp = reader.timestamp();
  seen.timestamp_offset = reader.timestamp_offset();
  return seen;
}

}  // namespace quoll::persist
