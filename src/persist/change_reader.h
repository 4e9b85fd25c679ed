// ChangeReader: the commits of the change stream, from bytes of an append-only file that arrive in
// pieces, or from the same bytes kept in memory.
//
// Commits without change notes are passed over: the stream was off. Memory: one commit, which is
// whole before any of it is told. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "persist/aof_reader.h"
#include "persist/change_notes.h"

namespace quoll::persist {

struct ChangedKey {
  store::DbIndex database = 0;
  std::string event;
  std::optional<std::string> key;  // nothing: the whole database
};

struct ChangeEffect {
  store::DbIndex database = 0;
  std::vector<std::string> args;
};

// A commit as readers of the stream see it.
struct ChangeCommit {
  ChangePosition position;
  std::vector<ChangedKey> changes;
  std::vector<ChangeEffect> effects;
  size_t bytes() const;  // of keys and arguments
};

class ChangeReader {
 public:
  explicit ChangeReader(AofReaderOptions options = {}) : reader_(std::move(options)) {}

  void feed(std::string bytes) { reader_.feed(std::move(bytes)); }
  // The next commit behind `since`. False: more bytes are needed, or damaged().
  bool next(const ChangePosition& since, ChangeCommit& commit);
  // As next(), but it ended at bytes that cannot stand there.
  bool damaged() const { return damaged_; }

 private:
  bool take(const AofCommand& command, const ChangePosition& since, ChangeCommit& commit);
  bool resolve(ChangeCommit& commit) const;

  AofReader reader_;
  std::string lines_;  // the notes of the commit under way
  std::vector<ChangeNote> notes_;
  bool wanted_ = false;  // the commit under way
  bool inside_ = false;  // of one
  bool damaged_ = false;
};

}  // namespace quoll::persist
