// AofDirectory: the append-only directory on disk, and the manifest as it is there.
//
//   <parent>/appendonlydir/appendonly.aof.manifest        which files are the log
//                          appendonly.aof.3.base.rdb      as listed
//                          appendonly.aof.7.incr.aof
//                          temp-appendonly.aof.manifest   the next manifest, being written
//                          temp-appendonly.aof.incr       an increment waiting for its first base
//
// Changes of the manifest queue and are carried out one after the other:
//
//   sync_dir (the names about to be listed) -> write and fsync temp -> rename -> sync_dir -> done
//
// A change fails only while nothing has happened: once the rename is done, the last sync_dir is
// tried again every second until it succeeds (`on_trouble` hears of it), because until then a crash
// may leave either manifest and nobody may rely on one.
//
// Invariant: manifest() is what the disk holds durably. Cost: three fsyncs per change.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "host/host.h"
#include "persist/aof_manifest.h"

namespace quoll::persist {

constexpr base::Nanos kAofRetryAfter = 1'000 * base::kNanosPerMilli;

struct AofDirectoryPlace {
  std::string parent = ".";                  // the directive dir
  std::string name = "appendonlydir";        // appenddirname
  std::string file_name = "appendonly.aof";  // appendfilename
};

class AofDirectory {
 public:
  AofDirectory(host::Loop& loop, host::Disk& disk, AofDirectoryPlace place);
  ~AofDirectory() { *alive_ = false; }
  AofDirectory(const AofDirectory&) = delete;

  // Makes the directory where it is missing, moves an old-style file into it, reads the manifest.
  // The value: what happened, line by line in Redis's words, for the log. The error may have
  // several lines. Without files, manifest().empty().
  void load(std::function<void(base::Result<std::vector<std::string>>)> done);

  const AofManifest& manifest() const { return manifest_; }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string manifest_path() const { return path(manifest_.manifest_name()); }

  // Changes the manifest on disk. `edit` runs on a copy when the change's turn comes.
  using Edit = std::function<void(AofManifest&)>;
  void change(Edit edit, host::OnDone done);
  void on_trouble(std::function<void(const std::string& error)> told) {
    on_trouble_ = std::move(told);
  }

  // A new, empty increment that is not listed yet. Its number is used up even if this fails.
  using OnIncrement = std::function<void(base::Result<host::FileId>, const AofFile&)>;
  void create_increment(OnIncrement done);
  void create_temporary_increment(OnIncrement done);

  // `temporary` (a name in this directory, already fsynced) becomes the base; increments below
  // `first_kept` and the old base become history. On failure the manifest is as before and the
  // files to be published are removed.
  void publish_base(const std::string& temporary, bool rdb, int64_t first_kept, host::OnDone done);
  // The same, with the temporary increment becoming the only one.
  void publish_base_and_increment(const std::string& temporary, bool rdb, host::OnDone done);

  // Removes the files of the history, then forgets them.
  void remove_history(host::OnDone done);
  // Cuts a torn tail for good.
  void truncate(const std::string& name, host::Offset size, host::OnDone done);

 private:
  struct Change {
    Edit edit;
    host::OnDone done;
  };
  struct Loading;
  // Not called any more once this object is gone.
  template <class Callback>
  auto guarded(Callback callback) {
    return [alive = alive_, callback = std::move(callback)](auto&&... values) mutable {
      if (*alive) callback(std::forward<decltype(values)>(values)...);
    };
  }
  // Goes on with `next`, or ends `failed` with the error.
  template <class Next>
  host::OnDone then(host::OnDone failed, Next next) {
    return guarded([failed = std::move(failed), next = std::move(next)](base::Result<> result) {
      if (!result) return failed(std::move(result));
      next();
    });
  }

  void start_change();
  void write_manifest(const std::string& text, host::OnDone done);
  void settle_names(std::shared_ptr<AofManifest> next);
  void end_change(base::Result<> result);
  void create(const AofFile& file, OnIncrement done);
  void publish(const std::string& temporary, bool rdb, int64_t first_kept, bool with_increment,
               host::OnDone done);
  // Removes those that are no part of the log; at least one is none.
  void discard(const std::vector<std::string>& names, host::Task done);

  void list_parent(std::shared_ptr<Loading> loading);
  void make_directory(std::shared_ptr<Loading> loading);
  void settle_directory(std::shared_ptr<Loading> loading);
  void list_directory(std::shared_ptr<Loading> loading);
  void read_manifest(std::shared_ptr<Loading> loading);
  void upgrade_if_wanted(std::shared_ptr<Loading> loading);

  host::Loop& loop_;
  host::Disk& disk_;
  AofDirectoryPlace place_;
  std::string directory_;
  AofManifest manifest_;
  int64_t reserved_ = 0;        // highest number of an increment made
  std::deque<Change> changes_;  // the first is under way
  bool changing_ = false;
  std::function<void(const std::string&)> on_trouble_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::persist
