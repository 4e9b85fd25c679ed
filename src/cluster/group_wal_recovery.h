// WalRecovery: reads a group member's files and says what its log holds.
//
//   state -> header of every file -> which entries each one contributes -> the entries, in order
//
//   log.3  before 0    1 2 3 4 5 6 7            contributes 1-5: log.5 begins behind 5
//   log.4  before 7                8 9          nothing
//   log.5  before 5              6'7'8'9'10'    the rest, up to the first byte that is not intact
//
// A file's entries hold up to the entry that any later file begins behind. So a log that was cut
// back goes on in a new file, and so does one whose end on disk is not to be trusted.
//
// Damage. Files and batches carry the newest entry promised to others when they were written. If
// the log as it can be read ends before the newest promise found, also behind unreadable bytes, or
// holds another entry in that place, something acknowledged is missing: `damaged`. Otherwise what
// is unreadable at the end had been promised to nobody: it is left behind ("torn"). A state file or
// a file of the log that is known to exist and is not there, or not readable, is damage, too.
//
// What does not pass its CRC is read again before it counts as unreadable.
// What was found is synced before it is reported. Nothing is written.
//
// Memory: one read, or the largest entry. Cost: each entry is read and its CRC computed once.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/epoch_runs.h"
#include "cluster/group_wal_format.h"
#include "cluster/group_wal_reader.h"
#include "host/host.h"

namespace quoll::cluster {

constexpr size_t kWalReadBytes = size_t{1} << 20;
constexpr int kWalReadTries = 4;

struct WalFile {
  uint64_t sequence = 0;
  Position before;
};

struct WalFound {
  GroupSuperblock superblock;
  bool had_superblock = false;
  EpochRuns runs;
  std::vector<WalFile> files;      // that the log consists of
  std::vector<uint64_t> obsolete;  // to be removed once the log goes on elsewhere
  uint64_t highest = 0;            // number of a file, seen or known of
  bool damaged = false;
  std::string report;  // lines for the log
};

class WalRecovery {
 public:
  using OnEntry = std::function<void(const Entry& entry, base::Bytes encoded)>;
  using OnFound = std::function<void(base::Result<WalFound>)>;
  WalRecovery(host::Disk& disk, std::string dir, OnEntry on_entry, OnFound on_found);
  ~WalRecovery() { *alive_ = false; }
  WalRecovery(const WalRecovery&) = delete;

  // Makes the directory where there is none.
  void start();

 private:
  struct Seen {
    uint64_t sequence = 0;
    bool readable = false;
    WalHeader header{};
    Index limit = UINT64_MAX;  // entries behind it were replaced
  };
  // Not called any more once this object is gone.
  template <class Callback>
  auto guarded(Callback callback) {
    return [alive = alive_, callback = std::move(callback)](auto&&... values) mutable {
      if (*alive) callback(std::forward<decltype(values)>(values)...);
    };
  }
  // Goes on with `next` or fails.
  template <class Next>
  host::OnDone then(std::string what, Next next) {
    return guarded([this, what = std::move(what),
                    next = std::move(next)](const base::Result<>& result) mutable {
      if (!result) return fail(what, result.error());
      next();
    });
  }

  void list();
  void read_state(bool exists, int tries);
  void read_header(size_t at, int tries);
  void header_read(size_t at, int tries, base::Bytes bytes);
  void choose_files();
  const Seen* first_file();
  void limit_files();
  void read_file(size_t at);
  void read_more();
  void take(base::Bytes bytes);
  bool take_entries();
  void stop(const std::string& why);
  void file_read();
  void scan_file(size_t at, uint64_t offset);
  void scan_more();
  void finish();
  void fail(const std::string& what, const std::string& error);
  void note(const std::string& line) {
    found_.report += (found_.report.empty() ? "" : "\n") + line;
  }
  void damage(const std::string& line) {
    found_.damaged = true;
    note(line);
  }
  std::string path(uint64_t sequence) const { return dir_ + "/" + wal_file_name(sequence); }

  host::Disk& disk_;
  std::string dir_;
  OnEntry on_entry_;
  OnFound on_found_;
  WalFound found_;
  std::vector<Seen> seen_;
  Position promised_;
  bool broken_ = false;  // nothing behind can follow

  size_t reading_ = 0;  // of seen_
  host::FileId file_ = 0;
  std::unique_ptr<WalReader> reader_;
  std::unique_ptr<WalScan> scan_;
  int tries_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::cluster
