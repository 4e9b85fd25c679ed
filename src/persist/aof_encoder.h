// AofEncoder: commits as the bytes of the append-only file, exactly as Redis 7.0 writes them.
//
//   [#TS:<unix seconds>]     with timestamps on, when the second has changed
//   [#CHANGES:...]           with the change stream on; see change_notes.h
//   [SELECT db]              when the database is not the one written last in this file
//   MULTI                    only around two effects or more
//   effect [SELECT db] effect ...
//   EXEC
//
// A commit of one effect stands alone even if it was a transaction: it is whole or not there
// anyway. Pure. Cost: one pass, no allocation but the growth of `out`.
//
// Invariant: what one encode() appends is one commit; a file cut between two calls is consistent.
#pragma once

#include <optional>
#include <string>

#include "store/commit.h"

namespace quoll::persist {

class AofEncoder {
 public:
  void encode(const store::Commit& commit, std::string& out);
  // What follows goes to another file: the next effect names its database again.
  void begin_file() { database_.reset(); }
  void set_timestamps(bool on) { timestamps_ = on; }
  // The life of the change stream whose notes are written; 0: none are.
  void set_changes(uint64_t life) { changes_ = life; }
  // The database selected at the end of what was written to this file.
  std::optional<store::DbIndex> database() const { return database_; }

  // Parts, for those who write a base in this format.
  static void append_command(base::Args args, std::string& out);
  static void append_select(store::DbIndex database, std::string& out);
  static void append_timestamp(int64_t unix_seconds, std::string& out);

 private:
  void select(store::DbIndex database, std::string& out);

  std::optional<store::DbIndex> database_;
  int64_t last_second_ = 0;
  uint64_t changes_ = 0;
  bool timestamps_ = false;
};

}  // namespace quoll::persist
