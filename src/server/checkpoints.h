// Checkpoints: RDB files of a group member's data, each as of one entry of the log. With the log
// behind it, the newest one is what a restart needs.
//
//   <dir>/checkpoint-<epoch>-<index>-<commit>.rdb
//   <dir>/written.rdb                 of our data, not yet to be relied on
//   <dir>/received.rdb                from another member
//
// The name says which entry the data are as of, and up to where entries were known to be committed
// when it was made. A file has its name only when it is complete and synced; the older one goes
// when the new name is.
#pragma once

#include <optional>
#include <string>

#include "cluster/group_types.h"
#include "host/host.h"

namespace quoll::server {

struct Checkpoint {
  cluster::Position at;
  cluster::Index commit = 0;

  std::string file_name() const;
  static std::optional<Checkpoint> parse(base::Bytes file_name);
};

class Checkpoints {
 public:
  Checkpoints(host::Disk& disk, std::string dir) : disk_(disk), dir_(std::move(dir)) {}

  // The newest one there is; what else was left behind is removed.
  using OnFound = std::function<void(base::Result<std::optional<Checkpoint>>)>;
  void find(OnFound done);
  // The complete, synced file is the checkpoint from now on. An error: it is not, also not for the
  // next start as far as the disk still takes orders.
  void publish(const std::string& file, const Checkpoint& checkpoint, host::OnDone done);
  // There is none any more.
  void forget();

  const std::optional<Checkpoint>& newest() const { return newest_; }
  std::string path() const { return dir_ + "/" + newest_->file_name(); }
  std::string written() const { return dir_ + "/written.rdb"; }
  std::string received() const { return dir_ + "/received.rdb"; }

 private:
  void withdraw(const Checkpoint& checkpoint, host::OnDone done, const std::string& why);

  host::Disk& disk_;
  std::string dir_;
  std::optional<Checkpoint> newest_;
};

}  // namespace quoll::server
