// What nodes say to each other about commands that one runs for a client of the other.
//
//   question   flags1 user lines4 then per line: words4 word ...      user, word: size4 bytes
//   answer     'R' replies                          they ran: a reply per line, as the client gets
//   it
//              'N' error                            nothing ran: an error reply
//              'W' milliseconds8 reply lines4 ...   it would wait so long for its keys (0: for
//                                                   ever), and then reply this; the line is what
//                                                   to run again
//              'M'                                  the node runs nothing for others
//
// Lines of a question run one after the other. They are never handed on a second time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::cluster {

constexpr size_t kRunLinesMax = 1024 * 1024;      // of one question
constexpr size_t kRunWordsMax = size_t{1} << 24;  // of all lines of one question

using CommandLine = std::vector<base::Bytes>;

// A reply that says: nothing ran, and another node, or this one later, may run it.
bool is_elsewhere(base::Bytes reply);

// Lines with their number in front.
class CommandLines {
 public:
  void add(base::Args words);
  void add(const CommandLines& others);
  uint32_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }  // without the number

 private:
  uint32_t count_ = 0;
  std::string bytes_;
};

struct RunQuestion {
  enum Flag : uint8_t { kResp3 = 1, kNoTouch = 2, kReplicaReads = 4 };
  uint8_t flags = 0;
  base::Bytes user;
  std::vector<CommandLine> lines;  // views of what was decoded

  static std::string encode(uint8_t flags, base::Bytes user, const CommandLines& lines);
  static std::optional<RunQuestion> decode(base::Bytes bytes);
};

struct RunAnswer {
  enum class Kind : char { ran = 'R', not_run = 'N', waits = 'W', refused = 'M' };
  Kind kind = Kind::refused;
  base::Bytes reply;  // of all lines, whole
  base::Millis wait_ms = 0;
  CommandLine line;  // views of what was decoded

  static std::string encode(Kind kind, base::Bytes reply);
  static std::string encode_wait(base::Millis wait_ms, base::Bytes reply, base::Args line);
  static std::optional<RunAnswer> decode(base::Bytes bytes);
};

}  // namespace quoll::cluster
