// ChangeStream: every commit in order, for CHANGES. On while changes-buffer-size is not 0.
//
//   commit -> ChangeWindow (the last ones, in memory)
//          -> AofLog, with change notes (persist/change_notes.h): those before, as long as the
//             append-only file holds them; ChangeIndex knows where
//
// A position is `life-seq`: when this life began, in microseconds of the clock, and the seq of the
// commit in it. A process begins with a new life. With a log, earlier lives are part of the stream:
// what a reader saw before a restart and the log has lost, he is not told again, and goes on with
// the next life. Without one, positions end with the process.
//
//   oldest()                     last()
//     |  log, read from the files  |  window
//     '- before: trimmed
//
// A gap, where the stream was off or all data was replaced by a primary's, begins a life that has
// no earlier ones: readers of before are told that their position is trimmed. Positions are one
// server's own; those of another are trimmed, too.
//
// Cost: nothing while off. On: the commit encoded once more, and its note in the log.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "persist/aof_encoder.h"
#include "persist/aof_log.h"
#include "persist/aof_reader.h"
#include "server/change_index.h"
#include "server/change_window.h"

namespace quoll::server {

class Server;
using persist::ChangePosition;

class ChangeStream final : public store::CommitSink {
 public:
  explicit ChangeStream(Server& server) : server_(server) {}

  bool on() const { return listening(); }
  // For the notes in the log; 0: none are written.
  uint64_t life() const { return on() ? life_ : 0; }

  // A command of an increment that is loaded at the start.
  void loaded(int64_t increment, const persist::AofCommand& command);
  // All is loaded: this life begins.
  void begin();
  void apply_settings();
  // The data changed without commits.
  void restart();
  void absorb(const store::Commit& commit) override;
  void log_written(const persist::AofPlace& place);
  void log_closed() { index_.clear(); }

  // The position with the longest future: all commits behind it are there.
  ChangePosition oldest();
  ChangePosition last() const { return {life_, window_.last()}; }
  // Whether all behind the position is there, and it is one of this stream.
  bool holds(const ChangePosition& position);
  // What the position means now: one of the end of an earlier life is the beginning of this one.
  ChangePosition resolved(const ChangePosition& position) const;
  bool in_window(const ChangePosition& position) const {
    return position.life == life_ && window_.holds_behind(position.seq);
  }
  // Where in the log to read what is behind the position; null: nowhere.
  const ChangeIndex::Place* place(const ChangePosition& position);
  const ChangeWindow& window() const { return window_; }
  // How much has happened to the stream: commits and new beginnings.
  uint64_t version() const { return version_; }
  // Commits that came behind the position, as far as they are of this life.
  uint64_t lag(const ChangePosition& position) const;

 private:
  void begin_life();
  void forget_past();
  void prune();

  Server& server_;
  ChangeWindow window_;
  ChangeIndex index_;
  persist::AofEncoder encoder_;
  std::string text_;  // of the commit at hand
  uint64_t version_ = 0;
  uint64_t life_ = 0;
  store::Seq begun_at_ = 0;      // the seq before this life's part of the stream
  std::vector<uint64_t> lives_;  // those that the stream goes through, this one last
  // While loading: the commit seen last, and the one of the stream seen last.
  int64_t loaded_increment_ = 0;
  uint64_t loaded_offset_ = 0;
  std::optional<ChangePosition> loaded_last_;
};

}  // namespace quoll::server
