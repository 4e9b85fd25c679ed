// Change notes: what the append-only file tells about a commit beside its effects: where it stands
// in the change stream, and what happened to which keys. An annotation, which Redis skips.
//
//   #CHANGES:1764467912345678-17 set,0,0,1 lpop,0,1,1 del,0,1,1
//            '-life---------' '-seq   '- argument 1 of the commit's effect 0, in database 0
//   #CHANGES:1764467912345678-18 flushdb,3                    keyless
//
// A key that was touched is named in an effect, so it is not written twice. A commit of many
// touches has several lines of the same position. A note without its commit (a crash came between)
// is overruled by the next one.
//
// A touch that announces no event is "changed", unless what follows names its key (RENAME). What a
// script kept out of the file (redis.set_repl) is not in the stream either.
//
// Pure. Cost: about 45 bytes per commit.
#pragma once

#include <compare>
#include <string>
#include <vector>

#include "store/commit.h"

namespace quoll::persist {

// Of a commit in the stream: the life of the process that made it, and its seq there. Lives only
// grow, so positions do.
struct ChangePosition {
  uint64_t life = 0;
  store::Seq seq = 0;
  auto operator<=>(const ChangePosition&) const = default;

  std::string text() const;  // "life-seq"
  // False: it is none.
  bool parse(base::Bytes text);
};

// The lines of one commit; nothing when no effect of it goes to the file.
void append_change_notes(uint64_t life, const store::Commit& commit, std::string& out);

inline constexpr base::Bytes kChangeNote = "#CHANGES:";

struct ChangeNote {
  base::Bytes event;
  store::DbIndex database = 0;
  bool keyless = false;
  size_t effect = 0;
  size_t argument = 0;
};

// Reads the lines of one commit. False: there is none, or nobody wrote it so. Notes point into
// `lines`.
bool parse_change_notes(base::Bytes lines, ChangePosition& position,
                        std::vector<ChangeNote>& notes);
// The position alone, of the last line.
bool parse_change_position(base::Bytes lines, ChangePosition& position);

}  // namespace quoll::persist
