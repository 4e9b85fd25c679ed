// Backups: finished copies of the data, made while serving.
//
//   <backup-dir>/NAME/dump.rdb        the data at one instant, as BGSAVE would write it; sealed
//   when
//                                     the data is encrypted
//                     manifest.json   what it is: sizes, SHA-256, keys, version (backup_manifest.h)
//   <backup-dir>/.unfinished-NAME/    on its way in, or being deleted
//
//   prepare -> snapshot -> checksum -> publish -> (old ones go) -> (upload)
//   the directory gets its name by one rename, when all in it is written and fsynced: what has a
//   name is whole.
//
// One backup at a time. Its snapshot queues with the saves. The checksum is of what can be read
// back from the disk. Cost: that of a save, then reading the file once (kHashBytes at a time on the
// loop, at most 0.3 ms), then, where an endpoint is set, sending it (backup_upload.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "host/host.h"
#include "host/upload.h"
#include "server/backup_manifest.h"

namespace quoll::server {

class BackupUpload;
class Persistence;
class Server;

class Backups {
 public:
  enum class Phase : uint8_t { none, prepare, snapshot, checksum, publish, upload };
  enum class Outcome : uint8_t { none, running, ok, failed, aborted };

  struct Status {
    Outcome outcome = Outcome::none;
    Phase phase = Phase::none;
    std::string name;
    base::Millis started_ms = 0;
    base::Millis ended_ms = 0;
    double progress_percent = 0;  // of the present phase
    uint64_t keys = 0;
    uint64_t bytes = 0;
    std::string error;
    // Of the upload of the same backup.
    Outcome upload = Outcome::none;
    uint64_t uploaded_bytes = 0;
    uint64_t upload_attempts = 0;
    std::string upload_error;
  };
  struct Found {
    std::string name;
    BackupManifest manifest;
    std::string error;  // not empty: the manifest cannot be read
  };
  using OnFound = std::function<void(base::Result<std::vector<Found>>)>;

  Backups(Server& server, Persistence& persistence);
  ~Backups();

  // Without one, nothing is uploaded.
  void set_upload(host::Upload& upload) { upload_ = &upload; }

  // An empty name gets the time. `begun` is told the name, or why it cannot begin.
  void start(std::string name, std::function<void(base::Result<std::string>)> begun);
  // Ends what runs: the backup, or the upload of one that stays.
  enum class Aborted : uint8_t { none_running, yes, too_late };
  Aborted abort();
  void list(OnFound done);  // oldest first
  // The same, kept for whoever is told until the next.
  void list_for_reply(host::OnDone done);
  const std::vector<Found>& last_listing() const { return listing_; }
  void remove(const std::string& name, host::OnDone done);

  bool running() const { return status_.outcome == Outcome::running; }
  bool uploading() const { return status_.upload == Outcome::running; }
  Status status() const;
  int64_t last_seconds() const;  // -1: none yet
  Outcome last_outcome() const { return last_outcome_; }

  static const char* name_of(Outcome outcome);
  static const char* name_of(Phase phase);

 private:
  struct Listing;
  struct Removal;

  template <class Callback>
  auto guarded(Callback callback) {
    return [alive = alive_, callback = std::move(callback)](auto&&... values) mutable {
      if (*alive) callback(std::forward<decltype(values)>(values)...);
    };
  }
  // Goes on with `step`, or ends the backup with what `doing` ran into.
  host::OnDone then(std::string doing, void (Backups::*step)());

  void prepare();
  void look_around(base::Result<std::vector<std::string>> names);
  void clear_leftovers(std::vector<std::string> names);
  void enter_directory();
  void begin_snapshot();
  void note_instant();
  void begin_checksum();
  void hash_more();
  void write_manifest();
  void publish();
  void settle_name();
  void published();
  void retire();
  void retire_next(std::vector<std::string> names);
  void fail(const std::string& error);
  void end(Outcome outcome, const std::string& error);
  void begin_upload();
  void uploaded(base::Result<> result);
  void remove_directory(const std::string& path, host::OnDone done);
  void remove_next(std::shared_ptr<Removal> removal);
  void list_next(std::shared_ptr<Listing> listing);

  host::Disk& disk() const;
  const std::string& root() const;
  std::string path_of(const std::string& name) const { return root() + "/" + name; }
  std::string temporary() const;

  Server& server_;
  Persistence& persistence_;
  host::Upload* upload_ = nullptr;
  std::unique_ptr<BackupUpload> sending_;
  Status status_;
  Outcome last_outcome_ = Outcome::none;  // of the last that ended
  base::Millis last_ms_ = -1;
  bool aborting_ = false;
  std::string root_;  // of the backup under way
  std::function<void(base::Result<std::string>)> begun_;
  BackupManifest manifest_;
  std::vector<Found> listing_;
  std::unique_ptr<Sha256> hash_;
  host::FileId file_ = 0;
  uint64_t hashed_bytes_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::server
