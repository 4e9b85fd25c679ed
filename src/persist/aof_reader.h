// AofReader: the commands of an append-only file, from bytes that arrive in pieces.
//
//   #TS:1700000000  *2 SELECT 0   *3 SET a 1   *1 MULTI ... *1 EXEC   *3 SET b (end of the bytes
//                                          ^boundary              ^boundary
//
// Nothing of an unfinished commit is ever handed out: a MULTI block is read to its EXEC first, then
// its commands follow one by one. SELECT, MULTI, EXEC and annotations are digested here; a command
// arrives with its database.
//
// How a file may end:
//   clean    at a commit boundary
//   torn     inside a command or MULTI block whose bytes are a valid beginning: a crash did that.
//            May be cut at valid_bytes.
//   damaged  something no crash leaves: bytes that cannot stand there, an unknown command, or a
//            length that reaches beyond the end although whole commands follow inside it (a flipped
//            bit in a length looks like a torn tail and would cost everything behind it).
//            Never to be cut without being asked.
//
// Stricter than Redis's loader, which checks neither the line ends behind arguments nor the digits
// of lengths. Pure. Cost: no copy of bytes that arrive whole; a command across two pieces is moved
// to the front once and resumed where it stopped.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/commit.h"

namespace quoll::persist {

constexpr size_t kAofAnnotationMax = 1023;  // bytes of a line beginning with '#'; Redis's bound
constexpr int64_t kAofArgsMax = INT32_MAX;
constexpr int64_t kAofBulkBytesMax = int64_t{512} << 20;  // unless the server allows longer ones
constexpr size_t kAofWindowKeptMax = 1024 * 1024;         // bytes of room while nothing is in it
constexpr size_t kAofAheadWords = 3;                      // of a command that is looked at ahead
constexpr size_t kAofResyncTriesMax = 4096;  // places looked at for commands behind a torn tail

struct AofReaderOptions {
  uint64_t base_offset = 0;                   // of the first byte in its file
  int64_t bulk_bytes_max = kAofBulkBytesMax;  // of one argument; longer is damage
  int64_t until = INT64_MAX;                  // unix seconds; see until_offset()
  // Whether this is a command. Unset: all are.
  std::function<bool(base::Args)> known;
  store::DbIndex database = 0;  // selected before the first byte
};

struct AofCommand {
  store::DbIndex database = 0;
  base::Args args;        // valid until the next call of the reader
  uint64_t offset = 0;    // of its '*' in the file
  bool in_block = false;  // part of a MULTI block; `last_of_block` closes it
  bool last_of_block = false;
  // Of the commit it belongs to: its change notes, valid until the next call, and where it begins.
  base::Bytes change_notes;
  uint64_t commit_offset = 0;
};

struct AofEnd {
  enum class Kind { clean, torn, damaged } kind = Kind::clean;
  uint64_t valid_bytes = 0;     // end of the last whole commit in the file
  uint64_t offset = 0;          // torn: end of the bytes; damaged: where
  std::string reason;           // of damage
  std::string unknown_command;  // damaged by this one
  bool open_block = false;      // torn inside MULTI ... EXEC
  // As Redis words it; "" for clean.
  std::string message(const std::string& file_name) const;
};

class AofReader {
 public:
  explicit AofReader(AofReaderOptions options = {});

  // More bytes of the file. Only after next() returned starved (or at first).
  void feed(std::string bytes);
  enum class Step { command, starved, damaged };
  Step next(AofCommand& command);
  // Hands the first words, kAofAheadWords at most, of up to `commands` commands that come next to
  // `visit(args)`, as far as they are here. Nothing is consumed: next() tells what is wrong.
  template <class Visit>
  void look_ahead(size_t commands, Visit&& visit) const {
    base::Bytes words[kAofAheadWords];
    base::Bytes rest = base::Bytes(window_).substr(start_ + pos_);
    if (args_left_ >= 0) return;  // inside a command
    for (; commands > 0; --commands) {
      const size_t count = take_first_words(rest, words);
      if (count == 0) return;
      visit(base::Args(words, count));
    }
  }
  // No more bytes follow. Only after next() returned starved or damaged.
  AofEnd finish();

  uint64_t valid_bytes() const { return valid_bytes_; }
  store::DbIndex database() const { return valid_database_; }  // selected at valid_bytes()
  // Lines up to there, as redis-check-aof counts them: of commands only, and none inside arguments.
  uint64_t valid_lines() const { return valid_lines_; }
  // The latest annotation read, and where it stands.
  int64_t timestamp() const { return timestamp_; }  // unix seconds; 0 = none
  uint64_t timestamp_offset() const { return timestamp_offset_; }
  // Where to cut so that nothing later than `until` is left: the first annotation beyond it that
  // was read, or the commit it stands in.
  std::optional<uint64_t> until_offset() const { return until_offset_; }

 private:
  // Places count from `start_`, so they stay true when the window moves.
  struct Span {
    size_t at;
    size_t size;
  };
  struct Held {  // a command of a block, or a single one
    size_t first_span;
    size_t spans;
    size_t at;
    store::DbIndex database;
  };
  enum class Progress { whole, starved, damaged };

  // Moves `rest` behind its first command; 0: it does not begin with a whole one.
  static size_t take_first_words(base::Bytes& rest, std::span<base::Bytes> words);
  Progress read_item();
  Progress read_command();
  Progress read_annotation();
  bool take_command();
  bool select();
  void hand_out(AofCommand& command);
  bool damage(size_t at, std::string reason);
  uint64_t file_offset(size_t at) const { return options_.base_offset + consumed_ + at; }
  base::Bytes arg(size_t span) const {
    return base::Bytes(window_).substr(start_ + spans_[span].at, spans_[span].size);
  }
  void find_commands_behind();
  // A whole commit ends here.
  void settle() {
    valid_bytes_ = file_offset(pos_);
    valid_lines_ = lines_;
    valid_database_ = database_;
  }

  AofReaderOptions options_;
  std::string window_;
  size_t start_ = 0;       // first byte still needed
  uint64_t consumed_ = 0;  // bytes of the file before start_
  size_t pos_ = 0;         // next byte to read

  // The command under way.
  size_t command_at_ = 0;
  size_t command_span_ = 0;  // its first of spans_
  int64_t args_left_ = -1;   // -1: between commands
  int64_t bulk_size_ = -1;   // -1: its header is next

  std::vector<Span> spans_;
  std::vector<Held> held_;
  size_t handed_out_ = 0;
  bool in_block_ = false;
  bool block_ready_ = false;
  std::vector<base::Bytes> args_;
  std::string change_notes_;  // of the commit under way
  uint64_t commit_at_;        // where it begins in the file

  store::DbIndex database_ = 0;
  store::DbIndex valid_database_ = 0;
  uint64_t valid_bytes_;
  uint64_t valid_lines_ = 0;
  uint64_t lines_ = 0;
  std::optional<uint64_t> until_offset_;
  int64_t timestamp_ = 0;
  uint64_t timestamp_offset_ = 0;
  AofEnd end_;
};

}  // namespace quoll::persist
