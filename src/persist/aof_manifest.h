// The manifest of the append-only directory: which files together are the log, in Redis 7's form.
//
//   file appendonly.aof.3.base.rdb seq 3 type b      at most one: the state to begin with
//   file appendonly.aof.2.incr.aof seq 2 type h      history: replaced, to be removed
//   file appendonly.aof.7.incr.aof seq 7 type i      increments, replayed in this order
//
// Source of format, limits and texts: Redis's documentation and what redis-server 7.0.15 reads and
// writes. Pure. A value: copy it, change the copy, write that to disk, and only then use it.
//
// Invariants: increments have rising numbers; a new name is never one that is still listed, so
// making a file cannot harm the log.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::persist {

enum class AofFileType : char { base = 'b', history = 'h', increment = 'i' };

struct AofFile {
  std::string name;  // without directory
  int64_t seq;
  AofFileType type;
  bool operator==(const AofFile&) const = default;
};

constexpr size_t kManifestLineMax = 1024;         // with its newline; Redis's bound
constexpr int64_t kAofSeqMax = int64_t{1} << 62;  // leaves room for the numbers to come
constexpr int64_t kNoIncrement = INT64_MAX;       // behind every increment

struct AofManifestError {
  std::string reason;  // "Found a non-monotonic sequence number"
  size_t line = 0;     // counted from 1; 0 where Redis names none
  std::string text;    // of that line
  // The lines Redis logs, in order.
  std::vector<std::string> report() const;
};

class AofManifest {
 public:
  // `file_name` is the directive appendfilename; all new names begin with it.
  explicit AofManifest(std::string file_name) : file_name_(std::move(file_name)) {}

  // Replaces what is listed. False: `error` says why and nothing is changed.
  bool parse(base::Bytes text, AofManifestError& error);
  std::string text() const;

  bool has_base() const { return !base_.name.empty(); }
  const AofFile& base() const { return base_; }  // empty name: none
  const std::vector<AofFile>& increments() const { return increments_; }
  const std::vector<AofFile>& history() const { return history_; }
  bool empty() const { return !has_base() && increments_.empty(); }

  // Whether a file of any type has this name.
  bool lists(const std::string& name) const;

  // The files to come. `above`: the highest number already given to one that is not listed.
  AofFile next_increment(int64_t above) const;
  AofFile next_base(bool rdb) const;

  void add_increment(AofFile increment);
  // The base takes the place of the old one and of all increments with numbers below
  // `first_kept`; these become history.
  void replace_base(AofFile base, int64_t first_kept);
  void forget_history(const std::vector<std::string>& names);
  // The single file of Redis before 7 becomes the base.
  void upgrade();

  std::string manifest_name() const { return file_name_ + ".manifest"; }
  std::string temporary_manifest_name() const { return "temp-" + manifest_name(); }
  std::string temporary_increment_name() const { return "temp-" + file_name_ + ".incr"; }
  const std::string& file_name() const { return file_name_; }

  // Whether an old-style file beside the directory is to be moved into it. `base_exists`: the file
  // the manifest names as base is in the directory.
  bool wants_upgrade(bool old_file_exists, bool base_exists) const;

 private:
  std::string file_name_;
  AofFile base_{"", 0, AofFileType::base};
  std::vector<AofFile> increments_;
  std::vector<AofFile> history_;
  int64_t base_seq_ = 0;       // last number given
  int64_t increment_seq_ = 0;  // last number given
};

}  // namespace quoll::persist
