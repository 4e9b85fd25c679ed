// DataCheck verifies what persistence left on disk: RDB files, append-only files with or without an
// RDB in front, manifests with all they list, and whole data directories. It tells what is in them,
// and what damage there is: file, offset, what was expected there.
//
// On request it cuts a log: at the end of its last whole commit (fix), or behind the last command
// of an instant (until). Only the last file of a manifest is ever cut; before a cut of a torn tail
// it says what goes and asks.
//
// It reads through host::Disk and with the readers of the server, piece by piece: memory does not
// grow with the files. Texts are those of redis-check-aof and redis-check-rdb 7.0 where they say
// the same thing, because tools look for them.
#pragma once

#include <string>
#include <vector>

#include "host/host.h"
#include "persist/aof_check.h"
#include "persist/aof_manifest.h"

namespace quoll::persist {

constexpr size_t kCheckPieceBytes = 1024 * 1024;  // read at once

struct CheckOptions {
  bool fix = false;
  int64_t until = 0;  // unix seconds; 0: not asked for
  int64_t bulk_bytes_max = kAofBulkBytesMax;
  base::Millis now = 0;
  std::function<bool(base::Args)> known;  // commands of the server
};

// Where the files are, and who is asked and told.
struct CheckWorld {
  host::Disk& disk;
  // The loop the disk completes on: turns until stop().
  std::function<void()> run;
  std::function<void()> stop;
  TellLine tell;
  std::function<bool(const std::string& question)> ask;
};

class DataCheck {
 public:
  DataCheck(CheckWorld world, CheckOptions options)
      : world_(std::move(world)), options_(std::move(options)) {}

  // Each says whether all is well, or was put right.
  bool path(const std::string& path);      // whatever it is
  bool rdb_file(const std::string& path);  // as redis-check-rdb
  bool log_file(const std::string& path);  // a log or a manifest, as redis-check-aof

 private:
  enum class Verdict { valid, empty, cut, cut_until, bad };
  struct File {
    std::string path;
    std::string name;  // as it is told
    bool last = true;  // of its manifest: may be cut
    host::FileId id = 0;
    uint64_t size = 0;
    uint64_t read = 0;
  };

  bool directory(const std::string& path, const std::vector<std::string>& names);
  bool manifest(const std::string& path);
  bool listed(const std::string& folder, const AofManifest& manifest);
  bool listed_file(const std::string& folder, const std::string& name, const char* role, bool last,
                   Verdict& verdict);
  void tell_unlisted(const std::string& folder, const AofManifest& manifest);

  bool open(File& file);
  bool next_piece(File& file, std::string& bytes);
  Verdict check_log(File& file);
  bool check_preamble(File& file, RdbCheck& rdb, std::string& rest);
  Verdict check_commands(File& file, std::string bytes, uint64_t offset);
  Verdict end_log(File& file, AofCheck& log, const AofEnd& end);
  Verdict cut_until(File& file, uint64_t offset);
  Verdict cut_tail(File& file, const AofEnd& end);
  bool truncate(const File& file, uint64_t size);

  template <class T>
  base::Result<T> wait_for(
      const std::function<void(std::function<void(base::Result<T>)>)>& request);
  base::Result<std::string> start_of(const std::string& path);
  void tell(const std::string& line) { world_.tell(line); }

  CheckWorld world_;
  CheckOptions options_;
};

}  // namespace quoll::persist
